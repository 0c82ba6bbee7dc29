"""Time that is skipped: a test moves the database's clock, and this process goes along.

In production nothing is ever skipped: durable time is the database's, and what waits here by the
monotonic clock agrees with it. Whatever waits for a time asks this part, or is told by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

CLOCK = "select howdah_core.clock()"


class Skipping:
    """How much time was skipped in this process.

    Attributes:
        paused: The steps that wait for their next try, and when it is, by `seconds`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._skipped = 0.0
        self._jumped = asyncio.Event()
        self.paused: dict[asyncio.Task[Any], float] = {}

    def seconds(self) -> float:
        """The monotonic clock, and what was skipped."""
        return monotonic() + self._skipped

    def time(self) -> float:
        """Seconds since the epoch, and what was skipped."""
        return time.time() + self._skipped

    async def pause(self, seconds: float) -> None:
        """Wait before a step's next try; what is skipped counts."""
        task = asyncio.current_task()
        assert task is not None
        until = self.paused[task] = self.seconds() + seconds
        try:
            while (left := until - self.seconds()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._jumped.wait()
        finally:
            del self.paused[task]

    async def on_clock_moved(self, by: timedelta) -> None:
        """The database's clock jumped ahead: what has expired goes, and what is due goes on."""
        engine = self._engine
        self._skipped += by.total_seconds()
        rows = await engine.database.fetch(CLOCK)
        engine.on_clock(rows[0][0])
        # What goes on now must not find what is not there any more.
        await engine.cleaning.run_once()
        # A sleep that was committed before the jump has its timer by then.
        await engine.lane.landed()
        for attempt in list(engine.residents.values()):
            attempt.rearm_timers()
        jumped, self._jumped = self._jumped, asyncio.Event()
        jumped.set()
        engine.promoting.poll.now.set()
        engine.ask_for_work()
