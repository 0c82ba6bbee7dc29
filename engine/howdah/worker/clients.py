"""Clients of this process that wait for outcomes, and how they get them.

An outcome is read from what is stored, or comes from the attempt that completed here, after its
commit. A client that left costs nothing: its outcome stays in the table.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from howdah.errors import NotFound
from howdah.store.registry import HandlerRow
from howdah.store.units import Outcome

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

READ_OUTCOMES = "select * from howdah_core.read_outcomes($1)"
WATCH = "select * from howdah_core.watch($1, $2)"
FIND_IDEMPOTENT = "select howdah_core.find_idempotent($1, $2, $3, $4)"
ASK_MAX = 1000
"""Invocations that are asked for in one statement."""


class Clients:
    """Who waits here, by invocation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[UUID, list[asyncio.Future[Outcome]]] = {}
        self._seen_waiting: set[UUID] = set()

    def add(self, id_: UUID) -> asyncio.Future[Outcome]:
        """A client that waits from now on."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(id_, []).append(future)
        return future

    def forget(self, id_: UUID, future: asyncio.Future[Outcome]) -> None:
        """This client waits no longer."""
        waiting = self._waiting.get(id_)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[id_]
        future.cancel()

    def fail(self, error: Exception) -> None:
        """Nobody will be answered any more: raise this in all of them."""
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
                    future.exception()
        self._waiting.clear()

    async def attach(self, invocation_id: UUID) -> Outcome:
        """The outcome of an invocation, when it has one. Raises `NotFound`."""
        client = self.add(invocation_id)
        try:
            rows = await self._engine.database.fetch(WATCH, self._engine.worker_no, invocation_id)
            stored = _stored(rows[0], invocation_id)
            if stored is not None:
                return stored
            return await client
        finally:
            self.forget(invocation_id, client)

    async def output(self, invocation_id: UUID) -> Outcome | None:
        """The outcome, or None when it is not completed yet. Raises `NotFound`."""
        rows = await self._engine.database.fetch(READ_OUTCOMES, [invocation_id])
        return _stored(rows[0], invocation_id)

    async def find_idempotent(
        self,
        handler: HandlerRow,
        key: str | None,
        idempotency_key: str,
        scope: str | None = None,
    ) -> UUID | None:
        """The invocation that was accepted with this idempotency key, if any."""
        rows = await self._engine.database.fetch(
            FIND_IDEMPOTENT, handler.no, key, idempotency_key, scope
        )
        found: UUID | None = rows[0][0]
        return found

    def on_outcome(self, outcome: Outcome, origin: int | None) -> None:
        """An invocation completed here: answer those who wait for it, wherever they are."""
        waiting = self._waiting.pop(outcome.id, None)
        if waiting is not None:
            for future in waiting:
                if not future.done():
                    future.set_result(outcome)
        elif origin is not None and origin != self._engine.worker_no:
            self._engine.hints.tell_completed(origin, outcome.id)

    def on_completed(self, ids: list[UUID]) -> None:
        """These completed elsewhere: read the outcomes that somebody here waits for."""
        self._engine.loops.later(self.ask([id_ for id_ in ids if id_ in self._waiting]))

    async def ask(self, ids: list[UUID]) -> None:
        """Read these outcomes, and answer with those that are there."""
        if not ids:
            return
        for row in await self._engine.database.fetch(READ_OUTCOMES, ids):
            if row[0] == b"O":
                self.on_outcome(_outcome(row), None)
            elif row[0] == b"U":
                self._refuse(row[1])

    def _refuse(self, id_: UUID) -> None:
        """An invocation that was waited for is gone: purged, or its retention is over."""
        for future in self._waiting.pop(id_, ()):
            if not future.done():
                future.set_exception(NotFound(what="invocation", name=id_))

    async def ask_again(self) -> None:
        """Ask for all that were waited for at the last call already: their hint may be lost."""
        others = [id_ for id_ in self._waiting if id_ not in self._engine.residents]
        again = [id_ for id_ in others if id_ in self._seen_waiting]
        self._seen_waiting = set(others)
        for first in range(0, len(again), ASK_MAX):
            await self.ask(again[first : first + ASK_MAX])


def _stored(row: Any, invocation_id: UUID) -> Outcome | None:
    if row[0] == b"U":
        raise NotFound(what="invocation", name=invocation_id)
    return _outcome(row) if row[0] == b"O" else None


def _outcome(row: Any) -> Outcome:
    metadata = row["metadata"]
    return Outcome(
        row["id"],
        row["outcome"],
        row["value"] or b"",
        row["code"],
        row["message"],
        msgspec.json.decode(metadata) if metadata else None,
        row["expires_at"],
        row["handler"],
    )
