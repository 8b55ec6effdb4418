"""``realmcheck rim FILE``: a realm's measurements recomputed from how it was built.

Exit codes: 0 computed (and the token's RIM and REMs match a generation), 1 the token's match none, 3 misuse.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from harness.attestation.construction import load_construction
from harness.attestation.verify import Status, verify_token
from harness.cli.token import read_token, unreadable
from harness.errors import MisuseError
from refmodel.attestation import claims as c
from refmodel.attestation.claimset import HASHES
from refmodel.attestation.items import Bytes
from refmodel.attestation.rim import Construction, Measured, measure_all
from refmodel.rmm.measurement import GENERATIONS, HashAlgorithm

GOOD, BAD = 0, 1


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``rim``."""
    parser = subparsers.add_parser("rim", help="recompute a realm's measurements from how it was built")
    parser.add_argument("file", type=Path, metavar="FILE", help="a construction file (.toml) or recorded RMI calls")
    parser.add_argument("--hash", choices=(*HASHES, "all"), default="", help="another hash algorithm than the file's")
    parser.add_argument("--generation", choices=tuple(GENERATIONS), default="", help="only this generation")
    parser.add_argument("--token", type=Path, metavar="CBOR", help="say which generation makes this token's values")
    parser.add_argument("--brief", action="store_true", help="only the final values")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry the command out."""
    construction = load_construction(args.file)
    claimed = _claimed(args.token) if args.token else None
    measured = [
        made
        for algorithm in _algorithms(construction, args.hash)
        for made in measure_all(construction.with_algorithm(algorithm))
        if args.generation in ("", made.generation.name)
    ]
    if not measured:
        raise MisuseError("no generation has this hash algorithm; give another --hash or --generation")
    matching = [made for made in measured if claimed is not None and _matches(made, *claimed)]
    if args.json:
        print(json.dumps(_as_json(measured, matching, claimed, brief=args.brief), indent=2))
    else:
        _print(measured, matching, claimed, brief=args.brief)
    return BAD if claimed is not None and not matching else GOOD


def _algorithms(construction: Construction, chosen: str) -> list[HashAlgorithm]:
    if chosen == "all":
        return list(HashAlgorithm)
    return [HASHES[chosen] if chosen else construction.params.hash_algo]


def _claimed(path: Path) -> tuple[bytes, tuple[bytes, ...]]:
    """RIM and REMs of a token; MisuseError when it has none that could be compared."""
    made = verify_token(read_token(path))
    if made.status is Status.UNREADABLE:
        raise unreadable(made, path)
    realm = made.judged.realm
    rim = realm.bytes_of(c.RIM) if realm else None
    rems = tuple(item.value for item in realm.items_of(c.REM) if isinstance(item, Bytes)) if realm else ()
    if rim is None:
        raise MisuseError(f"{path}: the token has no RIM to compare with; see realmcheck token verify {path}")
    return rim.value, rems


def _matches(made: Measured, rim: bytes, rems: tuple[bytes, ...]) -> bool:
    """Whether a generation makes the RIM, and the REMs under one of its readings."""
    return made.rim == rim and rems in made.rems.values()


def _print(
    measured: list[Measured], matching: list[Measured], claimed: tuple[bytes, tuple[bytes, ...]] | None, *, brief: bool
) -> None:
    for made in measured:
        print(f"{made.generation.name}, {made.algorithm.token_name}")
        if not brief:
            for number, extension in enumerate(made.extensions):
                print(f"  {number:5} {extension.rim[: made.algorithm.digest_bytes].hex()}  {extension.step}")
        print(f"  RIM   {made.rim.hex()}")
        for rule, rems in made.rems.items():
            for index, rem in enumerate(rems, 1):
                if any(rem):
                    print(f"  REM {index} {rem.hex()}  ({rule.value})")
    if claimed is not None:
        print(f"token RIM {claimed[0].hex()}")
        names = ", ".join(made.generation.name for made in matching)
        print(f"the token's RIM and REMs are those of {names}" if matching else "no generation makes them")


def _as_json(
    measured: list[Measured], matching: list[Measured], claimed: tuple[bytes, tuple[bytes, ...]] | None, *, brief: bool
) -> dict[str, Any]:
    made: dict[str, Any] = {"measured": [_measured(one, brief=brief) for one in measured]}
    if claimed is not None:
        made["token"] = {"rim": claimed[0].hex(), "rems": [rem.hex() for rem in claimed[1]]}
        made["matching"] = [one.generation.name for one in matching]
    return made


def _measured(made: Measured, *, brief: bool) -> dict[str, Any]:
    size = made.algorithm.digest_bytes
    steps = [] if brief else [{"step": one.step, "rim": one.rim[:size].hex()} for one in made.extensions]
    return {
        "generation": made.generation.name,
        "hash": made.algorithm.token_name,
        "rim": made.rim.hex(),
        "rems": {rule.value: [rem.hex() for rem in rems] for rule, rems in made.rems.items()},
        **({} if brief else {"extensions": steps}),
    }
