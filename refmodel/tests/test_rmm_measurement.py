"""Measurements against values made apart from the model: structures laid out with dd and xxd, hashed with sha256sum."""

from __future__ import annotations

import hashlib

import pytest

from refmodel.rmm.measurement import (
    GENERATIONS,
    RMM_1_0,
    RMM_2_0_DRAFT,
    TF_RMM_0_6,
    TF_RMM_0_9,
    ZERO_MEASUREMENT,
    HashAlgorithm,
    MeasuredRealmParams,
    RemExtend,
    RemExtendPermitted,
    RemRule,
    RimExtendData,
    RimExtendRec,
    RimExtendRipas,
    RimInit,
    data_descriptor,
    rec_params_page,
    ripas_descriptor,
)

SHA_256 = {
    "init": "c075bbcc7af4480f8107d8032f3813f0d1a4f12c51f1496caea1faf3505d6fa5",
    "ripas": "cf95455ba73628c7fbe777fcc787cc53fe404b89d647aa2671edc3e541d06a65",
    "data": "e5ff22e5775f4346614c5364b205d87a95b89bbf33c96fe065248096f45c23c7",
    "unmeasured": "0e159705199c80cd23159903e8b6048d4b789c078554d94bc82b49a698b9f5d5",
    "rec": "e8910434139a712799d232d69d168f4808ba3c097600127a5ed1dcfd1686ef34",
}
SHA_512 = {
    "init": "66432932aded121ef530f28e0f3be7b1a12b8e4f4e65c409736242d4aa5f51a0"
    "1ac03ff0c08f3a0422bd48fc9d223545e6004b51308f95e9131b3b1f06db8967",
    "ripas": "bdb18a4a2f6c92bae0c001d05fd2e5eec29bce4db25ec9f399f496c262f56590"
    "9f65106cec4a82fe4487dafa237abea54f2ada536346b8768803d7fd4ef594fa",
    "data": "99c0204f7b3ef726fd86d29c984f27b6b1d6546a6a6c457b4251d093851a0e5f"
    "44ba7e401462b8528c7854abc06fcbb4552f7944a1431588375c93c12145d76d",
    "unmeasured": "49f945dab2e057f8bd69d751977d936689b52715fc6103d16e51a97c2812e41e"
    "7302d44cdde7ecb0aeabfc1458aed1ea875a649e2cd919d7c4822ca9c1a16492",
    "rec": "3307148a36570d7200a7fc8be7a89f9662f457d09b499923e4e5760b21b08a6d"
    "1be69444888ffa06be455cf2b18078f3481848fafcff1d533187e341854eb460",
}
VECTORS = [(HashAlgorithm.SHA_256, SHA_256), (HashAlgorithm.SHA_512, SHA_512)]

PAGE = b"\xa5" * 4096
GPRS = [0x1111111111111111 * number for number in range(8)]


def params(algorithm: HashAlgorithm) -> MeasuredRealmParams:
    return MeasuredRealmParams(flags=7, s2sz=40, sve_vl=3, num_bps=5, num_wps=3, pmu_num_ctrs=8, hash_algo=algorithm)


def value(digest: str) -> bytes:
    return bytes.fromhex(digest).ljust(64, b"\0")


@pytest.mark.parametrize(("algorithm", "expected"), VECTORS, ids=["sha-256", "sha-512"])
def test_a_construction_step_by_step(algorithm: HashAlgorithm, expected: dict[str, str]) -> None:
    rim = RimInit(params(algorithm))
    assert rim == value(expected["init"])
    rim = RimExtendRipas(algorithm, rim, 0x80000000, 0x80200000, 0x200000)
    assert rim == value(expected["ripas"])
    rim = RimExtendData(algorithm, rim, 0x80001000, 1, PAGE)
    assert rim == value(expected["data"])
    rim = RimExtendData(algorithm, rim, 0x80002000, 0, PAGE)
    assert rim == value(expected["unmeasured"])
    rim = RimExtendRec(algorithm, rim, 1, 0x80000000, GPRS)
    assert rim == value(expected["rec"])


@pytest.mark.parametrize(
    ("algorithm", "rule", "expected"),
    [
        (HashAlgorithm.SHA_256, RemRule.TF_RMM, "365aa7d8f7f9402c4b9434502b4cc89ddb09fe50d7cd95b493b834c62d5a5370"),
        (
            HashAlgorithm.SHA_256,
            RemRule.PADDED_DIGEST,
            "61a3dc5b0360f01bc13c444c81ee3e9a3ea5a03504a51a7b4d9d2d1a55b0f5d7",
        ),
        (
            HashAlgorithm.SHA_256,
            RemRule.PADDED_FULL,
            "2e5309db9162159da43c5744f078da297730dcedf4c0c20bce5a1634a2926381",
        ),
        (
            HashAlgorithm.SHA_512,
            RemRule.TF_RMM,
            "7682b6b84c6f692545a896ad210299bcc6f74e189d829e165739b11dd83b6f2c"
            "8cfacf27e812bf064df756d6235ac33c062b89ecb80f8215516dbbb844ce8480",
        ),
        (
            HashAlgorithm.SHA_512,
            RemRule.PADDED_FULL,
            "8b7eb96dcb3c34d0fe055b7e580016364816f486b30514cebbf6208c6d0efd1b"
            "24b20708cddd0f1f930426ceb132f21492d51cffb342d9c3cf9eca47f1d66a38",
        ),
    ],
)
def test_rem_from_zero_with_abc(algorithm: HashAlgorithm, rule: RemRule, expected: str) -> None:
    assert RemExtend(algorithm, ZERO_MEASUREMENT, b"abc", rule) == value(expected)


