"""One Python function bound to a name, with what is needed to call it and to execute it.

The decorator returns the function itself, so that type checkers see its own signature: a call
`ctx.object_call(reserve, key=..., arg=None)` infers argument and result from `reserve`.
`HandlerFn[I, O]` is what the verbs take; a handler without argument fits it with any `I`.
Everything that can be wrong with a declaration is refused here, when the module is imported.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from types import NoneType, SimpleNamespace
from typing import Any, Generic, TypeAlias, TypeVar

from howdah.errors import InvalidHandler, NotAHandler, OutOfBounds, SerdeError
from howdah.options import format_duration
from howdah.retry import InvocationRetryPolicy
from howdah.serde import JSON, BytesSerde, DefaultSerde, Serde, serde_for

I = TypeVar("I")  # noqa: E741 - the field's names for input and output
O = TypeVar("O")  # noqa: E741

HandlerFn: TypeAlias = Callable[[Any, I], Awaitable[O]] | Callable[[Any], Awaitable[O]]

ATTRIBUTE = "__howdah_handler__"

ANY_CONTENT = "*/*"


@dataclass(frozen=True, slots=True)
class HandlerOptions:
    """Options of a handler; None: the service's, then the defaults of `Options`.

    Raises:
        OutOfBounds: a duration is negative. HD1004.
    """

    inactivity_timeout: timedelta | None = None
    abort_timeout: timedelta | None = None
    journal_retention: timedelta | None = None
    idempotency_retention: timedelta | None = None
    ingress_private: bool | None = None
    invocation_retry_policy: InvocationRetryPolicy | None = None

    def __post_init__(self) -> None:
        """Refuse durations outside their bounds."""
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, timedelta) and value < timedelta(0):
                shown = f"-{format_duration(-value)}"
                raise OutOfBounds(name=option.name, value=shown, bound="zero or more")

    def over(self, below: HandlerOptions) -> HandlerOptions:
        """Return these options, with those of `below` where they say nothing.

        A retry policy is merged value by value.
        """
        merged = {
            option.name: value
            for option in fields(self)
            for layer in (below, self)
            if (value := getattr(layer, option.name)) is not None
        }
        if self.invocation_retry_policy is not None:
            merged["invocation_retry_policy"] = self.invocation_retry_policy.over(
                below.invocation_retry_policy
            )
        return HandlerOptions(**merged)


@dataclass(frozen=True, slots=True)
class Handler(Generic[I, O]):
    """A handler as declared.

    Attributes:
        service: The name of its service.
        service_kind: `service` or `object`.
        name: Its own name, as in paths and SQL.
        kind: `stateless` in a service; `exclusive` or `shared` in a virtual object.
        fn: The function.
        input_serde: Reads the argument.
        output_serde: Writes the result.
        input_type: The argument's annotation; Any without one, NoneType without an argument.
        output_type: The result's annotation; Any without one.
        takes_input: The function takes an argument after its context.
        accept: The media type of bodies; `*/*` for any.
        content_type: The media type of results.
        options: Those of the handler over those of its service.
        description: The function's docstring.
        metadata: Facts for people, text to text.
    """

    service: str
    service_kind: str
    name: str
    kind: str
    fn: Callable[..., Awaitable[O]]
    input_serde: Serde[I]
    output_serde: Serde[O]
    input_type: Any
    output_type: Any
    takes_input: bool
    accept: str
    content_type: str
    options: HandlerOptions = field(default_factory=HandlerOptions)
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def handler_of(fn: Any) -> Handler[Any, Any]:
    """Return the handler that a decorated function is.

    Raises:
        NotAHandler: no service declares it. HD1005.
    """
    handler = getattr(fn, ATTRIBUTE, None)
    if not isinstance(handler, Handler):
        raise NotAHandler(got=fn)
    return handler


def bind(fn: Callable[..., Any], handler: Handler[Any, Any]) -> Callable[..., Any]:
    """Mark a function as a handler and return it.

    One that is a handler already keeps being that; what is returned is then a new function.
    """
    if hasattr(fn, ATTRIBUTE):

        @functools.wraps(fn)
        async def also(*arguments: Any) -> Any:
            return await fn(*arguments)

        fn = also
    setattr(fn, ATTRIBUTE, handler)
    return fn


def make_handler(
    fn: Callable[..., Any],
    *,
    service: str,
    service_kind: str,
    name: str,
    kind: str,
    accept: str,
    content_type: str,
    input_serde: Serde[Any],
    output_serde: Serde[Any],
    options: HandlerOptions,
    metadata: Mapping[str, str] | None,
    local_names: Mapping[str, Any] | None = None,
) -> Handler[Any, Any]:
    """Read a function's signature.

    `fn` is an async function `(ctx)` or `(ctx, argument)`; `local_names` is what annotations that
    are text may name besides the module's globals. The rest is as in `Handler`.

    Raises:
        InvalidHandler: it cannot be a handler, or has a type that cannot be read. HD1003.
    """
    where = f"{service}/{name}"
    parameters = _checked_parameters(fn, where)
    takes_input = len(parameters) == 2
    hints = _types_of(fn, parameters[1:], where, local_names or {})
    input_type = hints.get(parameters[1].name, Any) if takes_input else NoneType
    output_type = hints.get("return", Any)
    input_serde = _serde_of(input_serde, input_type, where, "argument")
    output_serde = _serde_of(output_serde, output_type, where, "result")
    if accept == JSON:
        takes_raw = input_type is bytes or isinstance(input_serde, BytesSerde)
        accept = ANY_CONTENT if takes_raw else input_serde.content_type
    if content_type == JSON:
        content_type = output_serde.content_type
    return Handler(
        service=service,
        service_kind=service_kind,
        name=name,
        kind=kind,
        fn=fn,
        input_serde=input_serde,
        output_serde=output_serde,
        input_type=input_type,
        output_type=output_type,
        takes_input=takes_input,
        accept=accept,
        content_type=content_type,
        options=options,
        description=inspect.getdoc(fn),
        metadata=dict(metadata or {}),
    )


def _checked_parameters(fn: Callable[..., Any], where: str) -> list[inspect.Parameter]:
    if inspect.isasyncgenfunction(fn):
        raise InvalidHandler(
            handler=where,
            problem="it yields, but a handler has one result",
            hint="Return the result; give intermediate results as messages to other handlers.",
        )
    if not inspect.isfunction(fn) or not inspect.iscoroutinefunction(fn):
        raise InvalidHandler(
            handler=where,
            problem="it is not an async function",
            hint="Write `async def`; blocking work belongs in ctx.run(), which uses a thread.",
        )
    parameters = list(inspect.signature(fn).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) not in (1, 2) or any(one.kind not in positional for one in parameters):
        listed = ", ".join(str(one.replace(annotation=one.empty)) for one in parameters)
        raise InvalidHandler(
            handler=where,
            problem=f"its parameters are ({listed})",
            hint="A handler takes (ctx) or (ctx, argument); put several values in a dataclass.",
        )
    return parameters


def _types_of(
    fn: Callable[..., Any],
    parameters: list[inspect.Parameter],
    where: str,
    local_names: Mapping[str, Any],
) -> dict[str, Any]:
    """Resolve the annotations of some parameters and of the result.

    The context's annotation is left alone: it may be imported for type checkers only.
    """
    inner = inspect.unwrap(fn)
    written = getattr(inner, "__annotations__", {})
    wanted = {
        name: written[name] for name in [*(one.name for one in parameters), "return"]
        if name in written
    }  # fmt: skip
    try:
        return typing.get_type_hints(
            SimpleNamespace(__annotations__=wanted),
            globalns=getattr(inner, "__globals__", {}),
            localns=dict(local_names),
            include_extras=True,
        )
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise InvalidHandler(
            handler=where,
            problem=f"its annotations cannot be resolved: {str(error).rstrip('.')}",
            hint="Import the types of argument and result where the handler is defined, not only "
            "for type checkers.",
        ) from error


def _serde_of(serde: Serde[Any], hint: Any, where: str, what: str) -> Serde[Any]:
    """Return the serde as given, or the one that fits the annotation."""
    if not isinstance(serde, DefaultSerde) or serde.type_hint is not None:
        return serde
    try:
        return serde_for(hint)
    except SerdeError as error:
        raise InvalidHandler(
            handler=where,
            problem=f"its {what} has a type that cannot be used: {error.message.rstrip('.')}",
            hint=error.hint or "",
        ) from error
