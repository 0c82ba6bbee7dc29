"""The context of handlers that run in this process: verbs become commands of their attempt."""

from __future__ import annotations

import functools
import inspect
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Generator
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import msgspec

from howdah.context import ObjectContext, Request
from howdah.errors import OutOfBounds, RetryableError, TerminalError, UsageError, WrongContext
from howdah.futures import DurableCallFuture, DurableFuture, SendHandle
from howdah.handler import handler_of
from howdah.hints import result_hint_of
from howdah.machine.entries import Entry, Kind
from howdah.retry import RunOptions
from howdah.serde import DefaultSerde, Serde, serde_for
from howdah.worker.attempt import Attempt, error_of

T = TypeVar("T")

_NAME_BYTES_MAX = 1024
"""Bytes of a key, a state name or an idempotency key at most."""
_FLOAT = serde_for(float)


class _Future(DurableFuture[T]):
    __slots__ = ("_serde",)

    def __init__(self, attempt: Attempt, cid: int, serde: Serde[T] | None) -> None:
        super().__init__(attempt, cid)
        self._serde = serde

    def _decode(self, entry: Entry) -> T:
        return cast("T", _value(entry, self._serde))


class _CallFuture(DurableCallFuture[T]):
    __slots__ = ("_callee", "_id_cid", "_serde")

    def __init__(self, attempt: Attempt, entry: Entry, serde: Serde[T], id_cid: int | None) -> None:
        assert entry.cid is not None
        super().__init__(attempt, entry.cid)
        self._serde = serde
        self._callee = entry.ref
        self._id_cid = id_cid

    def _decode(self, entry: Entry) -> T:
        return cast("T", _value(entry, self._serde))

    async def invocation_id(self) -> str:
        return await _id_of(self._waiter, self._callee, self._id_cid)


class _Sent(SendHandle):
    __slots__ = ("_attempt", "_callee", "_id_cid")

    def __init__(self, attempt: Attempt, entry: Entry, id_cid: int | None) -> None:
        self._attempt = attempt
        self._callee = entry.ref
        self._id_cid = id_cid

    async def invocation_id(self) -> str:
        return await _id_of(self._attempt, self._callee, self._id_cid)


class _Ready(Generic[T]):
    """An awaitable that is done: state that was read when the verb was called."""

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, Any, T]:
        yield from ()
        return self._value


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


def _checked(what: str, text: Any) -> str:
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


