"""Lets due delayed sends enter their keys' inboxes. What has no key is claimed when it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from howdah.worker.polling import Poll

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

PROMOTE = "select * from howdah_core.promote($1, $2, $3)"
PROMOTE_MAX = 200


class Promoting:
    """The promote loop's step. It runs in every process: an ingress promotes what it accepted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.poll = Poll(engine)

    async def run_once(self) -> float:
        """Promote once; returns the seconds to the next time."""
        engine = self._engine
        if engine.is_draining or engine.recovery.is_running:
            return self.poll.interval_seconds
        rows = await engine.database.fetch(PROMOTE, engine.worker_no, engine.gen, PROMOTE_MAX)
        queues = {row[0] for row in rows if row[0] is not None}
        if queues:
            engine.on_ready(queues)
            self.poll.now.set()
        return self.poll.pause_until(rows[-1][1] if rows else None)
