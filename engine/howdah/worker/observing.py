"""Doubts this process's own lease first, then the others', and frees what fenced workers held."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

OBSERVE_SECONDS = 1.0
LEASE_PART = 0.8
"""After this part of the lease without a beat the residents are dropped."""


class Observing:
    """The observe loop's step, in every process; `fencing.py` decides who is stale."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run_once(self) -> None:
        """Fence who stopped beating, and make what fenced workers held ready again."""
        engine = self._engine
        if engine.residents and self._is_in_doubt():
            logger.warning("the lease could not be renewed", extra={"worker_no": engine.worker_no})
            engine.abandon_all()
            engine.recovery.on_doubt()
        await engine.fencing.run_once(engine.worker_no)
        freed = await engine.fencing.reclaim()
        if freed:
            logger.info("invocations were reclaimed", extra={"count": sum(freed.values())})
            engine.on_ready(set(freed))

    def _is_in_doubt(self) -> bool:
        heartbeat = self._engine.heartbeat
        assert heartbeat is not None
        lease_seconds = self._engine.options.lease.total_seconds()
        return monotonic() - heartbeat.renewed_at > lease_seconds * LEASE_PART
