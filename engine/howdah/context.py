"""What a handler may do: the verbs, as types.

A handler's first argument is one of these contexts. `worker/local.py` implements them for handlers
that run in howdah's own worker. Verbs that return a `DurableFuture` start at once; `set`, `clear`
and the sends are plain calls, not awaited.
"""

from __future__ import annotations

import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, overload

from howdah.futures import DurableCallFuture, DurableFuture, SendHandle
from howdah.handler import HandlerFn
from howdah.retry import RunOptions
from howdah.serde import DefaultSerde, Serde

I = TypeVar("I")  # noqa: E741 - the field's names for input and output
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Request:
    """The request that an invocation answers.

    Attributes:
        id: The invocation id, the text of a UUID.
        headers: As they came, names in lower case.
        body: The input's bytes.
        idempotency_key: The key that the caller gave, if any.
    """

    id: str
    headers: dict[str, str]
    body: bytes
    idempotency_key: str | None = None


class Context(ABC):
    """The verbs of every handler."""

    @abstractmethod
    def request(self) -> Request:
        """The request that is being answered."""

    @abstractmethod
    def random(self) -> random.Random:
        """A generator seeded by the invocation id: the same numbers on every replay."""

    @abstractmethod
    def uuid(self) -> uuid.UUID:
        """A random UUID that is the same on every replay."""

    @abstractmethod
    def time(self) -> DurableFuture[float]:
        """Seconds since the epoch, recorded: the same on every replay."""

    @overload
    def run(
        self,
        name: str,
        action: Callable[..., Coroutine[Any, Any, T]],
        serde: Serde[T] = ...,
        max_attempts: int | None = ...,
        max_retry_duration: timedelta | None = ...,
        type_hint: type[T] | None = ...,
        args: tuple[Any, ...] | None = ...,
    ) -> DurableFuture[T]: ...
    @overload
    def run(
        self,
        name: str,
        action: Callable[..., T],
        serde: Serde[T] = ...,
        max_attempts: int | None = ...,
        max_retry_duration: timedelta | None = ...,
        type_hint: type[T] | None = ...,
        args: tuple[Any, ...] | None = ...,
    ) -> DurableFuture[T]: ...
    @abstractmethod
    def run(
        self,
        name: str,
        action: Callable[..., Any],
        serde: Serde[Any] = DefaultSerde(),
        max_attempts: int | None = None,
        max_retry_duration: timedelta | None = None,
        type_hint: type[Any] | None = None,
        args: tuple[Any, ...] | None = None,
    ) -> DurableFuture[Any]:
        """Execute `action` once and record its result; replay reads the record.

        Args:
            name: Shown in the journal and compared on replay.
            serde: How the result is stored; by type unless given.
            type_hint: The result's type; by the action's annotation unless given.
            action: Coroutine function, or a plain function, which runs in a thread.
            max_attempts: Attempts in all before it fails for good. Without a limit a failing step
                fails the attempt, which is retried by the handler's policy.
            max_retry_duration: The same as a limit in time.
            args: Positional arguments for `action`.

        Raises:
            NonDeterminism: the journal holds another command here.

        Durability: the result is on disk before the future is done. A crash before that executes
        the action again: at least once until recorded, never afterwards.
        Source: sql/functions/30_append_batch.sql.
        """

    @overload
    def run_typed(
        self,
        name: str,
        action: Callable[P, Coroutine[Any, Any, T]],
        options: RunOptions[T] = ...,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> DurableFuture[T]: ...
    @overload
    def run_typed(
        self,
        name: str,
        action: Callable[P, T],
        options: RunOptions[T] = ...,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> DurableFuture[T]: ...
    @abstractmethod
    def run_typed(
        self,
        name: str,
        action: Callable[..., Any],
        options: RunOptions[Any] = RunOptions(),
        /,
        *args: Any,
        **kwargs: Any,
    ) -> DurableFuture[Any]:
        """As `run`, with the action's arguments type-checked and all options in one value."""

    @abstractmethod
    def sleep(self, delta: timedelta, name: str | None = None) -> DurableFuture[None]:
        """Pause for at least `delta`, surviving crashes; zero or more, millisecond resolution.

        Durability: the wake-up time is the database's clock at the commit of this command plus
        `delta`.

        Raises:
            OutOfBounds: negative, or above `Options.delay_max`; nothing was recorded.
        """

    @abstractmethod
    def service_call(
        self,
        tpe: HandlerFn[I, O],
        arg: I,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> DurableCallFuture[O]:
        """Call a service's handler; the callee exists once the call is recorded."""

    @abstractmethod
    def service_send(
        self,
        tpe: HandlerFn[I, O],
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a service's handler, now or after a delay; nobody waits for the result."""

    @abstractmethod
    def object_call(
        self,
        tpe: HandlerFn[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> DurableCallFuture[O]:
        """Call a virtual object's handler at `key`."""

    @abstractmethod
    def object_send(
        self,
        tpe: HandlerFn[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a virtual object's handler at `key`, now or after a delay."""


class ObjectSharedContext(Context):
    """A shared handler of a virtual object: reads the key's state beside its writer."""

    @abstractmethod
    def key(self) -> str:
        """The object's key."""

    @abstractmethod
    def get(
        self,
        name: str,
        serde: Serde[T] = DefaultSerde(),
        type_hint: type[T] | None = None,
    ) -> Awaitable[T | None]:
        """The value of a state entry, or None. Recorded: the same on every replay."""

    @abstractmethod
    def state_keys(self) -> Awaitable[list[str]]:
        """The names of all state entries of this key, sorted."""


class ObjectContext(ObjectSharedContext):
    """An exclusive handler of a virtual object: the only writer of its key's state."""

    @abstractmethod
    def set(self, name: str, value: T, serde: Serde[T] = DefaultSerde()) -> None:
        """Set a state entry. On disk with the next commit of this invocation, never alone."""

    @abstractmethod
    def clear(self, name: str) -> None:
        """Remove a state entry."""

    @abstractmethod
    def clear_all(self) -> None:
        """Remove every state entry of this key."""
