"""The context of handlers that run in this process: verbs become commands of their attempt."""

from __future__ import annotations

import functools
import inspect
import random
import uuid
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar, cast
from uuid import UUID

import msgspec

from howdah.calls import ServiceCalls
from howdah.context import DurablePromise, Request, WorkflowContext
from howdah.errors import OutOfBounds, TerminalError, UnknownTarget, UsageError, WrongContext
from howdah.futures import DurableCallFuture, DurableFuture, SendHandle
from howdah.handler import handler_of
from howdah.hints import result_hint_of
from howdah.ids import awakeable_id, parse_awakeable_id, parse_id
from howdah.limits import LIMIT_KEY_BOUND, NOWHERE, SCOPE_BOUND, Place, is_limit_key, is_scope
from howdah.machine.entries import Entry, Kind, signal_cid
from howdah.machine.machine import WaitKey
from howdah.retry import RunOptions
from howdah.serde import BytesSerde, DefaultSerde, Serde, serde_for
from howdah.store.registry import HandlerRow
from howdah.worker.failures import error_of, failure_detail
from howdah.worker.local_attempt import LocalAttempt
from howdah.worker.steps import executing

T = TypeVar("T")

_NAME_BYTES_MAX = 1024
"""Bytes of a key, a state name or an idempotency key at most."""
_FLOAT = serde_for(float)
_BYTES = BytesSerde()
_PLAIN: RunOptions[Any] = RunOptions()


class _Future(DurableFuture[T]):
    __slots__ = ("_serde",)

    def __init__(self, attempt: LocalAttempt, key: WaitKey, serde: Serde[T] | None) -> None:
        super().__init__(attempt, key)
        self._serde = serde

    def _decode(self, entry: Entry) -> T:
        return cast("T", _value(entry, self._serde))


class _OptionalFuture(DurableFuture[T | None]):
    """A value that may not be there: a null one is None, whatever its type."""

    __slots__ = ("_serde",)

    def __init__(self, attempt: LocalAttempt, key: WaitKey, serde: Serde[T]) -> None:
        super().__init__(attempt, key)
        self._serde = serde

    def _decode(self, entry: Entry) -> T | None:
        if entry.value is None and entry.detail is None:
            return None
        return cast("T", _value(entry, self._serde))


class _NamesFuture(DurableFuture[list[str]]):
    """The names of a large state: what the database had, and what the command says was written."""

    __slots__ = ("_command",)

    def __init__(self, attempt: LocalAttempt, command: Entry) -> None:
        assert command.cid is not None
        super().__init__(attempt, command.cid)
        self._command = command

    def _decode(self, entry: Entry) -> list[str]:
        written = msgspec.json.decode(self._command.detail or "{}")
        names = set(msgspec.json.decode(entry.value or b"[]")) | set(written["set"])
        return sorted(names.difference(written["cleared"]))


class CallFuture(DurableCallFuture[T]):
    """`callee` is its invocation id, unless the completion of `id_cid` says which it is."""

    __slots__ = ("_attempt", "_serde", "callee", "id_cid")

    def __init__(
        self, attempt: LocalAttempt, entry: Entry, serde: Serde[T], id_cid: int | None
    ) -> None:
        assert entry.cid is not None
        super().__init__(attempt, entry.cid)
        self._attempt = attempt
        self._serde = serde
        self.callee = entry.ref
        self.id_cid = id_cid

    def _decode(self, entry: Entry) -> T:
        return cast("T", _value(entry, self._serde))

    async def invocation_id(self) -> str:
        return await _id_of(self._attempt, self.callee, self.id_cid)

    async def cancel_invocation(self) -> None:
        self._attempt.send_cancellation(UUID(await self.invocation_id()))


class Sent(SendHandle):
    """`callee` and `id_cid` as for `CallFuture`."""

    __slots__ = ("_attempt", "callee", "id_cid")

    def __init__(self, attempt: LocalAttempt, entry: Entry, id_cid: int | None) -> None:
        self._attempt = attempt
        self.callee = entry.ref
        self.id_cid = id_cid

    async def invocation_id(self) -> str:
        return await _id_of(self._attempt, self.callee, self.id_cid)

    async def cancel_invocation(self) -> None:
        self._attempt.send_cancellation(UUID(await self.invocation_id()))


