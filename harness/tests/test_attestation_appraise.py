"""Appraisal: reference values from TOML and CoRIM, trust anchors, the vector and its reasons."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from harness.attestation import keys
from harness.attestation.appraise import PLATFORM, REALM, affirmed, appraise_token
from harness.attestation.build import EnvelopeParts, Pairs, Tagged, TokenParts, Value, encode, new_key, sign
from harness.attestation.corim import load_corim
from harness.attestation.mint import Statement, default_components, mint_parts
from harness.attestation.mutations.mutation import put_claim
from harness.attestation.reference import load_endorsements
from harness.cli import main
from harness.errors import BadInputError
from harness.tests.attestation_samples import combination
from refmodel.attestation import claims as c
from refmodel.attestation.appraisal import Appraisal, Category, Tier
from refmodel.rmm.measurement import HashAlgorithm

CPAK = new_key("P-384")
IMPLEMENTATION, INSTANCE = bytes(range(32)), b"\x01" + bytes(range(32))
COMPONENTS = default_components(HashAlgorithm.SHA_256)
RIM, RPV = bytes([7]) * 32, bytes([9]) * 64


def token() -> TokenParts:
    statement = Statement(
        implementation_id=IMPLEMENTATION, platform_instance=INSTANCE, components=COMPONENTS, rim=RIM, rpv=RPV
    )
    return mint_parts(combination("RMM 1.0"), statement, cpak=CPAK, rak=new_key("P-256"))


def toml(directory: Path, *changes: tuple[str, str]) -> Path:
    (directory / "cpak.pem").write_bytes(keys.pem(CPAK.public_key()))
    components = "".join(
        f'[[platform.component]]\ntype = "{one.kind}"\nmeasurement = "{one.measurement.hex()}"\n'
        f'signer = "{one.signer.hex()}"\n'
        for one in COMPONENTS
    )
    text = (
        f'[[trust_anchor]]\nimplementation_id = "{IMPLEMENTATION.hex()}"\ninstance_id = "{INSTANCE.hex()}"\n'
        'key = "cpak.pem"\n'
        f'[[platform]]\nimplementation_id = "{IMPLEMENTATION.hex()}"\nconfig = "cf00cf00"\nconfig_mask = "ff00ff00"\n'
        f"{components}"
        f'[[realm]]\nrim = "{RIM.hex()}"\nrem = ["", "{bytes(32).hex()}"]\nrpv = ["{RPV.hex()}"]\n'
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = directory / "reference.toml"
    path.write_text(text)
    return path


def corim(directory: Path, *, signer: keys.PrivateKey | None = None, bare: bool = False, old: bool = False) -> Path:
    """A CoRIM of the same reference values: of today's endorsement profile, or with the tags of earlier drafts."""
    own = Pairs(((0, Pairs(((0, Tagged(600 if old else 560, IMPLEMENTATION)),))),))
    instance = Pairs((*own.pairs, (1, Tagged(550, INSTANCE))))
    spki = keys.pem(CPAK.public_key()).decode()
    if bare:
        der = serialization.PublicFormat.SubjectPublicKeyInfo
        spki = base64.b64encode(CPAK.public_key().public_bytes(serialization.Encoding.DER, der)).decode()
    config = Pairs(((4, Tagged(563, (b"\xcf\0\xcf\0", b"\xff\0\xff\0"))),))
    names: tuple[Value, Value] = ("cca.software-component", "cca.platform-config")
    measurements: list[Value] = [Pairs(((0, Tagged(602, "cfg") if old else names[1]), (1, config)))]
    for one in COMPONENTS:
        values = Pairs(((2, (("sha-256", one.measurement),)), (11, one.kind), (13, (Tagged(560, one.signer),))))
        key: Value = names[0]
        if old:
            key = Tagged(601, Pairs(((1, one.kind), (5, one.signer))))
            values = Pairs(((2, ((1, one.measurement),)),))
        measurements.append(Pairs(((0, key), (1, values))))
    zero = (("sha-256", bytes(32)),)
    registers = Pairs((("rim", (("sha-256", RIM),)), ("rem1", zero)))
    realm: list[Value] = [
        Pairs(((0, "cca.rim"), (1, Pairs(((14, registers),))))),
        Pairs(((0, "cca.rpv"), (1, Pairs(((4, Tagged(560, RPV)),))))),
    ]
    realm_environment = Pairs(((1, Tagged(560, RIM)),))
    triples = Pairs(
        (
            (0, ((own, tuple(measurements)), (realm_environment, tuple(realm)))),
            (3, ((instance, (Tagged(554, spki),)),)),
        )
    )
    comid = encode(Pairs(((1, Pairs(((0, "id"),))), (4, triples))))
    tagged = Tagged(501, Pairs(((0, "corim"), (1, (Tagged(506, comid),)))))
    data = encode(Tagged(500, tagged))
    if signer is not None:
        envelope = EnvelopeParts(signer, Pairs(), Pairs(((1, -35), (3, "application/rim+cbor"))))
        protected, payload = encode(envelope.protected), encode(tagged)
        made = Tagged(18, (protected, Pairs(), payload, sign(signer, protected, payload)))
        data = encode(Tagged(500, Tagged(502, made)))
    path = directory / "reference.corim"
    path.write_bytes(data)
    return path


