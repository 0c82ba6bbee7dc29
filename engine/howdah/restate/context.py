"""What a handler may do, with the names and signatures of the SDK.

The verbs mean what those of `howdah.context` mean, where each is documented; `server_context.py`
implements them with these. What howdah has no counterpart for (names of state
entries) is refused when it is used, and nothing is recorded then.
"""

from __future__ import annotations

import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, overload

from howdah.futures import DurableCallFuture, DurableFuture, SendHandle
from howdah.handler import HandlerFn
from howdah.machine.entries import Entry
from howdah.restate.serde import DefaultSerde, Serde
from howdah.retry import RunOptions

if TYPE_CHECKING:
    # A default, so that what nobody gave a type is Any; at run time that needs Python 3.13.
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "AttemptFinishedEvent",
    "Context",
    "DurablePromise",
    "HandlerType",
    "KeyValueStore",
    "ObjectContext",
    "ObjectSharedContext",
    "Request",
    "RestateDurableCallFuture",
    "RestateDurableFuture",
    "RestateDurableSleepFuture",
    "RunAction",
    "RunOptions",
    "ScopedContext",
    "SendHandle",
    "WorkflowContext",
    "WorkflowSharedContext",
]

I = TypeVar("I")  # noqa: E741 - the field's names for input and output
O = TypeVar("O")  # noqa: E741
P = ParamSpec("P")

HandlerType: TypeAlias = HandlerFn[I, O]
RunAction: TypeAlias = Callable[..., Coroutine[Any, Any, T]] | Callable[..., T]
RestateDurableFuture = DurableFuture
RestateDurableCallFuture = DurableCallFuture


class RestateDurableSleepFuture(DurableFuture[None]):
    """A timer that was started."""

    __slots__ = ()

    def __init__(self, timer: DurableFuture[None]) -> None:
        super().__init__(timer._waiter, timer._key)

    def _decode(self, entry: Entry) -> None:
        return None


class AttemptFinishedEvent(ABC):
    """Tells that the attempt is over: what belongs to it may be cleaned up."""

    @abstractmethod
    def is_set(self) -> bool:
        """Whether it is over."""

    @abstractmethod
    async def wait(self) -> None:
        """Return when it is over."""


@dataclass
class Request:
    """The request that an invocation answers.

    Attributes:
        id: The invocation id, the text of a UUID.
        headers: As they came, names in lower case.
        attempt_headers: Empty: nobody sends a request for each attempt.
        body: The input's bytes.
        attempt_finished_event: Set when the attempt is over.
        scope: The scope that it was called in.
        limit_key: Under what it is counted in its scope.
        idempotency_key: The key that the caller gave, if any.
    """

    id: str
    headers: dict[str, str]
    attempt_headers: dict[str, str]
    body: bytes
    attempt_finished_event: AttemptFinishedEvent
    scope: str | None = None
    limit_key: str | None = None
    idempotency_key: str | None = None


class KeyValueStore(ABC):
    """The state of a key, for its writer. `entry_name` is refused."""

    @abstractmethod
    def get(
        self,
        name: str,
        serde: Serde[T] = DefaultSerde(),
        type_hint: type[T] | None = None,
        entry_name: str | None = None,
    ) -> Awaitable[T | None]:
        """The value of a state entry, or None."""

    @abstractmethod
    def state_keys(self, entry_name: str | None = None) -> Awaitable[list[str]]:
        """The names of all state entries of this key, sorted."""

    @abstractmethod
    def set(
        self,
        name: str,
        value: T,
        serde: Serde[T] = DefaultSerde(),
        entry_name: str | None = None,
    ) -> None:
        """Set a state entry."""

    @abstractmethod
    def clear(self, name: str, entry_name: str | None = None) -> None:
        """Remove a state entry."""

    @abstractmethod
    def clear_all(self, entry_name: str | None = None) -> None:
        """Remove every state entry of this key."""


