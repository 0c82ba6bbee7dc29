"""Handlers: async functions bound to a name, with what is needed to call and to execute them.

A decorated function stays what it is, so that type checkers see its own signature. Verbs that call
handlers take the function and read input and output from it. Two forms exist, since a handler
takes `(ctx)` or `(ctx, argument)`:

- `HandlerFn[In, Out]`, for code that stores or passes on either kind. As the parameter of a verb it
  infers `Out` for both, but accepts any argument for a handler that takes none, and mypy cannot
  infer through a handler whose argument has a default.
- Two overloads, `NoInputFn[Out]` with `arg: None = None` before `InputFn[In, Out]` with `arg: In`.
  They infer every case in mypy and in pyright, and refuse every wrong argument. Verbs use these.

`Handler` is the declared handler: immutable, made once by the decorator, and the only source of
truth about how bytes become arguments. It knows nothing of workers or the database.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field, fields
from datetime import timedelta
from types import NoneType
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from howdah.errors import InvalidHandler, NotAHandler, OutOfBounds, SerdeError
from howdah.hints import hint_of
from howdah.options import format_duration
from howdah.retry import InvocationRetryPolicy, RetryPolicy
from howdah.serde import DefaultSerde, Serde, allows_none, serde_for, type_name

In = TypeVar("In")
Out = TypeVar("Out")

NoInputFn: TypeAlias = Callable[[Any], Awaitable[Out]]
InputFn: TypeAlias = Callable[[Any, In], Awaitable[Out]]
HandlerFn: TypeAlias = Callable[[Any, In], Awaitable[Out]] | Callable[[Any], Awaitable[Out]]

ServiceKind = Literal["service", "object", "workflow"]
HandlerKind = Literal["stateless", "exclusive", "shared", "workflow"]
ContextManagers = Sequence[Callable[[], AbstractAsyncContextManager[None]]]

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
        ingress_private: Whether only other handlers may call it.
        invocation_retry_policy: How failed attempts are retried.

    Raises:
        OutOfBounds: a duration lies outside its bounds. HD1004.
    """

    inactivity_timeout: timedelta | None = None
    abort_timeout: timedelta | None = None
    journal_retention: timedelta | None = None
    idempotency_retention: timedelta | None = None
    ingress_private: bool | None = None
    invocation_retry_policy: InvocationRetryPolicy | None = None

    def __post_init__(self) -> None:
        """Refuse durations outside their bounds."""
        for name, longest in (
            ("inactivity_timeout", TIMEOUT_MAX),
            ("abort_timeout", TIMEOUT_MAX),
            ("journal_retention", RETENTION_MAX),
            ("idempotency_retention", RETENTION_MAX),
        ):
            duration: timedelta | None = getattr(self, name)
            if duration is not None and not timedelta(0) <= duration <= longest:
                bound = f"0s to {format_duration(longest)}"
                raise OutOfBounds(name=name, value=duration, bound=bound)

    def over(self, inherited: HandlerOptions) -> HandlerOptions:
        """Return these options with what they leave open taken from `inherited`."""
        values = {
            option.name: getattr(inherited, option.name)
            if getattr(self, option.name) is None
            else getattr(self, option.name)
            for option in fields(self)
        }
        own, theirs = self.invocation_retry_policy, inherited.invocation_retry_policy
        values["invocation_retry_policy"] = own.over(theirs) if own is not None else theirs
        return HandlerOptions(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler(Generic[In, Out]):
    """A handler as it was declared.

    Attributes:
        service, service_kind, name, kind: What it is called and what it may do.
        fn: The function: `fn(ctx)`, or `fn(ctx, argument)` when `takes_input`.
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
    """

    service: str
    service_kind: ServiceKind
    name: str
    kind: HandlerKind
    fn: Callable[..., Awaitable[Out]]
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

    @property
    def target(self) -> str:
        """`Service/handler`, as messages name it."""
        return f"{self.service}/{self.name}"


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


def make_handler(
    fn: Callable[..., Any], declared: Declaration, seen: Mapping[str, Any]
) -> Handler[Any, Any]:
    """Read a function's signature and annotations into a handler.

    Args:
        fn: The decorated function.
        declared: What the decorator was told.
        seen: The names at the place of the decorator, for types local to a function.

    Raises:
        InvalidHandler: it is not async, or takes neither `(ctx)` nor `(ctx, argument)`, or an
            annotation cannot be resolved. HD1003.
        SerdeError: a type has no form in bytes. HD1010.
    """
    target = f"{declared.service}/{declared.name}"
    _refuse_sync(fn, target)
    argument = _argument_of(fn, target)
    takes_input = argument is not None
    input_type = _resolved(fn, argument.name, target, seen) if argument is not None else None
    output_type = _resolved(fn, "return", target, seen)
    input_serde = _with_type(declared.input_serde, input_type) if takes_input else _NO_INPUT
    output_serde = _with_type(declared.output_serde, output_type)
    default = argument.default if argument is not None else None
    has_default = default is not inspect.Parameter.empty
    input_required = takes_input and not has_default and not allows_none(input_type)
    return Handler(
        service=declared.service,
        service_kind=declared.service_kind,
        name=declared.name,
        kind=declared.kind,
        fn=_within(fn, declared.context_managers),
        input_serde=_for_empty(input_serde, input_type, input_required, default),
        output_serde=output_serde,
        input_type=input_type,
        output_type=output_type,
        takes_input=takes_input,
        input_required=input_required,
        accept=declared.accept or _accepted_by(input_serde),
        content_type=declared.content_type or output_serde.content_type,
        options=declared.options,
        retry_policy=(
            declared.options.invocation_retry_policy or InvocationRetryPolicy()
        ).resolve(),
        description=inspect.getdoc(fn),
        metadata=dict(declared.metadata or {}),
    )


def names_at(depth: int) -> Mapping[str, Any]:
    """Return the local names of the frame `depth` calls above the caller."""
    return sys._getframe(depth + 1).f_locals


def _refuse_sync(fn: Any, target: str) -> None:
    if inspect.iscoroutinefunction(fn):
        return
    if inspect.isasyncgenfunction(fn):
        problem, hint = "it yields", "Return one result; a handler cannot stream."
    elif inspect.isroutine(fn):
        problem = "it is not async"
        hint = "Write `async def`; blocking work goes into `await ctx.run(name, function)`."
    else:
        problem = f"it is {type_name(type(fn))}, not a function"
        hint = "Decorate an `async def` function."
    raise InvalidHandler(handler=target, problem=problem, hint=hint)


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


def _with_type(serde: Serde[Any], hint: Any) -> Serde[Any]:
    """Return the serde of a type, unless the author chose one."""
    if not isinstance(serde, DefaultSerde):
        return serde
    return serde_for(hint if serde.type_hint is None else serde.type_hint)


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
    """Return the function that runs `fn` inside fresh context managers, the first outermost."""
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
