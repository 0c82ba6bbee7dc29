"""Engines that come and go, whose calls to the database fail or are slow, as a seed decides."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg

from howdah.errors import StoreUnavailable
from howdah.options import Options
from howdah.service import AnyService
from howdah.store.batch import APPEND_BATCH, COMMIT_BATCH
from howdah.store.lane import LARGE_BYTES
from howdah.worker.engine import Engine
from support.engines import crash, fence

T = TypeVar("T")


class Fleet:
    """Two engines on one database, and what happens to them.

    Args:
        dsn: The database.
        db: A connection of the test's own.
        services: What they execute.
        numbers: Decides what happens.
        options: Of the engines; `always_replay` goes to the engines themselves.

    Attributes:
        happened: How often what was done to them.
    """

    def __init__(
        self,
        dsn: str,
        db: asyncpg.Connection[Any],
        services: Sequence[AnyService],
        numbers: random.Random,
        **options: Any,
    ) -> None:
        self._dsn = dsn
        self._db = db
        self._services = services
        self._numbers = numbers
        self._always_replay = options.pop("always_replay", False)
        self._options = Options(drain_timeout=timedelta(seconds=5), **options)
        self._fault_part = 0.0
        self._is_troubled = False
        self.engines: list[Engine] = []
        self.happened: Counter[str] = Counter()

    async def start(self) -> None:
        """One more engine; as a server does, it begins anew when the database is away."""
        while True:
            engine = Engine(
                dsn=self._dsn,
                options=self._options,
                services=self._services,
                before_call=self._look,
                always_replay=self._always_replay,
            )
            try:
                await engine.start()
                break
            except StoreUnavailable:
                await engine.stop()
        for connection in (engine.lane._main, engine.lane._beside):
            connection.call = self._slow(connection.call)  # type: ignore[method-assign,assignment]
        # Here a few bytes are many: results take the way of large values, requests rarely.
        engine.lane.large_bytes = self._numbers.choice((4, 12, LARGE_BYTES))
        engine.database.fetch = self._slow(engine.database.fetch)  # type: ignore[method-assign,assignment]
        self.engines.append(engine)

    def _look(self, statement: str) -> None:
        # What the lane writes is worth more trouble than what loops look at.
        part = self._fault_part * (4 if statement in (APPEND_BATCH, COMMIT_BATCH) else 1)
        if self._numbers.random() < part:
            self.happened["lost calls"] += 1
            raise StoreUnavailable(doing="testing what happens then")

    def _slow(self, fetch: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def slow_fetch(*arguments: Any) -> T:
            await asyncio.sleep(self._numbers.random() * 0.004)
            rows = await fetch(*arguments)
            await asyncio.sleep(self._numbers.random() * 0.004)
            return rows

        return slow_fetch

    def any(self) -> Engine:
        """One of the engines."""
        return self._numbers.choice(self.engines)

    async def trouble(self, *, fault_part: float, fences: bool) -> None:
        """Lose calls, end engines and start others, until `heal`.

        Args:
            fault_part: Of the looks at the database, how many end in the loss of the call.
            fences: Fence engines that go on, too: they learn of it late.
        """
        self._fault_part = fault_part
        self._is_troubled = True
        while self._is_troubled:
            await asyncio.sleep(self._numbers.random() * 0.4)
            engine = self.any()
            if fences and self._numbers.random() < 0.5:
                self.happened["fences"] += 1
                await fence(self._db, engine.worker_no)
            else:
                self.happened["crashes"] += 1
                self.engines.remove(engine)
                await crash(engine, self._db)
                await self.start()

    def heal(self) -> None:
        """From now on nothing fails; `trouble` ends."""
        self._is_troubled = False
        self._fault_part = 0.0

    async def stop(self) -> None:
        """End all engines."""
        self.heal()
        await asyncio.gather(*(engine.stop() for engine in self.engines))


@asynccontextmanager
async def running_fleet(
    dsn: str,
    db: asyncpg.Connection[Any],
    services: Sequence[AnyService],
    numbers: random.Random,
    **options: Any,
) -> AsyncIterator[Fleet]:
    """A fleet of two engines."""
    fleet = Fleet(dsn, db, services, numbers, **options)
    try:
        for _ in range(2):
            await fleet.start()
        yield fleet
    finally:
        await fleet.stop()


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Try again for as long as the database is said to be away, as a client does."""
    while True:
        try:
            return await act()
        except StoreUnavailable:
            await asyncio.sleep(0.01)
