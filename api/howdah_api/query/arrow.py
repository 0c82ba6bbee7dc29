"""Rows as a stream of Arrow. Needs pyarrow, which is not installed with howdah."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from howdah.store.asking import QueryFailed
from howdah_api.query.catalog import (
    BINARY,
    BOOLEAN,
    DURATION,
    F64,
    I64,
    LIST_U32,
    LIST_UTF8,
    TIMESTAMP,
    U32,
    U64,
    UTF8,
    Column,
)

MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"
_KINDS: Final = {
    **dict.fromkeys(("text", "varchar"), UTF8),
    **dict.fromkeys(("int2", "int4", "int8"), I64),
    **dict.fromkeys(("float4", "float8", "numeric"), F64),
    "bool": BOOLEAN,
    "timestamptz": TIMESTAMP,
    "interval": DURATION,
    "bytea": BINARY,
    "int4[]": LIST_U32,
    "text[]": LIST_UTF8,
}
"""The kind of a column of which only Postgres's type is known; any other is written as text."""


@cache
def is_installed() -> bool:
    """Whether pyarrow is there."""
    return find_spec("pyarrow") is not None


class ArrowRows:
    """Encodes the rows of one answer.

    Args:
        columns: Their names and kinds.
        types: Postgres's names of their types.
    """

    media_type = MEDIA_TYPE

    def __init__(self, columns: Sequence[Column], types: Sequence[str]) -> None:
        import pyarrow

        self._pyarrow = pyarrow
        kinds = [
            column.kind or _KINDS.get(type_) for column, type_ in zip(columns, types, strict=True)
        ]
        self._kinds = kinds
        self._schema = pyarrow.schema(
            [
                pyarrow.field(column.name, self._type(kind))
                for column, kind in zip(columns, kinds, strict=True)
            ]
        )
        self._sink = _Sink()
        self._writer = pyarrow.ipc.new_stream(pyarrow.PythonFile(self._sink, "w"), self._schema)

    def begin(self) -> bytes:
        """The schema."""
        return self._sink.taken()

    def rows(self, rows: Sequence[Sequence[Any]]) -> list[bytes]:
        """A portion of rows, as one batch.

        Raises:
            QueryFailed: a value is none of its column's type, such as a count below 0.
        """
        pyarrow = self._pyarrow
        try:
            arrays = [
                pyarrow.array(
                    [_converted(row[number], kind) for row in rows], field.type, from_pandas=False
                )
                for number, (field, kind) in enumerate(zip(self._schema, self._kinds, strict=True))
            ]
        except (pyarrow.ArrowException, OverflowError) as error:
            raise QueryFailed(str(error)) from error
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))
        return [self._sink.taken()]

    def end(self) -> bytes:
        """The end of the stream."""
        self._writer.close()
        return self._sink.taken()

    def _type(self, kind: str | None) -> Any:
        pyarrow = self._pyarrow
        match kind:
            case "u32":
                return pyarrow.uint32()
            case "u64":
                return pyarrow.uint64()
            case "i64":
                return pyarrow.int64()
            case "f64":
                return pyarrow.float64()
            case "bool":
                return pyarrow.bool_()
            case "ts":
                return pyarrow.timestamp("ms", tz="+00:00")
            case "duration":
                return pyarrow.duration("ms")
            case "binary":
                return pyarrow.large_binary()
            case "list_u32":
                return pyarrow.list_(pyarrow.uint32())
            case "list_utf8":
                return pyarrow.list_(pyarrow.large_utf8())
            case _:
                return pyarrow.large_utf8()


def _converted(value: Any, kind: str | None) -> Any:
    if value is None:
        return None
    if kind == F64:
        return float(value)
    if kind in (U32, U64, I64):
        return int(value)
    if kind is None:
        return str(value)
    if kind == TIMESTAMP:
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    if kind == DURATION:
        return int(value.total_seconds() * 1000)
    return value


class _Sink:
    """A file that gives away what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def flush(self) -> None:
        return None

    def close(self) -> None:
        return None

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
