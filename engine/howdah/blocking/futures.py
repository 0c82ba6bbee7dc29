"""Durable futures of sync handlers: `.result()` blocks where an async handler awaits.

What they stand for, and which of several is first, is as `howdah.futures` says: the journal decides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import howdah.futures
from howdah.errors import UsageError
from howdah.futures import first_done
from howdah.machine.machine import WaitKey

T = TypeVar("T")


class Waiter(Protocol):
    """What a future needs of the thread that made it."""

    def wait(self, keys: tuple[WaitKey, ...], wait_all: bool) -> None:
        """Return when any (or all) of the completions are there."""
        ...


class DurableFuture(Generic[T]):
    """The result of a step, a call, a timer that has begun.

    Args:
        waiter: Who waits for it.
        future: The same result, for async handlers.
    """

    __slots__ = ("_future", "_waiter")

    def __init__(self, waiter: Waiter, future: howdah.futures.DurableFuture[T]) -> None:
        self._waiter = waiter
        self._future = future

    def result(self) -> T:
        """Wait for the value. It may be asked for more than once, later, or never.

        Raises:
            TerminalError: it failed for good; the message, code and metadata are those recorded.

        Durability: what it stands for is on disk before its value is seen; replay reads it.
        """
        future = self._future
        entry = future._entry()
        if entry is None:
            self._waiter.wait((future._key,), False)
            entry = future._entry()
            assert entry is not None
        return future._decode(entry)


class DurableCallFuture(DurableFuture[T], ABC):
    """The result of a call to another handler."""

    __slots__ = ()

    @abstractmethod
    def invocation_id(self) -> str:
        """The callee's invocation id."""

    @abstractmethod
    def cancel_invocation(self) -> None:
        """Ask the callee to stop: it gets a `Cancelled` at its next wait."""


class SendHandle(ABC):
    """A message that was sent: there is no result to wait for."""

    @abstractmethod
    def invocation_id(self) -> str:
        """The callee's invocation id; with an idempotency key that of the first such send."""

    @abstractmethod
    def cancel_invocation(self) -> None:
        """Ask the callee to stop: it gets a `Cancelled` at its next wait."""


def gather(*futures: DurableFuture[Any]) -> list[DurableFuture[Any]]:
    """Wait until all futures are done, failed ones included; return them in the order given."""
    pending = tuple(one._key for one in _twins(futures, "gather") if one._entry() is None)
    if pending:
        futures[0]._waiter.wait(pending, True)
    return list(futures)


def wait_completed(
    *futures: DurableFuture[Any],
) -> tuple[list[DurableFuture[Any]], list[DurableFuture[Any]]]:
    """Wait until at least one future is done; return (done, pending)."""
    _first_of(futures, "wait_completed")
    done = [future for future in futures if future._future._entry() is not None]
    pending = [future for future in futures if future._future._entry() is None]
    return done, pending


def select(**futures: DurableFuture[Any]) -> list[Any]:
    """Wait for the first of several named futures; return `[name, value]`.

    The first is the one whose completion stands first in the journal.

    Raises:
        TerminalError: the first one to be done failed.
    """
    candidates = tuple(futures.values())
    winner = _first_of(candidates, "select")
    return [tuple(futures)[winner], candidates[winner].result()]


def as_completed(*futures: DurableFuture[Any]) -> Iterator[DurableFuture[Any]]:
    """Yield the futures in the order in which they are done."""
    pending = list(futures)
    _twins(pending, "as_completed")
    while pending:
        yield pending.pop(_first_of(pending, "as_completed"))


def _first_of(futures: Sequence[DurableFuture[Any]], what: str) -> int:
    """Wait for any of the futures; the index of the one that stands first in the journal."""
    twins = _twins(futures, what)
    if all(twin._entry() is None for twin in twins):
        futures[0]._waiter.wait(tuple(twin._key for twin in twins), False)
    return first_done(twins)


def _twins(
    futures: Sequence[DurableFuture[Any]], what: str
) -> Sequence[howdah.futures.DurableFuture[Any]]:
    if not futures:
        raise UsageError(f"{what}() needs at least one durable future.")
    for future in futures:
        if not isinstance(future, DurableFuture):
            raise UsageError(
                f"{what}() of howdah.blocking takes futures of ctx.begin, not "
                f"{type(future).__name__}.",
                hint="Pass what ctx.begin.run, ctx.begin.sleep or ctx.begin.object_call returned.",
            )
    return [future._future for future in futures]