def appraise(parts: TokenParts, path: Path) -> dict[str, Appraisal]:
    load = load_corim if path.suffix == ".corim" else load_endorsements
    return appraise_token(parts.build(), load(path))[1]


def vector(appraisal: Appraisal) -> dict[str, int]:
    return {category.value: value for category, value in appraisal.vector.items()}


@pytest.mark.parametrize("form", ["toml", "corim", "bare key", "earlier drafts"])
def test_what_is_approved_is_affirmed(form: str, tmp_path: Path) -> None:
    path = toml(tmp_path) if form == "toml" else corim(tmp_path, bare=form == "bare key", old=form == "earlier drafts")
    made = appraise(token(), path)
    assert affirmed(made)
    assert vector(made[PLATFORM]) == {
        "instance-identity": 2, "hardware": 2, "executables": 2, "configuration": 2, "runtime-opaque": 2,
    }  # fmt: skip
    assert vector(made[REALM]) == {"instance-identity": 2, "executables": 2, "configuration": 2}


@pytest.mark.parametrize("form", ["toml", "corim"])
@pytest.mark.parametrize(
    ("which", "label", "value", "part", "category", "expected"),
    [
        ("platform", c.IMPLEMENTATION_ID, bytes(32), PLATFORM, Category.HARDWARE, 97),
        ("platform", c.INSTANCE_ID, b"\1" + bytes(32), PLATFORM, Category.INSTANCE_IDENTITY, 97),
        ("platform", c.CONFIG, b"\xcf\1\xce\1", PLATFORM, Category.CONFIGURATION, 96),
        ("platform", c.CONFIG, b"\xcf\1", PLATFORM, Category.CONFIGURATION, 96),
        ("platform", c.LIFECYCLE, 0x4000, PLATFORM, Category.RUNTIME_OPAQUE, 96),
        ("platform", c.LIFECYCLE, 0x4000, PLATFORM, Category.INSTANCE_IDENTITY, 96),
        ("platform", c.SW_COMPONENTS, tuple(o.pairs() for o in COMPONENTS[1:]), PLATFORM, Category.EXECUTABLES, 33),
        (
            "platform",
            c.SW_COMPONENTS,
            tuple(replace(o, measurement=bytes(32)).pairs() for o in COMPONENTS),
            PLATFORM,
            Category.EXECUTABLES,
            33,
        ),
        (
            "platform",
            c.SW_COMPONENTS,
            tuple(replace(o, signer=bytes(32)).pairs() for o in COMPONENTS),
            PLATFORM,
            Category.EXECUTABLES,
            33,
        ),
        ("realm", c.RIM, bytes(32), REALM, Category.EXECUTABLES, 33),
        ("realm", c.REM, (bytes(32), b"\1" * 32, bytes(32), bytes(32)), REALM, Category.EXECUTABLES, 33),
        ("realm", c.RPV, bytes(64), REALM, Category.CONFIGURATION, 96),
    ],
)
def test_what_is_not_approved_is_named(
    form: str, which: str, label: int, value: Value, part: str, category: Category, expected: int, tmp_path: Path
) -> None:
    path = toml(tmp_path) if form == "toml" else corim(tmp_path)
    made = appraise(put_claim(token(), which, label, value), path)
    assert made[part].vector[category] == expected
    assert made[part].reasons[category]
    assert not affirmed(made)


