"""Handlers: functions bound to a name, with what is needed to call and to execute them.

A decorated function stays what it is, so that type checkers see its own signature. Verbs that call
handlers take the function and read input and output from it. A handler takes `(ctx)` or
`(ctx, argument)`, and is `async def` or `def`, so there are four forms: `NoInputFn[Out]`,
`InputFn[In, Out]`, `SyncNoInputFn[Out]` and `SyncInputFn[In, Out]`. A verb has an overload for
each, in this order, those without input with `arg: None = None`. That infers every case in mypy and
in pyright, and refuses every wrong argument; one union of the four does not. Where the argument does
not matter, `HandlerFn[In, Out]` and `SyncHandlerFn[In, Out]` do, in this order.

`Handler` is the declared handler: immutable, made once by the decorator, and the only source of
truth about how bytes become arguments. It knows nothing of workers or the database.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from types import NoneType
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_origin

from howdah.errors import InvalidHandler, NotAHandler, OutOfBounds, SerdeError
from howdah.hints import hint_of
from howdah.options import format_duration
from howdah.retry import InvocationRetryPolicy, RetryPolicy
from howdah.serde import DefaultSerde, Serde, allows_none, serde_for, type_name

In = TypeVar("In")
Out = TypeVar("Out")

NoInputFn: TypeAlias = Callable[[Any], Awaitable[Out]]
InputFn: TypeAlias = Callable[[Any, In], Awaitable[Out]]
SyncNoInputFn: TypeAlias = Callable[[Any], Out]
SyncInputFn: TypeAlias = Callable[[Any, In], Out]
HandlerFn: TypeAlias = Callable[[Any, In], Awaitable[Out]] | Callable[[Any], Awaitable[Out]]
SyncHandlerFn: TypeAlias = Callable[[Any, In], Out] | Callable[[Any], Out]

ServiceKind = Literal["service", "object", "workflow"]
HandlerKind = Literal["stateless", "exclusive", "shared", "workflow"]
ContextManagers = Sequence[Callable[[], AbstractAsyncContextManager[None]]]
StatePreload = bool | list[str] | tuple[str, ...]

ATTRIBUTE = "__howdah_handler__"
"""Where a decorated function carries its `Handler`."""

ANYTHING = "*/*"
TIMEOUT_MAX = timedelta(days=1)
RETENTION_MAX = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """Options of a handler; None is inherited from the service, then from `Options`.

    Args:
        inactivity_timeout: How long it may wait in memory before it is suspended; up to 1 day.
        abort_timeout: How long it may go on without reaching the engine; up to 1 day.
        journal_retention: How long the journal is kept after completion; up to 3650 days.
        idempotency_retention: How long the outcome is kept for its idempotency key; likewise.
        workflow_retention: How long a workflow's outcome, state and promises are kept after its
            main handler completed; likewise.
        enable_lazy_state: Whether state is read when the handler asks for it, and not before.
        state_preload: What of the key's state is there when an attempt begins: all (up to
            `Options.state_eager_bytes_max`), nothing, or the entries of these names. It goes before
            `enable_lazy_state`.
        ingress_private: Whether only other handlers may call it.
        invocation_retry_policy: How failed attempts are retried.

    Raises:
        OutOfBounds: a value is of another type, or lies outside its bounds. HD1004.
    """

    inactivity_timeout: timedelta | None = None
    abort_timeout: timedelta | None = None
    journal_retention: timedelta | None = None
    idempotency_retention: timedelta | None = None
    workflow_retention: timedelta | None = None
    enable_lazy_state: bool | None = None
    state_preload: StatePreload | None = None
    ingress_private: bool | None = None
    invocation_retry_policy: InvocationRetryPolicy | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        for name, longest in (
            ("inactivity_timeout", TIMEOUT_MAX),
            ("abort_timeout", TIMEOUT_MAX),
            ("journal_retention", RETENTION_MAX),
            ("idempotency_retention", RETENTION_MAX),
            ("workflow_retention", RETENTION_MAX),
        ):
            _check_duration(name, getattr(self, name), longest)
        for name in ("enable_lazy_state", "ingress_private"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise OutOfBounds(name=name, value=repr(value), bound="True or False")
        if self.state_preload is not None and not isinstance(self.state_preload, bool):
            names = _checked_names(self.state_preload)
            object.__setattr__(self, "state_preload", names)

    @property
    def preloads(self) -> bool | tuple[str, ...]:
        """What of the state is there when an attempt begins: all, nothing, or these entries."""
        if self.state_preload is None:
            return not self.enable_lazy_state
        return (
            self.state_preload if isinstance(self.state_preload, bool) else (*self.state_preload,)
        )

    def over(self, inherited: HandlerOptions) -> HandlerOptions:
        """Return these options with what they leave open taken from `inherited`."""
        values = {
            option.name: getattr(inherited, option.name)
            if getattr(self, option.name) is None
            else getattr(self, option.name)
            for option in fields(self)
        }
        if self.enable_lazy_state is not None or self.state_preload is not None:
            # Two ways to say one thing: who gives either inherits neither.
            values["enable_lazy_state"] = self.enable_lazy_state
            values["state_preload"] = self.state_preload
        own, theirs = self.invocation_retry_policy, inherited.invocation_retry_policy
        values["invocation_retry_policy"] = own.over(theirs) if own is not None else theirs
        return HandlerOptions(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler(Generic[In, Out]):
    """A handler as it was declared.

    Attributes:
        service, service_kind, name, kind: What it is called and what it may do.
        fn: The function: `fn(ctx)`, or `fn(ctx, argument)` when `takes_input`. It returns an
            awaitable when `is_async`, and the result itself when not: call that one in a thread.
        is_async: Whether it was written as `async def`.
        input_serde: Reads the argument; refuses an empty body where `input_required`, and reads it
            as the parameter's default where there is one.
        output_serde: Writes the result.
        input_type, output_type: As annotated; Any when they are not. None without input.
        takes_input: Whether `fn` has a second parameter.
        input_required: Whether an empty body is refused.
        accept: The media type of the body; `*/*` for any.
        content_type: The media type of the result.
        options: With what the service says merged in; None still means `Options`.
        retry_policy: How failed attempts are retried, complete.
        description: The function's docstring.
        metadata: As given to the decorator.
        context_managers: What `entered` enters; none for an async handler, whose `fn` does.
    """

    service: str
    service_kind: ServiceKind
    name: str
    kind: HandlerKind
    fn: Callable[..., Any]
    is_async: bool
    input_serde: Serde[In]
    output_serde: Serde[Out]
    input_type: Any
    output_type: Any
    takes_input: bool
    input_required: bool
    accept: str
    content_type: str
    options: HandlerOptions
    retry_policy: RetryPolicy
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    context_managers: ContextManagers = ()

    @property
    def target(self) -> str:
        """`Service/handler`, as messages name it."""
        return f"{self.service}/{self.name}"

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Surround a call of `fn`, on the event loop, with what belongs around each attempt.

        An async context manager cannot be entered in a thread, so `fn` of a sync handler leaves
        that to its caller. Around the `fn` of an async handler this does nothing.
        """
        async with AsyncExitStack() as stack:
            for manager in self.context_managers:
                await stack.enter_async_context(manager())
            yield

    def with_options(self, options: HandlerOptions) -> Handler[In, Out]:
        """Return the same handler with other options, complete ones."""
        return replace(self, options=options, retry_policy=_retry_policy_of(options))


