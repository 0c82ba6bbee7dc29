"""Writes the SQL that Postgres executes, from the tree of a query.

Tables become views of the schema `restate`, names are quoted, functions have their schema, and
every column of every select list is known, `*` included: so what comes out has the names and types
that clients expect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from howdah_api.query.catalog import (
    BOOLEAN,
    CATALOG,
    INFORMATION,
    SCHEMA,
    TABLES,
    Column,
    information,
)
from howdah_api.query.failures import unknown_column, unknown_table, unplanned, unsupported
from howdah_api.query.functions import (
    AGGREGATES,
    WINDOWS,
    Sql,
    aggregate,
    any_of,
    call,
    cast,
    extracted,
    literal,
    quoted,
    unknown_function,
)
from howdah_api.query.naming import shown_as
from howdah_api.query.operators import among, binary, constant_of, item_of, like, no_
from howdah_api.query.parser import parse
from howdah_api.query.scopes import Relation, Scope, bare
from howdah_api.query.tokens import NAME_CHARACTERS_MAX
from howdah_api.query.tree import (
    AnyOf,
    Between,
    Binary,
    Call,
    Case,
    Cast,
    Chain,
    Combined,
    Derived,
    Expression,
    Extract,
    In,
    Is,
    Item,
    Join,
    Like,
    Literal,
    Name,
    Output,
    Query,
    Select,
    ShowColumns,
    ShowTables,
    Sort,
    Source,
    Star,
    Subquery,
    Unary,
    Window,
)

COLUMNS_MAX: Final = 1000
"""Columns of a select list, after `*` is written out."""
WEIGHT_MAX: Final = 500_000
"""About how many characters a query may have once Postgres has put the queries in it into each other.

