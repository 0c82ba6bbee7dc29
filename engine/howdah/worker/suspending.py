"""Attempts that wait for something that is not there yet, and when they give their slots up.

One that waited for the inactivity timeout suspends, as does one that sleeps longer than that; when
slots are short or the process drains, waiting is reason enough. So it is for a sync handler when
another one waits for its thread.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from howdah.worker.engine import Engine
    from howdah.worker.local_attempt import LocalAttempt

TICK_SECONDS = 0.1
"""How often idle attempts are looked at and lone steps are written."""
QUIET_TICKS = 5
"""A remote attempt without a word for so long may be waiting: it is asked to suspend if slots are short."""
STUCK_TICKS = 10
"""Every so many ticks attempts that make no progress are looked for."""


class Suspending:
    """The tick's step. `waiting` has those that began to wait, the longest first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.waiting: dict[UUID, LocalAttempt] = {}

    def on_waiting(self, attempt: LocalAttempt) -> None:
        """An attempt waits for something that is not there yet."""
        self.waiting.pop(attempt.id, None)
        self.waiting[attempt.id] = attempt
        if not attempt.inactivity_seconds or (
            attempt.bridge is not None and self._engine.handler_threads.is_short
        ):
            asyncio.get_running_loop().call_soon(attempt.yield_soon)

    async def run_once(self) -> None:
        """Write steps that take long; suspend those that waited long enough."""
        engine = self._engine
        engine.tick += 1
        now = monotonic()
        database_now = engine.database_now()
        engine.flush_all()
        self.free_threads()
        for attempt in list(self.waiting.values()):
            timeout = attempt.inactivity_seconds
            if attempt.is_idle and (
                now - attempt.waiting_since >= timeout
                or attempt.sleeps_longer_than(timeout, database_now)
            ):
                attempt.suspend()
        if engine.tick % STUCK_TICKS == 0:
            for resident in list(engine.residents.values()):
                resident.abort_if_stuck((engine.tick - resident.last_tick) * TICK_SECONDS)

    def make_room(self) -> None:
        """Slots are short: those that wait longest give theirs up."""
        engine = self._engine
        count = 0
        quiet = [
            attempt
            for attempt in engine.residents.values()
            if attempt.id not in self.waiting and engine.tick - attempt.last_tick >= QUIET_TICKS
        ]
        for resident in (*self.waiting.values(), *quiet):
            count += resident.yield_soon()
            if count >= engine.options.claim_batch_max:
                break

    def free_threads(self) -> None:
        """Sync handlers wait for a thread: as many that only wait for others give theirs up."""
        threads = self._engine.handler_threads
        missing = threads.missing
        if missing <= 0:
            return
        for attempt in list(self.waiting.values()):
            if attempt.bridge is None:
                continue
            if attempt.is_idle:
                attempt.suspend()
            elif not attempt.is_leaving:
                continue
            missing -= 1
            if not missing:
                break

    def suspend_all(self) -> None:
        """The process drains: whoever waits goes, and who waits for a thread does not begin."""
        for attempt in list(self._engine.residents.values()):
            attempt.leave_soon()
