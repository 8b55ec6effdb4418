"""Verification: statuses, places of errors, firmware by name, keys, challenge, limits."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.attestation import keys
from harness.attestation.build import TokenParts, new_key
from harness.attestation.cbor import Limits
from harness.attestation.mint import Statement, mint_parts
from harness.attestation.mutations.mutation import put_claim
from harness.attestation.show import tree
from harness.attestation.vectors import SAMPLE_CPAK
from harness.attestation.verify import Signature, Status, verify_token
from harness.cli import main
from harness.errors import BadInputError
from harness.tests.attestation_samples import RECORDED, combination, parts_of
from refmodel.attestation import claims as c
from refmodel.attestation.findings import Findings
from refmodel.attestation.profiles import COMBINATIONS
from refmodel.attestation.token import Decoded, Judged, judge
from refmodel.rules import Rule

TOKEN = RECORDED.read_bytes()


def test_the_recorded_token_holds_and_is_unverified_without_the_platform_key() -> None:
    made = verify_token(TOKEN)
    assert made.status is Status.UNVERIFIED
    assert made.realm_signature is Signature.VERIFIED
    assert made.platform_signature is Signature.NOT_CHECKED
    assert made.findings.errors == []
    assert made.judged.combination is combination("RMM 1.0")
    assert made.findings.held[Rule.RAK_BINDING] == 1


def test_the_recorded_token_is_valid_with_the_key_of_the_sample_platform() -> None:
    made = verify_token(TOKEN, platform_key=keys.point_key(SAMPLE_CPAK), challenge=bytes(range(64)))
    assert made.findings.errors == []
    assert made.status is Status.VALID


def test_the_wrong_platform_key_is_found() -> None:
    made = verify_token(TOKEN, platform_key=new_key("P-384").public_key())
    assert made.status is Status.INVALID
    assert [error.rule for error in made.findings.errors] == [Rule.PLATFORM_SIGNATURE]
    made = verify_token(TOKEN, platform_key=new_key("P-256").public_key())
    assert made.findings.broken() == {Rule.SIGN1_CURVE, Rule.PLATFORM_SIGNATURE}


@pytest.mark.parametrize("lost", ["rak", "realm_algorithm", "platform_algorithm"])
def test_a_signature_that_was_overlooked_is_no_good_token(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a judge may forget to complain of, a token is accepted only with its signatures checked."""

    def forgetful(decoded: Decoded, findings: Findings) -> Judged:
        made = judge(decoded, findings)
        setattr(made, lost, None)
        return made

    parts = parts_of(combination("RMM 1.0"))
    monkeypatch.setattr("harness.attestation.verify.judge", forgetful)
    made = verify_token(parts.build(), platform_key=parts.platform.key.public_key())
    assert made.status is Status.INVALID
    assert "could not be checked" in made.findings.errors[0].message


def test_the_challenge_is_compared_padded() -> None:
    sent = bytes(range(64))
    assert verify_token(TOKEN, challenge=sent).status is Status.UNVERIFIED
    assert verify_token(TOKEN, challenge=sent[:63]).findings.broken() == {Rule.ATTESTED_CHALLENGE}
    parts = put_claim(parts_of(combination("RMM 1.0")), "realm", c.CHALLENGE, b"short".ljust(64, b"\0"))
    assert verify_token(parts.build(), challenge=b"short").status is Status.UNVERIFIED


def test_all_errors_are_listed_each_with_its_byte() -> None:
    parts = parts_of(combination("RMM 1.0"))
    parts = put_claim(parts, "realm", c.RPV, b"x" * 63)
    parts = put_claim(parts, "realm", c.RIM, "text")
    parts = put_claim(parts, "platform", c.LIFECYCLE, 0x7000)
    data = parts.build()
    errors = {error.rule: error for error in verify_token(data).findings.errors}
    assert set(errors) == {Rule.CLAIM_LENGTH, Rule.CLAIM_TYPE, Rule.CLAIM_VALUE}
    rpv = errors[Rule.CLAIM_LENGTH]
    assert rpv.claim == "cca-realm-personalization-value (44235)"
    assert rpv.offset == data.index(b"\x58\x3f" + b"x" * 63)
    assert errors[Rule.CLAIM_TYPE].offset == data.index(b"\x64text")
    assert errors[Rule.CLAIM_VALUE].offset == data.index(b"\x19\x70\x00")
    assert "is the integer 28672" in errors[Rule.CLAIM_VALUE].message


