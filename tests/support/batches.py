"""Calls of commit_batch, argument by argument, by a worker that exists only in the database."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[Any]"

_SERVICES = """[
  {"name": "Seat", "kind": "object", "handlers": [
    {"name": "hold", "kind": "exclusive", "input_required": false, "is_public": true,
     "idempotency_retention_seconds": 60, "journal_retention_seconds": 60}]},
  {"name": "Mailer", "kind": "service", "handlers": [
    {"name": "send", "kind": "stateless", "input_required": false, "is_public": true,
     "idempotency_retention_seconds": 60, "journal_retention_seconds": 60}]}
]"""
SEAT, MAILER = 1, 2


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def register_workers(db: Connection) -> int:
    """Two registered workers, of which this is the first; object Seat and service Mailer."""
    await db.execute("select howdah_core.register_deployment('d', $1)", _SERVICES)
    for _ in range(2):
        await db.execute(
            "select howdah_core.register_worker($1, 'h', 1, '{worker}', 10, 1, '0')", uuid.uuid4()
        )
    return 1


async def commit(connection: Connection, worker: int, **given: Any) -> list[Any]:
    """One call of commit_batch: arguments by name, all others empty."""
    given = {"p_worker": worker, "p_gen": 1, **given}
    wanted = await connection.fetch(
        "select a.name, a.type::regtype::text as type from pg_proc p"
        " cross join unnest(p.proargnames[:p.pronargs], p.proargtypes::oid[]) a(name, type)"
        " where p.oid = 'howdah_core.commit_batch'::regproc"
    )
    empty = {"boolean": "false", "integer": "null"}
    arguments = [
        f"{name} => ${list(given).index(name) + 1}"
        if name in given
        else f"{name} => {empty.get(type_, repr('{}'))}"
        for name, type_ in wanted
    ]
    query = f"select what, id, n, ref from howdah_core.commit_batch({', '.join(arguments)})"
    return list(await connection.fetch(query, *given.values()))


def letters(rows: list[Any]) -> list[bytes]:
    return [row["what"] for row in rows]


async def accept(
    connection: Connection,
    worker: int,
    *ids: UUID,
    service: int = SEAT,
    key: str | None = "k",
    keys: list[str] | None = None,
    idem: str | None = None,
    delay: Any = None,
    parent: UUID | None = None,
) -> list[Any]:
    """Requests from outside, or calls (completion 1) of `parent`, granted where nothing is in the way."""
    n = len(ids)
    unit = {"u_id": [parent], "u_epoch": [1], "u_final": [""]} if parent else {}
    entry = (
        {
            "j_u": [1],
            "j_idx": [1],
            "j_kind": [5],
            "j_cid": [1],
            "j_name": ["Seat/k/hold"],
            "j_value": [b""],
            "j_ref": [ids[0]],
            "j_detail": ['{"idempotency_key": "x"}' if idem else None],
        }
        if parent
        else {}
    )
    return await commit(
        connection,
        worker,
        **unit,
        **entry,
        n_u=[1 if parent else 0] * n,
        n_id=list(ids),
        n_service=[service] * n,
        n_handler=[service] * n,
        n_key=keys or [key] * n,
        n_exclusive=[service == SEAT] * n,
        n_cid=[1 if parent else None] * n,
        n_input=[b""] * n,
        n_headers=[None] * n,
        n_idem=[idem] * n,
        n_delay=[delay] * n,
        n_grant=[delay is None] * n,
        n_waits=[False] * n,
    )
