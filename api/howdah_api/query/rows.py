"""Rows as JSON: `{"rows": [{column: value}]}`, columns without a value left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from howdah_api.query.catalog import F64, Column

MEDIA_TYPE: Final = "application/json"

_encode: Final = msgspec.json.Encoder().encode
_SECOND: Final = timedelta(seconds=1)


def timestamp(at: datetime) -> str:
    """A point in time in UTC with three fractional digits: `2026-11-24T05:33:36.265Z`."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def duration(length: timedelta) -> str:
    """A length of time as ISO 8601 in seconds: `PT86400S`, `PT0.5S`."""
    sign, length = ("-", -length) if length < timedelta(0) else ("", length)
    seconds, rest = divmod(length, _SECOND)
    fraction = f".{rest.microseconds:06d}".rstrip("0") if rest else ""
    return f"{sign}PT{seconds}{fraction}S"


def number(value: Decimal) -> int | float:
    """A number of arbitrary precision as the nearest one that JSON's readers know."""
    return int(value) if value == value.to_integral_value() else float(value)


_CONVERTERS: Final[dict[str, Callable[[Any], Any]]] = {
    "timestamptz": timestamp,
    "interval": duration,
    "bytea": bytes.hex,
    "numeric": number,
}
_AS_THEY_ARE: Final = frozenset(
    {"text", "varchar", "int2", "int4", "int8", "float4", "float8", "bool", "int4[]", "text[]"}
)


def _converter(column: Column, type_: str) -> Callable[[Any], Any] | None:
    if column.kind == F64:
        return float
    return _CONVERTERS.get(type_, None if type_ in _AS_THEY_ARE else str)


class JsonRows:
    """Encodes the rows of one answer.

    Args:
        columns: Their names.
        types: Postgres's names of their types.
    """

    media_type = MEDIA_TYPE

    def __init__(self, columns: Sequence[Column], types: Sequence[str]) -> None:
        self._columns = [
            (column.name, _converter(column, type_))
            for column, type_ in zip(columns, types, strict=True)
        ]
        self._is_first = True

    def begin(self) -> bytes:
        """What stands before the rows."""
        return b'{"rows":['

    def rows(self, rows: Sequence[Sequence[Any]]) -> list[bytes]:
        """A portion of rows, in pieces."""
        return [self._row(row) for row in rows]

    def end(self) -> bytes:
        """What stands after the rows."""
        return b"]}"

    def _row(self, row: Sequence[Any]) -> bytes:
        found = {
            name: convert(value) if convert is not None else value
            for (name, convert), value in zip(self._columns, row, strict=False)
            if value is not None
        }
        separator = b"" if self._is_first else b","
        self._is_first = False
        return separator + _encode(found)