@pytest.mark.parametrize("name", [made.name for made in COMBINATIONS if made.note])
def test_known_firmware_is_accepted_by_name(name: str) -> None:
    parts = parts_of(combination(name))
    made = verify_token(parts.build(), platform_key=parts.platform.key.public_key())
    assert made.status is Status.VALID
    assert any(f"accepted as {name}" in note.message for note in made.findings.notes)


def test_the_hybrid_of_one_firmware_is_no_general_licence() -> None:
    """The MEC policy claim of a 1.0 profile is TF-RMM's: as a text under tag 399, and never without a realm profile."""

    def broken(name: str, value: int | str | None) -> frozenset[Rule]:
        parts = parts_of(combination(name))
        claims = parts.realm.claims.without(c.MEC_POLICY)
        claims = claims if value is None else claims.put(c.MEC_POLICY, value)
        return verify_token(replace(parts, realm=replace(parts.realm, claims=claims)).build()).findings.broken()

    assert broken("RMM 1.0", "shared") == broken("TF-RMM 0.9", "private") == broken("TF-RMM 0.9", 1) == frozenset()
    assert broken("RMM 1.0", 0) == {Rule.CLAIM_TYPE}
    assert broken("RMM 1.0 without realm profile", "shared") == {Rule.CLAIM_OF_PROFILE}
    assert broken("TF-RMM 0.9", None) == {Rule.PROFILE_COMBINATION}
    assert broken("TF-RMM after 0.9, on a 1.0 platform token", "shared") == {Rule.CLAIM_TYPE}


def hesrak(challenge: bytes) -> TokenParts:
    made = combination("RMM 2.0, profiles of 2026")
    value = next(name for name in made.platforms if name.endswith("#2.0.0;HESRAK"))
    statement = Statement(challenge=bytes(range(64)))
    key = new_key("P-256")
    parts = mint_parts(made, statement, cpak=key, rak=key, platform_profile=value)
    return put_claim(parts, "platform", c.CHALLENGE, challenge)


def test_hesrak_repeats_the_challenge() -> None:
    assert verify_token(hesrak(bytes(range(64))).build()).status is Status.UNVERIFIED
    assert verify_token(hesrak(bytes(64)).build()).findings.broken() == {Rule.CHALLENGE_REPEATED}


def test_2026_binds_with_one_of_two_claims() -> None:
    parts = parts_of(combination("RMM 2.0, profiles of 2026"))
    bound = parts.platform.claims.get(c.WORKLOAD_BINDING)
    claims = parts.platform.claims.without(c.WORKLOAD_BINDING).put(c.CHALLENGE, bound)
    challenge = replace(parts, platform=replace(parts.platform, claims=claims))
    made = verify_token(challenge.build())
    assert made.status is Status.UNVERIFIED
    assert Rule.RAK_BINDING in {note.rule for note in made.findings.notes}
    both = replace(parts, platform=replace(parts.platform, claims=parts.platform.claims.put(c.CHALLENGE, bound)))
    assert verify_token(both.build()).findings.broken() == {Rule.CLAIM_PRESENT}


def test_an_unknown_claim_is_noted_and_a_long_head_too() -> None:
    parts = parts_of(combination("RMM 1.0"))
    parts = replace(parts, realm=replace(parts.realm, claims=parts.realm.claims.put(123456, b"")))
    made = verify_token(parts.build())
    assert made.status is Status.UNVERIFIED
    assert [note.rule for note in made.findings.notes] == [Rule.CLAIM_OF_PROFILE]


def test_size_is_limited() -> None:
    made = verify_token(TOKEN, limits=Limits(size=100))
    assert made.status is Status.UNREADABLE
    assert made.findings.broken() == {Rule.CBOR_LIMITS}


