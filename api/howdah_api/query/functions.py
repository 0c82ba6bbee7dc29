"""The functions that queries may call, and what each becomes in Postgres.

Every one is named with its schema, so that nothing that somebody else has put into the database is
called. None has an effect, and none makes much of little: what could (`repeat`, `lpad`,
`generate_series`, `string_agg`) is not here, and `concat`, `||` and `replace` are bounded
(sql/functions/06_restate_queries.sql). An argument is written once: twice, and nested calls would
double what Postgres has to read with each level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from howdah_api.query.catalog import (
    ARROW_NAMES,
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
from howdah_api.query.failures import QueryRefused, unplanned, unsupported
from howdah_api.query.tokens import words_of


class Sql(NamedTuple):
    """A piece of what Postgres executes.

    Attributes:
        text: SQL, in parentheses where it needs them.
        kind: As in `catalog.py`; None: whatever Postgres finds.
        column: For a column of a table: which.
        relation: For a column: its table's alias, quoted.
        constant: For a text constant: its value.
        weight: For an output that is referred to by its name: as in `translate.py`.
    """

    text: str
    kind: str | None = None
    column: Column | None = None
    relation: str = ""
    constant: str | None = None
    weight: int = 0


_NAME_BYTES_MAX: Final = 63

Make = Callable[[Sequence[Sql]], Sql]


class Function(NamedTuple):
    """What a call with `least` to `most` arguments becomes."""

    least: int
    most: int
    make: Make


def literal(text: str) -> str:
    """A text constant. Never ends early, whatever the server's settings are."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else f"'{quoted}'"


def quoted(name: str) -> str:
    """A name as Postgres reads it whatever it is."""
    return '"' + name.encode()[:_NAME_BYTES_MAX].decode(errors="ignore").replace('"', '""') + '"'


def _text(value: Sql) -> str:
    return f"({value.text})::text"


def _of_texts(name: str, kind: str, *, cast: str = "") -> Make:
    return lambda values: Sql(f'pg_catalog."{name}"({", ".join(map(_text, values))}){cast}', kind)


def _text_and_numbers(name: str) -> Make:
    def make(values: Sequence[Sql]) -> Sql:
        numbers = "".join(f", ({value.text})::int" for value in values[1:])
        return Sql(f'pg_catalog."{name}"({_text(values[0])}{numbers})', UTF8)

    return make


def _number(name: str) -> Make:
    def make(values: Sequence[Sql]) -> Sql:
        arguments = ", ".join(f"({value.text})" for value in values)
        kind = values[0].kind if name == "abs" else F64
        cast = "" if name == "abs" else "::float8"
        return Sql(f'pg_catalog."{name}"({arguments}){cast}', kind)

    return make


def _round(values: Sequence[Sql]) -> Sql:
    if len(values) == 1:
        return Sql(f"pg_catalog.round(({values[0].text})::numeric)::float8", F64)
    return Sql(
        f"pg_catalog.round(({values[0].text})::numeric, ({values[1].text})::int)::float8", F64
    )


def _syntax(word: str) -> Make:
    """For `coalesce` and its like: they are no functions, and have the type of their arguments."""

    def make(values: Sequence[Sql]) -> Sql:
        kinds = {value.kind for value in values if value.kind is not None}
        return Sql(
            f"{word}({', '.join(value.text for value in values)})",
            kinds.pop() if len(kinds) == 1 else None,
        )

    return make


def _joined(values: Sequence[Sql]) -> Sql:
    return Sql(f"howdah_core.joined('', variadic array[{', '.join(map(_text, values))}])", UTF8)


def _joined_with(values: Sequence[Sql]) -> Sql:
    texts = ", ".join(map(_text, values[1:]))
    return Sql(f"howdah_core.joined({_text(values[0])}, variadic array[{texts}])", UTF8)


def concatenated(left: Sql, right: Sql) -> Sql:
    """`left || right`: null if either is."""
    return Sql(f"howdah_core.concatenated({_text(left)}, {_text(right)})", UTF8)


def _replaced(values: Sequence[Sql]) -> Sql:
    return Sql(f"howdah_core.replaced({', '.join(map(_text, values))})", UTF8)


