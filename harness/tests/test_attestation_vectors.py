"""TF-A's sample token and key, read from its source package, against the recorded token; and the reader of C arrays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.attestation import keys
from harness.attestation.build import TokenParts, dismantle, encode, new_key, value_of
from harness.attestation.cbor import Reader
from harness.attestation.mutations import corpus
from harness.attestation.mutations.mutation import put_claim
from harness.attestation.vectors import Sample, c_arrays, samples
from harness.attestation.verify import Status, verify_token
from harness.errors import BadInputError
from harness.tests.attestation_samples import RECORDED
from harness.tests.test_attestation_corpus import judged_as_stated
from refmodel.attestation import claims as c
from refmodel.attestation.findings import Findings
from refmodel.attestation.items import Map, Tag
from refmodel.attestation.profiles import TAG_2_0

SOURCE = """
/* a token: 0x00, 0x01 */
static const uint8_t sample_platform_token[] = {
\t0xd2, 0x84, /* tag */ 0x44,
\t0xa1, 255, // the end
};
static const uint8_t other[2] = { 1, 2 };
int f(void) { return sizeof(sample_platform_token); }
"""


def test_c_arrays() -> None:
    assert c_arrays(SOURCE) == {"sample_platform_token": b"\xd2\x84\x44\xa1\xff", "other": b"\1\2"}
    with pytest.raises(ValueError, match="256"):
        c_arrays("uint8_t a[] = { 256 };")


def test_samples_of_a_directory(tmp_path: Path) -> None:
    key = new_key("P-384")
    scalar = key.private_numbers().private_value.to_bytes(48, "big")
    folder = tmp_path / "plat" / "some" / "common"
    folder.mkdir(parents=True)
    (folder / "some_plat_attest_token.c").write_text(SOURCE)
    text = ", ".join(f"{byte:#04x}" for byte in scalar)
    (folder / "some_realm_attest_key.c").write_text(f"static const uint8_t k[] = {{ {text} }};")
    (folder / "live_plat_attest_token.c").write_text("int no_sample(void);")
    (folder / "live_realm_attest_key.c").write_text("int no_sample(void);")
    (found,) = samples(tmp_path)
    assert (found.platform, found.token) == ("some", b"\xd2\x84\x44\xa1\xff")
    assert keys.public_octets(found.rak.public_key()) == keys.public_octets(key.public_key())
    with pytest.raises(BadInputError, match="holds no sample platform token"):
        samples(tmp_path / "plat")
    broken = tmp_path / "x.tar"
    broken.write_bytes(b"nothing")
    with pytest.raises(BadInputError, match="cannot be read"):
        samples(broken)


@pytest.fixture(scope="module")
def tfa(tfa_source: Path) -> list[Sample]:
    return samples(tfa_source)


def test_a_real_boot_returned_the_sample_token(tfa: list[Sample]) -> None:
    qemu = next(sample for sample in tfa if sample.platform == "qemu")
    recorded = verify_token(RECORDED.read_bytes())
    assert recorded.decoded.platform is not None
    assert qemu.token in RECORDED.read_bytes()
    assert recorded.judged.rak is not None
    assert recorded.judged.rak.octets == keys.public_octets(qemu.rak.public_key())


@pytest.mark.parametrize("tag", [399, 907])
def test_every_mutation_of_every_sample_is_judged_as_stated(tfa: list[Sample], tag: int) -> None:
    """A token around each sample, its realm token signed by the sample key: accepted as it is, and then spoiled."""
    different = {sample.token: sample for sample in tfa}
    for sample in different.values():
        parts = around(sample, tag)
        whole = TokenParts(parts.tag, parts.platform, parts.realm, platform_bytes=sample.token)
        made = verify_token(whole.build())
        assert made.findings.errors == []
        assert made.status is Status.UNVERIFIED
        key = parts.platform.key.public_key()
        counts: Counter[bool] = Counter()
        for case in corpus(parts):
            counts[judged_as_stated(case, verify_token(case.data, platform_key=key))] += 1
        assert counts[False] == 0
        assert counts[True] > 1000


def around(sample: Sample, tag: int) -> TokenParts:
    """The recorded token's realm claims around a sample, under either tag (907: as TF-RMM 0.9 wraps it)."""
    parts = dismantle(RECORDED.read_bytes(), new_key("P-384"), sample.rak)
    if tag == TAG_2_0:
        parts = put_claim(parts, "realm", c.MEC_POLICY, "shared")
    item = Reader(Findings()).read(sample.token, "sample")
    assert isinstance(item, Tag)
    assert not isinstance(item.item, Map)
    assert encode(value_of(item)) == sample.token
    return TokenParts(tag, parts.platform, parts.realm)
