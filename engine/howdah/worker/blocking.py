"""The context of sync handlers, which run in a thread: every verb is that of `LocalContext`.

It is called on the event loop, by way of a `Bridge`, and the thread waits for what it stands for.
"""

from __future__ import annotations

import asyncio
import functools
import random
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from howdah import blocking
from howdah.blocking.calls import BegunServiceCalls, ServiceCalls
from howdah.context import DurablePromise, Request
from howdah.handler import Handler
from howdah.serde import DefaultSerde, Serde
from howdah.worker.bridge import Bridge
from howdah.worker.local import CallFuture, LocalContext, Sent, Step, checked
from howdah.worker.threads import result_of

if TYPE_CHECKING:
    from howdah.worker.local_attempt import LocalAttempt

T = TypeVar("T")


async def run_in_thread(
    attempt: LocalAttempt,
    handler: Handler[Any, Any],
    local: LocalContext,
    arguments: tuple[Any, ...],
) -> Any:
    """Execute a sync handler in a thread of its own, as soon as there is one; its result."""
    engine = attempt.engine
    threads = engine.handler_threads
    if not threads.has_room:
        asyncio.get_running_loop().call_soon(engine.suspending.free_threads)
    attempt.is_queued = True
    try:
        thread = await threads.acquire()
    finally:
        attempt.is_queued = False
    attempt.last_tick = engine.tick
    is_started = False
    try:
        async with handler.entered():
            attempt.bridge = bridge = Bridge(attempt)
            context = BlockingContext(bridge, local)
            ended = thread.start(
                functools.partial(bridge.execute_handler, handler.fn, context, *arguments)
            )
            is_started = True
            return result_of(await ended)
    finally:
        if not is_started:
            threads.free(thread)


def _begun(verb: str) -> Callable[..., Any]:
    """A verb that returns the future of a `LocalContext`'s verb of the same name."""

    def begun(
        self: _Begin | _BegunScope, /, *arguments: Any, **named: Any
    ) -> blocking.DurableFuture[Any]:
        bridge = self._bridge
        future = bridge.call(getattr(self._verbs, verb), *arguments, **named)
        if isinstance(future, CallFuture):
            return _BegunCall(bridge, self._local, future)
        return blocking.DurableFuture(bridge, future)

    return begun


def _value(verb: str) -> Callable[..., Any]:
    """A verb that returns what the future of a `LocalContext`'s verb of the same name stands for."""

    def value(self: BlockingContext | _Scope, /, *arguments: Any, **named: Any) -> Any:
        return self._bridge.value(getattr(self._verbs, verb), *arguments, **named)

    return value


def _plain(verb: str) -> Callable[..., Any]:
    """A verb that does not wait: what a `LocalContext`'s verb of the same name returned."""

    def plain(self: BlockingContext, /, *arguments: Any, **named: Any) -> Any:
        return self._bridge.call(getattr(self._local, verb), *arguments, **named)

    return plain


def _sent(verb: str) -> Callable[..., Any]:
    """A verb that sends."""

    def sent(
        self: BlockingContext | _Scope, /, *arguments: Any, **named: Any
    ) -> blocking.SendHandle:
        handle = self._bridge.call(getattr(self._verbs, verb), *arguments, **named)
        return _SendHandle(self._bridge, self._local, handle)

    return sent


class _Callee:
    """The invocation that a call or a send reached."""

    __slots__ = ()

    _bridge: Bridge
    _local: LocalContext
    _callee: CallFuture[Any] | Sent

    def invocation_id(self) -> str:
        callee = self._callee
        if callee.id_cid is None:
            return str(callee.callee)
        entry = self._bridge.completion(callee.id_cid)
        return str(entry.ref)

    def cancel_invocation(self) -> None:
        self._bridge.call(self._local.cancel_invocation, self.invocation_id())


class _BegunCall(_Callee, blocking.DurableCallFuture[T]):
    __slots__ = ("_bridge", "_callee", "_local")

    def __init__(self, bridge: Bridge, local: LocalContext, future: CallFuture[T]) -> None:
        super().__init__(bridge, future)
        self._bridge = bridge
        self._local = local
        self._callee = future


class _SendHandle(_Callee, blocking.SendHandle):
    __slots__ = ("_bridge", "_callee", "_local")

    def __init__(self, bridge: Bridge, local: LocalContext, sent: Sent) -> None:
        self._bridge = bridge
        self._local = local
        self._callee = sent


class _Promise(blocking.DurablePromise[T]):
    __slots__ = ("_bridge", "_promise")

    def __init__(self, bridge: Bridge, promise: DurablePromise[T]) -> None:
        super().__init__(promise.name)
        self._bridge = bridge
        self._promise = promise

    def value(self) -> T:
        return cast("T", self._bridge.value(self._promise.value))

    def peek(self) -> T | None:
        return cast("T | None", self._bridge.value(self._promise.peek))

    def resolve(self, value: T) -> None:
        self._bridge.value(self._promise.resolve, value)

    def reject(self, message: str, code: int = 500) -> None:
        self._bridge.value(self._promise.reject, message, code)


