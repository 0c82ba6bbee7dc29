"""Clients that wait for an invocation to complete.

A client that leaves is noticed and its wait released; the invocation goes on. When the process
drains, the clients still waiting are told where to ask again. Neither touches what is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final
from uuid import UUID

from howdah.store.units import Outcome
from howdah_api.ingress.bodies import Intake
from howdah_api.problems import ClientLeft, unavailable

# Most invocations end sooner than this, and watching the connection costs a task.
WATCH_AFTER_SECONDS: Final = 0.25


class Waits:
    """All waits of one process."""

    def __init__(self) -> None:
        self._pending: set[asyncio.Future[Outcome]] = set()
        self._is_closed = False

    async def outcome(
        self, invocation_id: UUID, outcome: Awaitable[Outcome], intake: Intake
    ) -> Outcome:
        """Wait for `outcome` for as long as the client stays.

        Raises:
            ClientLeft: the client closed its connection. The invocation is not cancelled.
            Problem: 503 when the process is stopping; the invocation goes on elsewhere.
        """
        future = asyncio.ensure_future(outcome)
        if future.done():
            return future.result()
        if self._is_closed:
            future.cancel()
            raise _stopping(invocation_id)
        watch = _Watch(future, intake)
        self._pending.add(future)
        try:
            return await future
        except asyncio.CancelledError:
            if watch.has_left:
                raise ClientLeft from None
            if self._is_closed:
                raise _stopping(invocation_id) from None
            raise
        finally:
            self._pending.discard(future)
            watch.stop()

    def close(self) -> int:
        """Release every waiting client with a 503; return how many there were."""
        self._is_closed = True
        for future in list(self._pending):
            future.cancel()
        return len(self._pending)


class _Watch:
    """Watches the connection of one waiting client, from `WATCH_AFTER_SECONDS` on."""

    __slots__ = ("_future", "_intake", "_task", "_timer", "has_left")

    def __init__(self, future: asyncio.Future[Outcome], intake: Intake) -> None:
        self._future = future
        self._intake = intake
        self._task: asyncio.Task[None] | None = None
        self.has_left = False
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(WATCH_AFTER_SECONDS, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        await self._intake.wait_for_disconnect()
        self.has_left = True
        self._future.cancel()

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()


def _stopping(invocation_id: UUID) -> Exception:
    text = str(invocation_id)
    return unavailable(
        f"the server is stopping; the invocation goes on. Ask again at /restate/attach/{text}",
        headers=[(b"x-restate-id", text.encode())],
    )