def _contains(values: Sequence[Sql]) -> Sql:
    return Sql(f"(pg_catalog.strpos({_text(values[0])}, {_text(values[1])}) > 0)", BOOLEAN)


def _ends_with(values: Sequence[Sql]) -> Sql:
    backwards = ", ".join(f"pg_catalog.reverse({_text(value)})" for value in values)
    return Sql(f"pg_catalog.starts_with({backwards})", BOOLEAN)


def _now(_: Sequence[Sql]) -> Sql:
    return Sql("pg_catalog.now()", TIMESTAMP)


def _today(_: Sequence[Sql]) -> Sql:
    return Sql("pg_catalog.now()::date")


def _to_timestamp(scale: str) -> Make:
    def make(values: Sequence[Sql]) -> Sql:
        (value,) = values
        if value.kind in (UTF8, TIMESTAMP):
            return Sql(f"({value.text})::timestamptz", TIMESTAMP)
        return Sql(f"pg_catalog.to_timestamp((({value.text})::float8){scale})", TIMESTAMP)

    return make


def _date_trunc(values: Sequence[Sql]) -> Sql:
    return Sql(
        f"pg_catalog.date_trunc({_text(values[0])}, ({values[1].text})::timestamptz)", TIMESTAMP
    )


def _date_bin(values: Sequence[Sql]) -> Sql:
    origin = values[2].text if len(values) == 3 else "'1970-01-01 00:00:00+00'"
    return Sql(
        f"pg_catalog.date_bin(({values[0].text})::interval, ({values[1].text})::timestamptz,"
        f" ({origin})::timestamptz)",
        TIMESTAMP,
    )


def _date_part(values: Sequence[Sql]) -> Sql:
    field = values[0].constant
    if field is None:
        raise unplanned("the field of date_part is a constant")
    return extracted(field.lower(), values[1])


FIELDS: Final = words_of(
    "epoch year quarter month week day hour minute second millisecond milliseconds microsecond"
    " microseconds dow doy isodow isoyear"
)


def extracted(field: str, value: Sql) -> Sql:
    """`extract(field from value)`."""
    if field not in FIELDS:
        raise unplanned(f"Date part '{field[:40]}' not supported")
    name = {"millisecond": "milliseconds", "microsecond": "microseconds"}.get(field, field)
    typed = f"({value.text})::timestamptz" if value.kind == UTF8 else value.text
    return Sql(f"pg_catalog.date_part('{name}', {typed})", F64)


def _arrow_typeof(values: Sequence[Sql]) -> Sql:
    name = ARROW_NAMES.get(values[0].kind or "", "Unknown")
    return Sql(literal(name), UTF8, constant=name)


def _arrow_cast(values: Sequence[Sql]) -> Sql:
    name = values[1].constant
    if name is None:
        raise unplanned("the type of arrow_cast is a constant")
    return cast(values[0], name.lower())


def _array_has(values: Sequence[Sql]) -> Sql:
    return any_of(values[1], values[0])


def any_of(value: Sql, values: Sql) -> Sql:
    """`value = any (values)`."""
    if values.kind not in (LIST_U32, LIST_UTF8):
        raise unplanned("only a column of lists can be searched")
    return Sql(f"(({value.text}) = any ({values.text}))", BOOLEAN)


def _array_length(values: Sequence[Sql]) -> Sql:
    if values[0].kind not in (LIST_U32, LIST_UTF8):
        raise unplanned("only a column of lists has a length like this")
    return Sql(f"pg_catalog.cardinality({values[0].text})::bigint", I64)


def _encode(values: Sequence[Sql]) -> Sql:
    how = values[1].constant
    if how not in ("hex", "base64"):
        raise unplanned("encode knows 'hex' and 'base64'")
    if values[0].kind != BINARY:
        bytes_ = f"pg_catalog.convert_to({_text(values[0])}, 'UTF8')"
    else:
        bytes_ = values[0].text
    return Sql(f"pg_catalog.encode({bytes_}, '{how}')", UTF8)


