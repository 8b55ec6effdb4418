"""System registers as typed, frozen values that print like the manual's table.

A register is a class whose fields are declared as in the manual::

    class GPTBR_EL3(Register, encoding=(3, 6, 2, 1, 4)):
        BADDR = Bits(39, 0)

Fields may not overlap; bits that no field covers are kept, and reported by ``reserved``.  This module knows no
particular register: see ``sysregs.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, overload

from refmodel.bits import Ones


class Bits:
    """A field ``[msb:lsb]`` of a register; ``names`` gives the meaning of values that have one."""

    def __init__(self, msb: int, lsb: int | None = None, names: Mapping[int, str] | None = None) -> None:
        self.msb = msb
        self.lsb = msb if lsb is None else lsb
        if not 0 <= self.lsb <= self.msb <= 63:
            raise TypeError(f"a field's bits must satisfy 0 <= lsb <= msb <= 63, not [{self.msb}:{self.lsb}]")
        self.names = dict(names or {})
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def width(self) -> int:
        """Number of bits."""
        return self.msb - self.lsb + 1

    @property
    def mask(self) -> int:
        """The field's bits in the register."""
        return Ones(self.width) << self.lsb

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Register, owner: type) -> int: ...
    def __get__(self, instance: Register | None, owner: type) -> Self | int:
        return self if instance is None else (instance.value >> self.lsb) & Ones(self.width)

    def insert(self, value: int, field: int) -> int:
        """``value`` with this field replaced; ValueError when ``field`` does not fit."""
        if not 0 <= field <= Ones(self.width):
            raise ValueError(f"{self.name} is {self.width} bits wide, {field!r} does not fit")
        return value & ~self.mask | field << self.lsb

    def describe(self, value: int) -> str:
        """``NAME=0b01 (64KB)``: the field of register value ``value`` for a person."""
        field = (value >> self.lsb) & Ones(self.width)
        shown = f"0b{field:0{self.width}b}" if self.width <= 8 else f"{field:#x}"
        meaning = self.names.get(field)
        return f"{self.name}={shown}" + (f" ({meaning})" if meaning else "")


class Register:
    """A 64-bit register value; equality and hash are by type and value."""

    fields: ClassVar[tuple[Bits, ...]] = ()
    covered: ClassVar[int] = 0
    encoding: ClassVar[tuple[int, int, int, int, int] | None] = None
    value: int

    def __init_subclass__(cls, encoding: tuple[int, int, int, int, int] | None = None) -> None:
        own = [attribute for attribute in vars(cls).values() if isinstance(attribute, Bits)]
        cls.fields = tuple(sorted([*cls.fields, *own], key=lambda field: -field.msb))
        cls.encoding = encoding or cls.encoding
        cls.covered = 0
        for field in cls.fields:
            if cls.covered & field.mask:
                raise TypeError(f"{cls.__name__}.{field.name} [{field.msb}:{field.lsb}] overlaps another field")
            cls.covered |= field.mask

    def __init__(self, value: int = 0) -> None:
        if not 0 <= value < 1 << 64:
            raise ValueError(f"{type(self).__name__} holds 64 bits, {value!r} does not fit")
        # The fields are kept in the instance, which shadows the descriptors: a walk reads them again and again.
        self.__dict__["value"] = value
        for field in self.fields:
            self.__dict__[field.name] = (value >> field.lsb) & Ones(field.width)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; use replace({name}=...)")

    @classmethod
    def of(cls, **fields: int) -> Self:
        """A register with the named fields set and all else 0."""
        return cls(0).replace(**fields)

    def replace(self, **fields: int) -> Self:
        """A copy with the named fields changed; TypeError names an unknown field."""
        value = self.value
        for name, field_value in fields.items():
            field: Any = getattr(type(self), name, None)
            if not isinstance(field, Bits):
                known = ", ".join(field.name for field in self.fields)
                raise TypeError(f"{type(self).__name__} has no field {name}; it has {known}")
            value = field.insert(value, field_value)
        return type(self)(value)

    @property
    def reserved(self) -> int:
        """The set bits that no field covers."""
        return self.value & ~self.covered

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Register) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value:#x})"

    def __str__(self) -> str:
        parts = [field.describe(self.value) for field in self.fields]
        if self.reserved:
            parts.append(f"reserved={self.reserved:#x}")
        return f"{type(self).__name__}={self.value:#018x} [{' '.join(parts)}]"