def handler_of(fn: Any) -> Handler[Any, Any]:
    """Return the handler that a decorated function is.

    Raises:
        NotAHandler: no service declares it. HD1005.
    """
    handler = getattr(fn, ATTRIBUTE, None)
    if not isinstance(handler, Handler):
        raise NotAHandler(got=fn)
    return handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a decorator was told about the function that it decorates."""

    service: str
    service_kind: ServiceKind
    name: str
    kind: HandlerKind
    accept: str | None
    content_type: str | None
    input_serde: Serde[Any]
    output_serde: Serde[Any]
    options: HandlerOptions
    metadata: Mapping[str, str] | None
    context_managers: ContextManagers = ()
    serde_for: Callable[[Any], Serde[Any]] = serde_for
    """What reads and writes a type, where the author gave no serde."""
    takes_nothing_as_none: bool = False
    """An empty body is None whatever the type, instead of being refused."""


def make_handler(
    fn: Callable[..., Any], declared: Declaration, seen: Mapping[str, Any]
) -> Handler[Any, Any]:
    """Read a function's signature and annotations into a handler.

    Args:
        fn: The decorated function.
        declared: What the decorator was told.
        seen: The names at the place of the decorator, for types local to a function.

    Raises:
        InvalidHandler: it is no function, or takes neither `(ctx)` nor `(ctx, argument)`, or its
            context is one for the other kind of function, or an annotation cannot be resolved.
            HD1003.
        SerdeError: a type has no form in bytes. HD1010.
    """
    target = f"{declared.service}/{declared.name}"
    is_async = _is_async(fn, target)
    argument = _argument_of(fn, target)
    _check_context(fn, is_async, target, seen)
    takes_input = argument is not None
    input_type = _resolved(fn, argument.name, target, seen) if argument is not None else None
    output_type = _resolved(fn, "return", target, seen)
    pick = declared.serde_for
    input_serde = _with_type(declared.input_serde, input_type, pick) if takes_input else _NO_INPUT
    output_serde = _with_type(declared.output_serde, output_type, pick)
    default = argument.default if argument is not None else None
    has_default = default is not inspect.Parameter.empty
    may_be_empty = has_default or declared.takes_nothing_as_none or allows_none(input_type)
    input_required = takes_input and not may_be_empty
    return Handler(
        service=declared.service,
        service_kind=declared.service_kind,
        name=declared.name,
        kind=declared.kind,
        fn=_within(fn, declared.context_managers) if is_async else fn,
        is_async=is_async,
        input_serde=_for_empty(input_serde, input_type, input_required, default),
        output_serde=output_serde,
        input_type=input_type,
        output_type=output_type,
        takes_input=takes_input,
        input_required=input_required,
        accept=declared.accept or _accepted_by(input_serde),
        content_type=declared.content_type or output_serde.content_type,
        options=declared.options,
        retry_policy=_retry_policy_of(declared.options),
        description=inspect.getdoc(fn),
        metadata=dict(declared.metadata or {}),
        context_managers=() if is_async else tuple(declared.context_managers),
    )


def names_at(depth: int) -> Mapping[str, Any]:
    """Return the local names of the frame `depth` calls above the caller."""
    return sys._getframe(depth + 1).f_locals


def _check_duration(name: str, duration: object, longest: timedelta) -> None:
    bound = f"0s to {format_duration(longest)}"
    if duration is None:
        return
    if not isinstance(duration, timedelta):
        raise OutOfBounds(name=name, value=repr(duration), bound=f"a timedelta of {bound}")
    if not timedelta(0) <= duration <= longest:
        raise OutOfBounds(name=name, value=duration, bound=bound)


def _checked_names(names: object) -> tuple[str, ...]:
    bound = "True, False or a list of state names"
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise OutOfBounds(name="state_preload", value=repr(names), bound=bound)
    listed = tuple(dict.fromkeys(names))
    for name in listed:
        if not isinstance(name, str) or not name:
            raise OutOfBounds(name="state_preload", value=repr(names), bound=bound)
    return listed


def _retry_policy_of(options: HandlerOptions) -> RetryPolicy:
    return (options.invocation_retry_policy or InvocationRetryPolicy()).resolve()


def _is_async(fn: Any, target: str) -> bool:
    """Say whether a function is `async def` or `def`, and refuse what is neither."""
    if inspect.iscoroutinefunction(fn):
        return True
    if inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn):
        problem, hint = "it yields", "Return one result; a handler cannot stream."
    elif inspect.isfunction(fn) and not _returns_awaitable(fn):
        return False
    elif inspect.isfunction(fn):
        problem = "it is a plain function that returns an awaitable"
        hint = "Write `async def`, and await what it calls; this goes for decorators, too."
    else:
        problem = f"it is {type_name(type(fn))}, not a function"
        hint = "Decorate an `async def` or a `def` function."
    raise InvalidHandler(handler=target, problem=problem, hint=hint)


def _returns_awaitable(fn: Any) -> bool:
    if inspect.iscoroutinefunction(inspect.unwrap(fn)):
        return True
    annotation = getattr(fn, "__annotations__", {}).get("return")
    return (get_origin(annotation) or annotation) in (Awaitable, Coroutine)


def _argument_of(fn: Callable[..., Any], target: str) -> inspect.Parameter | None:
    """Return the parameter after the context, if there is one."""
    parameters = list(inspect.signature(fn).parameters.values())
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) != len(parameters) or len(parameters) not in (1, 2):
        raise InvalidHandler(
            handler=target,
            problem=f"it takes ({', '.join(str(parameter) for parameter in parameters)})",
            hint="A handler takes (ctx) or (ctx, argument); put several values into a dataclass.",
        )
    return parameters[1] if len(parameters) == 2 else None


def _check_context(
    fn: Callable[..., Any], is_async: bool, target: str, seen: Mapping[str, Any]
) -> None:
    """Refuse a context whose verbs block in a coroutine, or are awaited in a plain function."""
    first = next(iter(inspect.signature(fn).parameters))
    try:
        context = hint_of(fn, first, seen)
    except NameError:  # imported for type checkers alone: they have to do without us
        return
    blocks = getattr(context, "_blocks", None)
    if blocks is None or blocks is not is_async:
        return
    name = context.__name__
    raise InvalidHandler(
        handler=target,
        problem=f"it is `async def`, but the verbs of its {name} block"
        if is_async
        else f"it is a plain `def`, but the verbs of its {name} are awaited",
        hint=f"Take howdah.{name}, or write `def`."
        if is_async
        else f"Take howdah.blocking.{name}, or write `async def`.",
    )


def _resolved(fn: Callable[..., Any], name: str, target: str, seen: Mapping[str, Any]) -> Any:
    try:
        return hint_of(fn, name, seen)
    except NameError as error:
        what = "its result" if name == "return" else f"its parameter {name!r}"
        raise InvalidHandler(
            handler=target,
            problem=f"the annotation of {what} cannot be resolved: {error}",
            hint="Import the type at run time (not only under TYPE_CHECKING), above the handler.",
        ) from error


def _with_type(serde: Serde[Any], hint: Any, pick: Callable[[Any], Serde[Any]]) -> Serde[Any]:
    """Return the serde of a type, unless the author chose one."""
    if not isinstance(serde, DefaultSerde):
        return serde
    return pick(hint if serde.type_hint is None else serde.type_hint)


def _accepted_by(serde: Serde[Any]) -> str:
    return ANYTHING if serde.content_type == "application/octet-stream" else serde.content_type


class _InputSerde(Serde[Any]):
    """Another serde, with a meaning of its own for an empty body."""

    def __init__(self, serde: Serde[Any], hint: Any, default: Any) -> None:
        self.content_type = serde.content_type
        self._serde = serde
        self._deserialize = serde.deserialize
        self._hint = hint
        self._default = default

    def serialize(self, obj: Any) -> bytes:
        return self._serde.serialize(obj)

    def deserialize(self, buf: bytes) -> Any:
        if buf:
            return self._deserialize(buf)
        if self._default is not inspect.Parameter.empty:
            return self._default
        raise SerdeError(
            verb="read a value of type",
            type_name=type_name(self._hint),
            problem="the body is empty",
        )

    def json_schema(self) -> dict[str, Any] | None:
        return self._serde.json_schema()


def _for_empty(serde: Serde[Any], hint: Any, is_required: bool, default: Any) -> Serde[Any]:
    has_default = default is not None and default is not inspect.Parameter.empty
    return _InputSerde(serde, hint, default) if is_required or has_default else serde


def _within(fn: Callable[..., Any], managers: ContextManagers) -> Callable[..., Any]:
    """Return the function that awaits `fn` inside fresh context managers, the first outermost."""
    if not managers:
        return fn

    @functools.wraps(fn)
    async def within(*arguments: Any) -> Any:
        async with AsyncExitStack() as stack:
            for manager in managers:
                await stack.enter_async_context(manager())
            return await fn(*arguments)

    return within


_NO_INPUT = serde_for(NoneType)
