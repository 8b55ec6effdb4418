"""``realmcheck bench``: speed, measured next to the machine's own limit in the same run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping

from harness.attestation.bench import bench_tokens
from harness.bench import bench_probes
from harness.bench_rmm import bench_rmm
from harness.bench_translation import bench_translation
from images.progress import progress_for


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``bench``."""
    parser = subparsers.add_parser("bench", help="measure speed, next to the machine's own limit")
    actions = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    probes = actions.add_parser("probes", help="granule protection probes on QEMU: raw, judged, boot")
    probes.add_argument("--json", action="store_true", help="print JSON")
    probes.add_argument("--probes", type=int, default=400_000, metavar="N", help="probes per measurement")
    probes.add_argument("--qemu", default="", metavar="PATH", help="your own qemu-system-aarch64")
    probes.add_argument("--offline", action="store_true", help="use what the cache has; never the network")
    translation = actions.add_parser(
        "translation", help="random states of stage 1 on QEMU: judged end to end, the model"
    )
    translation.add_argument("--json", action="store_true", help="print JSON")
    translation.add_argument("--states", type=int, default=49_152, metavar="N", help="states to measure, at least")
    translation.add_argument("--qemu", default="", metavar="PATH", help="your own qemu-system-aarch64")
    translation.add_argument("--offline", action="store_true", help="use what the cache has; never the network")
    token = actions.add_parser("token", help="attestation tokens verified on one core, both signatures checked")
    token.add_argument("--json", action="store_true", help="print JSON")
    token.add_argument("--tokens", type=int, default=1000, metavar="N", help="tokens per measurement")
    rmm = actions.add_parser("rmm", help="the RMM model: steps, states explored")
    rmm.add_argument("--json", action="store_true", help="print JSON")
    rmm.add_argument("--steps", type=int, default=100_000, metavar="N", help="steps to measure (default %(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out."""
    if args.what == "token":
        return _print(bench_tokens(count=args.tokens), as_json=args.json)
    if args.what == "rmm":
        return _print(bench_rmm(steps=args.steps), as_json=args.json)
    if args.what == "translation":
        found = bench_translation(count=args.states, qemu=args.qemu, offline=args.offline, progress=progress_for())
        return _print(found, as_json=args.json)
    figures = bench_probes(count=args.probes, qemu=args.qemu, offline=args.offline, progress=progress_for())
    return _print(figures, as_json=args.json)


def _print(figures: Mapping[str, float], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(figures, indent=2))
        return 0
    for name, value in figures.items():
        print(f"{name:32} {value:>14,.3f}" if value < 100 else f"{name:32} {value:>14,.0f}")
    return 0
