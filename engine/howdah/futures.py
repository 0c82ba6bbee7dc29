"""Durable futures: results that survive the process, and how to wait for several of them.

A future starts when it is made. It may be awaited more than once, later, or never. Which of several
futures is first is decided by the journal, so the answer is the same on every replay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from howdah.errors import UsageError
from howdah.machine.entries import Entry
from howdah.machine.machine import WaitKey

T = TypeVar("T")


class Waiter(Protocol):
    """What a future needs of the attempt that made it."""

    async def wait(self, keys: tuple[WaitKey, ...], wait_all: bool) -> None:
        """Return when any (or all) of the completions are there."""
        ...

    def completion(self, key: WaitKey) -> Entry | None:
        """The completion, when the handler may see it already."""
        ...


class DurableFuture(ABC, Generic[T]):
    """The result of a step, a call, a timer. `await` it for its value.

    Raises:
        TerminalError: it failed for good; the message, code and metadata are those recorded.

    Durability: what it stands for is on disk before its value is seen; replay reads it.
    """

    __slots__ = ("_key", "_waiter")

    def __init__(self, waiter: Waiter, key: WaitKey) -> None:
        self._waiter = waiter
        self._key = key

    def __await__(self) -> Generator[Any, Any, T]:
        return self._value().__await__()

    async def _value(self) -> T:
        entry = self._entry()
        if entry is None:
            await self._waiter.wait((self._key,), False)
            entry = self._entry()
            assert entry is not None
        return self._decode(entry)

    def _entry(self) -> Entry | None:
        """The journal entry that completes it, when the handler may see that already."""
        return self._waiter.completion(self._key)

    @abstractmethod
    def _decode(self, entry: Entry) -> T: ...


class DurableCallFuture(DurableFuture[T]):
    """The result of a call to another handler."""

    @abstractmethod
    async def invocation_id(self) -> str:
        """The callee's invocation id."""

    @abstractmethod
    async def cancel_invocation(self) -> None:
        """Ask the callee to stop: it gets a `Cancelled` at its next await."""


class SendHandle(ABC):
    """A message that was sent: there is no result to wait for."""

    @abstractmethod
    async def invocation_id(self) -> str:
        """The callee's invocation id; with an idempotency key that of the first such send."""

    @abstractmethod
    async def cancel_invocation(self) -> None:
        """Ask the callee to stop: it gets a `Cancelled` at its next await."""


def _check(futures: Sequence[DurableFuture[Any]], what: str) -> None:
    if not futures:
        raise UsageError(f"{what}() needs at least one durable future.")
    for future in futures:
        if not isinstance(future, DurableFuture):
            raise UsageError(
                f"{what}() takes durable futures, not {type(future).__name__}.",
                hint="Pass what ctx.run, ctx.sleep or ctx.object_call returned, without await.",
            )


async def _wait_any(futures: Sequence[DurableFuture[Any]]) -> None:
    if all(future._entry() is None for future in futures):
        await futures[0]._waiter.wait(tuple(future._key for future in futures), False)


def first_done(futures: Sequence[DurableFuture[Any]]) -> int:
    """The index of the one whose completion stands first in the journal; one of them is done."""
    done = [
        (entry.idx, index)
        for index, future in enumerate(futures)
        if (entry := future._entry()) is not None
    ]
    return min(done)[1]


async def gather(*futures: DurableFuture[Any]) -> list[DurableFuture[Any]]:
    """Wait until all futures are done, failed ones included; return them in the order given."""
    _check(futures, "gather")
    pending = tuple(future._key for future in futures if future._entry() is None)
    if pending:
        await futures[0]._waiter.wait(pending, True)
    return list(futures)


async def wait_completed(
    *futures: DurableFuture[Any],
) -> tuple[list[DurableFuture[Any]], list[DurableFuture[Any]]]:
    """Wait until at least one future is done; return (done, pending)."""
    _check(futures, "wait_completed")
    await _wait_any(futures)
    done = [future for future in futures if future._entry() is not None]
    pending = [future for future in futures if future._entry() is None]
    return done, pending


async def select(**futures: DurableFuture[Any]) -> list[Any]:
    """Wait for the first of several named futures; return `[name, value]`.

    The first is the one whose completion stands first in the journal.

    Raises:
        TerminalError: the first one to be done failed.
    """
    candidates = tuple(futures.values())
    _check(candidates, "select")
    await _wait_any(candidates)
    winner = first_done(candidates)
    return [tuple(futures)[winner], await candidates[winner]]


async def as_completed(*futures: DurableFuture[Any]) -> AsyncIterator[DurableFuture[Any]]:
    """Yield the futures in the order in which they are done."""
    _check(futures, "as_completed")
    pending = list(futures)
    while pending:
        await _wait_any(pending)
        yield pending.pop(first_done(pending))