def test_a_file_of_100_mb_costs_little_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.cbor"
    with path.open("wb") as file:
        file.write(TOKEN)
        file.truncate(100 << 20)
    code = (
        "import resource, sys; from harness.cli import main; "
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        f"status = main(['token', 'verify', {str(path)!r}]); "
        "print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, kilobytes = map(int, done.stdout.split())
    assert status == 3
    assert "more than" in done.stderr
    assert kilobytes < 20_000
    assert after.ru_utime - before.ru_utime < 10


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_spoiled_bytes_never_crash_and_never_pass(data: st.DataObject) -> None:
    """Any bytes may change; whatever is then not listed as an error must be a byte that no signature covers."""
    spoiled = bytearray(TOKEN)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(spoiled) - 1))
        spoiled[position] = data.draw(st.integers(0, 255))
    if bytes(spoiled) == TOKEN:
        return
    made = verify_token(bytes(spoiled))
    tree(made)
    if made.status is Status.UNVERIFIED:
        # The platform token's signature was not checked; the realm token's was.
        start = TOKEN.index(b"\x19\xac\xd1")
        assert spoiled[start:] == TOKEN[start:]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_judged_without_a_crash(data: bytes) -> None:
    made = verify_token(b"\xd9\x01\x8f" + data)
    assert made.status in (Status.INVALID, Status.UNREADABLE)
    assert made.findings.errors


def self_signed(key: keys.PrivateKey) -> bytes:
    """A certificate of a key by itself, as PEM."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CPAK")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + timedelta(days=1))
    return builder.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def test_keys_from_pem_jwk_and_certificate(tmp_path: Path) -> None:
    key = new_key("P-384")
    octets = keys.public_octets(key.public_key())
    pem = tmp_path / "key.pem"
    pem.write_bytes(keys.pem(key.public_key()))
    private = tmp_path / "private.pem"
    private.write_bytes(keys.pem(key))
    jwk = tmp_path / "key.json"
    jwk.write_text(json.dumps(keys.jwk(key.public_key())))
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(self_signed(key))
    for path in (pem, private, jwk, certificate):
        assert keys.public_octets(keys.load_public_key(path)) == octets


@pytest.mark.parametrize(
    "text",
    ["", "hello", "{}", '{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}', '{"kty": "RSA", "crv": 1}', "[1]"],
)
def test_what_is_no_key_is_said_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(BadInputError, match="holds no public key") as caught:
        keys.load_public_key(path)
    assert "\n" not in str(caught.value)


def run(*arguments: str) -> int:
    return main(["token", *arguments])


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token, key = str(tmp_path / "token.cbor"), str(tmp_path / "cpak.pem")
    assert run("mint", "-o", token, "--cpak-out", key, "--challenge", "aa") == 0
    assert run("verify", token, "--platform-key", key) == 0
    assert run("verify", token, "--platform-key", key, "--challenge", "aa") == 0
    assert run("verify", token, "--platform-key", key, "--challenge", "ab") == 1
    assert run("verify", token) == 1
    assert "unverified" in capsys.readouterr().out
    assert run("verify", token, "--no-platform-key") == 0
    assert run("verify", token, "--no-platform-key", "--platform-key", key) == 3
    assert run("verify", str(tmp_path / "none")) == 3
    assert run("verify", key) == 3
    assert run("show", key) == 3
    assert run("show", token) == 0
    assert run("mint", "-o", token, "--combination", "x") == 3
    assert run("mint") == 3
    assert run("mint", "-o", token, "--rim", "00") == 3
    with pytest.raises(SystemExit) as caught:
        run("mint", "-o", token, "--lifecycle", "x")
    assert caught.value.code == 3
    assert "Traceback" not in capsys.readouterr().err


def test_json_lists_errors_with_claim_rule_and_offset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "token.cbor"
    path.write_bytes(put_claim(parts_of(combination("RMM 1.0")), "realm", c.RPV, b"").build())
    assert run("verify", str(path), "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["status"] == "invalid"
    (error,) = report["errors"]
    assert (error["rule"], error["claim"]) == ("ATT-032", "cca-realm-personalization-value (44235)")
    assert error["offset"] == path.read_bytes().index(b"\x19\xac\xcb\x40") + 3
    assert report["checked"]["ATT-050"] == 1


def test_json_of_an_unreadable_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "token.cbor"
    path.write_bytes(TOKEN[:50])
    assert run("verify", str(path), "--json") == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["status"] == "unreadable"
    assert captured.err.count("\n") == 1
    assert "byte" in captured.err


def test_show_prints_nothing_that_steers_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = put_claim(parts_of(combination("RMM 1.0")), "platform", c.VERIFICATION_SERVICE, "\x1b[2J\n")
    path = tmp_path / "token.cbor"
    path.write_bytes(parts.build())
    assert run("show", str(path)) == 0
    assert "\x1b" not in capsys.readouterr().out
