"""What people ask of the database: invocations, journals, services, versions, state.

Reads of the views of schema `howdah` (docs/sql.md), each one statement. Nothing here is part of
what the engine does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from howdah.store.database import Database

Rows = Sequence[asyncpg.Record]

IN_FLIGHT: Final = (
    "scheduled", "inbox", "held", "ready", "running", "suspended", "backing_off", "paused",
)  # fmt: skip
"""The statuses of an invocation that is not completed."""
NOT_BEGUN: Final = ("scheduled", "inbox", "held")
"""Those of them that nobody has begun to execute."""
COMPLETED: Final = "completed"
OUTCOMES: Final = ("succeeded", "failed", "killed")
"""How a completed invocation ended."""

_LISTED: Final = (
    "id, target, service, key, handler, status, outcome, created_at, started_at, modified_at,"
    " completed_at, attempts, waiting_for, coalesce(failure, last_failure) as failure, deployment,"
    " worker, parent_id, clock_timestamp() as now"
)
_INVOCATION: Final = "select *, clock_timestamp() as now from howdah.invocations where id = $1"
_JOURNAL: Final = "select * from howdah.journal where invocation_id = $1 order by index limit $2"
_FAILURES: Final = (
    "select * from howdah.failures where invocation_id = $1 order by attempt desc limit $2"
)
_WAITS: Final = "select * from howdah.waits where invocation_id = $1 order by index, completion_id"
_SERVICES: Final = (
    "select name, kind, description, deployment, revision, handlers, created_at, modified_at,"
    " service_no,"
    " (select count(*)::int from howdah.workers w"
    "   where w.status = 'alive' and 'worker' = any (w.roles)"
    "     and exists (select from howdah.deployments d"
    "                  where s.name = any (d.services)"
    "                    and (d.name = w.deployment or d.kind = 'remote'))) as workers"
    " from howdah.services s where $1::text is null or name = $1 order by name"
)
_HANDLERS: Final = (
    "select * from howdah.handlers where service = $1 and retired_at is null order by name"
)
_DEPLOYMENTS: Final = (
    "select name, services, latest_of, workers, in_flight, created_at, clock_timestamp() as now"
    " from howdah.deployments order by created_at desc, name"
)
_STATE: Final = (
    "select name, value, value_json, value_bytes from howdah.state"
    " where service = $1 and key = $2 order by name"
)
_LIMITS: Final = "select * from howdah.limits order by waiting desc, running desc, place"
_LIMIT_RULES: Final = "select * from howdah.limit_rules order by pattern"
_LOCK: Final = "select * from howdah.locks where service = $1 and key = $2"
_STRANDED: Final = "select deployment, n from howdah_core.stranded()"
_STRANDED_IDS: Final = "select id from howdah_core.stranded_invocations()"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which invocations are meant: those that fit all that is given.

    Attributes:
        statuses, outcomes: An invocation fits when its status, or its outcome, is among them; with
            neither, any does.
        service_no, handler_no: Numbers, as `howdah.services` and `howdah.handlers` tell them.
        key: Of an object or a workflow.
    """

    statuses: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    service_no: int | None = None
    handler_no: int | None = None
    key: str | None = None

    def condition(self) -> tuple[str, list[Any]]:
        """The condition in SQL, and its parameters from $1 on."""
        parts: list[str] = []
        arguments: list[Any] = []

        def parameter(value: Any, type_name: str) -> str:
            arguments.append(value)
            return f"${len(arguments)}::{type_name}"

        ends = []
        if self.statuses:
            ends.append(f"status = any ({parameter(list(self.statuses), 'text[]')})")
        if self.outcomes:
            ends.append(f"outcome = any ({parameter(list(self.outcomes), 'text[]')})")
        if ends:
            parts.append(f"({' or '.join(ends)})")
        if self.service_no is not None:
            parts.append(f"service_no = {parameter(self.service_no, 'int')}")
        if self.handler_no is not None:
            parts.append(f"handler_no = {parameter(self.handler_no, 'int')}")
        if self.key is not None:
            parts.append(f"key = {parameter(self.key, 'text')}")
        return " and ".join(parts) or "true", arguments


async def invocations(database: Database, which: Filter, limit: int) -> Rows:
    """The newest invocations first, at most `limit`, without input and output."""
    condition, arguments = which.condition()
    return await database.fetch(
        f"select {_LISTED} from howdah.invocations where {condition}"
        f" order by id desc limit {limit:d}",
        *arguments,
    )


async def count_invocations(database: Database, which: Filter) -> int:
    """How many there are."""
    condition, arguments = which.condition()
    rows = await database.fetch(
        f"select count(*) from howdah.invocations where {condition}", *arguments
    )
    return int(rows[0][0])


async def invocation_ids(
    database: Database, which: Filter, after: UUID | None, limit: int
) -> list[UUID]:
    """Ids in their order, the oldest first: a page of them that begins behind `after`."""
    condition, arguments = which.condition()
    if after is not None:
        arguments.append(after)
        condition += f" and id > ${len(arguments)}::uuid"
    rows = await database.fetch(
        f"select id from howdah.invocations where {condition} order by id limit {limit:d}",
        *arguments,
    )
    return [row[0] for row in rows]


async def invocation(database: Database, id_: UUID) -> asyncpg.Record | None:
    """Everything that is known of one invocation; None when there is none."""
    rows = await database.fetch(_INVOCATION, id_)
    return rows[0] if rows else None


async def journal(database: Database, id_: UUID, limit: int) -> Rows:
    """The first entries of its journal, the input included."""
    return await database.fetch(_JOURNAL, id_, limit)


async def failures(database: Database, id_: UUID, limit: int) -> Rows:
    """Its last failed attempts, the newest first."""
    return await database.fetch(_FAILURES, id_, limit)


async def waits(database: Database, id_: UUID) -> Rows:
    """What it waits for while it is suspended."""
    return await database.fetch(_WAITS, id_)


async def services(database: Database, name: str | None = None) -> Rows:
    """All services, or the one of this name."""
    return await database.fetch(_SERVICES, name)


async def handlers(database: Database, service: str) -> Rows:
    """The handlers that a service has now."""
    return await database.fetch(_HANDLERS, service)


async def deployments(database: Database) -> Rows:
    """All versions of the code, the newest first."""
    return await database.fetch(_DEPLOYMENTS)


async def state(database: Database, service: str, key: str) -> Rows:
    """The entries of a key's state."""
    return await database.fetch(_STATE, service, key)


async def limits(database: Database) -> Rows:
    """The scopes and limit keys under which something runs or waits; those with waiters first."""
    return await database.fetch(_LIMITS)


async def limit_rules(database: Database) -> Rows:
    """The rules of concurrency."""
    return await database.fetch(_LIMIT_RULES)


async def lock(database: Database, service: str, key: str) -> asyncpg.Record | None:
    """Who holds a key, and how many wait for it; None when nobody does."""
    rows = await database.fetch(_LOCK, service, key)
    return rows[0] if rows else None


async def stranded(database: Database) -> list[tuple[str, int]]:
    """Versions that no worker serves and that invocations wait for, and how many do."""
    return [(row[0], row[1]) for row in await database.fetch(_STRANDED)]


async def stranded_ids(database: Database) -> list[UUID]:
    """Those invocations, the oldest first."""
    return [row[0] for row in await database.fetch(_STRANDED_IDS)]
