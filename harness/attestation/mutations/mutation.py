"""What a mutation is, and how one part of a token is replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.attestation.build import EnvelopeParts, Pairs, TokenParts, Value
from refmodel.rules import Rule

WHICH = ("platform", "realm")


@dataclass(frozen=True)
class Mutation:
    """One spoiled or varied token.

    ``rules``: any of them must be among the reasons of its refusal; empty when it must be accepted.
    """

    name: str
    data: bytes
    rules: frozenset[Rule]

    @property
    def valid(self) -> bool:
        """Whether it must be accepted."""
        return not self.rules


def mutation(name: str, data: bytes, *rules: Rule) -> Mutation:
    """A mutation that must be refused for one of ``rules``, or accepted when there are none."""
    return Mutation(name, data, frozenset(rules))


def envelope(parts: TokenParts, which: str) -> EnvelopeParts:
    """The envelope of the platform or the realm token."""
    return parts.platform if which == "platform" else parts.realm


def with_envelope(parts: TokenParts, which: str, made: EnvelopeParts) -> TokenParts:
    """With another envelope."""
    return replace(parts, platform=made) if which == "platform" else replace(parts, realm=made)


def with_claims(parts: TokenParts, which: str, change: Callable[[Pairs], Pairs]) -> TokenParts:
    """With other claims, the binding left as it is."""
    old = envelope(parts, which)
    return with_envelope(parts, which, replace(old, claims=change(old.claims)))


def put_claim(parts: TokenParts, which: str, label: int, value: Value) -> TokenParts:
    """With another value for a claim, at its place."""
    return with_claims(parts, which, lambda held: held.put(label, value))


def add_claim(parts: TokenParts, which: str, label: Value, value: Value) -> TokenParts:
    """With one more claim at the end, whether or not its label is there already."""
    return with_claims(parts, which, lambda held: Pairs((*held.pairs, (label, value))))


def with_bytes(parts: TokenParts, which: str, data: bytes) -> TokenParts:
    """With other bytes in place of an envelope."""
    return replace(parts, platform_bytes=data) if which == "platform" else replace(parts, realm_bytes=data)
