"""Repeats every hint that may have been lost: lost wakes, unread mail, undelivered outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

SWEEP = "select * from howdah_core.sweep($1, $2, $3)"
SWEEP_SECONDS = 1.0
SWEEP_MAX = 2000
"""Invocations whose mail is looked at in one sweep."""


class Sweeping:
    """The sweep's step, in every process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._after: UUID | None = None

    async def run_once(self) -> None:
        """Ask the database what is left undone, and do it."""
        engine = self._engine
        if engine.recovery.is_running:
            return
        rows = await engine.database.fetch(SWEEP, engine.worker_no, self._after, SWEEP_MAX)
        self._after = next((row[1] for row in rows if row[0] == b"L"), None)
        if any(row[0] == b"O" for row in rows):
            engine.on_orders()
        queues = {row[2] for row in rows if row[0] == b"Q"}
        if queues:
            engine.on_ready(queues)
        mail = [row[1] for row in rows if row[0] == b"M"]
        if mail:
            await engine.delivering.read_mail(mail)
        engine.delivering.on_deliveries([row for row in rows if row[0] == b"C"])
        await engine.clients.ask_again()