class ScopedContext(ABC):
    """Calls within a scope; see `howdah.calls.Calls.scope`. Objects and workflows are refused."""

    @abstractmethod
    def service_call(
        self,
        tpe: HandlerType[I, O],
        arg: I,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateDurableCallFuture[O]:
        """Call a service's handler."""

    @abstractmethod
    def service_send(
        self,
        tpe: HandlerType[I, O],
        arg: I,
        send_delay: timedelta | None = None,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a service's handler."""

    @abstractmethod
    def object_call(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateDurableCallFuture[O]:
        """Call a virtual object's handler."""

    @abstractmethod
    def object_send(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a virtual object's handler."""

    @abstractmethod
    def workflow_call(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateDurableCallFuture[O]:
        """Call a workflow's handler."""

    @abstractmethod
    def workflow_send(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        limit_key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a workflow's handler."""


class Context(ABC):
    """The verbs of every handler; see `howdah.context.Context` and `howdah.calls.Calls`."""

    @abstractmethod
    def request(self) -> Request:
        """The request that is being answered."""

    @abstractmethod
    def scope(self, scope: str) -> ScopedContext:
        """Calls and sends in a scope, where rules limit how many run at once.

        Raises:
            OutOfBounds: this is no scope. HD1004.
        """

    @abstractmethod
    def signal(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> RestateDurableFuture[T]:
        """The next value that somebody sends to this invocation under a name."""

    @abstractmethod
    def resolve_signal(
        self, invocation_id: str, name: str, value: I, serde: Serde[I] = DefaultSerde()
    ) -> None:
        """Send a value to another invocation under a name."""

    @abstractmethod
    def reject_signal(
        self, invocation_id: str, name: str, failure_message: str, failure_code: int = 500
    ) -> None:
        """Send a failure to another invocation: its signal raises a TerminalError."""

    @abstractmethod
    def random(self) -> random.Random:
        """A generator seeded by the invocation id: the same numbers on every replay."""

    @abstractmethod
    def uuid(self) -> uuid.UUID:
        """A random UUID that is the same on every replay."""

    @abstractmethod
    def time(self) -> RestateDurableFuture[float]:
        """Seconds since the epoch, recorded."""

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
    ) -> RestateDurableFuture[T]: ...
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
    ) -> RestateDurableFuture[T]: ...
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
    ) -> RestateDurableFuture[Any]:
        """Execute `action` once and record its result; replay reads the record."""

    @overload
    def run_typed(
        self,
        name: str,
        action: Callable[P, Coroutine[Any, Any, T]],
        options: RunOptions[T] = ...,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> RestateDurableFuture[T]: ...
    @overload
    def run_typed(
        self,
        name: str,
        action: Callable[P, T],
        options: RunOptions[T] = ...,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> RestateDurableFuture[T]: ...
    @abstractmethod
    def run_typed(
        self,
        name: str,
        action: Callable[..., Any],
        options: RunOptions[Any] = RunOptions(),
        /,
        *args: Any,
        **kwargs: Any,
    ) -> RestateDurableFuture[Any]:
        """As `run`, with the action's arguments type-checked and all options in one value."""

    @abstractmethod
    def sleep(self, delta: timedelta, name: str | None = None) -> RestateDurableSleepFuture:
        """Pause for at least `delta`, surviving crashes."""

    @abstractmethod
    def service_call(
        self,
        tpe: HandlerType[I, O],
        arg: I,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateDurableCallFuture[O]:
        """Call a service's handler; it starts now."""

    @abstractmethod
    def service_send(
        self,
        tpe: HandlerType[I, O],
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a service's handler, now or after a delay."""

    @abstractmethod
    def object_call(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateDurableCallFuture[O]:
        """Call a virtual object's handler at `key`."""

    @abstractmethod
    def object_send(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a virtual object's handler at `key`, now or after a delay."""

    @abstractmethod
    def workflow_call(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> RestateDurableCallFuture[O]:
        """Call a workflow's handler at `key`; its main one starts it."""

    @abstractmethod
    def workflow_send(
        self,
        tpe: HandlerType[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> SendHandle:
        """Send to a workflow's handler at `key`; its main one starts it."""

    @abstractmethod
    def generic_call(
        self,
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
        scope: str | None = None,
        limit_key: str | None = None,
    ) -> RestateDurableCallFuture[bytes]:
        """Call a handler by its name, bytes in and bytes out."""

    @abstractmethod
    def generic_send(
        self,
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
        scope: str | None = None,
        limit_key: str | None = None,
    ) -> SendHandle:
        """Send bytes to a handler by its name."""

    @abstractmethod
    def awakeable(
        self, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> tuple[str, RestateDurableFuture[T]]:
        """Return an id to give away, and the future of what somebody resolves it with."""

    @abstractmethod
    def resolve_awakeable(self, name: str, value: I, serde: Serde[I] = DefaultSerde()) -> None:
        """Complete the awakeable of another invocation with a value."""

    @abstractmethod
    def reject_awakeable(self, name: str, failure_message: str, failure_code: int = 500) -> None:
        """Fail the awakeable of another invocation: its future raises a TerminalError."""

    @abstractmethod
    def cancel_invocation(self, invocation_id: str) -> None:
        """Ask another invocation to end: a TerminalError (409) is raised where it waits."""

    @abstractmethod
    def attach_invocation(
        self,
        invocation_id: str,
        serde: Serde[T] = DefaultSerde(),
        type_hint: type[T] | None = None,
    ) -> RestateDurableFuture[T]:
        """The result of an invocation that was started elsewhere."""


class ObjectContext(Context, KeyValueStore):
    """An exclusive handler of a virtual object: the only writer of its key's state."""

    @abstractmethod
    def key(self) -> str:
        """The object's key."""


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
        entry_name: str | None = None,
    ) -> RestateDurableFuture[T | None]:
        """The value of a state entry, or None."""

    @abstractmethod
    def state_keys(self, entry_name: str | None = None) -> Awaitable[list[str]]:
        """The names of all state entries of this key, sorted."""


class DurablePromise(ABC, Generic[T]):
    """A value that handlers of one workflow and key wait for, and that one of them provides.

    To await the promise is to await its `value()`.

    Attributes:
        name: 1 to 1024 bytes.
        serde: How the value is stored.
    """

    def __init__(self, name: str, serde: Serde[T] = DefaultSerde()) -> None:
        self.name = name
        self.serde = serde

    @abstractmethod
    def resolve(self, value: T) -> Awaitable[None]:
        """Complete the promise with a value; whoever waits for it goes on."""

    @abstractmethod
    def reject(self, message: str, code: int = 500) -> Awaitable[None]:
        """Complete the promise with a failure: whoever waits for it gets a TerminalError."""

    @abstractmethod
    def peek(self) -> Awaitable[T | None]:
        """The value as it is now, or None when the promise is not completed."""

    @abstractmethod
    def value(self) -> RestateDurableFuture[T]:
        """The value, once it is there."""

    def __await__(self) -> Generator[Any, Any, T]:
        return self.value().__await__()


class WorkflowContext(ObjectContext):
    """A workflow's main handler: the only writer of its key's state; waits for promises."""

    @abstractmethod
    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurablePromise[T]:
        """A promise of this workflow and key."""


class WorkflowSharedContext(ObjectSharedContext):
    """A handler beside a workflow's main one: reads the key's state, and completes promises."""

    @abstractmethod
    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurablePromise[T]:
        """A promise of this workflow and key."""
