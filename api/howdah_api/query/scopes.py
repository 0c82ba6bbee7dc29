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
    """A table in `from`: its name in the query (None without one), and in what is written."""

    name: str | None
    alias: str
    columns: list[Column]


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
            Sql(f"{relation.alias}.{quoted(name)}", column.kind, column, relation.alias)
            for relation in self.relations
            if table in (None, relation.name)
            for column in relation.columns
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
        relations = [r for r in self.relations if star.table in (None, r.name)]
        if not relations:
            raise unplanned(f"Invalid qualifier {star.table}" if star.table else "SELECT * with no tables specified is not valid")  # fmt: skip
        found: list[Sql] = []
        merged: set[str] = set()
        for relation in relations:
            for column in relation.columns:
                if column.name in star.excepted or column.name in merged:
                    continue
                if star.table is None and column.name in self.merged:
                    merged.add(column.name)
                    found.append(Sql(quoted(column.name), column.kind, bare(column)))
                    continue
                text = f"{relation.alias}.{quoted(column.name)}"
                found.append(Sql(text, column.kind, column, relation.alias))
        return found
