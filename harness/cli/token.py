"""``realmcheck token show|verify|appraise|mint``: attestation tokens on the command line.

Exit codes: 0 valid, or affirmed; 1 invalid or unverified, or not affirmed; 3 unreadable or misuse.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from harness.attestation import keys
from harness.attestation.appraise import affirmed, appraise_token, result
from harness.attestation.build import new_key
from harness.attestation.cbor import Limits
from harness.attestation.corim import load_corim
from harness.attestation.mint import Statement, default_components, mint_parts
from harness.attestation.reference import Endorsements, load_endorsements
from harness.attestation.show import tree
from harness.attestation.verify import Status, Verification, verify_token
from harness.errors import BadInputError, MisuseError
from refmodel.attestation.claimset import HASHES
from refmodel.attestation.findings import Finding
from refmodel.attestation.profiles import COMBINATIONS

GOOD, BAD, MISUSE = 0, 1, 3


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``token``."""
    parser = subparsers.add_parser("token", help="attestation tokens: show, verify, appraise, mint")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="the decoded token as a tree")
    show.add_argument("file", type=Path, metavar="FILE", help="a CBOR token")
    check = actions.add_parser("verify", help="judge a token by every rule and check its signatures")
    check.add_argument("file", type=Path, metavar="FILE", help="a CBOR token")
    add_verify_options(check)
    appraise = actions.add_parser("appraise", help="verify a token and hold it against reference values")
    appraise.add_argument("file", type=Path, metavar="FILE", help="a CBOR token")
    appraise.add_argument("--reference", type=Path, action="append", default=[], metavar="TOML", help="may be repeated")
    appraise.add_argument("--corim", type=Path, action="append", default=[], metavar="CBOR", help="may be repeated")
    appraise.add_argument("--corim-key", type=Path, metavar="FILE", help="the key that signed the CoRIMs")
    appraise.add_argument("--challenge", type=_hex, metavar="HEX", help="the challenge that was sent")
    _register_mint(actions)
    parser.set_defaults(run=run)