def test_rem_hashes_the_old_value_first() -> None:
    old = value("11" * 32)
    expected = hashlib.sha256(b"\x11" * 32 + b"abc").digest().ljust(64, b"\0")
    assert RemExtend(HashAlgorithm.SHA_256, old, b"abc", RemRule.TF_RMM) == expected


def test_readings_of_rem_agree_on_a_full_sha_512_value() -> None:
    full = bytes(range(64))
    assert len({RemExtend(HashAlgorithm.SHA_512, ZERO_MEASUREMENT, full, rule) for rule in RemRule}) == 1


def test_permitted_rems_by_generation() -> None:
    algorithm = HashAlgorithm.SHA_256
    extended = RemExtend(algorithm, ZERO_MEASUREMENT, b"abc", RemRule.TF_RMM)
    assert RemExtendPermitted(algorithm, ZERO_MEASUREMENT, b"abc", TF_RMM_0_6) == {extended}
    permitted = RemExtendPermitted(algorithm, ZERO_MEASUREMENT, b"abc", RMM_1_0)
    assert len(permitted) == 2
    assert extended not in permitted


def test_ripas_is_measured_entry_by_entry() -> None:
    algorithm = HashAlgorithm.SHA_256
    start = RimInit(params(algorithm))
    first = RimExtendRipas(algorithm, start, 0x1000, 0x2000, 0x1000)
    both = RimExtendRipas(algorithm, start, 0x1000, 0x3000, 0x1000)
    assert both == RimExtendRipas(algorithm, first, 0x2000, 0x3000, 0x1000)
    assert both != RimExtendRipas(algorithm, start, 0x1000, 0x3000, 0x2000)


def test_the_last_ripas_entry_ends_at_the_top() -> None:
    algorithm = HashAlgorithm.SHA_256
    assert RimExtendRipas(algorithm, ZERO_MEASUREMENT, 0x200000, 0x300000, 0x200000) == algorithm.measure(
        ripas_descriptor(ZERO_MEASUREMENT, 0x200000, 0x300000)
    )


def test_a_rec_that_is_not_runnable_is_not_measured() -> None:
    assert RimExtendRec(HashAlgorithm.SHA_256, ZERO_MEASUREMENT, 0, 0x80000000, GPRS) == ZERO_MEASUREMENT


def test_generations_differ_in_what_they_measure() -> None:
    algorithm = HashAlgorithm.SHA_256
    assert RimInit(params(algorithm), RMM_2_0_DRAFT) == ZERO_MEASUREMENT
    assert RimInit(params(algorithm), TF_RMM_0_9) == value(SHA_256["init"])
    for generation in (TF_RMM_0_9, RMM_2_0_DRAFT):
        assert RimExtendRipas(algorithm, ZERO_MEASUREMENT, 0, 0x1000, 0x1000, generation) == ZERO_MEASUREMENT
    assert RimExtendRipas(algorithm, ZERO_MEASUREMENT, 0, 0x1000, 0x1000, TF_RMM_0_6) != ZERO_MEASUREMENT


def test_a_reserved_flag_with_measure() -> None:
    algorithm = HashAlgorithm.SHA_256
    measured = data_descriptor(ZERO_MEASUREMENT, 0x1000, 3, algorithm.measure(PAGE))
    unmeasured = data_descriptor(ZERO_MEASUREMENT, 0x1000, 3, ZERO_MEASUREMENT)
    assert RimExtendData(algorithm, ZERO_MEASUREMENT, 0x1000, 3, PAGE) == algorithm.measure(measured)
    assert RimExtendData(algorithm, ZERO_MEASUREMENT, 0x1000, 3, PAGE, TF_RMM_0_6) == algorithm.measure(unmeasured)


def test_measured_params_leave_out_what_is_not_measured() -> None:
    page = params(HashAlgorithm.SHA_512).page()
    assert {offset: byte for offset, byte in enumerate(page) if byte} == {
        0x00: 7,
        0x08: 40,
        0x10: 3,
        0x18: 5,
        0x20: 3,
        0x28: 8,
        0x30: 1,
    }


def test_a_generation_is_found_by_its_name() -> None:
    assert GENERATIONS["rmm-1.0"] is RMM_1_0
    assert all(generation.name == name for name, generation in GENERATIONS.items())
    assert HashAlgorithm.SHA_384 not in RMM_1_0.algorithms


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="8 general-purpose registers, not 7"):
        rec_params_page(1, 0, [0] * 7)
    with pytest.raises(ValueError, match="4096 bytes, not 10"):
        RimExtendData(HashAlgorithm.SHA_256, ZERO_MEASUREMENT, 0, 1, bytes(10))
    with pytest.raises(ValueError, match="at most 64 bytes extend a measurement, not 65"):
        RemExtend(HashAlgorithm.SHA_256, ZERO_MEASUREMENT, bytes(65), RemRule.TF_RMM)
