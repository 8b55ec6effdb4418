"""Dataclasses to and from JSON values, driven by their annotations; strict in both directions.

Understood: str, int, float, bool, enums, dataclasses, ``tuple[T, ...]``, ``Mapping[str, T]`` and ``T | None``.
It knows nothing of what the dataclasses mean.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Decoder = Callable[[Any, str], Any]


class DecodeError(ValueError):
    """A JSON value is not what the dataclass asks for; the message names the field's path."""


def encode(value: object) -> Any:  # noqa: ANN401 - a JSON value has no narrower type
    """The JSON value of a dataclass, recursively; fields keep their order."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(cls: type[T], value: object, where: str = "") -> T:
    """The dataclass ``cls`` from a JSON value; raises DecodeError with the path of the field that does not fit."""
    return cast(T, _decoder(cast(Hashable, cls))(value, where))


@cache
def _decoder(hint: Any) -> Decoder:  # noqa: ANN401 - a type hint has no narrower type
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _optional(args)
    if origin is tuple:
        return _sequence(args[0])
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(args[1])
    if dataclasses.is_dataclass(hint):
        return _dataclass(cast(type[object], hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    if hint in (str, int, float, bool):
        return _scalar(hint)
    raise TypeError(f"no JSON decoder for {hint!r}")


def _scalar(kind: type) -> Decoder:
    accepted: tuple[type, ...] = (int, float) if kind is float else (kind,)

    def read(value: object, where: str) -> object:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise DecodeError(f"{where or 'value'} must be {kind.__name__}, not {_shown(value)}")
        return float(cast(float, value)) if kind is float else value

    return read


def _enum(kind: type[Enum]) -> Decoder:
    def read(value: object, where: str) -> object:
        try:
            return kind(value)
        except ValueError:
            known = ", ".join(str(member.value) for member in kind)
            raise DecodeError(f"{where} must be one of {known}, not {_shown(value)}") from None

    return read


def _sequence(item: object) -> Decoder:
    inner = _decoder(item)

    def read(value: object, where: str) -> object:
        if not isinstance(value, list):
            raise DecodeError(f"{where} must be an array, not {_shown(value)}")
        return tuple(inner(part, f"{where}[{index}]") for index, part in enumerate(value))

    return read


def _mapping(item: object) -> Decoder:
    inner = _decoder(item)

    def read(value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise DecodeError(f"{where} must be an object, not {_shown(value)}")
        return {key: inner(part, f"{where}.{key}") for key, part in value.items()}

    return read


def _optional(args: tuple[Any, ...]) -> Decoder:
    rest = [arg for arg in args if arg is not types.NoneType]
    if len(rest) != 1 or len(args) != 2:
        raise TypeError(f"no JSON decoder for a union of {args!r}")
    inner = _decoder(rest[0])
    return lambda value, where: None if value is None else inner(value, where)


def _dataclass(cls: type[object]) -> Decoder:
    hints = get_type_hints(cls)
    fields = dataclasses.fields(cast(Any, cls))
    known = {f.name: _decoder(hints[f.name]) for f in fields}
    none = dataclasses.MISSING
    required = [f.name for f in fields if f.default is none and f.default_factory is none]

    def read(value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise DecodeError(f"{where or cls.__name__} must be an object, not {_shown(value)}")
        prefix = f"{where}." if where else ""
        for name in required:
            if name not in value:
                raise DecodeError(f"{prefix}{name} is missing")
        for name in value:
            if name not in known:
                raise DecodeError(f"{prefix}{name} is not a known field")
        parts = {name: known[name](part, prefix + name) for name, part in value.items()}
        try:
            return cls(**parts)
        except ValueError as error:
            raise DecodeError(str(error)) from None

    return read


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
