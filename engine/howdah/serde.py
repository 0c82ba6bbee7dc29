"""Values to bytes and back: JSON for nearly everything, raw for bytes.

`serde_for(type_hint)` picks by type and is what the engine calls: `bytes` stay as they are;
dataclasses, TypedDicts, msgspec structs, built-in types, unions and whatever else msgspec knows go
through msgspec; pydantic models, and types that only pydantic knows, go through pydantic when it is
installed. Payloads are opaque outside this module, and no value was checked before it came here.

Rules for every serde that howdah brings:

- No value is no bytes: None is written as an empty document, and an empty document reads as None.
- What was written can be read again: NaN, infinities, half surrogate pairs and more than 100 levels
  of nesting are refused on the way in and on the way out.
- A refusal is a SerdeError (HD1010) which says what was expected and where, and never shows the value.
"""

from __future__ import annotations

import sys
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

import msgspec

from howdah import documents
from howdah.errors import SerdeError

T = TypeVar("T")

JSON = "application/json"
OCTETS = "application/octet-stream"

_SERDES_CACHED_MAX = 4096
_RAW_TYPES = frozenset({bytes, bytearray, memoryview})
_SUPPORTED = (
    "Use dataclasses, TypedDicts, pydantic models, msgspec structs or built-in types, "
    "or pass a serde of your own."
)


class Serde(ABC, Generic[T]):
    """Turns a value into the bytes that are stored and sent, and back.

    Subclass it for a format of your own. Both methods are plain functions, called between awaits on
    the event loop: they must not wait.

    Attributes:
        content_type: The media type of what `serialize` returns.
    """

    content_type: str = JSON

    @abstractmethod
    def serialize(self, obj: T | None) -> bytes:
        """Return the bytes of a value; None means there is no value."""

    @abstractmethod
    def deserialize(self, buf: bytes) -> T | None:
        """Return the value of the bytes that `serialize` returned."""

    def json_schema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the documents, or None when there is none to give."""
        return None


class BytesSerde(Serde[bytes]):
    """Bytes as they are. An empty value and no value are the same, and read as `b""`."""

    content_type = OCTETS

    def serialize(self, obj: bytes | None) -> bytes:
        """Return the bytes; bytearray and memoryview are copied.

        Raises:
            SerdeError: the value is anything else. HD1010.
        """
        if type(obj) is bytes:
            return obj
        if obj is None:
            return b""
        if type(obj) in _RAW_TYPES:
            return bytes(obj)
        raise SerdeError(
            verb="write", type_name="bytes", problem=f"expected bytes, got {type(obj).__name__}"
        )

    def deserialize(self, buf: bytes) -> bytes | None:
        """Return the bytes."""
        return buf


class _OptionalBytesSerde(BytesSerde):
    """Bytes or None, where no bytes are None."""

    def deserialize(self, buf: bytes) -> bytes | None:
        return buf or None


class JsonSerde(Serde[T]):
    """JSON, through msgspec; checked against a type when it is given one.

    Args:
        type_hint: The type to read; without one, dicts, lists and scalars come back.

    Raises:
        SerdeError: msgspec cannot read such a type. HD1010.
    """

    def __init__(self, type_hint: type[T] | None = None) -> None:
        self._hint: Any = Any if type_hint is None else type_hint
        self._type_name = type_name(self._hint)
        info = _type_info(self._hint)
        self._may_hold_nan = any(isinstance(part, _HOLDS_NAN) for part in _parts_of(info))
        self._encode: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=_encode_other).encode
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(
            self._hint, dec_hook=_decode_other
        ).decode

    def serialize(self, obj: T | None) -> bytes:
        """Return the value as JSON.

        Raises:
            SerdeError: the value has no JSON form. HD1010.
        """
        if obj is None:
            return b""
        try:
            document = self._encode(obj)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _unwritable(type(obj), documents.why_unwritable(error)) from error
        if documents.is_too_deep(document):
            raise _unwritable(type(obj), documents.TOO_DEEP)
        # msgspec writes NaN as null. Only a document with a null in it is worth a closer look.
        if self._may_hold_nan and b"null" in document and _holds_not_a_number(obj):
            raise _unwritable(type(obj), documents.NOT_A_NUMBER)
        return document

    def deserialize(self, buf: bytes) -> T | None:
        """Return the value of a JSON document; None when it is empty.

        Raises:
            SerdeError: the bytes are not JSON, or not of the type. HD1010.
        """
        if not buf:
            return None
        if documents.is_too_deep(buf):
            raise _unreadable(self._type_name, documents.TOO_DEEP)
        try:
            value: T = self._decode(buf)
        except (ValueError, TypeError, RecursionError) as error:
            raise _unreadable(self._type_name, documents.why_unreadable(buf, error)) from error
        return value

    def json_schema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the type; None without a type, or when it has none."""
        if self._hint is Any:
            return None
        try:
            return msgspec.json.schema(self._hint, schema_hook=_schema_of_other)
        except (TypeError, ValueError):
            return None


