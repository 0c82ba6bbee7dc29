"""One Python function bound to a name, with what is needed to call it and to execute it.

The decorator returns the function itself, so that type checkers see its own signature: a call
`ctx.object_call(reserve, key=..., arg=None)` infers argument and result from `reserve`.
`HandlerFn[I, O]` is what the verbs take; a handler without argument fits it with any `I`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeAlias, TypeVar

from howdah.errors import InvalidHandler, NotAHandler
from howdah.retry import InvocationRetryPolicy
from howdah.serde import DefaultSerde, Serde, serde_for

I = TypeVar("I")  # noqa: E741 - the field's names for input and output
O = TypeVar("O")  # noqa: E741

HandlerFn: TypeAlias = Callable[[Any, I], Awaitable[O]] | Callable[[Any], Awaitable[O]]

ATTRIBUTE = "__howdah_handler__"


@dataclass(frozen=True, slots=True)
class HandlerOptions:
    """Options of a handler; None: the service's, then the defaults of `Options`."""

    inactivity_timeout: timedelta | None = None
    abort_timeout: timedelta | None = None
    journal_retention: timedelta | None = None
    idempotency_retention: timedelta | None = None
    ingress_private: bool | None = None
    invocation_retry_policy: InvocationRetryPolicy | None = None

    def over(self, below: HandlerOptions) -> HandlerOptions:
        """These options, with those of `below` where they say nothing."""
        return HandlerOptions(
            *(
                getattr(self, name) if getattr(self, name) is not None else getattr(below, name)
                for name in self.__slots__
            )
        )


@dataclass(frozen=True, slots=True)
class Handler(Generic[I, O]):
    """A handler as declared. `kind`: 'stateless', 'exclusive' or 'shared'."""

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
    """The handler that a decorated function is. Raises `NotAHandler`."""
    handler = getattr(fn, ATTRIBUTE, None)
    if not isinstance(handler, Handler):
        raise NotAHandler(got=fn)
    return handler


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
) -> Handler[Any, Any]:
    """Read a function's signature. Raises `InvalidHandler` for what can't be a handler."""
    where = f"{service}/{name}"
    if not inspect.iscoroutinefunction(fn):
        raise InvalidHandler(
            handler=where,
            problem="it is not an async function",
            hint="Write `async def`.",
        )
    parameters = [
        parameter
        for parameter in inspect.signature(fn).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = len(inspect.signature(fn).parameters)
    if required not in (1, 2) or len(parameters) != required:
        raise InvalidHandler(
            handler=where,
            problem=f"it takes {required} parameters",
            hint="A handler takes (ctx) or (ctx, argument).",
        )
    try:
        hints = typing.get_type_hints(fn)
    except (NameError, TypeError, AttributeError):
        # Names that only exist inside a function: the types are then not checked.
        hints = {}
    takes_input = len(parameters) == 2
    input_type = hints.get(parameters[1].name, Any) if takes_input else None
    output_type = hints.get("return", Any)
    if takes_input and isinstance(input_serde, DefaultSerde) and input_serde.type_hint is None:
        input_serde = serde_for(input_type)
    if isinstance(output_serde, DefaultSerde) and output_serde.type_hint is None:
        output_serde = serde_for(output_type)
    if input_type is bytes and accept == "application/json":
        accept = "*/*"
    if output_type is bytes and content_type == "application/json":
        content_type = "application/octet-stream"
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
        takes_input=takes_input and input_type is not type(None),
        accept=accept,
        content_type=content_type,
        options=options,
        description=inspect.getdoc(fn),
        metadata=dict(metadata or {}),
    )
