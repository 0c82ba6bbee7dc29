"""When this process does not know what it holds: a reply was lost, its lease is in doubt, or it
was fenced.

The database knows. The generation is raised first, so that nothing of the old connection can be
written any more; a fenced worker starts over under a new number instead. Then the leases are
compared with the residents.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING

import asyncpg

from howdah.errors import StoreUnavailable
from howdah.store.batch import Batch
from howdah.store.lane import STOPPING
from howdah.store.rows import load
from howdah.store.units import NewInvocation
from howdah.worker.claiming import no_claims

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

NEXT_GENERATION = "select howdah_core.next_generation($1)"
RECONCILE = "select * from howdah_core.reconcile($1, $2, $3, $4, $5)"
EXISTING = "select * from howdah_core.existing($1)"
RECONNECT_SECONDS_MIN = 0.05
RECONNECT_SECONDS_MAX = 2.0


class Recovery:
    """While `is_running`, this process neither claims nor promotes nor sweeps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_running = False

    def on_doubt(self) -> None:
        """It is not known what this process holds: find out soon, after the lane is at rest."""
        self._engine.loops.later(self._recover_doubtful())

    async def _recover_doubtful(self) -> None:
        if not self.is_running:
            await self._recover_at_rest()

    def on_fenced(self, worker_no: int) -> None:
        """Others took this worker's right to write: start over under a new identity."""
        engine = self._engine
        if worker_no == engine.worker_no and not self.is_running and not engine.is_draining:
            logger.warning("this worker was fenced", extra={"worker_no": worker_no})
            engine.abandon_all()
            self.is_running = True
            engine.loops.later(self._recover_at_rest())

    async def _recover_at_rest(self) -> None:
        # What a batch grants while leases are compared would be begun twice.
        async with self._engine.lane.turn:
            await self.recover(Batch([], [], []))

    async def recover(self, unknown: Batch) -> None:
        """A reply was lost: make sure that nothing of it is still running, then ask what holds.

        The caller has the lane's turn.

        Attempts with a unit in the lost batch start again from their journals; requests whose
        invocation is there are accepted, the others go into the next batch. Whether a delivery was
        made cannot be told: its sender is told so.
        """
        engine = self._engine
        self.is_running = True
        beside = await engine.lane.grounded()
        units = unknown.units + beside.units
        accepts = unknown.accepts + beside.accepts
        deliveries = unknown.deliveries + beside.deliveries
        lost = {id(unit.attempt): unit.attempt for unit in units}
        for unit in units:
            engine.lane.free_slots_of(unit)
        for attempt in lost.values():
            attempt.abandon()
        for new in accepts:
            engine.release_slots(int(new.is_granted))
            new.is_granted = False
        Batch([], [], deliveries).refuse_requests("delivering a signal")
        pause = RECONNECT_SECONDS_MIN
        try:
            async with no_claims(engine):
                while True:
                    try:
                        await self._recover_once(accepts)
                        break
                    except (StoreUnavailable, asyncpg.PostgresError) as error:
                        engine.is_up = False
                        logger.warning("the database is away", extra={"error": str(error)})
                        for new in accepts:
                            engine.lane.accept(new)
                        accepts = []
                        engine.lane.refuse_requests()
                        await asyncio.sleep(pause * (0.5 + engine.jitter()))
                        pause = min(pause * 2, RECONNECT_SECONDS_MAX)
        except asyncio.CancelledError:
            Batch([], accepts, []).refuse_requests(STOPPING)
            raise
        finally:
            self.is_running = False
        engine.is_up = True
        engine.ask_for_work()
        logger.info("the database is back", extra={"worker_no": engine.worker_no})

    async def _recover_once(self, accepts: list[NewInvocation]) -> None:
        engine = self._engine
        await engine.lane.connect()
        rows = await engine.database.fetch(NEXT_GENERATION, engine.worker_no)
        gen = rows[0][0]
        if gen is None:
            await self._start_over()
        else:
            engine.gen = gen
        # A lease may be of a handler that was registered a moment ago.
        await engine.registry.refresh(force=True)
        attempts = list(engine.residents.values())
        rows = await engine.database.fetch(
            RECONCILE,
            engine.worker_no,
            engine.gen,
            engine.eager_bytes,
            [attempt.id for attempt in attempts],
            [attempt.epoch for attempt in attempts],
        )
        loaded = load(rows)
        if loaded.is_fenced:
            raise StoreUnavailable(doing="reconciling as a fenced worker")
        if accepts:
            await self._settle(accepts)
        for id_ in loaded.lost:
            attempt = engine.residents.get(id_)
            if attempt is not None:
                attempt.abandon()
        engine.claiming.take(loaded)

    async def _start_over(self) -> None:
        engine = self._engine
        engine.abandon_all()
        await engine.register()
        engine.hints.listener.renew()
        if engine.heartbeat is not None:
            engine.heartbeat.renewed_at = monotonic()

    async def _settle(self, accepts: list[NewInvocation]) -> None:
        """Requests of a lost batch: those that are on disk are accepted, the others sent again."""
        engine = self._engine
        found = await engine.database.fetch(EXISTING, [new.id for new in accepts])
        known = {row[0] for row in found}
        for new in accepts:
            if new.id not in known:
                engine.lane.accept(new)
            elif new.accepted is not None and not new.accepted.done():
                new.accepted.set_result(new)
