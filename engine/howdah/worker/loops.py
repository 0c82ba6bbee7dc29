"""What one process has running: its loops, each a shell around one step, and work on the side.

A step may fail because the database is away; its loop goes on. Nothing here outlives `stop`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import asyncpg

from howdah.errors import StoreUnavailable

logger = logging.getLogger(__name__)

CANCEL_SECONDS = 0.2
"""How long a loop may take to end before it is cancelled again."""


class Loops:
    """The tasks of one process.

    Args:
        on_failure: Called when a step of `every` failed: the view of the database has a gap.
    """

    def __init__(self, on_failure: Callable[[], None]) -> None:
        self._on_failure = on_failure
        self._tasks: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run something that ends only when it is stopped."""
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(_tell_failure)
        self._tasks.append(task)

    def every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step, again and again, with this pause before each."""
        self.start(self._every(seconds, step))

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await step()
            except (StoreUnavailable, asyncpg.PostgresError) as error:
                self._on_failure()
                logger.debug("a loop's step failed", extra={"error": str(error)})
            except Exception:
                logger.exception("a loop's step failed in a way that nobody foresaw")

    def later(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Work for the side: it may fail when the database is away; the sweep repeats it."""
        task = asyncio.get_running_loop().create_task(self._quietly(coroutine))
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        # When it is stopped before it began, nobody has awaited this.
        task.add_done_callback(lambda _: coroutine.close())

    @staticmethod
    async def _quietly(coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except (StoreUnavailable, asyncpg.PostgresError) as error:
            logger.debug("left to the sweep", extra={"error": str(error)})
        except Exception:
            logger.exception("work on the side failed in a way that nobody foresaw")

    async def stop(self) -> None:
        """Cancel everything, and return when it has ended."""
        # Until 3.12 `wait_for`, which drivers use, may swallow a cancellation: ask again.
        pending: set[asyncio.Task[None]] = {*self._tasks, *self._background}
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_SECONDS)


def _tell_failure(task: asyncio.Task[None]) -> None:
    """A loop that ends by itself is a mistake in its code; without it the process is of no use."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.critical("a loop ended; restart this process", exc_info=error)
