"""What arrived for invocations reaches them: mail the running ones, a wake the suspended ones.

All of it is in the tables before anything here begins, and the sweep repeats what was missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from howdah.store.operations import DELIVER_SINKS, SINKS_MAX

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

WAKE = "select * from howdah_core.wake($1)"
READ_MAIL = "select * from howdah_core.read_mail($1)"


class Delivering:
    """Carries mail, wakes and outcomes from the tables to those they are for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def on_wake(self, ids: list[UUID]) -> None:
        """Suspended invocations have mail."""
        self._engine.loops.later(self._wake(ids))

    async def _wake(self, ids: list[UUID]) -> None:
        rows = await self._engine.database.fetch(WAKE, ids)
        if rows:
            self._engine.on_ready({row[1] for row in rows})

    async def read_mail(self, ids: list[UUID]) -> None:
        """Hand the mail of invocations that are resident here to their attempts.

        Only to attempts that were there before the mailbox was read: what a later one found there
        when it began is in its journal.
        """
        residents = self._engine.residents
        before = {id_: residents[id_] for id_ in ids if id_ in residents}
        if not before:
            return
        for row in await self._engine.database.fetch(READ_MAIL, list(before)):
            attempt = before[row[0]]
            if residents.get(row[0]) is attempt and attempt.is_open:
                attempt.consume(row[1], row[2], row[3], row[5], row[7], row[6], row[4])

    def on_sinks(self, ids: list[UUID]) -> None:
        """Others wait for these outcomes."""
        self._engine.loops.later(self._deliver_sinks(ids))

    async def _deliver_sinks(self, ids: list[UUID]) -> None:
        self.on_deliveries(await self._engine.database.fetch(DELIVER_SINKS, ids, SINKS_MAX))

    def on_deliveries(self, rows: Sequence[Any]) -> None:
        """Act on the rows of deliver_sinks: who is to be woken, has mail, or waits as a client."""
        engine = self._engine
        wakes = [row[1] for row in rows if row[0] == b"W"]
        mails = [(row[1], row[2]) for row in rows if row[0] == b"M" and row[2] is not None]
        if wakes:
            self.on_wake(wakes)
        if mails:
            engine.on_mail(mails)
        own = []
        for row in rows:
            if row[0] == b"C":
                if row[2] == engine.worker_no:
                    own.append(row[1])
                else:
                    engine.hints.tell_completed(row[2], row[1])
        if own:
            engine.loops.later(engine.clients.ask(own))
