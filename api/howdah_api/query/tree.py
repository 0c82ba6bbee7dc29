"""A query as a tree: what the parser makes, and all that the translation knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. `kind`: string, number, boolean or null."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Name:
    """A column: its name, behind those of its table where they were written."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Star:
    """All columns, of one table if it is named, without those excepted."""

    table: str | None = None
    excepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x`, `+x`, `not x`."""

    op: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two operands; `is distinct from` and its negation are some."""

    op: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Chain:
    """Conditions that are joined by `and`, or by `or`."""

    op: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Is:
    """`x is [not] null | true | false | unknown`."""

    operand: Expression
    what: str
    negated: bool


@dataclass(frozen=True, slots=True)
class Between:
    """`x [not] between low and high`."""

    operand: Expression
    low: Expression
    high: Expression
    negated: bool


@dataclass(frozen=True, slots=True)
class In:
    """`x [not] in (…)`, of values or of a query's rows."""

    operand: Expression
    among: tuple[Expression, ...] | Query
    negated: bool


@dataclass(frozen=True, slots=True)
class Like:
    """`x [not] like | ilike pattern [escape character]`."""

    op: str
    operand: Expression
    pattern: Expression
    escape: str | None
    negated: bool


@dataclass(frozen=True, slots=True)
class Case:
    """`case [x] when … then … [else …] end`."""

    operand: Expression | None
    branches: tuple[tuple[Expression, Expression], ...]
    otherwise: Expression | None


@dataclass(frozen=True, slots=True)
class Cast:
    """`cast(x as type)`, `x::type`, and `type 'text'`. `type`: words, in lower case."""

    operand: Expression
    type: str


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of an order."""

    key: Expression
    descending: bool
    nulls: str | None  # first, last


@dataclass(frozen=True, slots=True)
class Window:
    """`over (…)`. `frame`: words as they are written."""

    partition: tuple[Expression, ...]
    order: tuple[Sort, ...]
    frame: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function's call. `star`: `count(*)`."""

    name: str
    arguments: tuple[Expression, ...]
    star: bool = False
    distinct: bool = False
    order: tuple[Sort, ...] = ()
    where: Expression | None = None
    over: Window | None = None


@dataclass(frozen=True, slots=True)
class Extract:
    """`extract(field from x)`."""

    field: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Item:
    """`x[n]`."""

    operand: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`x = any(list)`."""

    operand: Expression
    list: Expression


@dataclass(frozen=True, slots=True)
class Subquery:
    """A query as a value; `exists`: whether it has rows."""

    query: Query
    exists: bool = False


Expression: TypeAlias = (
    Literal | Name | Star | Unary | Binary | Chain | Is | Between | In | Like | Case | Cast | Call
    | Extract | Item | AnyOf | Subquery
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """A table or a query's name. `parts`: with catalogue and schema, where they were written."""

    parts: tuple[str, ...]
    alias: str | None


@dataclass(frozen=True, slots=True)
class Derived:
    """A query in `from`."""

    query: Query
    alias: str | None


@dataclass(frozen=True, slots=True)
class Join:
    """`kind`: inner, left, right, full or cross."""

    kind: str
    left: Source
    right: Source
    on: Expression | None
    using: tuple[str, ...]


Source: TypeAlias = Table | Derived | Join


@dataclass(frozen=True, slots=True)
class Output:
    """One item of a select list."""

    value: Expression
    alias: str | None


@dataclass(frozen=True, slots=True)
class Select:
    """One `select`."""

    outputs: tuple[Output, ...]
    sources: tuple[Source, ...]
    distinct: bool = False
    where: Expression | None = None
    group: tuple[Expression, ...] = ()
    having: Expression | None = None


@dataclass(frozen=True, slots=True)
class Combined:
    """`union`, `except` or `intersect`, with `all` or without."""

    op: str
    left: Select | Combined | Query
    right: Select | Combined | Query


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query, or one inside another."""

    body: Select | Combined | Query
    named: tuple[tuple[str, Query], ...] = ()
    order: tuple[Sort, ...] = ()
    limit: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class ShowTables:
    """`show tables`."""


@dataclass(frozen=True, slots=True)
class ShowColumns:
    """`describe t`, `show columns from t`."""

    parts: tuple[str, ...] = field(default=())


Statement: TypeAlias = Query | ShowTables | ShowColumns
