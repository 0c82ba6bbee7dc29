"""The contexts that handlers get: the SDK's verbs, carried out by howdah's own context."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import uuid
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from howdah import context as howdah_context
from howdah.errors import Interrupt, RetryableError, TerminalError, UsageError
from howdah.futures import DurableCallFuture, DurableFuture, SendHandle
from howdah.hints import result_hint_of
from howdah.restate.context import (
    AttemptFinishedEvent,
    Context,
    DurablePromise,
    HandlerType,
    Request,
    RestateDurableSleepFuture,
    ScopedContext,
    WorkflowContext,
    WorkflowSharedContext,
)
from howdah.restate.serde import DefaultSerde, Serde, chosen
from howdah.retry import RunOptions
from howdah.worker.local import LocalContext, checked_place

__all__ = [
    "clear_extension_data",
    "current_context",
    "get_extension_data",
    "set_extension_data",
]

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

logger = logging.getLogger(__name__)

_current: ContextVar[ServerInvocationContext | None] = ContextVar("restate_context", default=None)


def current_context() -> Context | None:
    """The context of the handler that this code runs in, or None outside of one."""
    return _current.get()


def is_replaying() -> bool:
    """Whether this code runs in a handler that repeats what its journal has already."""
    context = _current.get()
    return context is not None and context.is_replaying


def howdah_context_of(ctx: Context) -> howdah_context.WorkflowContext:
    """The context of this handler that is howdah's own, for what the SDK has no verb for."""
    return _own(ctx).howdah


def get_extension_data(ctx: Context, key: str) -> Any:
    """What was kept with this attempt under a name, or None."""
    return _own(ctx).extension_data.get(key)


def set_extension_data(ctx: Context, key: str, value: Any) -> None:
    """Keep an object with this attempt; its `__close__()`, if it has one, is called at the end."""
    _own(ctx).extension_data[key] = value


def clear_extension_data(ctx: Context, key: str) -> None:
    """Forget what was kept under a name."""
    _own(ctx).extension_data.pop(key, None)


def _own(ctx: Context) -> ServerInvocationContext:
    if not isinstance(ctx, ServerInvocationContext):
        raise UsageError(
            f"{type(ctx).__name__} is not the context of a running handler.",
            hint="Pass the ctx that the handler was given, or current_context().",
        )
    return ctx


async def execute(fn: Callable[..., Awaitable[Any]], inner: LocalContext, *arguments: Any) -> Any:
    """Run one attempt of a handler with the SDK's context in place of howdah's.

    A control-flow exception, a TerminalError or a RetryableError that another exception was raised
    from counts as what it is: frameworks in between wrap what they should let pass.

    Args:
        fn: The handler's function.
        inner: The context that howdah gives it.
        arguments: What else it takes.
    """
    context = ServerInvocationContext(inner)
    token = _current.set(context)
    try:
        return await fn(context, *arguments)
    except (TerminalError, RetryableError):
        raise
    except Exception as error:
        cause = error.__cause__
        while cause is not None:
            if isinstance(cause, Interrupt | TerminalError | RetryableError):
                raise cause from None
            cause = cause.__cause__
        raise
    finally:
        _current.reset(token)
        context.finished.set()
        await _close(context.extension_data)


async def _close(kept: dict[str, Any]) -> None:
    for value in list(kept.values()):
        close = getattr(value, "__close__", None)
        if not callable(close):
            continue
        try:
            done = close()
            if inspect.isawaitable(done):
                await done
        except Exception as error:
            logger.warning("what was kept with an attempt could not be closed", exc_info=error)
    kept.clear()


class _Finished(AttemptFinishedEvent):
    __slots__ = ("_event",)

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


class _Promise(DurablePromise[T]):
    def __init__(self, promise: howdah_context.DurablePromise[T], name: str, serde: Serde[T]):
        super().__init__(name, serde)
        self._promise = promise

    def resolve(self, value: T) -> Awaitable[None]:
        return self._promise.resolve(value)

    def reject(self, message: str, code: int = 500) -> Awaitable[None]:
        return self._promise.reject(message, code)

    def peek(self) -> Awaitable[T | None]:
        return self._promise.peek()

    def value(self) -> DurableFuture[T]:
        return self._promise.value()


