"""What a sync handler may do: the verbs of `howdah.context`, blocking.

`worker/blocking.py` implements them. Each says what it returns; its arguments, errors and durability
are those of its async twin, which has the same name.
"""

from __future__ import annotations

import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, overload

from howdah.blocking.calls import BegunCalls, Calls
from howdah.blocking.futures import DurableFuture
from howdah.context import Request
from howdah.retry import RunOptions
from howdah.serde import DefaultSerde, Serde

if TYPE_CHECKING:
    # See howdah.context.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")
P = ParamSpec("P")


class Begin(BegunCalls):
    """The verbs that take time, for those that are to happen at once: each returns a future.

    What it stands for has begun; `howdah.blocking.gather` and `select` wait for several.
    """

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
        """Begin a step, in another thread or on the event loop; see `howdah.Context.run`."""

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
        """As `run`, with the arguments type-checked and all options in one value."""

    @abstractmethod
    def time(self) -> DurableFuture[float]:
        """Seconds since the epoch, recorded; see `howdah.Context.time`."""

    @abstractmethod
    def sleep(self, delta: timedelta, name: str | None = None) -> DurableFuture[None]:
        """Begin a timer; see `howdah.Context.sleep`."""

    @abstractmethod
    def signal(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T]:
        """The next value sent to this invocation under a name; see `howdah.Context.signal`."""

    @abstractmethod
    def attach_invocation(
        self, invocation_id: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T]:
        """The result of an invocation; see `howdah.Context.attach_invocation`."""


class ObjectBegin(Begin):
    """What handlers of a virtual object may begin."""

    @abstractmethod
    def get(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T | None]:
        """The value of a state entry, as it is now; see `howdah.ObjectContext.get`."""

    @abstractmethod
    def state_keys(self) -> DurableFuture[list[str]]:
        """The names of all state entries; see `howdah.ObjectContext.state_keys`."""


class WorkflowBegin(ObjectBegin):
    """What handlers of a workflow may begin."""

    @abstractmethod
    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T]:
        """The value of a promise; see `howdah.DurablePromise.value`."""


class Context(Calls):
    """The verbs of every sync handler; they are called in the thread that the handler runs in.

    Each verb may raise `howdah.Cancelled` where it waits, and a `BaseException` when the invocation
    is suspended or its attempt is over: clean up in `finally`, and never catch that.
    """

    @property
    @abstractmethod
    def begin(self) -> Begin:
        """The verbs that take time, as futures: `ctx.begin.run(...)`, `ctx.begin.sleep(...)`."""

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
    def time(self) -> float:
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
    ) -> T: ...
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
    ) -> T: ...
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
    ) -> Any:
        """Execute `action` once, record its result and return it; replay reads the record.

        A plain function is executed in the handler's own thread, a coroutine function on the event
        loop of the process. Verbs of the context cannot be used inside.

        Arguments, errors and durability are those of `howdah.Context.run`, awaited.
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
    ) -> T: ...
    @overload
    def run_typed(
        self,
        name: str,
        action: Callable[P, T],
        options: RunOptions[T] = ...,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
    @abstractmethod
    def run_typed(
        self,
        name: str,
        action: Callable[..., Any],
        options: RunOptions[Any] = RunOptions(),
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As `run`, with the arguments type-checked and all options in one value."""

    @abstractmethod
    def sleep(self, delta: timedelta, name: str | None = None) -> None:
        """Return after at least `delta`, surviving crashes; see `howdah.Context.sleep`."""

    @abstractmethod
    def awakeable(
        self, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> tuple[str, DurableFuture[T]]:
        """An id to give away, and the future of what somebody resolves it with.

        See `howdah.Context.awakeable`.
        """

    @abstractmethod
    def resolve_awakeable(self, name: str, value: T, serde: Serde[T] = DefaultSerde()) -> None:
        """Complete the awakeable of another invocation; see `howdah.Context.resolve_awakeable`."""

    @abstractmethod
    def reject_awakeable(self, name: str, failure_message: str, failure_code: int = 500) -> None:
        """Fail the awakeable of another invocation; see `howdah.Context.reject_awakeable`."""

    @abstractmethod
    def signal(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> T:
        """Wait for the next value that somebody sends to this invocation under a name.

        See `howdah.Context.signal`.
        """

    @abstractmethod
    def resolve_signal(
        self, invocation_id: str, name: str, value: T, serde: Serde[T] = DefaultSerde()
    ) -> None:
        """Send a value to another invocation under a name; see `howdah.Context.resolve_signal`."""

    @abstractmethod
    def reject_signal(
        self, invocation_id: str, name: str, failure_message: str, failure_code: int = 500
    ) -> None:
        """Send a failure to another invocation; see `howdah.Context.reject_signal`."""

    @abstractmethod
    def cancel_invocation(self, invocation_id: str) -> None:
        """Ask another invocation to end; see `howdah.Context.cancel_invocation`."""

    @abstractmethod
    def attach_invocation(
        self, invocation_id: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> T:
        """Wait for the result of an invocation that was started elsewhere.

        See `howdah.Context.attach_invocation`.
        """


class ObjectSharedContext(Context):
    """A shared handler of a virtual object: reads the key's state beside its writer."""

    @property
    @abstractmethod
    def begin(self) -> ObjectBegin:
        """The verbs that take time, as futures."""

    @abstractmethod
    def key(self) -> str:
        """The object's key."""

    @abstractmethod
    def get(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> T | None:
        """The value of a state entry, or None. Recorded: the same on every replay."""

    @abstractmethod
    def state_keys(self) -> list[str]:
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
    """A value that handlers of one workflow and key wait for; see `howdah.DurablePromise`.

    Attributes:
        name: 1 to 1024 bytes.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def value(self) -> T:
        """Wait for the value; `ctx.begin.promise` returns it as a future.

        Raises:
            TerminalError: the promise was rejected.
        """

    @abstractmethod
    def peek(self) -> T | None:
        """The value as it is now, or None when the promise is not completed.

        Raises:
            TerminalError: the promise was rejected.
        """

    @abstractmethod
    def resolve(self, value: T) -> None:
        """Complete the promise with a value; whoever waits for it goes on.

        Raises:
            TerminalError: it is completed already (409).
        """

    @abstractmethod
    def reject(self, message: str, code: int = 500) -> None:
        """Complete the promise with a failure: whoever waits for it gets a TerminalError.

        Raises:
            TerminalError: it is completed already (409).
        """


class WorkflowSharedContext(ObjectSharedContext):
    """A handler beside a workflow's main one: reads the key's state, and completes promises."""

    @property
    @abstractmethod
    def begin(self) -> WorkflowBegin:
        """The verbs that take time, as futures."""

    @abstractmethod
    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurablePromise[T]:
        """A promise of this workflow and key; nothing happens until one of its verbs is used."""


class WorkflowContext(ObjectContext, WorkflowSharedContext):
    """A workflow's main handler: the only writer of its key's state; waits for promises."""
