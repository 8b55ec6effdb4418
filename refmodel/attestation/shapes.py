"""Shapes of claim values, and the check of a value against its shape.

A shape says type, length and value of one claim as its CDDL does.  Which claims a token must have, and how they hang
together, is in ``profiles.py`` and ``claimset.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from refmodel.attestation.findings import Findings
from refmodel.attestation.items import Array, Bool, Bytes, Int, Item, Map, Text, describe, label_text
from refmodel.rules import Rule


@dataclass(frozen=True, slots=True)
class BytesShape:
    """A byte string of one of ``sizes`` bytes (empty: any size), whose first byte is ``first`` where that is given."""

    sizes: tuple[int, ...] = ()
    first: int | None = None


@dataclass(frozen=True, slots=True)
class TextShape:
    """A text string, one of ``values`` where any are given."""

    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IntShape:
    """An integer inside one of the inclusive ``ranges`` (empty: any)."""

    ranges: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class BoolShape:
    """True or false."""


@dataclass(frozen=True, slots=True)
class ArrayShape:
    """An array of at least ``least`` and at most ``most`` elements (None: no upper limit)."""

    element: Shape
    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record."""

    name: str
    shape: Shape
    required: bool = True


@dataclass(frozen=True, slots=True)
class RecordShape:
    """A map with integer labels, of these fields and no others."""

    fields: Mapping[int, Field]


@dataclass(frozen=True, slots=True)
class ChoiceShape:
    """A value of one of several shapes of different types."""

    options: tuple[IntShape | TextShape, ...]


Shape = ChoiceShape | BytesShape | TextShape | IntShape | BoolShape | ArrayShape | RecordShape

_KIND: Mapping[type, tuple[type[Item], str]] = {
    BytesShape: (Bytes, "a byte string"),
    TextShape: (Text, "a text string"),
    IntShape: (Int, "an integer"),
    BoolShape: (Bool, "true or false"),
    ArrayShape: (Array, "an array"),
    RecordShape: (Map, "a map"),
}


def check_shape(shape: Shape, item: Item, claim: str, findings: Findings) -> bool:
    """Whether ``item`` has the shape; what it lacks goes to ``findings`` under the name ``claim``."""
    if isinstance(shape, ChoiceShape):
        return _check_choice(shape, item, claim, findings)
    kind, words = _KIND[type(shape)]
    text = f"must be {words}, not {describe(item)}" if not isinstance(item, kind) else ""
    if not findings.expect(isinstance(item, kind), Rule.CLAIM_TYPE, claim, text, item.offset):
        return False
    match shape, item:
        case BytesShape(), Bytes():
            return _check_bytes(shape, item, claim, findings)
        case TextShape(), Text():
            return _check_value(not shape.values or item.value in shape.values, shape.values, item, claim, findings)
        case IntShape(), Int():
            inside = not shape.ranges or any(low <= item.value <= high for low, high in shape.ranges)
            permitted = [f"{low}" if low == high else f"{low:#06x} to {high:#06x}" for low, high in shape.ranges]
            return _check_value(inside, permitted, item, claim, findings)
        case ArrayShape(), Array():
            return _check_array(shape, item, claim, findings)
        case RecordShape(), Map():
            return _check_record(shape, item, claim, findings)
    return True


def _check_choice(shape: ChoiceShape, item: Item, claim: str, findings: Findings) -> bool:
    """By the option whose type the item has."""
    fitting = [option for option in shape.options if isinstance(item, _KIND[type(option)][0])]
    words = " or ".join(_KIND[type(option)][1] for option in shape.options)
    if not fitting:
        findings.error(Rule.CLAIM_TYPE, claim, f"must be {words}, not {describe(item)}", item.offset)
        return False
    return check_shape(fitting[0], item, claim, findings)


def _check_bytes(shape: BytesShape, item: Bytes, claim: str, findings: Findings) -> bool:
    length = len(item.value)
    fits = not shape.sizes or length in shape.sizes
    sizes = " or ".join(map(str, shape.sizes))
    if not findings.expect(fits, Rule.CLAIM_LENGTH, claim, f"has {length} bytes, not {sizes}", item.offset):
        return False
    if shape.first is None:
        return True
    found = item.value[0]
    text = f"must begin with {shape.first:#04x}, not {found:#04x}"
    return findings.expect(found == shape.first, Rule.CLAIM_VALUE, claim, text, item.content)


def _check_value(
    holds: bool, permitted: tuple[str, ...] | list[str], item: Item, claim: str, findings: Findings
) -> bool:
    if not permitted:
        return True
    text = "" if holds else f"is {describe(item)}; permitted: {', '.join(permitted)}"
    return findings.expect(holds, Rule.CLAIM_VALUE, claim, text, item.offset)


def _check_array(shape: ArrayShape, item: Array, claim: str, findings: Findings) -> bool:
    count = len(item.items)
    fits = count >= shape.least and (shape.most is None or count <= shape.most)
    wanted = f"exactly {shape.least}" if shape.least == shape.most else f"at least {shape.least}"
    good = findings.expect(fits, Rule.CLAIM_LENGTH, claim, f"has {count} elements, not {wanted}", item.offset)
    for index, element in enumerate(item.items):
        good &= check_shape(shape.element, element, f"{claim}[{index}]", findings)
    return good


def _check_record(shape: RecordShape, item: Map, claim: str, findings: Findings) -> bool:
    good = True
    for label, wanted in shape.fields.items():
        name, value = f"{claim}.{wanted.name}", item.get(label)
        if value is not None:
            good &= check_shape(wanted.shape, value, name, findings)
        if wanted.required:
            text = f"is missing (label {label})"
            good &= findings.expect(value is not None, Rule.CLAIM_PRESENT, name, text, item.offset)
    for key, _ in item.pairs:
        known = isinstance(key, Int) and key.value in shape.fields
        text = "" if known else f"has a field {label_text(key)} that its definition does not have"
        good &= findings.expect(known, Rule.CLAIM_OF_PROFILE, claim, text, key.offset)
    return good