class _UntypedSerde(JsonSerde[Any]):
    """JSON of no particular type, except that bytes are written raw."""

    def serialize(self, obj: Any) -> bytes:
        if type(obj) in _RAW_TYPES:
            return bytes(obj)
        return JsonSerde.serialize(self, obj)


class PydanticJsonSerde(Serde[T]):
    """JSON, through pydantic: validated when read, written by alias.

    Args:
        model: A pydantic model, or any type that pydantic knows how to validate.

    Raises:
        SerdeError: pydantic is not installed, or does not know the type. HD1010.
    """

    def __init__(self, model: type[T]) -> None:
        self._type_name = type_name(model)
        self._adapter = _adapter_of(model)
        self._validate = self._adapter.validator.validate_json
        self._dump = self._adapter.serializer.to_json

    def serialize(self, obj: T | None) -> bytes:
        """Return the value as JSON, by alias.

        Raises:
            SerdeError: the value is not of the type, or has no JSON form. HD1010.
        """
        if obj is None:
            return b""
        try:
            document: bytes = self._dump(obj, by_alias=True, warnings="error")
        except (TypeError, ValueError, RecursionError) as error:
            raise _unwritable(self._type_name, documents.why_unwritable(error)) from error
        if documents.is_too_deep(document):
            raise _unwritable(self._type_name, documents.TOO_DEEP)
        is_suspect = b"null" in document or documents.holds_constants(document)
        if is_suspect and documents.holds_not_a_number(self._adapter.dump_python(obj, mode="json")):
            raise _unwritable(self._type_name, documents.NOT_A_NUMBER)
        return document

    def deserialize(self, buf: bytes) -> T | None:
        """Return the validated value of a JSON document; None when it is empty.

        Raises:
            SerdeError: the bytes are not JSON, or pydantic refuses the value. HD1010.
        """
        if not buf:
            return None
        if documents.is_too_deep(buf):
            raise _unreadable(self._type_name, documents.TOO_DEEP)
        if documents.holds_constants(buf):
            raise _unreadable(self._type_name, documents.NOT_A_NUMBER)
        try:
            value: T = self._validate(buf)
        except (ValueError, TypeError, RecursionError) as error:
            raise _unreadable(self._type_name, documents.why_unreadable(buf, error)) from error
        return value

    def json_schema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the model, or None when pydantic cannot give one."""
        try:
            schema: dict[str, Any] = self._adapter.json_schema()
        except ValueError:
            return None
        return schema


class DefaultSerde(Serde[T]):
    """Picks the format by type, as `serde_for` does; what verbs use unless given another serde.

    Args:
        type_hint: The type to read. Without one, JSON reads as dicts, lists and scalars.

    Raises:
        SerdeError: nothing here can read such a type. HD1010.
    """

    def __init__(self, type_hint: type[T] | None = None) -> None:
        self.type_hint = type_hint
        self._serde: Serde[T] = serde_for(type_hint)
        self.content_type = self._serde.content_type

    def with_maybe_type(self, type_hint: type[T] | None = None) -> DefaultSerde[T]:
        """Return this serde, or one for `type_hint` when this has no type of its own."""
        if self.type_hint is not None or type_hint is None:
            return self
        return DefaultSerde(type_hint)

    def serialize(self, obj: T | None) -> bytes:
        """Return the bytes of a value. See `JsonSerde` and `BytesSerde` for what is refused."""
        return self._serde.serialize(obj)

    def deserialize(self, buf: bytes) -> T | None:
        """Return the value of the bytes. See `JsonSerde` for what is refused."""
        return self._serde.deserialize(buf)

    def json_schema(self) -> dict[str, Any] | None:
        """Return the JSON schema of the type, if there is one."""
        return self._serde.json_schema()


def serde_for(type_hint: Any = None) -> Serde[Any]:
    """Return the serde that fits a type; the same one every time.

    Args:
        type_hint: Any type expression; None and Any stand for no particular type.

    Raises:
        SerdeError: nothing here can read such a type. HD1010.
    """
    try:
        return _cached_serde_for(type_hint)
    except TypeError:  # a type that cannot be hashed, such as one annotated with a list
        return _make_serde(type_hint)


def json_schema(type_hint: Any) -> dict[str, Any] | None:
    """Return the JSON schema of a type, or None where there is none to give."""
    try:
        return serde_for(type_hint).json_schema()
    except SerdeError:
        return None


def allows_none(type_hint: Any) -> bool:
    """Say whether no value is a value of this type, so that an empty body is fine."""
    if type_hint in (None, types.NoneType, Any, object, bytes):
        return True
    if typing.get_origin(type_hint) is typing.Annotated:
        return allows_none(typing.get_args(type_hint)[0])
    return _is_union(type_hint) and any(allows_none(arm) for arm in typing.get_args(type_hint))


def type_name(hint: Any) -> str:
    """Return a type the way its author wrote it, without module names."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__qualname__.rpartition("<locals>.")[2]
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if _is_union(hint):
        return " | ".join(type_name(arm) for arm in arguments).replace("NoneType", "None")
    if origin is None or origin is typing.Literal or not isinstance(origin, type):
        return str(hint).replace("typing.", "")
    return f"{origin.__qualname__}[{', '.join(type_name(argument) for argument in arguments)}]"