It replaces a column of an inner query by its definition wherever the column is named: a query of a
few lines that names each column twice, on each of thirty levels, would fill its memory, and while
Postgres plans it cannot be stopped.
"""
_NODE_WEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Translated:
    """What Postgres executes, and the columns that come back."""

    sql: str
    columns: list[Column]


def translate(text: str) -> Translated:
    """Translate one statement.

    Raises:
        QueryRefused: it is none, or does what queries may not.
    """
    statement = parse(text)
    if isinstance(statement, ShowTables):
        return _information("tables", None)
    if isinstance(statement, ShowColumns):
        return _information("columns", _table_name(statement.parts))
    try:
        sql, columns = _Translation().query(statement, None, {})
    except RecursionError:
        raise unplanned("the query is nested too deeply") from None
    return Translated(sql, columns)


def _information(table: str, of: str | None) -> Translated:
    names = {"tables": None, "columns": ("column_name", "data_type", "is_nullable")}[table]
    columns = [column for column in INFORMATION[table] if names is None or column.name in names]
    listed = ", ".join(quoted(column.name) for column in columns)
    where = "" if of is None else f' where "table_name" = {literal(of)} order by "ordinal_position"'
    return Translated(
        f"select {listed} from {_rows(table)} as {_alias('i', table)}{where}", columns
    )


@cache
def _rows(table: str) -> str:
    rows = (
        ", ".join(literal(value) if isinstance(value, str) else str(value) for value in row)
        for row in information(table)
    )
    return f"(values {', '.join(f'({row})' for row in rows)})"


def _alias(alias: str, table: str) -> str:
    return f"{quoted(alias)} ({', '.join(quoted(column.name) for column in INFORMATION[table])})"


def _table_name(parts: tuple[str, ...]) -> str:
    """The table that is meant. Raises `QueryRefused` 500 if there is none."""
    name = parts[-1]
    if parts[:-1] not in ((), (SCHEMA,), (CATALOG, SCHEMA)) or name not in TABLES:
        raise unknown_table(".".join(parts)[:200])
    return name


_Named = dict[str, list[Column]]


class _Translation:
    """One translation; counts what it has written."""

    def __init__(self) -> None:
        self._aliases = 0
        self._weight = 0

    def _weigh(self, weight: int) -> None:
        self._weight += weight
        if self._weight > WEIGHT_MAX:
            raise unplanned("the query is too large once the queries in it are put into each other")

    # Queries.

    def query(self, query: Query, parent: Scope | None, named: _Named) -> tuple[str, list[Column]]:
        named = dict(named)
        parts: list[str] = []
        for name, inner in query.named:
            sql, columns = self.query(inner, None, named)
            parts.append(f"{quoted(name)} as ({sql})")
            named[name] = [bare(column) for column in columns]
        begin = f"with {', '.join(parts)} " if parts else ""
        sql, columns, scope = self._body(query.body, parent, named)
        if query.order:
            keys = [self._output_sort(sort, columns, scope, named) for sort in query.order]
            sql += f" order by {', '.join(keys)}"
        if query.limit is not None:
            sql += f" limit {query.limit}"
        if query.offset is not None:
            sql += f" offset {query.offset}"
        return begin + sql, columns

    def _body(
        self, body: Select | Combined | Query, parent: Scope | None, named: _Named
    ) -> tuple[str, list[Column], Scope | None]:
        if isinstance(body, Select):
            return self._select(body, parent, named)
        if isinstance(body, Query):
            sql, columns = self.query(body, parent, named)
            return f"({sql})", columns, None
        left, columns, _ = self._body(body.left, parent, named)
        right, others, _ = self._body(body.right, parent, named)
        if len(columns) != len(others):
            raise unplanned("UNION queries have different number of columns")
        kinds = [
            replace(
                bare(ours),
                kind=ours.kind if ours.kind == theirs.kind else None,
                table=None,
                weight=max(ours.weight, theirs.weight),
            )
            for ours, theirs in zip(columns, others, strict=True)
        ]
        return f"({left}) {body.op} ({right})", kinds, None

    def _output_sort(
        self, sort: Sort, columns: list[Column], scope: Scope | None, named: _Named
    ) -> str:
        key = sort.key
        if isinstance(key, Literal) and key.kind == "number":
            if not key.text.isdecimal() or not 1 <= int(key.text) <= len(columns):
                raise unplanned(f"Cannot find column with position {key.text} in SELECT clause")
            return self._sorted(key.text, sort)
        if isinstance(key, Name) and len(key.parts) == 1:
            name = key.parts[0]
            if [column.name for column in columns].count(name) == 1:
                return self._sorted(quoted(name), sort)
        if scope is None:
            raise unplanned("what is combined can be ordered by its columns only")
        return self._sorted(self._value(key, scope, named).text, sort)

    @staticmethod
    def _sorted(key: str, sort: Sort) -> str:
        direction = " desc" if sort.descending else ""
        return f"{key}{direction}{f' nulls {sort.nulls}' if sort.nulls else ''}"

    def _select(
        self, select: Select, parent: Scope | None, named: _Named
    ) -> tuple[str, list[Column], Scope]:
        scope = Scope(parent)
        sources = [self._source(source, scope, named) for source in select.sources]
        outputs: list[tuple[Sql, str]] = []
        for output in select.outputs:
            outputs.extend(self._outputs(output, scope, named))
            if len(outputs) > COLUMNS_MAX:
                raise unplanned(f"a query may have {COLUMNS_MAX} columns")
        if not outputs:
            raise unplanned("a query has at least one column")
        columns = [
            replace(bare(value.column), name=name, weight=value.weight)
            if value.column
            else Column(name, value.kind, weight=value.weight)
            for value, name in outputs
        ]
        listed = ", ".join(f"{value.text} as {quoted(name)}" for value, name in outputs)
        sql = f"select {'distinct ' if select.distinct else ''}{listed}"
        if sources:
            sql += f" from {', '.join(sources)}"
        if select.where is not None:
            sql += f" where {self._value(select.where, scope, named).text}"
        scope.outputs = {name: value for value, name in outputs}
        if select.group:
            keys = [self._group(key, len(outputs), scope, named) for key in select.group]
            sql += f" group by {', '.join(keys)}"
        if select.having is not None:
            sql += f" having {self._value(select.having, scope, named).text}"
        return sql, columns, scope

    def _group(self, key: Expression, count: int, scope: Scope, named: _Named) -> str:
        if isinstance(key, Literal) and key.kind == "number":
            if not key.text.isdecimal() or not 1 <= int(key.text) <= count:
                raise unplanned(f"Cannot find column with position {key.text} in SELECT clause")
            return key.text
        return f"({self._value(key, scope, named).text})"

    def _outputs(self, output: Output, scope: Scope, named: _Named) -> list[tuple[Sql, str]]:
        if isinstance(output.value, Star):
            found: list[tuple[Sql, str]] = []
            for value in scope.starred(output.value):
                assert value.column is not None
                self._weigh(value.column.weight)
                found.append((value._replace(weight=value.column.weight), value.column.name))
            return found
        before = self._weight
        value = self._value(output.value, scope, named)
        weighed = value._replace(weight=self._weight - before)
        if output.alias and value.column:
            weighed = weighed._replace(column=replace(value.column, table=None))
        name = output.alias or shown_as(output.value, scope, is_output=True)
        return [(weighed, name[:NAME_CHARACTERS_MAX])]

    # Sources.

    def _source(self, source: Source, scope: Scope, named: _Named) -> str:
        if isinstance(source, Join):
            return self._join(source, scope, named)
        if isinstance(source, Derived):
            sql, columns = self.query(source.query, None, named)
            alias = self._add(scope, source.alias, [bare(column) for column in columns])
            return f"({sql}) as {alias}"
        *before, name = source.parts
        if not before and name in named:
            alias = self._add(scope, source.alias or name, named[name])
            return f"{quoted(name)} as {alias}"
        if before in (["information_schema"], [CATALOG, "information_schema"]):
            if name not in INFORMATION:
                raise unknown_table(".".join(source.parts)[:200])
            alias = self._add(scope, source.alias or name, list(INFORMATION[name]))
            listed = ", ".join(quoted(column.name) for column in INFORMATION[name])
            return f"{_rows(name)} as {alias} ({listed})"
        table = _table_name(source.parts)
        alias = self._add(scope, source.alias or table, list(TABLES[table]))
        return f"restate.{quoted(table)} as {alias}"

    def _add(self, scope: Scope, name: str | None, columns: list[Column]) -> str:
        if name is not None and any(relation.name == name for relation in scope.relations):
            raise unplanned(f'table name \\"{name[:100]}\\" specified more than once')
        self._aliases += 1
        # An alias of our own: two long names may be one to Postgres.
        alias = quoted(f"{(name or 'q').encode()[:40].decode(errors='ignore')}.{self._aliases}")
        scope.relations.append(Relation(name, alias, columns))
        return alias

    def _join(self, join: Join, scope: Scope, named: _Named) -> str:
        left = self._source(join.left, scope, named)
        before = len(scope.relations)
        right = self._source(join.right, scope, named)
        if isinstance(join.right, Join):
            right = f"({right})"
        if join.kind == "cross":
            return f"{left} cross join {right}"
        if join.using:
            for name in join.using:
                sides = (scope.relations[:before], scope.relations[before:])
                if not all(any(c.name == name for r in side for c in r.columns) for side in sides):
                    raise unknown_column(name[:200], [])
            scope.merged.update(join.using)
            return f"{left} {join.kind} join {right} using ({', '.join(map(quoted, join.using))})"
        assert join.on is not None
        return f"{left} {join.kind} join {right} on {self._value(join.on, scope, named).text}"

    # Expressions.

    def _value(self, node: Expression, scope: Scope, named: _Named) -> Sql:
        def value(inner: Expression) -> Sql:
            return self._value(inner, scope, named)

        self._weigh(_NODE_WEIGHT)
        match node:
            case Literal():
                self._weigh(len(node.text))
                return constant_of(node)
            case Name(parts):
                found = scope.find(parts)
                self._weigh(found.weight or (found.column.weight if found.column else 0))
                return found._replace(weight=0)
            case Unary("not", operand):
                return Sql(f"(not {value(operand).text})", BOOLEAN)
            case Unary(op, operand):
                inner = value(operand)
                return Sql(f"({op} {inner.text})", inner.kind)
            case Binary():
                return binary(node.op, value(node.left), value(node.right))
            case Chain(op, operands):
                return Sql(f"({f' {op} '.join(value(one).text for one in operands)})", BOOLEAN)
            case Is(operand, what, negated):
                return Sql(f"({value(operand).text} is {no_(negated)}{what})", BOOLEAN)
            case Between(operand, low, high, negated):
                between = f"between {value(low).text} and {value(high).text}"
                return Sql(f"({value(operand).text} {no_(negated)}{between})", BOOLEAN)
            case In(operand, Query() as rows, negated):
                sql, columns = self.query(rows, scope, named)
                if len(columns) != 1:
                    raise unplanned("Too many columns! The subquery should only return one column")
                return Sql(f"({value(operand).text} {no_(negated)}in ({sql}))", BOOLEAN)
            case In(operand, values, negated):
                assert not isinstance(values, Query)
                return among(value(operand), [value(one) for one in values], negated=negated)
            case Like():
                return like(node, value(node.operand), value(node.pattern))
            case Case():
                return _case(node, value)
            case Cast(operand, type_):
                return cast(value(operand), type_)
            case Extract(name, operand):
                return extracted(name, value(operand))
            case Item(operand, index):
                return item_of(value(operand), value(index))
            case AnyOf(operand, array):
                return any_of(value(operand), value(array))
            case Subquery(query, exists):
                sql, columns = self.query(query, scope, named)
                if exists:
                    return Sql(f"exists ({sql})", BOOLEAN)
                if len(columns) != 1:
                    raise unplanned("Scalar subquery should only return one column")
                return Sql(f"({sql})", columns[0].kind)
            case Call():
                return self._call(node, scope, named)
            case Star():
                raise unplanned("Wildcard is only allowed in a select list")

    def _call(self, node: Call, scope: Scope, named: _Named) -> Sql:
        values = [self._value(one, scope, named) for one in node.arguments]
        is_window = node.over is not None
        if node.name in WINDOWS and (is_window or node.name not in AGGREGATES):
            if node.over is None or node.where or node.order or node.distinct or node.star:
                raise unplanned(f"Function '{node.name}' needs OVER ()")
            most, kind = WINDOWS[node.name]
            if len(values) > most:
                raise unplanned(f"Function '{node.name}' expects at most {most} arguments")
            arguments = ", ".join(value.text for value in values)
            if node.name == "ntile":
                arguments = f"({arguments})::int"
            over = self._over(node.over, scope, named)
            if kind is None and values:
                kind = values[0].kind
            return Sql(f"(pg_catalog.{node.name}({arguments}){over})", kind)
        if node.name in AGGREGATES:
            return self._aggregate(node, values, scope, named)
        if node.over or node.where or node.order or node.distinct or node.star:
            raise unknown_function(node.name)
        return call(node.name, values)

    def _aggregate(self, node: Call, values: list[Sql], scope: Scope, named: _Named) -> Sql:
        if node.star and node.name != "count":
            raise unplanned(f"Function '{node.name}' expects 1 arguments but received 0")
        if not node.star and len(values) != 1:
            raise unplanned(
                f"Function '{node.name}' expects 1 arguments but received {len(values)}"
            )
        inside = "*" if node.star else values[0].text
        if node.name == "median" and (node.distinct or node.order or node.over):
            raise unsupported("median with DISTINCT, ORDER BY or OVER")
        if node.distinct or node.name == "approx_distinct":
            inside = f"distinct {inside}"
        if node.order:
            inside += " order by " + ", ".join(
                self._sorted(self._value(sort.key, scope, named).text, sort) for sort in node.order
            )
        after = ""
        if node.where is not None:
            after = f" filter (where {self._value(node.where, scope, named).text})"
        if node.over is not None:
            after += self._over(node.over, scope, named)
        return aggregate(node.name, values[0] if values else None, inside, after)

    def _over(self, window: Window, scope: Scope, named: _Named) -> str:
        parts: list[str] = []
        if window.partition:
            keys = (self._value(key, scope, named).text for key in window.partition)
            parts.append(f"partition by {', '.join(keys)}")
        if window.order:
            keys = (
                self._sorted(self._value(sort.key, scope, named).text, sort)
                for sort in window.order
            )
            parts.append(f"order by {', '.join(keys)}")
        if window.frame:
            parts.append(window.frame)
        return f" over ({' '.join(parts)})"


def _case(node: Case, value: Callable[[Expression], Sql]) -> Sql:
    words = ["case"]
    if node.operand is not None:
        words.append(value(node.operand).text)
    kinds: set[str | None] = set()
    for condition, result in node.branches:
        inner = value(result)
        kinds.add(inner.kind)
        words.append(f"when {value(condition).text} then {inner.text}")
    if node.otherwise is not None:
        inner = value(node.otherwise)
        kinds.add(inner.kind)
        words.append(f"else {inner.text}")
    kinds.discard(None)
    return Sql(f"({' '.join(words)} end)", kinds.pop() if len(kinds) == 1 else None)
