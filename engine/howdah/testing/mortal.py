"""A process that can be killed inside this one: its tasks stop where they are, and clean nothing up.

`kill -9` ends a process between two instructions: no `finally`, no `except`, no `async with` is
left. Cancelling tasks would run all of these. So a task of a mortal process is driven by hand, and
once the process is dead it is not driven any more: it waits for ever, frozen. Only when the test
is through with it is it cancelled, to give back what it holds.

What runs in threads cannot be stopped; it goes on, as if the crash had come a little later.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_mortal: ContextVar[Mortal | None] = ContextVar("howdah.testing.mortal", default=None)


class Killed(BaseException):
    """Ends the code that was running when its process was killed."""


class Mortal:
    """The tasks of one such process: those that `run` starts, and all that they start.

    Attributes:
        died: Done when it is killed.
    """

    def __init__(self) -> None:
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_buried = False
        self._context: Context = copy_context()
        self._context.run(_mortal.set, self)

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something as a part of this process."""
        return await asyncio.get_running_loop().create_task(coroutine, context=self._context)

    def kill(self) -> None:
        """Freeze every task at its next step; the one that calls this has to raise `Killed`."""
        if not self.died.done():
            self.died.set_result(None)

    @property
    def is_frozen(self) -> bool:
        """Whether its tasks make no more steps."""
        return self.died.done() and not self._is_buried

    async def bury(self) -> None:
        """Cancel what is frozen, and return when it has ended."""
        self.kill()
        self._is_buried = True
        while pending := [task for task in self._tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=0.2)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # seen: nobody else will ask
        self._tasks.clear()

    def drive(self, coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """The same coroutine, for as long as the process lives."""
        return _Driven(self, coroutine)

    def add(self, task: asyncio.Task[Any]) -> None:
        """A task of this process has begun."""
        self._tasks.add(task)


class _Driven(Coroutine[Any, Any, T]):
    def __init__(self, mortal: Mortal, coroutine: Coroutine[Any, Any, T]) -> None:
        self._mortal = mortal
        self._coroutine = coroutine

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return _freeze() if self._mortal.is_frozen else self._coroutine.send(value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:
        if self._mortal.is_frozen:
            return _freeze()
        error = typ if val is None else val
        return self._coroutine.throw(error)

    def close(self) -> None:
        self._coroutine.close()


def _freeze() -> Any:
    """What a task is given to wait for that waits for ever."""
    return next(asyncio.get_running_loop().create_future().__await__())


@contextmanager
def mortal_tasks() -> Iterator[None]:
    """For the length of a block, tasks that a `Mortal` starts are its own."""
    loop = asyncio.get_running_loop()
    before: Callable[..., Any] | None = loop.get_task_factory()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **facts: Any) -> asyncio.Task[Any]:
        context: Context | None = facts.get("context")
        mortal = _mortal.get() if context is None else context.get(_mortal)
        if mortal is not None:
            coroutine = mortal.drive(coroutine)
        task: asyncio.Task[Any] = (
            asyncio.Task(coroutine, loop=loop, **facts)
            if before is None
            else before(loop, coroutine, **facts)
        )
        if mortal is not None:
            mortal.add(task)
        return task

    loop.set_task_factory(make)
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):
            loop.set_task_factory(before)
