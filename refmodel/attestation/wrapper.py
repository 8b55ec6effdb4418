"""The wrapper of a CCA attestation token: its tag and the entries of its collection.

Source: DEN0137 1.0-rel0 A7.2.3 (tag 399, byte strings); DEN0137 2.0 (draft) A7.2.3 and
draft-ffm-rats-cca-token-04 section 4.1 (tag 907, CMW records).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from refmodel.attestation.claims import DEVICE_TOKEN, PLATFORM_TOKEN, REALM_TOKEN
from refmodel.attestation.findings import Findings
from refmodel.attestation.items import Array, Bytes, Int, Item, Map, Tag, Text, describe, label_text
from refmodel.attestation.profiles import TAG_1_0, TAG_2_0
from refmodel.rules import Rule

EAT_CWT: Final = 263
"""CoAP content format of application/eat+cwt."""
UCCS: Final = 601
"""CoAP content format of application/uccs+cbor, as DEN0137 2.0 (draft) numbers it."""
COLLECTION_TYPE: Final = "__cmwc_t"

_NAMES: Final = {PLATFORM_TOKEN: "platform token", REALM_TOKEN: "realm token", DEVICE_TOKEN: "device token"}
_FORMATS: Final = {PLATFORM_TOKEN: EAT_CWT, REALM_TOKEN: EAT_CWT, DEVICE_TOKEN: UCCS}
_ADDITIONAL: Final = {
    44252: "selective device evidence",
    44253: "comprehensive device evidence",
    44254: "CPAK certificate chain",
    44255: "CPAK certificate chain with evidence",
    44256: "firmware activity log",
}
"""Placeholders of DEN0137 2.0 (draft) for entries whose content is the implementation's."""


@dataclass(slots=True)
class Wrapper:
    """What the collection holds; an entry is None when it is missing or has the wrong form."""

    tag: int | None
    entries: dict[int, Bytes] = field(default_factory=dict)


def open_wrapper(item: Item, findings: Findings) -> Wrapper:
    """The entries of a token's wrapper; every deviation goes to ``findings``."""
    known = isinstance(item, Tag) and item.number in (TAG_1_0, TAG_2_0)
    text = f"must be a collection with tag {TAG_1_0} or {TAG_2_0}, not {describe(item)}"
    findings.expect(known, Rule.WRAPPER_TAG, "cca-token", text, item.offset)
    wrapper = Wrapper(item.number if isinstance(item, Tag) and known else None)
    collection = item.item if isinstance(item, Tag) else item
    text = f"must hold a map, not {describe(collection)}"
    is_map = isinstance(collection, Map)
    if not findings.expect(is_map, Rule.WRAPPER_ENTRIES, "cca-token", text, collection.offset):
        return wrapper
    if isinstance(collection, Map):
        _entries(collection, wrapper, findings)
    return wrapper


def _entries(collection: Map, wrapper: Wrapper, findings: Findings) -> None:
    for label in (PLATFORM_TOKEN, REALM_TOKEN):
        there = collection.get(label) is not None
        text = f"is missing (label {label})"
        findings.expect(there, Rule.WRAPPER_ENTRIES, _NAMES[label], text, collection.offset)
    for key, value in collection.pairs:
        entry = key.value if isinstance(key, Int) else None
        if entry in (PLATFORM_TOKEN, REALM_TOKEN) or (entry == DEVICE_TOKEN and wrapper.tag != TAG_1_0):
            held = _content(entry, value, wrapper.tag, findings)
            if held is not None:
                wrapper.entries.setdefault(entry, held)
        elif wrapper.tag == TAG_2_0 and entry in _ADDITIONAL:
            _record(_ADDITIONAL[entry], value, None, findings)
            text = f"entry {entry} ({_ADDITIONAL[entry]}) is the implementation's and is not judged"
            findings.note(Rule.WRAPPER_KNOWN_ENTRIES, "cca-token", text, key.offset)
        elif wrapper.tag == TAG_2_0 and isinstance(key, Text) and key.value == COLLECTION_TYPE:
            text = f"must be a text, not {describe(value)}"
            findings.expect(isinstance(value, Text), Rule.WRAPPER_ENTRY_FORM, COLLECTION_TYPE, text, value.offset)
        else:
            text = f"has an entry {label_text(key)} that is not defined for tag {wrapper.tag}"
            findings.error(Rule.WRAPPER_KNOWN_ENTRIES, "cca-token", text, key.offset)
            continue
        findings.hold(Rule.WRAPPER_KNOWN_ENTRIES)


def _content(label: int, value: Item, tag: int | None, findings: Findings) -> Bytes | None:
    """The byte string of an entry: bare under tag 399, in a record under tag 907, either when the tag is wrong."""
    name = _NAMES[label]
    if tag == TAG_2_0 or (tag is None and isinstance(value, Array)):
        return _record(name, value, _FORMATS[label], findings)
    text = f"must be a byte string, not {describe(value)}"
    findings.expect(isinstance(value, Bytes), Rule.WRAPPER_ENTRY_FORM, name, text, value.offset)
    return value if isinstance(value, Bytes) else None


def _record(name: str, value: Item, content_format: int | None, findings: Findings) -> Bytes | None:
    """The value of a CMW record ``[type, value]``, of this content format where one is fixed."""
    two = isinstance(value, Array) and len(value.items) == 2
    text = f"must be a CMW record of 2 elements, not {describe(value)}"
    if not findings.expect(two, Rule.WRAPPER_ENTRY_FORM, name, text, value.offset) or not isinstance(value, Array):
        return None
    kind, content = value.items
    right = isinstance(kind, Int) and kind.value == content_format if content_format else isinstance(kind, Int | Text)
    text = f"must have the type {content_format or 'of a CMW'}, not {describe(kind)}"
    findings.expect(right, Rule.WRAPPER_ENTRY_FORM, name, text, kind.offset)
    text = f"must hold a byte string, not {describe(content)}"
    findings.expect(isinstance(content, Bytes), Rule.WRAPPER_ENTRY_FORM, name, text, content.offset)
    return content if isinstance(content, Bytes) else None