class _Promise(DurablePromise[T]):
    __slots__ = ("_attempt", "_serde")

    def __init__(self, attempt: LocalAttempt, name: str, serde: Serde[T]) -> None:
        super().__init__(name)
        self._attempt = attempt
        self._serde = serde

    def value(self) -> DurableFuture[T]:
        attempt = self._attempt
        return _Future(attempt, attempt.ask(Kind.GET_PROMISE, self.name), self._serde)

    def peek(self) -> DurableFuture[T | None]:
        attempt = self._attempt
        return _OptionalFuture(attempt, attempt.ask(Kind.PEEK_PROMISE, self.name), self._serde)

    def resolve(self, value: T) -> DurableFuture[None]:
        return self._complete(self._serde.serialize(value), None)

    def reject(self, message: str, code: int = 500) -> DurableFuture[None]:
        return self._complete(None, failure_detail(code, message, None))

    def _complete(self, value: bytes | None, detail: str | None) -> DurableFuture[None]:
        attempt = self._attempt
        cid = attempt.ask(Kind.COMPLETE_PROMISE, self.name, value=value, detail=detail)
        return _Future(attempt, cid, None)


class _Ready(DurableFuture[T]):
    """A future that is done: state that was read when the verb was called."""

    __slots__ = ("_command", "_read")

    def __init__(self, attempt: LocalAttempt, command: Entry, read: T) -> None:
        super().__init__(attempt, 0)
        self._command = command
        self._read = read

    def __await__(self) -> Generator[Any, Any, T]:
        yield from ()
        return self._read

    def _entry(self) -> Entry:
        return self._command

    def _decode(self, entry: Entry) -> T:
        return self._read


async def _id_of(attempt: Any, callee: UUID | None, id_cid: int | None) -> str:
    if id_cid is None:
        return str(callee)
    if attempt.completion(id_cid) is None:
        await attempt.wait((id_cid,), False)
    entry = attempt.completion(id_cid)
    return str(entry.ref)


def _value(entry: Entry, serde: Serde[Any] | None) -> Any:
    if entry.detail is not None:
        raise error_of(entry.detail)
    if serde is None:
        return None
    try:
        return serde.deserialize(entry.value if entry.value is not None else b"")
    except UsageError as error:
        raise TerminalError(f"a recorded result can't be read: {error}", 500) from error


