"""Threads for plain functions: daemons, so that one that hangs never keeps its process from ending.

`concurrent.futures` joins its threads when the interpreter exits, and waits for a hanging one for
ever. Everything here is called from the event loop, which alone knows who is idle; the threads only
execute.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, TypeAlias

from howdah.errors import Interrupt, RetryableError

Ended: TypeAlias = tuple[Any, BaseException | None]
"""What a function returned, or what it raised."""
_Job: TypeAlias = tuple[Context, Callable[[], Any], asyncio.Future[Ended]]


class Threads:
    """A bounded number of threads, started when they are needed; whoever finds none queues."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._count = 0
        self._idle: list[Thread] = []
        self._queue: deque[asyncio.Future[Thread]] = deque()
        self._is_stopped = False

    @property
    def is_short(self) -> bool:
        """Whether somebody waits for a thread."""
        return bool(self._queue)

    @property
    def missing(self) -> int:
        """How many wait for a thread."""
        return len(self._queue)

    @property
    def has_room(self) -> bool:
        """Whether `acquire` would return at once."""
        return bool(self._idle) or self._count < self._limit

    async def acquire(self) -> Thread:
        """A thread for the caller alone, who lets it execute one thing or gives it to `free`."""
        if self._idle:
            return self._idle.pop()
        if self._count < self._limit:
            self._count += 1
            return Thread(self, f"{self._name} {self._count}")
        ticket: asyncio.Future[Thread] = asyncio.get_running_loop().create_future()
        self._queue.append(ticket)
        try:
            return await ticket
        except asyncio.CancelledError:
            if ticket.cancelled():
                # Whoever frees a thread in this very moment may have passed it over already.
                with contextlib.suppress(ValueError):
                    self._queue.remove(ticket)
            else:
                self.free(ticket.result())
            raise

    def free(self, thread: Thread) -> None:
        """A thread has nothing to do."""
        while self._queue:
            ticket = self._queue.popleft()
            if not ticket.done():
                ticket.set_result(thread)
                return
        if self._is_stopped:
            thread.stop()
        else:
            self._idle.append(thread)

    async def run(self, action: Callable[[], Any]) -> Any:
        """Execute a plain function without blocking the loop; its result, or what it raised."""
        thread = await self.acquire()
        return result_of(await thread.start(action))

    def stop(self) -> None:
        """End the threads: idle ones now, the others when they have finished what they do."""
        self._is_stopped = True
        for thread in self._idle:
            thread.stop()
        self._idle.clear()


class Thread:
    """One of them."""

    def __init__(self, owner: Threads, name: str) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def start(self, action: Callable[[], Any]) -> asyncio.Future[Ended]:
        """Execute a plain function, in a copy of this context, and be free after that."""
        ended: asyncio.Future[Ended] = self._loop.create_future()
        self._jobs.put((copy_context(), action, ended))
        return ended

    def stop(self) -> None:
        """End it, once it is idle."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            context, action, ended = job
            outcome = outcome_of(functools.partial(context.run, action))
            try:
                self._loop.call_soon_threadsafe(self._on_ended, ended, outcome)
            except RuntimeError:  # the loop is closed: nobody asks any more
                return
            del job, context, action, ended, outcome

    def _on_ended(self, ended: asyncio.Future[Ended], outcome: Ended) -> None:
        self._owner.free(self)
        if not ended.done():
            ended.set_result(outcome)


def outcome_of(action: Callable[[], Any]) -> Ended:
    """Execute a plain function in this thread, whatever it raises."""
    try:
        return action(), None
    except (Exception, Interrupt, BaseExceptionGroup) as error:
        return None, error
    except BaseException as error:
        # SystemExit and the like end a thread, never the process that it belongs to.
        failure = RetryableError(f"{type(error).__name__} was raised in a thread: {error}")
        failure.__cause__ = error
        return None, failure


def result_of(ended: Ended) -> Any:
    """The value, or raise what was raised."""
    value, error = ended
    if error is None:
        return value
    try:
        raise error
    finally:
        # The error's traceback refers to this frame.
        del error, ended
