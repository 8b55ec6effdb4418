"""``realmcheck images``: list, provide, locate and remove what is booted."""

from __future__ import annotations

import argparse
import json
import shlex
import sys

import images
from images.progress import Silent, progress_for

GOOD = 0
MISUSE = 3


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``images`` command with its own sub-commands."""
    parser = subparsers.add_parser("images", help="obtain, build, list and remove what is booted")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    everything = [
        ("list", "say what there is and where it lies", None),
        ("provide", "obtain or build images (default: qemu, compiler, probe-root and tfa)", "*"),
        ("path", "print the main file of an image", 1),
        ("clean", "remove images from the cache (default: all, and the downloads)", "*"),
    ]
    for action, text, count in everything:
        command = actions.add_parser(action, help=text)
        if count is not None:
            command.add_argument("names", nargs=count, metavar="NAME")
        if action == "path":
            command.add_argument("--argv", action="store_true", help="print the command that starts it, for a shell")
        command.add_argument("--offline", action="store_true", help="use only what the cache has")
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=run)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out; 0, or 3 with one line on standard error."""
    try:
        match args.action:
            case "list":
                _list(args)
            case "provide":
                _provide(args)
            case "path":
                _path(args)
            case _:
                _clean(args)
    except images.ImageError as error:
        sys.stdout.flush()
        print(f"realmcheck images: {error}", file=sys.stderr)
        return MISUSE
    return GOOD


def _facts(image: images.Image) -> dict[str, object]:
    binaries = [vars(item) for item in image.provenance]
    return {
        "name": image.name,
        "kind": image.kind,
        "version": ".".join(map(str, image.version)),
        "version_text": image.version_text,
        "origin": image.origin,
        "path": str(image.path),
        "argv": list(image.argv),
        "provenance": binaries,
    }


def _list(args: argparse.Namespace) -> None:
    rows: list[dict[str, object]] = []
    for spec in images.list_images():
        try:
            found, problem = images.find(spec.name), ""
        except images.ImageError as error:
            found, problem = None, str(error)
        facts = _facts(found) if found else {"name": spec.name, "kind": spec.kind}
        rows.append({**facts, "present": found is not None, "problem": problem, "summary": spec.summary})
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        state = f"{row['origin']} {row['version_text']}" if row["present"] else row["problem"] or "not there yet"
        print(f"{row['name']:<12} {row['summary']}\n{'':<12} {state}")
        if row["present"]:
            print(f"{'':<12} {row['path']}")


def _provide(args: argparse.Namespace) -> None:
    # in a pipe the line per image below is enough
    progress = progress_for(sys.stderr) if sys.stderr.isatty() and not args.json else Silent()
    names = args.names or ["qemu", "compiler", "probe-root", "tfa"]
    provided = []
    for name in names:
        image = images.provide(name, offline=args.offline, progress=progress)
        provided.append(_facts(image))
        if not args.json:
            print(f"{image.name}: {image.origin} {image.version_text} {image.path}", flush=True)
    if args.json:
        print(json.dumps(provided, indent=2))


def _path(args: argparse.Namespace) -> None:
    name = args.names[0]
    where = str(images.path(name))
    argv = images.argv(name) if args.argv else ()
    if args.json:
        print(json.dumps({"name": name, "path": where} | ({"argv": list(argv)} if args.argv else {})))
    else:
        print(shlex.join(argv) if args.argv else where)


def _clean(args: argparse.Namespace) -> None:
    for name in args.names or [None]:
        images.clean(name)
    if args.json:
        print(json.dumps({"cleaned": args.names or "all"}))