def test_what_needs_no_reference_passes(tmp_path: Path) -> None:
    rems = (b"\1" * 32, bytes(32), b"\2" * 32, b"\3" * 32)
    made = appraise(put_claim(token(), "realm", c.REM, rems), toml(tmp_path))
    assert affirmed(made)
    assert affirmed(appraise(put_claim(token(), "platform", c.CONFIG, b"\xcf\1\xcf\1"), toml(tmp_path)))
    debug = toml(
        tmp_path, ('config = "cf00cf00"', 'lifecycle = ["secured", "non CCA platform RoT debug"]\nconfig = "cf00cf00"')
    )
    assert affirmed(appraise(put_claim(token(), "platform", c.LIFECYCLE, 0x4001), debug))


def test_a_signature_that_does_not_verify_refuses_everything(tmp_path: Path) -> None:
    stranger = replace(token(), platform=replace(token().platform, key=new_key("P-384")))
    made = appraise(stranger, toml(tmp_path))
    assert set(vector(made[PLATFORM]).values()) == {99}
    assert set(vector(made[REALM]).values()) == {99}


def test_without_a_trust_anchor_the_realm_is_not_believed(tmp_path: Path) -> None:
    path = toml(tmp_path, (IMPLEMENTATION.hex(), bytes(32).hex()))
    made = appraise(token(), path)
    assert made[PLATFORM].vector[Category.INSTANCE_IDENTITY] == 97
    assert made[REALM].status is Tier.CONTRAINDICATED


def test_components_without_reference_values_are_not_affirmed(tmp_path: Path) -> None:
    path = tmp_path / "reference.toml"
    toml(tmp_path)
    head = path.read_text().partition("[[platform.component]]")[0]
    realm = path.read_text()[path.read_text().index("[[realm]]") :]
    path.write_text(head + realm)
    assert not affirmed(appraise(token(), path))


def test_a_signed_corim_needs_its_signer(tmp_path: Path) -> None:
    signer = new_key("P-384")
    path = corim(tmp_path, signer=signer)
    assert len(load_corim(path, signer.public_key()).anchors) == 1
    with pytest.raises(BadInputError, match="is signed; give the signer's key"):
        load_corim(path)
    with pytest.raises(BadInputError, match="the signature does not verify"):
        load_corim(path, new_key("P-384").public_key())
    with pytest.raises(BadInputError, match="is not signed, but"):
        load_corim(corim(tmp_path), signer.public_key())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cpak.pem", "none.pem", "cannot be read"),
        (f'"{INSTANCE.hex()}"', '"01"', "key 'instance_id' must have 33 bytes, not 1"),
        ("config_mask", "configmask", "key 'configmask' is not known"),
        ("[[realm]]", "[realm]", "'realm' must be an array of tables"),
        ("measurement =", "measure =", "key 'measure' is not known"),
        (f'rim = "{RIM.hex()}"', 'rim = "zz"', "must be hexadecimal digits"),
        ("[[platform]]", "[[platform", "is not valid TOML"),
        (f'signer = "{COMPONENTS[0].signer.hex()}"', "signer = 1", "key 'signer' must be a string"),
        ('rem = ["",', 'rem = ["", "", "", "",', "at most 4"),
        (
            'config = "cf00cf00"',
            'lifecycle = ["x"]\nconfig = "cf00cf00"',
            "key 'lifecycle' must be an array of unknown",
        ),
    ],
)
def test_bad_reference_files(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        load_endorsements(toml(tmp_path, (old, new)))
    assert "\n" not in str(caught.value)


def test_every_cut_and_every_flip_of_a_corim_is_one_error_or_a_corim(tmp_path: Path) -> None:
    path = corim(tmp_path)
    data = path.read_bytes()
    for size in range(0, len(data), 7):
        path.write_bytes(data[:size])
        with pytest.raises(BadInputError):
            load_corim(path)
    refused = 0
    for position in range(0, len(data), 5):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            load_corim(path)
        except BadInputError:
            refused += 1
    assert refused > 20


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "token.cbor"
    path.write_bytes(token().build())
    reference = str(toml(tmp_path))
    assert main(["token", "appraise", str(path), "--reference", reference]) == 0
    ear = json.loads(capsys.readouterr().out)
    assert ear["eat_profile"] == "tag:github.com,2023:veraison/ear"
    assert ear["submods"]["CCA_REALM"]["ear.status"] == "affirming"
    assert main(["token", "appraise", str(path), "--corim", str(corim(tmp_path))]) == 0
    assert main(["token", "appraise", str(path), "--reference", reference, "--challenge", "01"]) == 1
    assert "ATT-060" in capsys.readouterr().out
    assert main(["token", "appraise", str(path)]) == 3
    assert main(["token", "appraise", reference, "--reference", reference]) == 3