def checked(what: str, text: Any) -> str:
    """A name or key, unless it is out of bounds."""
    if not isinstance(text, str):
        raise OutOfBounds(name=what, value=text, bound="a string")
    if not text or "\x00" in text or len(text.encode("utf-8", "replace")) > _NAME_BYTES_MAX:
        raise OutOfBounds(
            name=what, value=text[:80], bound=f"1 to {_NAME_BYTES_MAX} bytes without NUL"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise OutOfBounds(name=what, value=ascii(text[:80]), bound="valid Unicode") from error
    return text


class Step(NamedTuple):
    """What `ctx.run` is asked to do."""

    name: str
    call: Callable[[], Any]
    is_async: bool
    serde: Serde[Any]
    options: RunOptions[Any]

    @classmethod
    def of(
        cls,
        name: str,
        action: Callable[..., Any],
        serde: Serde[Any] = DefaultSerde(),
        max_attempts: int | None = None,
        max_retry_duration: timedelta | None = None,
        type_hint: type[Any] | None = None,
        args: tuple[Any, ...] | None = None,
    ) -> Step:
        """The arguments of `ctx.run`."""
        options = _PLAIN
        if max_attempts is not None or max_retry_duration is not None:
            options = RunOptions(max_attempts=max_attempts, max_retry_duration=max_retry_duration)
        call = functools.partial(action, *args) if args else action
        is_async = inspect.iscoroutinefunction(action)
        serde = _hinted(serde, action, type_hint)
        return cls(checked("the name of a step", name), call, is_async, serde, options)

    @classmethod
    def typed(
        cls,
        name: str,
        action: Callable[..., Any],
        options: RunOptions[Any] = RunOptions(),
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Step:
        """The arguments of `ctx.run_typed`."""
        call = functools.partial(action, *args, **kwargs) if args or kwargs else action
        is_async = inspect.iscoroutinefunction(action)
        serde = _hinted(options.serde, action, options.type_hint)
        return cls(checked("the name of a step", name), call, is_async, serde, options)


class _Scoped(ServiceCalls):
    """The verbs of a context in a scope."""

    __slots__ = ("_context", "_place")

    def __init__(self, context: LocalContext, place: Place) -> None:
        self._context = context
        self._place = place

    def service_call(self, tpe: Any, arg: Any = None, idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> DurableCallFuture[Any]:  # fmt: skip
        return self._context.call_in(self._place, tpe, arg, idempotency_key, headers)

    def service_send(self, tpe: Any, arg: Any = None, send_delay: timedelta | None = None,
                     idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        return self._context.send_in(self._place, tpe, arg, send_delay, idempotency_key, headers)


class LocalContext(WorkflowContext):
    """Every verb of every context; what the handler's kind does not allow is refused."""

    __slots__ = ("_of", "_random")

    def __init__(self, attempt: LocalAttempt) -> None:
        self._of = attempt
        self._random: random.Random | None = None

    @property
    def _attempt(self) -> LocalAttempt:
        """The attempt, for a verb. A step has none: a replay does not execute it."""
        if executing.get() is self._of:
            raise WrongContext(
                verb="A verb of the context", problem="it is called within a step",
                hint="A replay does not execute the step, and would miss the verb. Call it before, "
                "and give the step its result.",
            )  # fmt: skip
        return self._of

    @property
    def is_replaying(self) -> bool:
        """Whether the journal has more of what this handler does."""
        return self._of.machine.next_kind() is not None

    def request(self) -> Request:
        record = self._of.record
        headers = dict(msgspec.json.decode(record.headers)) if record.headers else {}
        return Request(
            str(record.id), headers, record.input, record.idempotency_key, record.scope,
            record.limit_key,
        )  # fmt: skip

    def random(self) -> random.Random:
        attempt = self._attempt
        if self._random is None:
            seed = attempt.record.seed or attempt.id
            self._random = random.Random(seed.int)
        return self._random

    def uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.random().getrandbits(128), version=4)

    def time(self) -> DurableFuture[float]:
        return self.start(self.read_clock())

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
        return self.start(
            Step.of(name, action, serde, max_attempts, max_retry_duration, type_hint, args)
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
        return self.start(Step.typed(name, action, options, *args, **kwargs))

    def read_clock(self) -> Step:
        return Step("time", self._attempt.engine.skipping.time, False, _FLOAT, _PLAIN)

    def start(self, step: Step) -> DurableFuture[Any]:
        attempt = self._attempt
        cid = attempt.steps.start(
            attempt, step.name, step.call, step.is_async, step.serde, step.options
        )
        return _Future(attempt, cid, step.serde)

    def sleep(self, delta: timedelta, name: str | None = None) -> DurableFuture[None]:
        attempt = self._attempt
        longest = attempt.engine.options.delay_max
        if not timedelta(0) <= delta <= longest:
            raise OutOfBounds(name="delta", value=delta, bound=f"zero to {longest}")
        return _Future(attempt, attempt.start_sleep(delta, name), None)

    # Calls.

    def service_call(self, tpe: Any, arg: Any = None, idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> DurableCallFuture[Any]:  # fmt: skip
        return self._call("service", tpe, None, arg, idempotency_key, headers)

    def object_call(self, tpe: Any, key: str, arg: Any = None, idempotency_key: str | None = None,
                    headers: dict[str, str] | None = None) -> DurableCallFuture[Any]:  # fmt: skip
        return self._call("object", tpe, key, arg, idempotency_key, headers)

    def workflow_call(self, tpe: Any, key: str, arg: Any = None,
                      idempotency_key: str | None = None,
                      headers: dict[str, str] | None = None) -> DurableCallFuture[Any]:  # fmt: skip
        return self._call("workflow", tpe, key, arg, idempotency_key, headers)

    def service_send(self, tpe: Any, arg: Any = None, send_delay: timedelta | None = None,
                     idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        return self._send("service", tpe, None, arg, send_delay, idempotency_key, headers)

    def object_send(self, tpe: Any, key: str, arg: Any = None,
                    send_delay: timedelta | None = None, idempotency_key: str | None = None,
                    headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        return self._send("object", tpe, key, arg, send_delay, idempotency_key, headers)

    def workflow_send(self, tpe: Any, key: str, arg: Any = None,
                      send_delay: timedelta | None = None, idempotency_key: str | None = None,
                      headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        return self._send("workflow", tpe, key, arg, send_delay, idempotency_key, headers)

    def generic_call(self, service: str, handler: str, arg: bytes, key: str | None = None,
                     idempotency_key: str | None = None, headers: dict[str, str] | None = None,
                     scope: str | None = None,
                     limit_key: str | None = None) -> DurableCallFuture[bytes]:  # fmt: skip
        row = self._row(service, handler, key)
        place = _place(row, scope, limit_key)
        return self._begin_call(row, key, arg, _BYTES, idempotency_key, headers, place)

    def generic_send(self, service: str, handler: str, arg: bytes, key: str | None = None,
                     send_delay: timedelta | None = None, idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None, scope: str | None = None,
                     limit_key: str | None = None) -> SendHandle:  # fmt: skip
        row = self._row(service, handler, key)
        place = _place(row, scope, limit_key)
        return self._begin_send(row, key, arg, send_delay, idempotency_key, headers, place)

    def scope(self, scope: str, limit_key: str | None = None) -> ServiceCalls:
        return _Scoped(self, checked_place(scope, limit_key))

    def call_in(self, place: Place, tpe: Any, arg: Any, idempotency_key: str | None,
                headers: dict[str, str] | None) -> DurableCallFuture[Any]:  # fmt: skip
        """Call a service's handler in a scope."""
        return self._call("service", tpe, None, arg, idempotency_key, headers, place)

    def send_in(self, place: Place, tpe: Any, arg: Any, delay: timedelta | None,
                idempotency_key: str | None, headers: dict[str, str] | None) -> SendHandle:  # fmt: skip
        """Send to a service's handler in a scope."""
        return self._send("service", tpe, None, arg, delay, idempotency_key, headers, place)

    def _call(self, kind: str, tpe: Any, key: str | None, arg: Any, idempotency_key: str | None,
              headers: dict[str, str] | None,
              place: Place = NOWHERE) -> DurableCallFuture[Any]:  # fmt: skip
        handler, argument = _target(kind, "call", tpe, arg)
        row = self._row(handler.service, handler.name, key)
        serde = handler.output_serde
        return self._begin_call(row, key, argument, serde, idempotency_key, headers, place)

    def _send(self, kind: str, tpe: Any, key: str | None, arg: Any, delay: timedelta | None,
              idempotency_key: str | None, headers: dict[str, str] | None,
              place: Place = NOWHERE) -> SendHandle:  # fmt: skip
        handler, argument = _target(kind, "send", tpe, arg)
        row = self._row(handler.service, handler.name, key)
        return self._begin_send(row, key, argument, delay, idempotency_key, headers, place)

    def _row(self, service_name: str, handler_name: str, key: str | None) -> HandlerRow:
        """The handler as the database knows it; one that it does not know yet is tried again."""
        engine = self._attempt.engine
        service = engine.registry.service(service_name)
        row = service.handlers.get(handler_name) if service is not None else None
        if row is None:
            engine.refresh_registry()
            raise self._attempt.fail(UnknownTarget(target=f"{service_name}/{handler_name}"))
        if (key is None) != (row.service_kind == "service"):
            raise WrongContext(
                verb="a call", problem=f"{service_name} is a {row.service_kind}",
                hint="Leave the key out." if key is not None else "Give the key.",
            )  # fmt: skip
        if key is not None:
            checked("the key of a call", key)
        return row

    def _begin_call(self, row: HandlerRow, key: str | None, argument: bytes, serde: Serde[Any],
                    idempotency_key: str | None, headers: dict[str, str] | None,
                    place: Place) -> DurableCallFuture[Any]:  # fmt: skip
        _check_idempotency(row, idempotency_key)
        entry = self._attempt.start_call(
            row, key, argument, is_send=False, idempotency_key=idempotency_key, headers=headers,
            place=place,
        )  # fmt: skip
        assert entry.cid is not None
        has_id = idempotency_key is not None or row.kind == "workflow"
        return CallFuture(self._attempt, entry, serde, entry.cid + 1 if has_id else None)

    def _begin_send(self, row: HandlerRow, key: str | None, argument: bytes,
                    delay: timedelta | None, idempotency_key: str | None,
                    headers: dict[str, str] | None, place: Place) -> SendHandle:  # fmt: skip
        _check_idempotency(row, idempotency_key)
        longest = self._attempt.engine.options.delay_max
        if delay is not None and not timedelta(0) <= delay <= longest:
            raise OutOfBounds(name="send_delay", value=delay, bound=f"zero to {longest}")
        entry = self._attempt.start_call(
            row, key, argument, is_send=True, delay=delay or None,
            idempotency_key=idempotency_key, headers=headers, place=place,
        )  # fmt: skip
        return Sent(self._attempt, entry, entry.cid)

    # Others: signals, awakeables, cancellation, attaching.

    def signal(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T]:
        key = self._attempt.machine.signal(checked("the name of a signal", name))
        return _Future(self._attempt, key, _typed(serde, type_hint))

    def resolve_signal(
        self, invocation_id: str, name: str, value: T, serde: Serde[T] = DefaultSerde()
    ) -> None:
        self._signal(invocation_id, name, serde.serialize(value), None)

    def reject_signal(
        self, invocation_id: str, name: str, failure_message: str, failure_code: int = 500
    ) -> None:
        detail = failure_detail(failure_code, failure_message, None)
        self._signal(invocation_id, name, None, detail)

    def _signal(self, id_: str, name: str, value: bytes | None, failure: str | None) -> None:
        checked("the name of a signal", name)
        self._attempt.send_signal(
            Kind.SEND_SIGNAL, name, parse_id(id_), signal_cid(name), name, value, failure
        )

    def awakeable(
        self, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> tuple[str, DurableFuture[T]]:
        attempt = self._attempt
        number = attempt.machine.awakeable()
        future: DurableFuture[T] = _Future(attempt, -number, _typed(serde, type_hint))
        return awakeable_id(attempt.id, number), future

    def resolve_awakeable(self, name: str, value: T, serde: Serde[T] = DefaultSerde()) -> None:
        self._complete_awakeable(name, serde.serialize(value), None)

    def reject_awakeable(self, name: str, failure_message: str, failure_code: int = 500) -> None:
        detail = failure_detail(failure_code, failure_message, None)
        self._complete_awakeable(name, None, detail)

    def _complete_awakeable(self, id_: str, value: bytes | None, failure: str | None) -> None:
        target, number = parse_awakeable_id(id_)
        self._attempt.send_signal(
            Kind.COMPLETE_AWAKEABLE, id_, target, -number, None, value, failure
        )

    def cancel_invocation(self, invocation_id: str) -> None:
        self._attempt.send_cancellation(parse_id(invocation_id))

    def attach_invocation(
        self,
        invocation_id: str,
        serde: Serde[T] = DefaultSerde(),
        type_hint: type[T] | None = None,
    ) -> DurableFuture[T]:
        attempt = self._attempt
        target = parse_id(invocation_id)
        if target == attempt.id:
            raise WrongContext(
                verb="attach_invocation", problem="an invocation cannot wait for its own end",
                hint="Give the id of another one.",
            )  # fmt: skip
        return _Future(attempt, attempt.ask(Kind.ATTACH, target=target), _typed(serde, type_hint))

    def promise(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurablePromise[T]:
        attempt = self._attempt
        if attempt.row.service_kind != "workflow":
            raise WrongContext(
                verb="promise", problem=f"{attempt.row.service} is a {attempt.row.service_kind}",
                hint="Durable promises belong to workflows; elsewhere use an awakeable.",
            )  # fmt: skip
        return _Promise(attempt, checked("the name of a promise", name), _typed(serde, type_hint))

    # State.

    def key(self) -> str:
        key = self._of.key
        if key is None:
            raise WrongContext(verb="key", problem="a plain service has no key")
        return key

    def get(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> DurableFuture[T | None]:
        self.key()
        entry, cid = self._attempt.read_state(checked("a state name", name))
        if entry is None:
            return _OptionalFuture(self._attempt, cid, _typed(serde, type_hint))
        if entry.value is None:
            return _Ready(self._attempt, entry, None)
        value = _typed(serde, type_hint).deserialize(entry.value)
        return _Ready(self._attempt, entry, value)

    def state_keys(self) -> DurableFuture[list[str]]:
        self.key()
        entry, cid = self._attempt.read_state_keys()
        if cid:
            return _NamesFuture(self._attempt, entry)
        names: list[str] = msgspec.json.decode(entry.value or b"[]")
        return _Ready(self._attempt, entry, names)

    def writes(self, verb: str) -> LocalAttempt:
        """The attempt, if its handler may write state."""
        attempt = self._attempt
        if not attempt.row.is_exclusive:
            raise WrongContext(
                verb=verb,
                problem="only an exclusive handler of an object, or a workflow's main, writes state",
                hint="Declare the handler with kind='exclusive', or send to one.",
            )  # fmt: skip
        return attempt

    def set(self, name: str, value: T, serde: Serde[T] = DefaultSerde()) -> None:
        attempt = self.writes("set")
        attempt.write_state(checked("a state name", name), serde.serialize(value))

    def clear(self, name: str) -> None:
        self.writes("clear").write_state(checked("a state name", name), None)

    def clear_all(self) -> None:
        self.writes("clear_all").clear_all_state()


def _target(kind: str, verb: str, tpe: Any, arg: Any) -> tuple[Any, bytes]:
    """The handler that a verb names, and the bytes of its argument."""
    handler = handler_of(tpe)
    if handler.service_kind != kind:
        raise WrongContext(
            verb=f"{kind}_{verb}", problem=f"{handler.service} is a {handler.service_kind}",
            hint=f"Use {handler.service_kind}_{verb}.",
        )  # fmt: skip
    return handler, handler.input_serde.serialize(arg) if handler.takes_input else b""


def checked_place(scope: str, limit_key: str | None) -> Place:
    """A scope and a limit key, unless one is out of bounds."""
    if not is_scope(checked("the scope", scope)):
        raise OutOfBounds(name="the scope", value=scope, bound=SCOPE_BOUND)
    if limit_key is not None and not is_limit_key(checked("the limit key", limit_key)):
        raise OutOfBounds(name="the limit key", value=limit_key, bound=LIMIT_KEY_BOUND)
    return Place(scope, limit_key)


def _place(row: HandlerRow, scope: str | None, limit_key: str | None) -> Place:
    if scope is None:
        if limit_key is not None:
            raise OutOfBounds(name="the limit key", value=limit_key, bound="None without a scope")
        return NOWHERE
    if row.service_kind != "service":
        raise WrongContext(
            verb="a call in a scope", problem=f"{row.service} is a {row.service_kind}",
            hint="Only services without keys have scopes; make the scope a part of the key.",
        )  # fmt: skip
    return checked_place(scope, limit_key)


def _check_idempotency(row: HandlerRow, idempotency_key: str | None) -> None:
    if idempotency_key is None:
        return
    checked("idempotency_key", idempotency_key)
    if row.kind == "workflow":
        raise WrongContext(
            verb="an idempotency key", problem=f"{row.service}/{row.name} runs once per key anyway",
            hint="Leave it out: the workflow's key is its identity.",
        )  # fmt: skip


def _typed(serde: Serde[Any], type_hint: Any) -> Serde[Any]:
    if type_hint is not None and isinstance(serde, DefaultSerde):
        return serde_for(type_hint)
    return serde


def _hinted(serde: Serde[Any], action: Callable[..., Any], type_hint: Any) -> Serde[Any]:
    """The serde of a step: as given, by type hint, or by what the action says it returns."""
    if not isinstance(serde, DefaultSerde):
        return serde
    return serde_for(type_hint if type_hint is not None else result_hint_of(action))
