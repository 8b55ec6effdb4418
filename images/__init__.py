"""What is booted: QEMU, a compiler, the probe firmware, TF-A, a Linux host.  This is the public face.

``provide(name)`` gives an ``Image``, obtaining or building it when the cache does not have it; every failure is an
``ImageError`` of one line.  A user's own QEMU, compiler, probe, TF-A, kernel and so on is named by ``override`` or by
the environment variable that the catalogue gives; where the name is that of another image of the same kind (``qemu10``
for ``qemu``), that image is meant, and where it is the image's own name, the image itself, as if nothing was named.
REALMCHECK_OFFLINE=1 forbids the network.
"""

from __future__ import annotations

import os
from pathlib import Path

from images import archive, catalogue, compiler, initramfs, payload, probe_build, program, qemu, source, tfa
from images.cache import Cache
from images.catalogue import ArchiveSpec, FirmwareSpec, InitramfsSpec, PackageSpec, ProbeSpec, SourceSpec, Spec
from images.errors import ImageError
from images.image import Image, Provenance
from images.progress import Progress, Silent
from images.request import Request

__all__ = ["Image", "ImageError", "Progress", "Provenance", "argv", "clean", "find", "list_images", "path", "provide"]


def provide(name: str, *, offline: bool = False, progress: Progress | None = None, override: str = "") -> Image:
    """The image ``name`` of the catalogue, ready for use.

    ``offline`` forbids the network (what the cache has is used, the probe is still built).  ``override`` is the user's
    own: a QEMU, a compiler's command line, a probe ELF, or the name of another image of the same kind; it wins over
    the environment variable.  ImageError in one line when it cannot be had.
    """
    spec = catalogue.spec(name)
    request = _request(offline, progress)
    chosen = _chosen(spec, override)
    if other := _other(spec, chosen):
        return provide(other, offline=offline, progress=progress)
    match spec:
        case ProbeSpec():
            if chosen:
                return probe_build.own(spec, chosen)
            builder = provide("compiler", offline=offline, progress=progress)
            return probe_build.provide(spec, request.cache, request.progress, builder)
        case PackageSpec(kind="qemu"):
            return qemu.provide(spec, request, chosen)
        case PackageSpec(kind="kernel" | "userland"):
            return payload.provide(spec, request, chosen)
        case InitramfsSpec():
            if chosen:
                return initramfs.own(spec, chosen)
            parts = [provide(part, offline=offline, progress=progress) for part in (spec.busybox, spec.tool)]
            return initramfs.provide(spec, request.cache, request.progress, *parts)
        case SourceSpec():
            return source.provide(spec, request)
        case ArchiveSpec():
            return archive.own(spec, chosen) if chosen else archive.provide(spec, request)
        case FirmwareSpec():
            return _firmware(spec, request, chosen)
        case PackageSpec(kind="tool"):
            return program.provide(spec, request, chosen)
        case PackageSpec():
            return compiler.provide(spec, request, chosen)


def _firmware(spec: FirmwareSpec, request: Request, chosen: str) -> Image:
    if chosen:
        return tfa.own(spec, chosen)
    offline, progress = request.offline, request.progress
    tarball = provide(spec.source, offline=offline, progress=progress)
    builder = provide("compiler", offline=offline, progress=progress)

    def make() -> Image:
        return provide("make", offline=offline, progress=progress)

    return tfa.provide(spec, request.cache, request.progress, tarball, builder, make)


def find(name: str) -> Image | None:
    """The image as it stands, or None when it has yet to be obtained or built; never uses the network.

    ImageError when it is damaged, or when the user's own is no good.
    """
    spec = catalogue.spec(name)
    request = _request(True, None)
    chosen = _chosen(spec)
    if other := _other(spec, chosen):
        return find(other)
    match spec:
        case ProbeSpec():
            if chosen:
                return probe_build.own(spec, chosen)
            builder = find("compiler")
            return probe_build.find(spec, request.cache, builder) if builder else None
        case PackageSpec(kind="qemu"):
            return qemu.find(spec, request, chosen)
        case PackageSpec(kind="kernel" | "userland"):
            return payload.find(spec, request, chosen)
        case InitramfsSpec():
            if chosen:
                return initramfs.own(spec, chosen)
            busybox, tool = find(spec.busybox), find(spec.tool)
            return initramfs.find(spec, request.cache, busybox, tool) if busybox and tool else None
        case SourceSpec():
            return source.find(spec, request)
        case ArchiveSpec():
            return archive.own(spec, chosen) if chosen else archive.find(spec, request)
        case FirmwareSpec():
            if chosen:
                return tfa.own(spec, chosen)
            tarball, builder = find(spec.source), find("compiler")
            return tfa.find(spec, request.cache, tarball, builder) if tarball and builder else None
        case PackageSpec(kind="tool"):
            return program.find(spec, request, chosen)
        case PackageSpec():
            return compiler.find(spec, request, chosen)


def path(name: str) -> Path:
    """The main file of an image that is there; ImageError when it has yet to be provided."""
    return _there(name).path


def argv(name: str) -> tuple[str, ...]:
    """The command that starts the program of an image that is there.

    A program from Debian's packages starts only this way where the machine's own loader and libraries are older.
    ImageError when the image has yet to be provided, or is none that starts here.
    """
    image = _there(name)
    if not image.argv:
        raise ImageError(f"image {name} is no program of this machine", remedy="leave --argv out to get its path")
    return image.argv


def _there(name: str) -> Image:
    image = find(name)
    if image is None:
        raise ImageError(f"image {name} is not there yet", remedy=f"run 'realmcheck images provide {name}'")
    return image


def list_images() -> tuple[Spec, ...]:
    """Everything that the catalogue offers."""
    return tuple(catalogue.default().values())


def clean(name: str | None = None) -> None:
    """Remove one image from the cache, or all of them and the downloads; what the user or the system owns stays."""
    cache = Cache()
    if name is not None:
        return cache.clean(catalogue.spec(name).name)
    for spec in list_images():
        cache.clean(spec.name)
    return cache.clean_downloads()


def _chosen(spec: Spec, override: str = "") -> str:
    """What stands in for an image: the option or the environment variable; nothing where that is the image's name."""
    chosen = override or os.environ.get(spec.environment, "")
    return "" if chosen == spec.name else chosen


def _other(spec: Spec, chosen: str) -> str:
    """``chosen`` where it names another image of the same kind, else nothing.

    ImageError where that image is to be another one in turn.
    """
    others = catalogue.default()
    other = others.get(chosen)
    if other is None or other.kind != spec.kind:
        return ""
    if (onwards := _chosen(other)) in others:
        raise ImageError(
            f"image {spec.name} is to be {chosen}, and {chosen} is to be {onwards}",
            remedy=f"let {other.environment} name a program, not an image",
        )
    return chosen


def _request(offline: bool, progress: Progress | None) -> Request:
    forbidden = os.environ.get("REALMCHECK_OFFLINE", "") not in ("", "0")
    return Request(cache=Cache(), offline=offline or forbidden, progress=progress or Silent())
