"""Bit-vector helpers with the names that Arm's pseudocode uses; values are non-negative Python integers."""

from __future__ import annotations


def Slice(value: int, msb: int, lsb: int) -> int:
    """``value[msb:lsb]`` of the pseudocode; an empty slice (msb < lsb) is 0."""
    return 0 if msb < lsb else (value >> lsb) & ((1 << (msb - lsb + 1)) - 1)


def Ones(width: int) -> int:
    """A mask of ``width`` one bits."""
    return (1 << width) - 1


def IsZero(value: int) -> bool:
    """Whether every bit is 0."""
    return value == 0


def AlignDown(value: int, bits: int) -> int:
    """Clear the low ``bits`` bits."""
    return value >> bits << bits


def IsAligned(value: int, size: int) -> bool:
    """Whether ``value`` is a multiple of ``size`` (a power of two)."""
    return value & (size - 1) == 0