SCALARS: Final[dict[str, Function]] = {
    "abs": Function(1, 1, _number("abs")),
    "array_contains": Function(2, 2, _array_has),
    "array_has": Function(2, 2, _array_has),
    "array_length": Function(1, 1, _array_length),
    "arrow_cast": Function(2, 2, _arrow_cast),
    "arrow_typeof": Function(1, 1, _arrow_typeof),
    "btrim": Function(1, 2, _of_texts("btrim", UTF8)),
    "cardinality": Function(1, 1, _array_length),
    "ceil": Function(1, 1, _number("ceil")),
    "char_length": Function(1, 1, _of_texts("length", I64, cast="::bigint")),
    "character_length": Function(1, 1, _of_texts("length", I64, cast="::bigint")),
    "coalesce": Function(1, 50, _syntax("coalesce")),
    "concat": Function(1, 50, _joined),
    "concat_ws": Function(2, 50, _joined_with),
    "contains": Function(2, 2, _contains),
    "current_date": Function(0, 0, _today),
    "current_timestamp": Function(0, 0, _now),
    "date_bin": Function(2, 3, _date_bin),
    "date_part": Function(2, 2, _date_part),
    "date_trunc": Function(2, 2, _date_trunc),
    "encode": Function(2, 2, _encode),
    "ends_with": Function(2, 2, _ends_with),
    "floor": Function(1, 1, _number("floor")),
    "greatest": Function(1, 50, _syntax("greatest")),
    "ifnull": Function(2, 2, _syntax("coalesce")),
    "least": Function(1, 50, _syntax("least")),
    "left": Function(2, 2, _text_and_numbers("left")),
    "length": Function(1, 1, _of_texts("length", I64, cast="::bigint")),
    "lower": Function(1, 1, _of_texts("lower", UTF8)),
    "ltrim": Function(1, 2, _of_texts("ltrim", UTF8)),
    "md5": Function(1, 1, _of_texts("md5", UTF8)),
    "now": Function(0, 0, _now),
    "nullif": Function(2, 2, _syntax("nullif")),
    "nvl": Function(2, 2, _syntax("coalesce")),
    "octet_length": Function(1, 1, lambda values: octet_length(values[0])),
    "replace": Function(3, 3, _replaced),
    "reverse": Function(1, 1, _of_texts("reverse", UTF8)),
    "right": Function(2, 2, _text_and_numbers("right")),
    "round": Function(1, 2, _round),
    "rtrim": Function(1, 2, _of_texts("rtrim", UTF8)),
    "starts_with": Function(2, 2, _of_texts("starts_with", BOOLEAN)),
    "strpos": Function(2, 2, _of_texts("strpos", I64, cast="::bigint")),
    "substr": Function(2, 3, _text_and_numbers("substr")),
    "substring": Function(2, 3, _text_and_numbers("substr")),
    "to_timestamp": Function(1, 1, _to_timestamp("")),
    "to_timestamp_micros": Function(1, 1, _to_timestamp(" / 1000000")),
    "to_timestamp_millis": Function(1, 1, _to_timestamp(" / 1000")),
    "to_timestamp_nanos": Function(1, 1, _to_timestamp(" / 1000000000")),
    "to_timestamp_seconds": Function(1, 1, _to_timestamp("")),
    "trim": Function(1, 2, _of_texts("btrim", UTF8)),
    "upper": Function(1, 1, _of_texts("upper", UTF8)),
}
"""Functions of values, by name."""


def octet_length(value: Sql) -> Sql:
    """The size of a text or of bytes."""
    text = value.text if value.kind == BINARY else _text(value)
    return Sql(f"pg_catalog.octet_length({text})::bigint", I64)


AGGREGATES: Final = {
    "approx_distinct": "count",
    "avg": "avg",
    "bool_and": "bool_and",
    "bool_or": "bool_or",
    "count": "count",
    "first_value": "first",
    "last_value": "last",
    "max": "max",
    "mean": "avg",
    "median": "median",
    "min": "min",
    "stddev": "stddev",
    "sum": "sum",
}
"""Functions of groups, by name."""

