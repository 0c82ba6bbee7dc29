"""The rules of concurrency: set and deleted, all of a request or none of it.

Source: sql/functions/86_limit_rules.sql.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from howdah.errors import RulesRefused
from howdah.store.database import Database

SET_RULES: Final = "select * from howdah_core.set_limit_rules($1)"
DELETE_RULES: Final = "select * from howdah_core.delete_limit_rules($1)"
MALFORMED: Final = "WD025"
UNEXPECTED: Final = "WD026"
TOO_MANY: Final = "WD027"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A rule in force, or disabled: columns as those of `howdah.limit_rules`."""

    pattern: str
    concurrency: int | None
    description: str | None
    is_disabled: bool
    version: int
    modified_at: datetime


async def set_rules(database: Database, rules: Sequence[Mapping[str, Any]]) -> list[LimitRule]:
    """Set rules; returns them as they are now, in this order.

    Args:
        database: Open.
        rules: `{pattern, concurrency?, description?, is_disabled?, precondition?,
            expected_version?}` each.

    Raises:
        RulesRefused: a rule is none (`MALFORMED`), has another version (`UNEXPECTED`), or there
            would be `TOO_MANY`.
        StoreUnavailable: the database is away; they may have been set.

    Durability: they are on disk when this returns, and hold for whatever begins from now on.
    """
    return [LimitRule(*row) for row in await _ask(database, SET_RULES, rules)]


async def delete_rules(database: Database, rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Delete rules (`{pattern, expected_version?}` each); returns the patterns of those there were.

    Raises:
        RulesRefused, StoreUnavailable: as `set_rules`.
    """
    return [row[0] for row in await _ask(database, DELETE_RULES, rules)]


async def _ask(database: Database, statement: str, rules: Sequence[Mapping[str, Any]]) -> Any:
    try:
        return await database.fetch(statement, msgspec.json.encode(rules).decode())
    except asyncpg.PostgresError as error:
        if error.sqlstate not in (MALFORMED, UNEXPECTED, TOO_MANY):
            raise
        said = str(error.args[0])
        raise RulesRefused(
            f"{said[:1].upper()}{said[1:]}.",
            sqlstate=error.sqlstate,
            hint=getattr(error, "hint", None),
        ) from error
