"""Threads for plain functions: how many, for whom, and that they end."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from howdah.errors import RetryableError
from howdah.worker.threads import Threads

NAME = contextvars.ContextVar("name", default="")


@pytest.fixture
async def two() -> AsyncIterator[Threads]:
    threads = Threads("test", 2)
    yield threads
    threads.stop()


async def test_no_more_than_the_limit_run_at_once(two: Threads) -> None:
    both = threading.Barrier(2, timeout=20)
    lock, running, most = threading.Lock(), 0, 0

    def work() -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()
        with lock:
            running -= 1
        return threading.current_thread().name

    names = await asyncio.gather(*(two.run(work) for _ in range(20)))
    assert most <= 2
    assert set(names) == {"test 1", "test 2"}


async def test_who_comes_first_is_served_first(two: Threads) -> None:
    held = [await two.acquire(), await two.acquire()]
    assert not two.has_room
    order: list[int] = []
    waiting = [asyncio.ensure_future(two.run(partial(order.append, n))) for n in range(3)]
    await asyncio.sleep(0)
    assert (two.is_short, two.missing) == (True, 3)
    two.free(held.pop())
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2]
    assert not two.is_short
    two.free(held.pop())


@pytest.mark.parametrize("is_freed_first", [True, False])
async def test_who_is_cancelled_while_it_waits_loses_no_thread(
    two: Threads, is_freed_first: bool
) -> None:
    held = [await two.acquire(), await two.acquire()]
    waits = asyncio.ensure_future(two.acquire())
    await asyncio.sleep(0)
    if is_freed_first:
        two.free(held.pop())
        waits.cancel()
    else:
        waits.cancel()
        two.free(held.pop())
    await asyncio.wait([waits])
    assert waits.cancelled()
    assert two.has_room
    assert not two.is_short
    two.free(held.pop())


async def test_what_is_raised_is_raised_here(two: Threads) -> None:
    def raises(error: BaseException) -> None:
        raise error

    with pytest.raises(KeyError):
        await two.run(lambda: raises(KeyError("x")))
    for error in (SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()):
        with pytest.raises(RetryableError, match=type(error).__name__):
            await two.run(partial(raises, error))
    with pytest.raises(RuntimeError, match="StopIteration"):
        await two.run(lambda: next(iter(())))
    assert two.has_room


async def test_a_function_sees_the_variables_of_its_caller_and_changes_a_copy(
    two: Threads,
) -> None:
    NAME.set("ann")

    def look() -> str:
        seen = NAME.get()
        NAME.set("changed")
        return seen

    assert await two.run(look) == "ann"
    assert NAME.get() == "ann"


async def test_threads_end_when_they_are_stopped(two: Threads) -> None:
    gate = threading.Event()
    thread: list[threading.Thread] = []

    def held() -> None:
        thread.append(threading.current_thread())
        gate.wait()

    busy = asyncio.ensure_future(two.run(held))
    idle = await two.run(threading.current_thread)
    two.stop()
    await asyncio.to_thread(idle.join, 20)
    assert not idle.is_alive()
    gate.set()
    await busy
    await asyncio.to_thread(thread[0].join, 20)
    assert not thread[0].is_alive()
