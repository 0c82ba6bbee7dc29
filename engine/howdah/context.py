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
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, overload

from howdah.calls import Calls
from howdah.futures import DurableFuture
from howdah.retry import RunOptions
from howdah.serde import DefaultSerde, Serde

if TYPE_CHECKING:
    # A default, so that what nobody gave a type is Any; at run time that needs Python 3.13.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

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
        scope: The scope that it was called in, if any.
        limit_key: Under what it is counted in its scope, if anything.
    """

    id: str
    headers: dict[str, str]
    body: bytes
    idempotency_key: str | None = None
    scope: str | None = None
    limit_key: str | None = None


class Context(Calls):
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
    def awakeable(
        self, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> tuple[str, DurableFuture[T]]:
        """Return an id to give away, and the future of what somebody resolves it with.

        Args:
            serde: How bytes become the value; by `type_hint` unless given.
            type_hint: The type of the value; JSON as it is unless given.

        Returns:
            The id, such as `sign_1...`, and the future. The id may be resolved once, by
            `resolve_awakeable` of any handler, over HTTP, or in SQL; what comes later is ignored.

        Raises:
            TerminalError: when awaited: it was rejected.

        Durability: the id is the same on every replay, and can be resolved from the first commit of
        this invocation on: give it away within `ctx.run`, or with a send.
        Source: sql/functions/35_absorb_mail.sql.
        """

    @abstractmethod
    def resolve_awakeable(self, name: str, value: T, serde: Serde[T] = DefaultSerde()) -> None:
        """Complete the awakeable of another invocation with a value; nothing if it is done.

        Args:
            name: The awakeable's id.
            value: What its future gives.
            serde: How the value becomes bytes; by its type unless given.

        Raises:
            InvalidId: it is no awakeable id. HD1006.
            SerdeError: the value has no form in bytes. HD1010.

        Durability: delivered once this command is recorded. One whose invocation is over or gone is
        dropped. Source: sql/functions/50_commit_batch.sql.
        """

    @abstractmethod
    def reject_awakeable(self, name: str, failure_message: str, failure_code: int = 500) -> None:
        """Fail the awakeable of another invocation: its future raises a TerminalError.

        Args:
            name: The awakeable's id.
            failure_message: The error's message.
            failure_code: Its status code.

        Raises:
            InvalidId: it is no awakeable id. HD1006.

        Durability: as for `resolve_awakeable`. Source: sql/functions/50_commit_batch.sql.
        """

    @abstractmethod
    def signal(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T]:
        """The next value that somebody sends to this invocation under a name.

        Args:
            name: 1 to 1024 bytes. Values of one name are taken in the order of their arrival, one
                by each `signal`; they may arrive before they are asked for.
            serde: How bytes become the value; by `type_hint` unless given.
            type_hint: The type of the value; JSON as it is unless given.

        Raises:
            OutOfBounds: the name is empty or too long. HD1004.
            TerminalError: when awaited: a failure was sent.

        Durability: a value is in the journal before it is seen; replay reads it.
        Source: sql/functions/35_absorb_mail.sql.
        """

    @abstractmethod
    def resolve_signal(
        self, invocation_id: str, name: str, value: T, serde: Serde[T] = DefaultSerde()
    ) -> None:
        """Send a value to another invocation under a name.

        Args:
            invocation_id: Whose signal it is.
            name: 1 to 1024 bytes.
            value: What its future gives.
            serde: How the value becomes bytes; by its type unless given.

        Raises:
            InvalidId: it is no invocation id. HD1006.
            OutOfBounds: the name is empty or too long. HD1004.
            SerdeError: the value has no form in bytes. HD1010.

        Durability: delivered once this command is recorded. One whose invocation is over or gone is
        dropped. Source: sql/functions/50_commit_batch.sql.
        """

    @abstractmethod
    def reject_signal(
        self, invocation_id: str, name: str, failure_message: str, failure_code: int = 500
    ) -> None:
        """Send a failure to another invocation: its signal raises a TerminalError.

        Args:
            invocation_id: Whose signal it is.
            name: 1 to 1024 bytes.
            failure_message: The error's message.
            failure_code: Its status code.

        Raises:
            InvalidId: it is no invocation id. HD1006.
            OutOfBounds: the name is empty or too long. HD1004.

        Durability: as for `resolve_signal`. Source: sql/functions/50_commit_batch.sql.
        """

    @abstractmethod
    def cancel_invocation(self, invocation_id: str) -> None:
        """Ask another invocation to end: it raises `Cancelled` (409) where it waits.

        It may catch that and undo what it did. What it has called is cancelled with it.

        Args:
            invocation_id: Of a running or waiting invocation; one that is over is left as it is.

        Raises:
            InvalidId: it is no invocation id. HD1006.

        Durability: delivered once this command is recorded.
        Source: sql/functions/50_commit_batch.sql.
        """

    @abstractmethod
    def attach_invocation(
        self, invocation_id: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T]:
        """The result of an invocation that was started elsewhere.

        Args:
            invocation_id: As a send returned it.
            serde: How bytes become the result; by `type_hint` unless given.
            type_hint: The type of the result; JSON as it is unless given.

        Raises:
            InvalidId: it is no invocation id. HD1006.
            TerminalError: when awaited: the invocation failed; or it is not known, or its result is
                no longer kept (404).

        Durability: the result is in the journal before it is seen; replay reads it.
        Source: sql/functions/71_deliver_sinks.sql.
        """


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
    ) -> DurableFuture[T | None]:
        """The value of a state entry, or None. Recorded: the same on every replay.

        The value is that at the time of the call: what is set between the call and the await of its
        future does not change it.
        """

    @abstractmethod
    def state_keys(self) -> DurableFuture[list[str]]:
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


class DurablePromise(ABC, Generic[T]):
    """A value that handlers of one workflow and key wait for, and that one of them provides.

    It exists from the first use of its name on, and is completed once.

    Attributes:
        name: 1 to 1024 bytes.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def value(self) -> DurableFuture[T]:
        """The value, once it is there.

        Raises:
            TerminalError: when awaited: the promise was rejected.

        Durability: the value is in the journal before it is seen; replay reads it.
        """

    @abstractmethod
    def peek(self) -> Awaitable[T | None]:
        """The value as it is now, or None when the promise is not completed.

        Raises:
            TerminalError: the promise was rejected.

        Durability: the answer is recorded: replay gives the same one, whatever came since.
        """

    @abstractmethod
    def resolve(self, value: T) -> Awaitable[None]:
        """Complete the promise with a value; whoever waits for it goes on.

        Raises:
            SerdeError: the value has no form in bytes. HD1010.
            TerminalError: it is completed already (409).

        Durability: the promise is completed on disk when this returns.
        """

    @abstractmethod
    def reject(self, message: str, code: int = 500) -> Awaitable[None]:
        """Complete the promise with a failure: whoever waits for it gets a TerminalError.

        Args:
            message: The error's message.
            code: Its status code.

        Raises:
            TerminalError: it is completed already (409).

        Durability: the promise is completed on disk when this returns.
        """


class WorkflowSharedContext(ObjectSharedContext):
    """A handler beside a workflow's main one: reads the key's state, and completes promises."""

    @abstractmethod
    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurablePromise[T]:
        """A promise of this workflow and key; nothing happens until one of its verbs is used.

        Args:
            name: 1 to 1024 bytes.
            serde: How the value is stored; by `type_hint` unless given.
            type_hint: The type of the value; JSON as it is unless given.

        Raises:
            OutOfBounds: the name is empty or too long. HD1004.

        Durability: promises are kept as long as the outcome of the workflow's main handler.
        """


class WorkflowContext(ObjectContext, WorkflowSharedContext):
    """A workflow's main handler: the only writer of its key's state; waits for promises."""
