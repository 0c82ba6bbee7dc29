"""Observes the other workers and takes the right to write from those that stopped beating.

Staleness is what this process saw unchanged for one lease on its own monotonic clock; what it saw
is forgotten when its own view of the database was interrupted.
"""

from __future__ import annotations

import logging
from time import monotonic

import asyncpg

from howdah.store.database import Database

logger = logging.getLogger(__name__)

OBSERVE_WORKERS = "select * from howdah_core.observe_workers()"
FENCE = "select howdah_core.fence($1, $2)"
TERMINATE_HOLDERS = "select howdah_core.terminate_holders($1)"
RECLAIM = "select * from howdah_core.reclaim($1)"
RECLAIM_MAX = 1000
DISCONNECTED_SECONDS = 1.5
"""How long a worker whose connection ended may stay silent: time enough to connect again."""
GAP_SECONDS = 3.0
"""A pause between two observations that makes what was seen before worthless."""


class Fencing:
    """One process's view of the others."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._seen: dict[int, tuple[int, float]] = {}
        self._observed_at = monotonic()

    def forget(self) -> None:
        """The database was away: nobody is fenced for that."""
        self._seen.clear()

    async def run_once(self, own_no: int) -> int:
        """Look once; fence who is stale. Returns how many were fenced."""
        now = monotonic()
        if now - self._observed_at > GAP_SECONDS:
            self.forget()
        rows = await self._database.fetch(OBSERVE_WORKERS)
        now = self._observed_at = monotonic()
        seen: dict[int, tuple[int, float]] = {}
        stale: list[tuple[int, int]] = []
        for no, beat, is_connected in rows:
            if no == own_no:
                continue
            known = self._seen.get(no)
            seen[no] = known if known is not None and known[0] == beat else (beat, now)
            limit = self._lease_seconds
            if not is_connected:
                limit = min(limit, DISCONNECTED_SECONDS)
            if now - seen[no][1] >= limit:
                stale.append((no, beat))
        self._seen = seen
        count = 0
        for no, beat in stale:
            if await self._fence(no, beat):
                count += 1
                logger.warning("a worker was fenced", extra={"worker_no": no})
        return count

    async def _fence(self, no: int, beat: int) -> bool:
        for _ in range(3):
            try:
                rows = await self._database.fetch(FENCE, no, beat)
                return bool(rows[0][0])
            except asyncpg.LockNotAvailableError:
                await self._database.fetch(TERMINATE_HOLDERS, no)
        return False

    async def reclaim(self) -> dict[int, int]:
        """Make invocations of fenced workers ready; queue to count."""
        rows = await self._database.fetch(RECLAIM, RECLAIM_MAX)
        return {row[0]: row[1] for row in rows}