@lru_cache(maxsize=_SERDES_CACHED_MAX)
def _cached_serde_for(type_hint: Any) -> Serde[Any]:
    return _make_serde(type_hint)


def _make_serde(hint: Any) -> Serde[Any]:
    if hint is None or hint is Any or hint is object or isinstance(hint, TypeVar):
        return _UNTYPED
    if typing.get_origin(hint) is typing.Annotated and typing.get_args(hint)[0] is bytes:
        hint = bytes
    if hint is bytes:
        return BytesSerde()
    if isinstance(hint, str):
        raise SerdeError(
            verb="use the type",
            type_name=repr(hint),
            problem="it is a text",
            hint="Give the type itself.",
        )
    if _is_union(hint) and set(typing.get_args(hint)) == {bytes, types.NoneType}:
        return _OptionalBytesSerde()
    try:
        parts = list(_parts_of(_type_info(hint)))
    except SerdeError:
        if not _has_pydantic():
            raise
        return PydanticJsonSerde(hint)
    others = [part.cls for part in parts if isinstance(part, msgspec.inspect.CustomType)]
    others += [
        part.cls
        for part in parts
        if isinstance(part, msgspec.inspect.DataclassType) and _is_pydantic(part.cls)
    ]
    if not others:
        return JsonSerde(hint)
    if not any(isinstance(part, msgspec.inspect.StructType) for part in parts):
        return PydanticJsonSerde(hint)
    for other in others:
        _adapter_of(other)
    return JsonSerde(hint)