def add_verify_options(parser: argparse.ArgumentParser) -> None:
    """Options that say what a token is verified against."""
    parser.add_argument("--platform-key", type=Path, metavar="FILE", help="the platform's public key: PEM or JWK")
    parser.add_argument("--no-platform-key", action="store_true", help="do without the platform's key")
    parser.add_argument("--challenge", type=_hex, metavar="HEX", help="the challenge that was sent, at most 64 bytes")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _register_mint(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    mint = actions.add_parser("mint", help="make a token with keys of your own or new ones")
    mint.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write the token")
    mint.add_argument(
        "--combination", default="RMM 1.0", metavar="NAME", help="what --list prints; default: %(default)s"
    )
    mint.add_argument("--list", action="store_true", help="list the combinations of profiles")
    mint.add_argument("--platform-profile", default="", metavar="URI", help="where a combination has several")
    for name, text in (("realm", "of RIM and REMs"), ("rak", "of the key binding"), ("platform", "of components")):
        mint.add_argument(f"--{name}-hash", choices=tuple(HASHES), default="sha-256", help=f"hash algorithm {text}")
    for name in ("cpak", "rak"):
        mint.add_argument(f"--{name}", type=Path, metavar="PEM", help=f"private {name.upper()}; default: a new one")
        mint.add_argument(f"--{name}-curve", choices=tuple(keys.CURVES), default="P-384", help="curve of a new key")
        mint.add_argument(f"--{name}-out", type=Path, metavar="PEM", help=f"write the public {name.upper()} here")
    mint.add_argument("--challenge", type=_hex, default=b"", metavar="HEX", help="at most 64 bytes, zero padded")
    mint.add_argument("--rpv", type=_hex, default=b"", metavar="HEX", help="at most 64 bytes, zero padded")
    mint.add_argument("--rim", type=_hex, default=b"", metavar="HEX", help="default: zeros")
    mint.add_argument("--lifecycle", type=_integer, default=0x3000, metavar="N", help="default: 0x3000")


def _integer(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, such as 0x3000, not {text!r}") from None


def _hex(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be hexadecimal digits, not {text!r}") from None
    if len(value) > 64:
        raise argparse.ArgumentTypeError(f"has {len(value)} bytes; at most 64 fit")
    return value


def run(args: argparse.Namespace) -> int:
    """Carry the command out."""
    match args.action:
        case "show":
            return _show(args.file)
        case "verify":
            return _verify(args)
        case "appraise":
            return _appraise(args)
    return _mint(args)


def read_token(path: Path) -> bytes:
    """The bytes of a token file, never more than one above the limit; BadInputError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(Limits().size + 1)
    except OSError as error:
        raise BadInputError(f"cannot be read: {error.strerror}", path=path) from None


def unreadable(made: Verification, path: Path) -> BadInputError:
    """The one line about a file that holds no token."""
    error = made.findings.errors[-1]
    remedy = "give the bytes that RSI_ATTESTATION_TOKEN_CONTINUE returned, and no text form of them"
    where = f"byte {error.offset}"
    return BadInputError(f"is not a token: {error.message} ({error.rule.value})", path=path, where=where, remedy=remedy)


def _show(path: Path) -> int:
    made = verify_token(read_token(path))
    if made.status is Status.UNREADABLE:
        raise unreadable(made, path)
    print("\n".join(tree(made)))
    for title, findings in (("errors", made.findings.errors), ("notes", made.findings.notes)):
        if findings:
            print(title, *(f"  {finding}" for finding in findings), sep="\n")
    return GOOD


def verify_file(args: argparse.Namespace) -> Verification:
    """Verify the file that the options name against what they name; MisuseError when they contradict each other."""
    if args.platform_key and args.no_platform_key:
        raise MisuseError("--platform-key and --no-platform-key contradict each other; give one of them")
    key = keys.load_public_key(args.platform_key) if args.platform_key else None
    return verify_token(read_token(args.file), platform_key=key, challenge=args.challenge)


def _verify(args: argparse.Namespace) -> int:
    made = verify_file(args)
    if args.json:
        print(json.dumps(report(made, args.file), indent=2))
    if made.status is Status.UNREADABLE:
        raise unreadable(made, args.file)
    if not args.json:
        _print_report(made)
    accepted = made.status is Status.VALID or (made.status is Status.UNVERIFIED and args.no_platform_key)
    return GOOD if accepted else BAD


def report(made: Verification, path: Path) -> dict[str, Any]:
    """A verification as JSON."""
    judged = made.judged
    return {
        "file": str(path),
        "status": made.status.value,
        "tag": made.decoded.tag,
        "combination": judged.combination.name if judged.combination else None,
        "signatures": {"platform": made.platform_signature.value, "realm": made.realm_signature.value},
        "errors": [_finding(finding) for finding in made.findings.errors],
        "notes": [_finding(finding) for finding in made.findings.notes],
        "checked": {rule.value: count for rule, count in sorted(made.findings.held.items(), key=lambda i: i[0].value)},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {**dataclasses.asdict(finding), "rule": finding.rule.value}


def _print_report(made: Verification) -> None:
    print(made.status.value)
    print(f"platform signature: {made.platform_signature.value}; realm signature: {made.realm_signature.value}")
    if made.status is Status.UNVERIFIED:
        print("nothing is wrong, but the platform's key was not given; give --platform-key FILE")
    for title, findings in (("error", made.findings.errors), ("note", made.findings.notes)):
        for finding in findings:
            print(f"{title}: {finding}")


def _appraise(args: argparse.Namespace) -> int:
    if not args.reference and not args.corim:
        raise MisuseError("against what? give --reference TOML or --corim CBOR")
    signer = keys.load_public_key(args.corim_key) if args.corim_key else None
    endorsements = Endorsements()
    for path in args.reference:
        endorsements += load_endorsements(path)
    for path in args.corim:
        endorsements += load_corim(path, signer)
    made, appraisals = appraise_token(read_token(args.file), endorsements, args.challenge)
    if made.status is Status.UNREADABLE:
        raise unreadable(made, args.file)
    print(json.dumps(result(appraisals, int(time.time())), indent=2))
    return GOOD if affirmed(appraisals) else BAD


def _mint(args: argparse.Namespace) -> int:
    if args.list:
        for made in COMBINATIONS:
            print(
                f"{made.name}: tag {made.tag}, {', '.join(sorted(made.platforms))}, {made.realm or 'no realm profile'}"
            )
        return GOOD
    if args.output is None:
        raise MisuseError("where to? give -o FILE")
    chosen = [made for made in COMBINATIONS if made.name == args.combination]
    if not chosen:
        raise MisuseError(f"no combination {args.combination!r}; --list prints them")
    if args.platform_profile and args.platform_profile not in chosen[0].platforms:
        raise MisuseError(f"{args.platform_profile!r} is none of {', '.join(sorted(chosen[0].platforms))}")
    size = HASHES[args.realm_hash].digest_bytes
    if args.rim and len(args.rim) != size:
        raise MisuseError(f"--rim has {len(args.rim)} bytes, but {args.realm_hash} makes {size}")
    cpak = keys.load_private_key(args.cpak) if args.cpak else new_key(args.cpak_curve)
    rak = keys.load_private_key(args.rak) if args.rak else new_key(args.rak_curve)
    statement = Statement(
        challenge=args.challenge.ljust(64, b"\0"),
        rpv=args.rpv.ljust(64, b"\0"),
        realm_hash=HASHES[args.realm_hash],
        rim=args.rim,
        rak_hash=HASHES[args.rak_hash],
        lifecycle=args.lifecycle,
        platform_hash=HASHES[args.platform_hash],
        components=default_components(HASHES[args.platform_hash]),
    )
    parts = mint_parts(chosen[0], statement, cpak=cpak, rak=rak, platform_profile=args.platform_profile)
    args.output.write_bytes(parts.build())
    for path, key in ((args.cpak_out, cpak), (args.rak_out, rak)):
        if path:
            path.write_bytes(keys.pem(key.public_key()))
    return GOOD
