"""Gives back all leases before a process ends, so that nobody has to wait for them to expire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from howdah.worker.claiming import no_claims

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

LOOK_SECONDS = 0.1
"""How often the residents are asked again to go."""
RELEASE_SECONDS = 5.0
"""How long a stopping process waits for the commit that gives its last leases back."""


class Draining:
    """`one_ended` is set whenever an attempt left this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.one_ended = asyncio.Event()

    async def drain(self) -> None:
        """Give back all leases: waiting attempts at once, running ones after a grace time."""
        engine = self._engine
        engine.is_draining = True
        engine.serve_nothing()
        deadline = monotonic() + engine.options.drain_timeout.total_seconds()
        # What was granted or claimed in this very moment becomes resident first.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                async with no_claims(engine):
                    pass
                await engine.lane.settled()
        await self._until_empty(deadline, self._suspend_all)
        for attempt in list(engine.residents.values()):
            attempt.release()
        await self._until_empty(monotonic() + RELEASE_SECONDS, engine.flush_all)

    def _suspend_all(self) -> None:
        self._engine.suspending.suspend_all()
        self._engine.flush_all()

    async def _until_empty(self, deadline: float, step: Callable[[], None]) -> None:
        engine = self._engine
        while engine.residents and engine.is_up and (left := deadline - monotonic()) > 0:
            step()
            self.one_ended.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await self.one_ended.wait()
