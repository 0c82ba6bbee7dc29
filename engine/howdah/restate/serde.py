"""Values to bytes and back: howdah's serdes, picked by type as the SDK picks them.

The SDK reads bytes, pydantic models, msgspec structs and dataclasses, and any of them or None, into
what the annotation says. Everything else is JSON as it is: a list of models reads as a list of
dicts, and nothing is checked against a TypedDict.
"""

from __future__ import annotations

import dataclasses
import typing
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar

import msgspec

from howdah import serde as howdah_serde
from howdah.serde import BytesSerde, JsonSerde, PydanticJsonSerde, Serde, json_schema, serde_for

T = TypeVar("T")

__all__ = [
    "BytesSerde",
    "DefaultSerde",
    "JsonSerde",
    "MsgspecJsonSerde",
    "PydanticJsonSerde",
    "Serde",
]

_SERDES_CACHED_MAX = 4096


class DefaultSerde(howdah_serde.DefaultSerde[T]):
    """Picks the format by type, as the SDK does; what verbs use unless given another serde.

    Args:
        type_hint: The type to read. Without one, JSON reads as dicts, lists and scalars.
    """

    def __init__(self, type_hint: type[T] | None = None) -> None:
        self.type_hint = type_hint
        self._serde = picked(type_hint)
        self.content_type = self._serde.content_type

    def with_maybe_type(self, type_hint: type[T] | None = None) -> DefaultSerde[T]:
        """Return this serde, or one for `type_hint` when this has no type of its own."""
        if self.type_hint is not None or type_hint is None:
            return self
        return DefaultSerde(type_hint)


class MsgspecJsonSerde(JsonSerde[T]):
    """JSON of a msgspec struct, checked when it is read.

    Args:
        model: The struct.
    """

    def __init__(self, model: type[T]) -> None:
        super().__init__(model)


class _PlainJson(Serde[Any]):
    """JSON as it is, described as its type says."""

    def __init__(self, type_hint: Any) -> None:
        self._type_hint = type_hint
        self._json = serde_for(None)

    def serialize(self, obj: Any) -> bytes:
        return self._json.serialize(obj)

    def deserialize(self, buf: bytes) -> Any:
        return self._json.deserialize(buf)

    def json_schema(self) -> dict[str, Any] | None:
        return None if self._type_hint in (None, Any) else json_schema(self._type_hint)


def picked(type_hint: Any) -> Serde[Any]:
    """Return the serde of an annotation; the same one every time.

    Raises:
        SerdeError: a field of a model, a struct or a dataclass cannot be read. HD1010.
    """
    try:
        return _cached(type_hint)
    except TypeError:  # a type that cannot be hashed, such as one annotated with a list
        return _made(type_hint)


def chosen(serde: Serde[T], type_hint: Any = None) -> Serde[T]:
    """Return the serde that a verb was given, or else the one of its type."""
    if not isinstance(serde, howdah_serde.DefaultSerde):
        return serde
    return picked(type_hint if serde.type_hint is None else serde.type_hint)


@lru_cache(maxsize=_SERDES_CACHED_MAX)
def _cached(type_hint: Any) -> Serde[Any]:
    return _made(type_hint)


def _made(type_hint: Any) -> Serde[Any]:
    core = _without_none(type_hint)
    if core is bytes or (
        isinstance(core, type)
        and (
            issubclass(core, msgspec.Struct)
            or dataclasses.is_dataclass(core)
            or hasattr(core, "__pydantic_validator__")
        )
    ):
        return serde_for(type_hint)
    return _PlainJson(type_hint)


def _without_none(type_hint: Any) -> Any:
    """Return T of `T | None`."""
    if typing.get_origin(type_hint) not in (typing.Union, UnionType):
        return type_hint
    arms = [arm for arm in typing.get_args(type_hint) if arm is not NoneType]
    return arms[0] if len(arms) == 1 else type_hint