class ServerInvocationContext(WorkflowContext, WorkflowSharedContext):
    """Every verb of every context; what the handler's kind does not allow is refused.

    Attributes:
        howdah: The context that does it.
        finished: Set when the attempt is over.
        extension_data: What extensions keep with the attempt.
    """

    def __init__(self, howdah: LocalContext) -> None:
        self.howdah = howdah
        self.finished = asyncio.Event()
        self.extension_data: dict[str, Any] = {}

    @property
    def is_replaying(self) -> bool:
        """Whether the journal has more of what this handler does."""
        return self.howdah.is_replaying

    def request(self) -> Request:
        request = self.howdah.request()
        return Request(
            id=request.id,
            headers=request.headers,
            attempt_headers={},
            body=request.body,
            attempt_finished_event=_Finished(self.finished),
            scope=request.scope,
            limit_key=request.limit_key,
            idempotency_key=request.idempotency_key,
        )

    def scope(self, scope: str) -> ScopedContext:
        checked_place(scope, None)
        return _Scoped(self.howdah, scope)

    def random(self) -> random.Random:
        return self.howdah.random()

    def uuid(self) -> uuid.UUID:
        return self.howdah.uuid()

    def time(self) -> DurableFuture[float]:
        return self.howdah.time()

    # Steps and timers.

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
        hint = result_hint_of(action) if type_hint is None else type_hint
        return self.howdah.run(
            name, action, chosen(serde, hint), max_attempts, max_retry_duration, args=args
        )

    def run_typed(
        self,
        name: str,
        action: Callable[..., Any],
        options: RunOptions[Any] = RunOptions(),
        /,
        *args: Any,
        **kwargs: Any,
    ) -> DurableFuture[Any]:
        hint = result_hint_of(action) if options.type_hint is None else options.type_hint
        options = replace(options, serde=chosen(options.serde, hint))
        return self.howdah.run_typed(name, action, options, *args, **kwargs)

    def sleep(self, delta: timedelta, name: str | None = None) -> RestateDurableSleepFuture:
        return RestateDurableSleepFuture(self.howdah.sleep(delta, name))

    # Calls.

    def service_call(self, tpe: HandlerType[I, O], arg: I, idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> DurableCallFuture[O]:  # fmt: skip
        return self.howdah.service_call(tpe, arg, idempotency_key, headers)

    def service_send(self, tpe: HandlerType[I, O], arg: I, send_delay: timedelta | None = None,
                     idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        return self.howdah.service_send(tpe, arg, send_delay, idempotency_key, headers)

    def object_call(self, tpe: HandlerType[I, O], key: str, arg: I,
                    idempotency_key: str | None = None,
                    headers: dict[str, str] | None = None) -> DurableCallFuture[O]:  # fmt: skip
        return self.howdah.object_call(tpe, key, arg, idempotency_key, headers)

    def object_send(self, tpe: HandlerType[I, O], key: str, arg: I,
                    send_delay: timedelta | None = None, idempotency_key: str | None = None,
                    headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        return self.howdah.object_send(tpe, key, arg, send_delay, idempotency_key, headers)

    def workflow_call(self, tpe: HandlerType[I, O], key: str, arg: I,
                      idempotency_key: str | None = None,
                      headers: dict[str, str] | None = None) -> DurableCallFuture[O]:  # fmt: skip
        return self.howdah.workflow_call(tpe, key, arg, idempotency_key, headers)

    def workflow_send(self, tpe: HandlerType[I, O], key: str, arg: I,
                      send_delay: timedelta | None = None, idempotency_key: str | None = None,
                      headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        return self.howdah.workflow_send(tpe, key, arg, send_delay, idempotency_key, headers)

    def generic_call(self, service: str, handler: str, arg: bytes, key: str | None = None,
                     idempotency_key: str | None = None, headers: dict[str, str] | None = None,
                     scope: str | None = None,
                     limit_key: str | None = None) -> DurableCallFuture[bytes]:  # fmt: skip
        return self.howdah.generic_call(
            service, handler, arg, key, idempotency_key, headers, scope, limit_key
        )

    def generic_send(self, service: str, handler: str, arg: bytes, key: str | None = None,
                     send_delay: timedelta | None = None, idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None, scope: str | None = None,
                     limit_key: str | None = None) -> SendHandle:  # fmt: skip
        return self.howdah.generic_send(
            service, handler, arg, key, send_delay, idempotency_key, headers, scope, limit_key
        )

    # Others: signals, awakeables, cancellation, attaching, promises.

    def signal(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T]:
        return self.howdah.signal(name, chosen(serde, type_hint))

    def resolve_signal(
        self, invocation_id: str, name: str, value: I, serde: Serde[I] = DefaultSerde()
    ) -> None:
        self.howdah.resolve_signal(invocation_id, name, value, serde)

    def reject_signal(
        self, invocation_id: str, name: str, failure_message: str, failure_code: int = 500
    ) -> None:
        self.howdah.reject_signal(invocation_id, name, failure_message, failure_code)

    def awakeable(
        self, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> tuple[str, DurableFuture[T]]:
        return self.howdah.awakeable(chosen(serde, type_hint))

    def resolve_awakeable(self, name: str, value: I, serde: Serde[I] = DefaultSerde()) -> None:
        self.howdah.resolve_awakeable(name, value, serde)

    def reject_awakeable(self, name: str, failure_message: str, failure_code: int = 500) -> None:
        self.howdah.reject_awakeable(name, failure_message, failure_code)

    def cancel_invocation(self, invocation_id: str) -> None:
        self.howdah.cancel_invocation(invocation_id)

    def attach_invocation(
        self,
        invocation_id: str,
        serde: Serde[T] = DefaultSerde(),
        type_hint: type[T] | None = None,
    ) -> DurableFuture[T]:
        return self.howdah.attach_invocation(invocation_id, chosen(serde, type_hint))

    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurablePromise[T]:
        return _Promise(self.howdah.promise(name, chosen(serde, type_hint)), name, serde)

    # State.

    def key(self) -> str:
        return self.howdah.key()

    def get(
        self,
        name: str,
        serde: Serde[T] = DefaultSerde(),
        type_hint: type[T] | None = None,
        entry_name: str | None = None,
    ) -> DurableFuture[T | None]:
        refuse_entry_name(entry_name)
        return self.howdah.get(name, chosen(serde, type_hint))

    def state_keys(self, entry_name: str | None = None) -> DurableFuture[list[str]]:
        refuse_entry_name(entry_name)
        return self.howdah.state_keys()

    def set(
        self,
        name: str,
        value: T,
        serde: Serde[T] = DefaultSerde(),
        entry_name: str | None = None,
    ) -> None:
        refuse_entry_name(entry_name)
        self.howdah.set(name, value, serde)

    def clear(self, name: str, entry_name: str | None = None) -> None:
        refuse_entry_name(entry_name)
        self.howdah.clear(name)

    def clear_all(self, entry_name: str | None = None) -> None:
        refuse_entry_name(entry_name)
        self.howdah.clear_all()


class _Scoped(ScopedContext):
    """Calls of services in a scope; what has keys has no scopes."""

    def __init__(self, howdah: LocalContext, scope: str) -> None:
        self._howdah = howdah
        self._scope = scope

    def service_call(self, tpe: HandlerType[I, O], arg: I, limit_key: str | None = None,
                     idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> DurableCallFuture[O]:  # fmt: skip
        place = checked_place(self._scope, limit_key)
        return self._howdah.call_in(place, tpe, arg, idempotency_key, headers)

    def service_send(self, tpe: HandlerType[I, O], arg: I, send_delay: timedelta | None = None,
                     limit_key: str | None = None, idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        place = checked_place(self._scope, limit_key)
        return self._howdah.send_in(place, tpe, arg, send_delay, idempotency_key, headers)

    def object_call(self, tpe: HandlerType[I, O], key: str, arg: I, limit_key: str | None = None,
                    idempotency_key: str | None = None,
                    headers: dict[str, str] | None = None) -> DurableCallFuture[O]:  # fmt: skip
        raise keyed("object_call")

    def object_send(self, tpe: HandlerType[I, O], key: str, arg: I,
                    send_delay: timedelta | None = None, limit_key: str | None = None,
                    idempotency_key: str | None = None,
                    headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        raise keyed("object_send")

    def workflow_call(self, tpe: HandlerType[I, O], key: str, arg: I,
                      limit_key: str | None = None, idempotency_key: str | None = None,
                      headers: dict[str, str] | None = None) -> DurableCallFuture[O]:  # fmt: skip
        raise keyed("workflow_call")

    def workflow_send(self, tpe: HandlerType[I, O], key: str, arg: I,
                      send_delay: timedelta | None = None, limit_key: str | None = None,
                      idempotency_key: str | None = None,
                      headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        raise keyed("workflow_send")


def keyed(verb: str) -> UsageError:
    """The error for a verb of objects or workflows in a scope."""
    return unsupported(f"{verb} in a scope", "Make the scope a part of the key.")


def refuse_entry_name(entry_name: str | None) -> None:
    """Refuse a name for the journal entry of a state verb.

    Raises:
        UsageError: one is given. HD1000.
    """
    if entry_name is not None:
        raise unsupported("entry_name", "Leave it out: the journal shows the state's own name.")


def unsupported(what: str, hint: str) -> UsageError:
    """The error for a part of the SDK that howdah does not have."""
    return UsageError(f"{what} is not supported by howdah.", hint=hint)
