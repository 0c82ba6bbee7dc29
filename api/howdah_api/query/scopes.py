"""What names mean inside a query: the tables of a select, and those of the selects around it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from howdah_api.query.catalog import Column
from howdah_api.query.failures import unknown_column, unplanned
from howdah_api.query.functions import Sql, quoted
from howdah_api.query.tree import Star


def bare(column: Column) -> Column:
    """A column of a query's result: what lies beside it in its table is not there any more."""
    return replace(column, uuid=None, prefix=None, places=None)


@dataclass(slots=True)
class Relation:
    """A table in `from`: its name in the query (None without one), and in what is written.

    The columns of a query without a name keep the tables that they come from: their names may be
    written with them around it.
    """

    name: str | None
    alias: str
    columns: list[Column]

    def found(self, table: str | None) -> list[Column]:
        """Its columns that may be written with the name of this table; None: without any."""
        if table in (None, self.name):
            return self.columns
        return [one for one in self.columns if self.name is None and one.table == table]

    def value(self, column: Column) -> Sql:
        """One of its columns, as it is written."""
        column = replace(column, table=self.name or column.table)
        return Sql(f"{self.alias}.{quoted(column.name)}", column.kind, column, self.alias)


class Scope:
    """What names mean in one select: the columns of its tables, then those around it."""

    def __init__(self, parent: Scope | None) -> None:
        self.parent = parent
        self.relations: list[Relation] = []
        self.merged: set[str] = set()
        self.outputs: dict[str, Sql] = {}

    def find(self, parts: tuple[str, ...]) -> Sql:
        """The column of this name. Raises `QueryRefused` if there is none, or more than one."""
        scope: Scope | None = self
        while scope is not None:
            found = scope._own(parts)
            if found is not None:
                return found
            scope = scope.parent
        valid = [
            f"{relation.name or relation.alias}.{column.name}"
            for relation in self.relations
            for column in relation.columns
        ]
        raise unknown_column(".".join(parts)[:200], valid)

    def _own(self, parts: tuple[str, ...]) -> Sql | None:
        name, table = parts[-1], parts[-2] if len(parts) > 1 else None
        found = [
            relation.value(column)
            for relation in self.relations
            for column in relation.found(table)
            if column.name == name
        ]
        if len(found) > 1 and table is None and name in self.merged:
            weight = sum(one.column.weight for one in found if one.column)
            return Sql(quoted(name), found[0].kind, weight=weight)
        if len(found) > 1:
            raise unplanned(f"Schema error: Ambiguous reference to unqualified field {name[:200]}")
        if not found and table is None:
            return self.outputs.get(name)
        return found[0] if found else None

    def starred(self, star: Star) -> list[Sql]:
        """The columns that a star stands for."""
        found_in = [(relation, relation.found(star.table)) for relation in self.relations]
        if not any(columns for _, columns in found_in):
            raise unplanned(f"Invalid qualifier {star.table}" if star.table else "SELECT * with no tables specified is not valid")  # fmt: skip
        found: list[Sql] = []
        merged: set[str] = set()
        for relation, columns in found_in:
            for column in columns:
                if column.name in star.excepted or column.name in merged:
                    continue
                if star.table is None and column.name in self.merged:
                    merged.add(column.name)
                    found.append(Sql(quoted(column.name), column.kind, bare(column)))
                    continue
                found.append(relation.value(column))
        return found
