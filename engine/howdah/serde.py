"""Values to bytes and back. Payloads are JSON or raw bytes, chosen by the type that is expected.

No value is an empty body: `None` is written as nothing and nothing is read as `None`, except where
JSON says `null` inside a document. JSON is read and written by msgspec (dataclasses, TypedDicts,
msgspec structs, builtins) or by pydantic where the type is a pydantic model.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import msgspec

from howdah.errors import SerdeError

T = TypeVar("T")

JSON = "application/json"
DEPTH_MAX = 100
"""Nesting of a JSON document at most; parsers below have limits of their own, each another."""


def check_depth(document: bytes) -> None:
    """Refuse JSON that is nested deeper than `DEPTH_MAX`. Cheap where that is impossible."""
    if document.count(b"[") + document.count(b"{") <= DEPTH_MAX:
        return
    depth, in_string, escaped = 0, False, False
    for byte in document:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            if depth > DEPTH_MAX:
                raise SerdeError(
                    verb="read", type_name="the JSON document", problem=f"it is nested deeper than {DEPTH_MAX} levels"
                )
        elif byte in (0x5D, 0x7D):
            depth -= 1


class Serde(ABC, Generic[T]):
    """Turns values into bytes and back. `content_type` names what the bytes are."""

    content_type: str = JSON

    @abstractmethod
    def serialize(self, obj: T | None) -> bytes:
        """The bytes of a value. Raises `SerdeError`."""

    @abstractmethod
    def deserialize(self, buf: bytes) -> T:
        """The value of bytes. Raises `SerdeError`."""


class BytesSerde(Serde[bytes]):
    """Bytes as they are."""

    content_type = "application/octet-stream"

    def serialize(self, obj: bytes | None) -> bytes:
        if obj is None:
            return b""
        if not isinstance(obj, bytes):
            raise SerdeError(verb="write", type_name="the value", problem=f"bytes were expected, not {_name(type(obj))}")
        return obj

    def deserialize(self, buf: bytes) -> bytes:
        return buf


class JsonSerde(Serde[T]):
    """JSON through msgspec, checked against a type when one is given."""

    def __init__(self, type_hint: Any = Any) -> None:
        self._hint = type_hint
        self._encode = msgspec.json.Encoder().encode
        try:
            self._decode = msgspec.json.Decoder(type_hint).decode
        except TypeError as error:
            raise SerdeError(
                verb="handle", type_name="the type", problem=f"the type {_name(type_hint)} has no JSON form: {error}"
            ) from error

    def serialize(self, obj: T | None) -> bytes:
        if obj is None:
            return b""
        try:
            return self._encode(obj)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise SerdeError(verb="write", type_name="the value", problem=str(error)) from error

    def deserialize(self, buf: bytes) -> T:
        if not buf:
            return cast("T", None)
        if len(buf) > DEPTH_MAX:
            check_depth(buf)
        try:
            return cast("T", self._decode(buf))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise SerdeError(verb="read", type_name="the JSON document", problem=str(error)) from error


class PydanticJsonSerde(Serde[T]):
    """JSON of a pydantic model."""

    def __init__(self, model: type[T]) -> None:
        self._model: Any = model

    def serialize(self, obj: T | None) -> bytes:
        if obj is None:
            return b""
        try:
            return cast("Any", obj).model_dump_json().encode()
        except (AttributeError, ValueError, TypeError) as error:
            raise SerdeError(
                verb="write", type_name="the value", problem=f"a {_name(self._model)} was expected: {error}"
            ) from error

    def deserialize(self, buf: bytes) -> T:
        if not buf:
            return cast("T", None)
        check_depth(buf)
        try:
            return cast("T", self._model.model_validate_json(buf))
        except ValueError as error:
            raise SerdeError(verb="read", type_name="the JSON document", problem=str(error)) from error


class DefaultSerde(Serde[T]):
    """Chooses by type: bytes as they are, everything else as JSON.

    Without a type hint it writes bytes raw and other values as JSON, and reads JSON.
    """

    __slots__ = ("_serde", "type_hint")

    def __init__(self, type_hint: type[T] | None = None) -> None:
        self.type_hint = type_hint
        self._serde: Serde[Any] = _ANY if type_hint is None else serde_for(type_hint)
        self.content_type = self._serde.content_type

    def with_maybe_type(self, type_hint: type[T] | None = None) -> DefaultSerde[T]:
        """This serde for a type; itself when none is given."""
        return self if type_hint is None else DefaultSerde(type_hint)

    def serialize(self, obj: T | None) -> bytes:
        if self.type_hint is None:
            return untyped_serialize(obj)
        return self._serde.serialize(obj)

    def deserialize(self, buf: bytes) -> T:
        return cast("T", self._serde.deserialize(buf))


_ANY: Serde[Any] = JsonSerde()


def untyped_serialize(obj: Any) -> bytes:
    """Bytes raw, pydantic models by themselves, everything else as JSON."""
    if isinstance(obj, bytes):
        return obj
    dump = getattr(obj, "model_dump_json", None)
    if dump is not None and not isinstance(obj, type):
        return cast("str", dump()).encode()
    return _ANY.serialize(obj)


class _Untyped(Serde[Any]):
    def serialize(self, obj: Any) -> bytes:
        return untyped_serialize(obj)

    def deserialize(self, buf: bytes) -> Any:
        return _ANY.deserialize(buf)


@lru_cache(maxsize=1024)
def _serde_for(type_hint: Any) -> Serde[Any]:
    if type_hint in (Any, None, type(None), object):
        return _Untyped()
    if type_hint is bytes:
        return BytesSerde()
    if isinstance(type_hint, type) and hasattr(type_hint, "model_validate_json"):
        return PydanticJsonSerde(type_hint)
    return JsonSerde(type_hint)


def serde_for(type_hint: Any) -> Serde[Any]:
    """The serde of a type, made once. Raises `SerdeError` for a type without a JSON form."""
    try:
        return _serde_for(type_hint)
    except TypeError:  # an unhashable annotation
        return JsonSerde(type_hint)


def json_schema(type_hint: Any) -> dict[str, Any] | None:
    """The JSON schema of a type, or None where there is none to give."""
    if type_hint in (Any, None, type(None), bytes, object):
        return None
    try:
        if isinstance(type_hint, type) and hasattr(type_hint, "model_json_schema"):
            return cast("dict[str, Any]", type_hint.model_json_schema())
        return msgspec.json.schema(type_hint)
    except (TypeError, ValueError):
        return None


def _name(of: Any) -> str:
    if dataclasses.is_dataclass(of) or isinstance(of, type):
        return getattr(of, "__name__", str(of))
    return str(of)
