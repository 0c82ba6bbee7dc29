"""When to ask the database for rows that are due: at intervals, when one is due, or when told.

What sleeps in the database costs no timer here: each poll learns when the next row is due.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from howdah.errors import StoreUnavailable

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

POLL_PART_MAX = 1.25
"""A poll comes after at most this many poll intervals."""


class Poll:
    """The pace of one polling loop. Setting `now` ends its pause."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.interval_seconds = engine.options.poll_interval.total_seconds()
        self.now = asyncio.Event()

    def wake_in(self, seconds: float) -> None:
        """Ask when a row is due, unless the loop asks before that anyway."""
        if seconds <= self.interval_seconds * POLL_PART_MAX:
            asyncio.get_running_loop().call_later(max(seconds, 0.0), self.now.set)

    def pause_until(self, next_at: datetime | None) -> float:
        """Seconds to the next poll: about an interval, less when the next row is due before."""
        pause = self.interval_seconds * (0.75 + self._engine.jitter() / 2)
        if next_at is not None:
            pause = min(pause, max((next_at - self._engine.database_now()).total_seconds(), 0.0))
        return pause

    async def run(self, step: Callable[[], Awaitable[float]]) -> None:
        """Take a step, which returns the seconds to pause after it, until cancelled."""
        pause = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.now.wait()
            self.now.clear()
            try:
                pause = await step()
            except (StoreUnavailable, asyncpg.PostgresError) as error:
                logger.warning("a poll failed", extra={"error": str(error)}, exc_info=True)
                pause = self.interval_seconds
            except Exception:
                logger.exception("a poll failed in a way that nobody foresaw")
                self._engine.recovery.on_doubt()
                pause = self.interval_seconds