WINDOWS: Final = {
    "cume_dist": (0, F64),
    "dense_rank": (0, I64),
    "first_value": (1, None),
    "lag": (3, None),
    "last_value": (1, None),
    "lead": (3, None),
    "ntile": (1, I64),
    "percent_rank": (0, F64),
    "rank": (0, I64),
    "row_number": (0, I64),
}
"""Functions that need `over`: how many arguments at most, and the kind of the result."""

_WHOLE: Final = (U32, U64, I64)


def aggregate(name: str, value: Sql | None, inside: str, after: str) -> Sql:
    """A call of a function of groups.

    Args:
        name: One of `AGGREGATES`.
        value: Its argument; None: `count(*)`.
        inside: What stands in the parentheses: `distinct`, the argument, its order.
        after: `filter (…)` and `over (…)`.
    """
    kind = value.kind if value is not None else None
    match AGGREGATES[name]:
        case "count":
            return Sql(f"pg_catalog.count({inside}){after}", I64)
        case "sum" if kind in _WHOLE:
            return Sql(f"(pg_catalog.sum({inside}){after})::bigint", kind if kind == U64 else I64)
        case "avg":
            return Sql(f"(pg_catalog.avg({inside}){after})::float8", F64)
        case "stddev":
            return Sql(f"(pg_catalog.stddev({inside}){after})::float8", F64)
        case "median":
            return Sql(
                f"(pg_catalog.percentile_cont(0.5) within group (order by {inside}){after})", F64
            )
        case "first" | "last" as own:
            return Sql(f"howdah_core.{own}({inside}){after}", kind)
        case own:
            return Sql(f"pg_catalog.{own}({inside}){after}", BOOLEAN if "bool" in own else kind)


_TYPES: Final = {
    **dict.fromkeys(("string", "text", "varchar", "char", "utf8", "largeutf8", "utf8view"), ("text", UTF8)),
    **dict.fromkeys(("int", "integer", "int4", "int32"), ("int", I64)),
    **dict.fromkeys(("smallint", "int2", "int16", "tinyint"), ("smallint", I64)),
    **dict.fromkeys(("bigint", "int8", "int64"), ("bigint", I64)),
    **dict.fromkeys(("int unsigned", "integer unsigned", "uint32", "uint16", "uint8"), ("bigint", U32)),
    **dict.fromkeys(("bigint unsigned", "uint64"), ("bigint", U64)),
    **dict.fromkeys(("float", "double", "double precision", "float8", "float64", "real", "float4", "float32"), ("float8", F64)),
    **dict.fromkeys(("boolean", "bool"), ("boolean", BOOLEAN)),
    **dict.fromkeys(("timestamp", "timestamptz", "timestamp with time zone", "timestamp without time zone"), ("timestamptz", TIMESTAMP)),
    "date": ("date", None),
    "date32": ("date", None),
    "interval": ("interval", DURATION),
    "decimal": ("numeric", F64),
    "numeric": ("numeric", F64),
}  # fmt: skip


def cast(value: Sql, type_name: str) -> Sql:
    """A value as another type, by its name in SQL or in Arrow.

    Raises:
        QueryRefused: there is no such type here.
    """
    base = type_name.partition("(")[0].strip()
    if base not in _TYPES:
        raise unsupported(f"Unsupported SQL type {type_name[:60]}")
    type_, kind = _TYPES[base]
    constant = value.constant if kind == UTF8 else None
    return Sql(f"({value.text})::{type_}", kind, constant=constant)


def call(name: str, values: Sequence[Sql]) -> Sql:
    """A call of a function of values.

    Raises:
        QueryRefused: there is none of this name, or not with so many arguments.
    """
    function = SCALARS.get(name)
    if function is None:
        raise unknown_function(name)
    if not function.least <= len(values) <= function.most:
        expected = (
            str(function.least)
            if function.least == function.most
            else f"{function.least} to {function.most}"
        )
        raise unplanned(
            f"Function '{name}' expects {expected} arguments but received {len(values)}"
        )
    return function.make(values)


def unknown_function(name: str) -> QueryRefused:
    """400: it is none, or none that queries may call."""
    return unplanned(f"Invalid function '{name[:80]}'")