def _type_info(hint: Any) -> msgspec.inspect.Type:
    try:
        return msgspec.inspect.type_info(hint)
    except (TypeError, NameError) as error:
        problem = str(error).splitlines()[0].rstrip(".")
        raise SerdeError(
            verb="use the type", type_name=type_name(hint), problem=problem, hint=_SUPPORTED
        ) from error


_HOLDS_NAN = (msgspec.inspect.FloatType, msgspec.inspect.AnyType, msgspec.inspect.CustomType)


def _parts_of(info: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    """Yield a type and all types inside it, each once: types may refer to themselves."""
    waiting: list[Any] = [info]
    seen: set[int] = set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, (tuple, list)):
            waiting.extend(part)
        elif isinstance(part, msgspec.inspect.Field):
            waiting.append(part.type)
        elif isinstance(part, msgspec.inspect.Type) and id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting.extend(getattr(part, name) for name in part.__struct_fields__)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


# --- pydantic, which may not be installed ------------------------------------------------------


def _has_pydantic() -> bool:
    return "pydantic" in sys.modules or find_spec("pydantic") is not None


def _is_pydantic(kind: Any) -> bool:
    return hasattr(kind, "__pydantic_validator__")


def _adapter_of(hint: Any) -> Any:
    try:
        return _cached_adapter_of(hint)
    except TypeError:  # a type that cannot be hashed
        return _make_adapter(hint)


@lru_cache(maxsize=_SERDES_CACHED_MAX)
def _cached_adapter_of(hint: Any) -> Any:
    return _make_adapter(hint)


def _make_adapter(hint: Any) -> Any:
    if not _has_pydantic():
        raise SerdeError(
            verb="use the type",
            type_name=type_name(hint),
            problem="it is not a type that JSON can be read into",
            hint=_SUPPORTED,
        )
    import pydantic

    try:
        return pydantic.TypeAdapter(hint)
    except (pydantic.PydanticUserError, NameError, ImportError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        is_unknown = isinstance(error, pydantic.errors.PydanticSchemaGenerationError)
        raise SerdeError(
            verb="use the type",
            type_name=type_name(hint),
            problem="neither msgspec nor pydantic can read it" if is_unknown else said,
            hint=_SUPPORTED,
        ) from error


def _encode_other(obj: Any) -> Any:
    """Give msgspec the JSON form of what it does not know itself."""
    if _is_pydantic(type(obj)):
        return msgspec.Raw(PydanticJsonSerde(type(obj)).serialize(obj))
    return _builtin_of(obj)


def _decode_other(kind: type[Any], obj: Any) -> Any:
    """Let pydantic read what msgspec left as dicts, lists and scalars."""
    document = msgspec.json.encode(obj)
    try:
        return _adapter_of(kind).validate_json(document)
    except ValueError as error:
        raise ValueError(documents.why_unreadable(document, error)) from error


def _schema_of_other(kind: type[Any]) -> dict[str, Any]:
    schema: dict[str, Any] = _adapter_of(kind).json_schema()
    return schema


def _builtin_of(obj: Any) -> Any:
    """Return a subclass of a built-in scalar as what it is inside."""
    for builtin in (str, int, float):
        if isinstance(obj, builtin):
            return builtin(obj)
    raise TypeError(f"objects of type {type_name(type(obj))} have no JSON form")


def _holds_not_a_number(obj: Any) -> bool:
    def as_builtins(other: Any) -> Any:
        if _is_pydantic(type(other)):
            return _adapter_of(type(other)).dump_python(other, mode="json")
        return _builtin_of(other)

    return documents.holds_not_a_number(
        msgspec.to_builtins(obj, str_keys=True, enc_hook=as_builtins)
    )


def _unreadable(name: str, problem: str) -> SerdeError:
    return SerdeError(verb="read a value of type", type_name=name, problem=problem)


def _unwritable(kind: Any, problem: str) -> SerdeError:
    name = kind if isinstance(kind, str) else type_name(kind)
    return SerdeError(verb="write a value of type", type_name=name, problem=problem)


_UNTYPED: Serde[Any] = _UntypedSerde()
