"""What operators ask: cancel, kill, pause, resume, purge, restart; and who is to be told of it.

Postgres decides and answers in one call. What it answers also names those who hear of it late
otherwise: a process whose lease was taken away, queues with work, a caller, a client. An engine
acts on that itself (`worker/operating.py`); a command has an `Operator`, which tells the engines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from howdah.store.database import Database
from howdah.store.wakeups import (
    MAILS,
    NOTIFY,
    ORDERS,
    WORK,
    channel_of,
    completed_word,
    mail_word,
    payloads_of,
    taken_word,
)

OPERATE: Final = "select * from howdah_core.operate($1, $2, $3)"
RESTART_AS_NEW: Final = "select * from howdah_core.restart_as_new($1, $2, $3)"
NEXT_ORDERS: Final = "select * from howdah_core.next_orders($1)"
CARRY_OUT: Final = "select * from howdah_core.carry_out($1)"
DELIVER_SINKS: Final = "select * from howdah_core.deliver_sinks($1, $2)"

ORDERS_MAX: Final = 200
SINKS_MAX: Final = 1000
TRIES_MAX: Final = 20
TRY_SECONDS: Final = 0.05
"""Pause before an operation is tried again whose invocation changed hands meanwhile."""
ORDER_ROUNDS_MAX: Final = 10_000
"""A killed invocation has callees, and they have theirs: each round carries out some orders."""

Fetch = Callable[..., Awaitable[Sequence[Any]]]
_LOCKED: Final = asyncpg.LockNotAvailableError


async def operate(
    fetch: Fetch, verb: str, id_: UUID, deployment: str | None = None
) -> tuple[str, Any]:
    """Do one operation on one invocation.

    Args:
        fetch: Executes one statement, committed when it returns.
        verb: cancel, kill, pause, resume, purge or purge_journal.
        id_: The invocation.
        deployment: For resume: `latest`, or a deployment's name; None keeps the version.

    Returns:
        The word with which the database answers, and its row, which says who is to be told; the
        row is None when the word is `busy`. Words: done, accepted, unknown, completed,
        'not completed', 'not started', 'not running', 'still running', 'unknown deployment'; busy
        when the invocation stayed locked, or changed hands each time.

    Raises:
        StoreUnavailable: the database is away; the operation may have been carried out.

    Durability: what the word says is on disk. Source: sql/functions/66_operate.sql.
    """
    return await _tried(lambda: fetch(OPERATE, id_, verb, deployment))


async def restart_as_new(
    fetch: Fetch, id_: UUID, from_entry: int = 0, deployment: str | None = None
) -> tuple[str, UUID | None]:
    """Begin a completed invocation again under a new id; returns a word and that id.

    Args:
        fetch: Executes one statement, committed when it returns.
        id_: The completed invocation.
        from_entry: The last journal entry that the new one keeps; 0 keeps the input alone.
        deployment: `latest` (as None), `keep`, or a deployment's name.

    Source: sql/functions/67_restart.sql, which lists the words.
    """
    word, row = await _tried(lambda: fetch(RESTART_AS_NEW, id_, from_entry, deployment))
    return word, None if row is None else row["new_id"]


async def _tried(ask: Callable[[], Awaitable[Sequence[Any]]]) -> tuple[str, Any]:
    for _ in range(TRIES_MAX):
        try:
            row = (await ask())[0]
        except _LOCKED:
            row = None
        if row is not None and row["result"] != "again":
            return str(row["result"]), row
        await asyncio.sleep(TRY_SECONDS)
    return "busy", None


async def carry_out_orders(fetch: Fetch, on_done: Callable[[Any], None]) -> int:
    """Carry out the oldest orders that somebody left, one transaction each.

    Args:
        fetch: Executes one statement, committed when it returns.
        on_done: Called with each one's row: that of `operate`, with the invocation and the verb.

    Returns:
        How many were carried out: more may be there when it is not 0.
    """
    count = 0
    for order in await fetch(NEXT_ORDERS, ORDERS_MAX):
        try:
            rows = await fetch(CARRY_OUT, order["seq"])
        except _LOCKED:
            continue
        for row in rows:
            count += row["result"] != "again"
            on_done(row)
    return count


class Operator:
    """Operations of a process that has no engine, such as a command: it only tells the engines.

    Args:
        database: Open.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._words: dict[str, dict[str, None]] = {}
        self._has_orders = False
        self._with_sinks: list[UUID] = []

    async def operate(self, verb: str, id_: UUID, deployment: str | None = None) -> str:
        """As the function above; returns the word. Engines hear of it with the next `tell`."""
        word, row = await operate(self._database.fetch, verb, id_, deployment)
        if row is not None:
            self._note(id_, row)
        return word

    async def restart_as_new(
        self, id_: UUID, from_entry: int = 0, deployment: str | None = None
    ) -> tuple[str, UUID | None]:
        """As the function above. The database tells the engines itself."""
        return await restart_as_new(self._database.fetch, id_, from_entry, deployment)

    async def tell(self) -> None:
        """Tell the engines what was done, and end the callees of what was killed.

        A process that dies before costs time only: the engines' sweeps find the same.
        """
        for _ in range(ORDER_ROUNDS_MAX):
            if not self._has_orders:
                break
            self._has_orders = False
            done = await carry_out_orders(
                self._database.fetch, lambda row: self._note(row["id"], row)
            )
            self._has_orders = self._has_orders or done > 0
        ids, self._with_sinks = self._with_sinks, []
        if ids:
            self._note_deliveries(await self._database.fetch(DELIVER_SINKS, ids, SINKS_MAX))
        words, self._words = self._words, {}
        channels, payloads = payloads_of(words)
        if channels:
            await self._database.fetch(NOTIFY, channels, payloads)

    def _note(self, id_: UUID, row: Any) -> None:
        if row["worker"] is not None:
            self._add(channel_of(row["worker"]), taken_word(id_))
        for queue in row["queues"] or ():
            self._add(WORK, str(queue))
        if row["mail_id"] is not None:
            if row["mail_worker"] is None:
                self._add(MAILS, str(row["mail_id"]))
            else:
                self._add(channel_of(row["mail_worker"]), mail_word(row["mail_id"]))
        if row["has_sinks"]:
            self._with_sinks.append(id_)
        if row["origin"] is not None:
            self._add(channel_of(row["origin"]), completed_word(id_))
        if row["orders"]:
            self._has_orders = True
            self._add(ORDERS, "")

    def _note_deliveries(self, rows: Iterable[Any]) -> None:
        for what, id_, worker_no in rows:
            if what == b"C":
                self._add(channel_of(worker_no), completed_word(id_))
            elif what == b"M" and worker_no is not None:
                self._add(channel_of(worker_no), mail_word(id_))
            else:
                self._add(MAILS, str(id_))

    def _add(self, channel: str, word: str) -> None:
        self._words.setdefault(channel, {})[word] = None