class LocalContext(ObjectContext):
    """Every verb of every context; what the handler's kind does not allow is refused."""

    __slots__ = ("_attempt", "_random")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._random: random.Random | None = None

    def request(self) -> Request:
        record = self._attempt.record
        headers = dict(msgspec.json.decode(record.headers)) if record.headers else {}
        return Request(str(record.id), headers, record.input, record.idempotency_key)

    def random(self) -> random.Random:
        if self._random is None:
            self._random = random.Random(self._attempt.id.int)
        return self._random

    def uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self.random().getrandbits(128), version=4)

    def time(self) -> DurableFuture[float]:
        return self._run("time", time.time, False, _FLOAT, RunOptions())

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
        options: RunOptions[Any] = RunOptions()
        if max_attempts is not None or max_retry_duration is not None:
            options = RunOptions(max_attempts=max_attempts, max_retry_duration=max_retry_duration)
        call = functools.partial(action, *args) if args else action
        return self._run(
            name, call, inspect.iscoroutinefunction(action), _hinted(serde, action, type_hint),
            options,
        )  # fmt: skip

    def run_typed(
        self,
        name: str,
        action: Callable[..., Any],
        options: RunOptions[Any] = RunOptions(),
        /,
        *args: Any,
        **kwargs: Any,
    ) -> DurableFuture[Any]:
        call = functools.partial(action, *args, **kwargs) if args or kwargs else action
        return self._run(
            name, call, inspect.iscoroutinefunction(action),
            _hinted(options.serde, action, options.type_hint), options,
        )  # fmt: skip

    def _run(
        self,
        name: str,
        call: Callable[[], Any],
        is_async: bool,
        serde: Serde[Any],
        options: RunOptions[Any],
    ) -> DurableFuture[Any]:
        attempt = self._attempt
        if "\x00" in name or not name:
            _checked("the name of a step", name)
        cid = attempt.start_run(name, call, is_async, serde, options)
        return _Future(attempt, cid, serde)

    def sleep(self, delta: timedelta, name: str | None = None) -> DurableFuture[None]:
        attempt = self._attempt
        longest = attempt.engine.options.delay_max
        if not timedelta(0) <= delta <= longest:
            raise OutOfBounds(name="delta", value=delta, bound=f"zero to {longest}")
        return _Future(attempt, attempt.start_sleep(delta, name), None)

    # Calls.

    def service_call(self, tpe: Any, arg: Any, idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> DurableCallFuture[Any]:  # fmt: skip
        return self._call(tpe, None, arg, idempotency_key, headers)

    def object_call(self, tpe: Any, key: str, arg: Any, idempotency_key: str | None = None,
                    headers: dict[str, str] | None = None) -> DurableCallFuture[Any]:  # fmt: skip
        return self._call(tpe, _checked("the key of a call", key), arg, idempotency_key, headers)

    def service_send(self, tpe: Any, arg: Any, send_delay: timedelta | None = None,
                     idempotency_key: str | None = None,
                     headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        return self._send(tpe, None, arg, send_delay, idempotency_key, headers)

    def object_send(self, tpe: Any, key: str, arg: Any, send_delay: timedelta | None = None,
                    idempotency_key: str | None = None,
                    headers: dict[str, str] | None = None) -> SendHandle:  # fmt: skip
        _checked("the key of a send", key)
        return self._send(tpe, key, arg, send_delay, idempotency_key, headers)

    def _target(self, tpe: Any, key: str | None, arg: Any) -> tuple[Any, Any, bytes]:
        handler = handler_of(tpe)
        if (key is None) != (handler.service_kind == "service"):
            verb = (
                "service_call or service_send" if key is not None else "object_call or object_send"
            )
            raise WrongContext(
                verb="a call", problem=f"{handler.service} is a {handler.service_kind}",
                hint=f"Use {verb}.",
            )  # fmt: skip
        service = self._attempt.engine.registry.service(handler.service)
        row = service.handlers.get(handler.name) if service is not None else None
        if row is None:
            self._attempt.engine.refresh_registry()
            raise RetryableError(
                f"{handler.service}/{handler.name} is not known to this database yet; "
                "serve the module that defines it"
            )
        return row, handler, handler.input_serde.serialize(arg) if handler.takes_input else b""

    def _call(self, tpe: Any, key: str | None, arg: Any, idempotency_key: str | None,
              headers: dict[str, str] | None) -> DurableCallFuture[Any]:  # fmt: skip
        row, handler, argument = self._target(tpe, key, arg)
        if idempotency_key is not None:
            _checked("idempotency_key", idempotency_key)
        entry = self._attempt.start_call(
            row, key, argument, is_send=False, idempotency_key=idempotency_key, headers=headers
        )
        assert entry.cid is not None
        id_cid = entry.cid + 1 if idempotency_key is not None else None
        return _CallFuture(self._attempt, entry, handler.output_serde, id_cid)

    def _send(self, tpe: Any, key: str | None, arg: Any, delay: timedelta | None,
              idempotency_key: str | None, headers: dict[str, str] | None) -> SendHandle:  # fmt: skip
        row, _, argument = self._target(tpe, key, arg)
        if idempotency_key is not None:
            _checked("idempotency_key", idempotency_key)
        longest = self._attempt.engine.options.delay_max
        if delay is not None and not timedelta(0) <= delay <= longest:
            raise OutOfBounds(name="send_delay", value=delay, bound=f"zero to {longest}")
        entry = self._attempt.start_call(
            row, key, argument, is_send=True, delay=delay or None,
            idempotency_key=idempotency_key, headers=headers,
        )  # fmt: skip
        return _Sent(self._attempt, entry, entry.cid if idempotency_key is not None else None)

    # State.

    def key(self) -> str:
        key = self._attempt.key
        if key is None:
            raise WrongContext(verb="key", problem="a plain service has no key")
        return key

    def get(
        self, name: str, serde: Serde[T] = DefaultSerde(), type_hint: type[T] | None = None
    ) -> Awaitable[T | None]:
        self.key()
        attempt = self._attempt
        entry, _ = attempt.command(
            Kind.GET_STATE, _checked("a state name", name), attempt.state.get(name)
        )
        if entry.value is None:
            return _Ready(None)
        return _Ready(_typed(serde, type_hint).deserialize(entry.value))

    def state_keys(self) -> Awaitable[list[str]]:
        self.key()
        attempt = self._attempt
        entry, _ = attempt.command(
            Kind.GET_STATE_KEYS, None, msgspec.json.encode(sorted(attempt.state))
        )
        names: list[str] = msgspec.json.decode(entry.value or b"[]")
        return _Ready(names)

    def _writes(self, verb: str) -> Attempt:
        attempt = self._attempt
        if not attempt.row.is_exclusive:
            raise WrongContext(
                verb=verb, problem="only an exclusive handler of a virtual object writes state",
                hint="Declare the handler with kind='exclusive', or send to one.",
            )  # fmt: skip
        return attempt

    def set(self, name: str, value: T, serde: Serde[T] = DefaultSerde()) -> None:
        attempt = self._writes("set")
        attempt.write_state(_checked("a state name", name), serde.serialize(value))

    def clear(self, name: str) -> None:
        self._writes("clear").write_state(_checked("a state name", name), None)

    def clear_all(self) -> None:
        self._writes("clear_all").clear_all_state()


def _typed(serde: Serde[Any], type_hint: Any) -> Serde[Any]:
    if type_hint is not None and isinstance(serde, DefaultSerde):
        return serde_for(type_hint)
    return serde


def _hinted(serde: Serde[Any], action: Callable[..., Any], type_hint: Any) -> Serde[Any]:
    """The serde of a step: as given, by type hint, or by what the action says it returns."""
    if not isinstance(serde, DefaultSerde):
        return serde
    return serde_for(type_hint if type_hint is not None else result_hint_of(action))
