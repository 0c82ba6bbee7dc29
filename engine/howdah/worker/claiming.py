"""Takes ready work from the queues that this process serves, as much as there is room for.

What was called in a scope is claimed on its own (`Limiting`): the database lets no more of it run than
the rules of concurrency allow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from howdah.errors import StoreUnavailable
from howdah.store.rows import Loaded, load
from howdah.store.units import Final
from howdah.worker.polling import Poll

if TYPE_CHECKING:
    from howdah.worker.attempt import Attempt
    from howdah.worker.engine import Engine

CLAIM = "select * from howdah_core.claim($1, $2, $3, $4, $5, $6, $7)"
CLAIM_LIMITED = "select * from howdah_core.claim_limited($1, $2, $3, $4, $5, $6, $7, $8)"
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
                rows = await self._claim(limit)
            except StoreUnavailable:
                engine.recovery.on_doubt()
                raise
            loaded = load(rows)
            if loaded.is_fenced:
                if (gen, worker_no) == (engine.gen, engine.worker_no):
                    engine.recovery.on_fenced(worker_no)
                return RETRY_SECONDS
            self.take(loaded)
        self.has_backlog = self._may_have_more(loaded, limit)
        if self.has_backlog:
            self.poll.now.set()
        return self.poll.pause_until(loaded.next_at)

    async def _claim(self, limit: int) -> Sequence[Any]:
        engine = self._engine
        return await engine.database.fetch(
            CLAIM, engine.worker_no, engine.gen, engine.queues, engine.queue_deployments,
            engine.queues_pinned, engine.eager_bytes, limit,
        )  # fmt: skip

    def _may_have_more(self, loaded: Loaded, limit: int) -> bool:
        return len(loaded.records) == limit

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
        engine = self._engine
        if final.delay is not None:
            self.poll.wake_in(final.delay.total_seconds())
        if final.run_at is not None:
            self.poll.wake_in((final.run_at - engine.database_now()).total_seconds())
        if final.status == "ready":
            queue = engine.queue_of(attempt.record, attempt.row.service_no)
            engine.on_ready({queue if final.queue is None else final.queue})


class Limiting(Claiming):
    """Claims what was called in a scope: from the negatives of the queues' numbers.

    Scopes and limit keys take turns, some hundreds in a claim; a round is over when all had one.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._last_path: str | None = None
        self._taken = 0

    async def _claim(self, limit: int) -> Sequence[Any]:
        engine = self._engine
        return await engine.database.fetch(
            CLAIM_LIMITED, engine.worker_no, engine.gen, [-queue for queue in engine.queues],
            engine.queue_deployments, [-queue for queue in engine.queues_pinned],
            engine.eager_bytes, limit, self._last_path,
        )  # fmt: skip

    def _may_have_more(self, loaded: Loaded, limit: int) -> bool:
        self._taken += len(loaded.records)
        is_round_over = loaded.last_path is None
        # Those of one claim may have held each other up: another round tells.
        may_have_more = not is_round_over or self._taken > 0
        if is_round_over:
            self._taken = 0
        self._last_path = loaded.last_path
        return may_have_more


@asynccontextmanager
async def no_claims(engine: Engine) -> AsyncIterator[None]:
    """While this is held, no claim of this process is on its way."""
    async with engine.claiming.lock, engine.limiting.lock:
        yield