class _Scope(ServiceCalls):
    """The verbs of a context in a scope."""

    def __init__(self, bridge: Bridge, local: LocalContext, verbs: Any) -> None:
        self._bridge = bridge
        self._local = local
        self._verbs = verbs

    service_call = _value("service_call")
    service_send = _sent("service_send")


class _BegunScope(BegunServiceCalls):
    """Calls in a scope, as futures."""

    def __init__(self, bridge: Bridge, local: LocalContext, verbs: Any) -> None:
        self._bridge = bridge
        self._local = local
        self._verbs = verbs

    service_call = _begun("service_call")


class _Begin(blocking.WorkflowBegin):
    """Every verb that takes time, as a future."""

    def __init__(self, bridge: Bridge, local: LocalContext) -> None:
        self._bridge = bridge
        self._local = self._verbs = local

    def scope(self, scope: str, limit_key: str | None = None) -> BegunServiceCalls:
        return _BegunScope(self._bridge, self._local, self._local.scope(scope, limit_key))

    run = _begun("run")
    run_typed = _begun("run_typed")
    sleep = _begun("sleep")
    service_call = _begun("service_call")
    object_call = _begun("object_call")
    workflow_call = _begun("workflow_call")
    generic_call = _begun("generic_call")
    signal = _begun("signal")
    attach_invocation = _begun("attach_invocation")
    time = _begun("time")
    get = _begun("get")
    state_keys = _begun("state_keys")

    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> blocking.DurableFuture[T]:
        promise = self._local.promise(name, serde, type_hint)
        return blocking.DurableFuture(self._bridge, self._bridge.call(promise.value))


class BlockingContext(blocking.WorkflowContext):
    """Every verb of every context; what the handler's kind does not allow is refused."""

    def __init__(self, bridge: Bridge, local: LocalContext) -> None:
        self._bridge = bridge
        self._local = self._verbs = local
        self._begin = _Begin(bridge, local)

    def scope(self, scope: str, limit_key: str | None = None) -> ServiceCalls:
        return _Scope(self._bridge, self._local, self._local.scope(scope, limit_key))

    @property
    def begin(self) -> blocking.WorkflowBegin:
        return self._begin

    # Facts of the attempt that nothing changes: nobody is asked.

    def request(self) -> Request:
        return self._local.request()

    def random(self) -> random.Random:
        return self._local.random()

    def uuid(self) -> uuid.UUID:
        return self._local.uuid()

    def key(self) -> str:
        return self._local.key()

    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> blocking.DurablePromise[T]:
        return _Promise(self._bridge, self._local.promise(name, serde, type_hint))

    def awakeable(
        self, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> tuple[str, blocking.DurableFuture[T]]:
        id_, future = self._bridge.call(self._local.awakeable, serde, type_hint)
        return id_, blocking.DurableFuture(self._bridge, future)

    def time(self) -> float:
        return cast("float", self._bridge.step(self._local.start, self._local.read_clock()))

    def run(self, /, *arguments: Any, **named: Any) -> Any:
        return self._bridge.step(self._local.start, Step.of(*arguments, **named))

    def run_typed(self, /, *arguments: Any, **named: Any) -> Any:
        return self._bridge.step(self._local.start, Step.typed(*arguments, **named))

    def set(self, name: str, value: T, serde: Serde[T] = DefaultSerde()) -> None:
        attempt = self._local.writes("set")
        self._bridge.do(attempt.write_state, checked("a state name", name), serde.serialize(value))

    def clear(self, name: str) -> None:
        attempt = self._local.writes("clear")
        self._bridge.do(attempt.write_state, checked("a state name", name), None)

    def clear_all(self) -> None:
        self._bridge.do(self._local.writes("clear_all").clear_all_state)

    sleep = _value("sleep")
    service_call = _value("service_call")
    object_call = _value("object_call")
    workflow_call = _value("workflow_call")
    generic_call = _value("generic_call")
    signal = _value("signal")
    attach_invocation = _value("attach_invocation")
    get = _value("get")
    state_keys = _value("state_keys")

    service_send = _sent("service_send")
    object_send = _sent("object_send")
    workflow_send = _sent("workflow_send")
    generic_send = _sent("generic_send")

    resolve_awakeable = _plain("resolve_awakeable")
    reject_awakeable = _plain("reject_awakeable")
    resolve_signal = _plain("resolve_signal")
    reject_signal = _plain("reject_signal")
    cancel_invocation = _plain("cancel_invocation")
