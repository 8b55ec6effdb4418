"""``realmcheck fip``: list, extract and replace images of TF-A's firmware packages, alone or in a flash image."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path

from harness.errors import MisuseError
from images import ImageError, fip


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``fip`` with its own sub-commands."""
    parser = subparsers.add_parser("fip", help="list, extract and replace images of TF-A's firmware packages")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the images of a package")
    listing.add_argument("--json", action="store_true", help="print JSON")
    extract = actions.add_parser("extract", help="write one image to a file")
    extract.add_argument("name", metavar="NAME", help="a name such as bl33 or rmm, or a UUID")
    replace = actions.add_parser("replace", help="write the package with other images in it")
    replace.add_argument("changes", nargs="+", metavar="NAME=FILE", help="an image and what takes its place")
    replace.add_argument("--align", type=int, default=1, metavar="N", help="images start at multiples of N bytes")
    for action in (listing, extract, replace):
        action.add_argument("file", type=Path, metavar="FILE", help="a FIP, or a flash image that holds one")
        action.set_defaults(run=run)
    for action in (extract, replace):
        action.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")


def run(args: argparse.Namespace) -> int:
    """Carry the command out; 0, or 3 for a package that is none."""
    data = _read(args.file)
    start = fip.locate(data, str(args.file))
    package, size = fip.parse(data[start:], f"{args.file} at {start:#x}" if start else str(args.file))
    match args.action:
        case "list":
            _list(package, start, as_json=args.json)
        case "extract":
            _write(args.output, package.get(args.name).data)
        case _:
            changed = package
            for name, path in map(_change, args.changes):
                changed = changed.replace(name, _read(path))
            _write(args.output, put_back(data, start, size, changed.to_bytes(args.align), str(args.file)))
    return 0


def put_back(data: bytes, start: int, size: int, package: bytes, where: str) -> bytes:
    """``data`` with the package of ``size`` bytes at ``start`` replaced; what follows it must be unused if it grows."""
    behind = data[start + size :]
    if len(package) > size and behind.strip(b"\0\xff"):
        raise ImageError(
            f"the package grows by {len(package) - size} bytes, and what follows it is not empty",
            where=where,
            remedy="give the FIP alone, or smaller images",
        )
    kept = behind[len(package) - size :] if len(package) > size else b"\0" * (size - len(package)) + behind
    return data[:start] + package + (kept if behind else b"")


def _change(word: str) -> tuple[str, Path]:
    name, equals, path = word.partition("=")
    if not (name and equals and path):
        raise MisuseError(f"an image is replaced by NAME=FILE, not {word!r}")
    return name, Path(path)


def _list(package: fip.Fip, start: int, *, as_json: bool) -> None:
    rows = []
    for image in package.images:
        digest = hashlib.sha256(image.data).hexdigest()
        rows.append({"name": image.name, "uuid": str(image.uuid), "size": len(image.data), "sha256": digest,
                     "flags": image.flags})  # fmt: skip
    if as_json:
        print(json.dumps({"offset": start, "flags": package.flags, "images": rows}, indent=2))
        return
    print(f"FIP at {start:#x}, flags {package.flags:#x}")
    for row in rows:
        print(f"{row['name']:20} {row['uuid']}  {row['size']:9} bytes  sha256 {row['sha256']}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _write(path: Path, data: bytes) -> None:
    """Write the whole file or leave what was there."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ImageError(f"cannot be written: {error.strerror}", where=str(path)) from error
