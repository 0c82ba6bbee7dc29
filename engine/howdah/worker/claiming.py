"""Takes ready work from the queues that this process serves, as much as there is room for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from howdah.errors import StoreUnavailable
from howdah.store.rows import Loaded, load
from howdah.store.units import Final
from howdah.worker.polling import Poll

if TYPE_CHECKING:
    from howdah.worker.attempt import Attempt
    from howdah.worker.engine import Engine

CLAIM = "select * from howdah_core.claim($1, $2, $3, $4, $5, $6, $7)"
RETRY_SECONDS = 0.1
"""Pause after a claim that found no room, or that was refused."""


class Claiming:
    """The claim loop's step, and what it learned.

    While `lock` is held by another, no claim is on its way. `has_backlog`: the last claim took as
    much as it asked for, so that the queue may hold more.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.poll = Poll(engine)
        self.lock = asyncio.Lock()
        self.has_backlog = False

    async def run_once(self) -> float:
        """Claim once; returns the seconds to the next claim."""
        engine = self._engine
        if engine.is_draining or engine.recovery.is_running or not engine.queues:
            return self.poll.interval_seconds
        free = engine.free_slots()
        if free <= 0:
            engine.suspending.make_room()
            return RETRY_SECONDS
        limit = min(free, engine.options.claim_batch_max)
        async with self.lock:
            gen, worker_no = engine.gen, engine.worker_no
            try:
                rows = await engine.database.fetch(
                    CLAIM, worker_no, gen, engine.queues, engine.queue_deployments,
                    engine.queues_pinned, engine.eager_bytes, limit,
                )  # fmt: skip
            except StoreUnavailable:
                engine.recovery.on_doubt()
                raise
            loaded = load(rows)
            if loaded.is_fenced:
                if (gen, worker_no) == (engine.gen, engine.worker_no):
                    engine.recovery.on_fenced(worker_no)
                return RETRY_SECONDS
            self.take(loaded)
        self.has_backlog = len(loaded.records) == limit
        if self.has_backlog:
            self.poll.now.set()
        return self.poll.pause_until(loaded.next_at)

    def take(self, loaded: Loaded) -> None:
        """Begin the attempts whose leases came with these rows."""
        engine = self._engine
        if loaded.now is not None:
            engine.on_clock(loaded.now)
        for record in loaded.records:
            earlier = engine.residents.get(record.id)
            if earlier is not None:
                earlier.abandon()
            engine.begin(record)

    def on_given_back(self, attempt: Attempt, final: Final) -> None:
        """A lease was given back: remember when the row is due."""
        if final.delay is not None:
            self.poll.wake_in(final.delay.total_seconds())
        if final.run_at is not None:
            self.poll.wake_in((final.run_at - self._engine.database_now()).total_seconds())
        if final.status == "ready":
            engine = self._engine
            queue = engine.queue_of(attempt.record, attempt.row.service_no)
            engine.on_ready({queue if final.queue is None else final.queue})
