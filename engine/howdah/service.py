"""Services and virtual objects: what a program declares, and how it is described to the database.

Names, options and signatures are checked while the program is imported, so a wrong declaration
never meets a request. What is declared here is plain data: workers and the registry read it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from types import CodeType, FunctionType, NoneType
from typing import Any, ClassVar, Literal, TypeVar

from howdah.errors import DuplicateName, InvalidHandler, InvalidName, OutOfBounds
from howdah.handler import (
    ATTRIBUTE,
    ContextManagers,
    Declaration,
    Handler,
    HandlerFn,
    HandlerKind,
    HandlerOptions,
    ServiceKind,
    make_handler,
    names_at,
)
from howdah.options import Options
from howdah.retry import InvocationRetryPolicy
from howdah.serde import DefaultSerde, Serde

F = TypeVar("F", bound=HandlerFn[Any, Any])

NAME_LENGTH_MAX = 255
_SERVICE_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*")
_HANDLER_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*")
_RESERVED_PREFIXES = ("howdah", "restate")
_RESERVED_NAMES = ("openapi",)

_BY_TYPE: Serde[Any] = DefaultSerde()


class _Declared:
    """What services and virtual objects have in common."""

    kind: ClassVar[ServiceKind]

    def __init__(
        self,
        name: str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
    ) -> None:
        _check_service_name(name)
        self.name = name
        self.description = description
        self.metadata = dict(metadata or {})
        self.options = HandlerOptions(
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            idempotency_retention=idempotency_retention,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
        )
        self.context_managers = tuple(invocation_context_managers or ())
        self.handlers: dict[str, Handler[Any, Any]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def _decorator(
        self,
        kind: HandlerKind,
        name: str | None,
        options: HandlerOptions,
        context_managers: ContextManagers | None,
        *,
        accept: str | None,
        content_type: str | None,
        input_serde: Serde[Any],
        output_serde: Serde[Any],
        metadata: Mapping[str, str] | None,
    ) -> Callable[[F], F]:
        if callable(name):
            raise InvalidHandler(
                handler=f"{self.name}/{getattr(name, '__name__', '?')}",
                problem="its decorator has no parentheses",
                hint="Write `.handler()`.",
            )
        self._check_private(name, options)

        def declare(fn: F) -> F:
            chosen = getattr(fn, "__name__", "") if name is None else name
            _check_handler_name(chosen, self.name)
            if chosen in self.handlers:
                raise DuplicateName(what="handler", name=chosen, where=f"{self.kind} {self.name}")
            if ATTRIBUTE in getattr(fn, "__dict__", {}):
                raise InvalidHandler(
                    handler=f"{self.name}/{chosen}",
                    problem=f"it is {getattr(fn, ATTRIBUTE).target} already",
                    hint="Write a function for each; both may call a third that does the work.",
                )
            declared = Declaration(
                service=self.name,
                service_kind=self.kind,
                name=chosen,
                kind=kind,
                accept=accept,
                content_type=content_type,
                input_serde=input_serde,
                output_serde=output_serde,
                options=options.over(self.options),
                metadata=metadata,
                context_managers=(*self.context_managers, *(context_managers or ())),
            )
            handler = make_handler(fn, declared, names_at(1))
            setattr(fn, ATTRIBUTE, handler)
            self.handlers[chosen] = handler
            return fn

        return declare

    def _check_private(self, name: str | None, options: HandlerOptions) -> None:
        if self.options.ingress_private and options.ingress_private is False:
            raise InvalidHandler(
                handler=f"{self.name}/{name}" if name else f"A handler of {self.name}",
                problem="it is public, but its service is private",
                hint="Drop ingress_private from one of the two.",
            )


class Service(_Declared):
    """Stateless handlers: any number of invocations run side by side.

    Args:
        name: As in paths and in SQL; a letter, then letters, digits, `.`, `_` and `-`.
        description: What it is for; shown in SQL and in API documents.
        metadata: Facts for people and tools, text to text.
        inactivity_timeout: How long a waiting handler stays in memory before it is suspended;
            from `Options` unless given, up to 1 day.
        abort_timeout: How long a handler may go on without reaching the engine; likewise.
        journal_retention: How long journals are kept after completion; from `Options` unless
            given, up to 3650 days.
        idempotency_retention: How long outcomes are kept for their idempotency key; likewise.
        ingress_private: Only handlers may call it, not HTTP requests.
        invocation_retry_policy: How failed attempts are retried. A handler's own policy goes first,
            value by value.
        invocation_context_managers: Entered around every attempt, the first outermost, and left
            also when an attempt is suspended.

    Raises:
        InvalidName: the name cannot be used. HD1001.
        OutOfBounds: a duration lies outside its bounds. HD1004.
    """

    kind = "service"

    def handler(
        self,
        name: str | None = None,
        accept: str | None = None,
        content_type: str | None = None,
        input_serde: Serde[Any] = _BY_TYPE,
        output_serde: Serde[Any] = _BY_TYPE,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
    ) -> Callable[[F], F]:
        """Declare an `async def` function `(ctx)` or `(ctx, argument)` as a handler.

        The types of argument and result come from the annotations. An argument with a default may
        be left out. The function itself comes back, to be given to `ctx.service_call`.

        Args:
            name: The function's name unless given; a letter, then letters, digits and `_`.
            accept: The media type of requests; what the input serde writes unless given, and any
                for bytes.
            content_type: The media type of responses; what the output serde writes unless given.
            input_serde: How bytes become the argument; by its type unless given.
            output_serde: How the result becomes bytes; by its type unless given.
            metadata: Facts for people and tools, text to text.
            inactivity_timeout: The service's unless given, as is everything from here on.
            abort_timeout: See `Service`.
            journal_retention: See `Service`.
            idempotency_retention: See `Service`.
            ingress_private: See `Service`; a handler of a private service cannot be public.
            invocation_retry_policy: See `Service`.
            invocation_context_managers: Entered inside those of the service.

        Raises:
            InvalidHandler: the function cannot serve as a handler. HD1003.
            InvalidName: the name cannot be used. HD1001.
            DuplicateName: the service has a handler of this name. HD1002.
            SerdeError: a type has no form in bytes. HD1010.
            OutOfBounds: a duration lies outside its bounds. HD1004.
        """
        options = HandlerOptions(
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            idempotency_retention=idempotency_retention,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
        )
        return self._decorator(
            "stateless",
            name,
            options,
            invocation_context_managers,
            accept=accept,
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            metadata=metadata,
        )


class VirtualObject(_Declared):
    """Handlers addressed by a key, with state for each key.

    For one key, one exclusive handler runs at a time, in the order of arrival; shared handlers run
    beside it and only read. Keys do not wait for each other.

    Args:
        name: As for `Service`, and so for all that follows.
        description: What it is for.
        metadata: Facts for people and tools.
        inactivity_timeout: See `Service`.
        abort_timeout: See `Service`.
        journal_retention: See `Service`.
        idempotency_retention: See `Service`.
        ingress_private: See `Service`.
        invocation_retry_policy: See `Service`.
        invocation_context_managers: See `Service`.

    Raises:
        InvalidName: the name cannot be used. HD1001.
        OutOfBounds: a duration lies outside its bounds. HD1004.
    """

    kind = "object"

    def handler(
        self,
        name: str | None = None,
        kind: Literal["exclusive", "shared"] | None = "exclusive",
        accept: str | None = None,
        content_type: str | None = None,
        input_serde: Serde[Any] = _BY_TYPE,
        output_serde: Serde[Any] = _BY_TYPE,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
    ) -> Callable[[F], F]:
        """Declare an `async def` function `(ctx)` or `(ctx, argument)` as a handler.

        Args:
            name: As for `Service.handler`, and so for all others but `kind`.
            kind: `exclusive` for the only writer of its key's state, `shared` for a reader.
            accept: See `Service.handler`.
            content_type: See `Service.handler`.
            input_serde: See `Service.handler`.
            output_serde: See `Service.handler`.
            metadata: See `Service.handler`.
            inactivity_timeout: See `Service.handler`.
            abort_timeout: See `Service.handler`.
            journal_retention: See `Service.handler`.
            idempotency_retention: See `Service.handler`.
            ingress_private: See `Service.handler`.
            invocation_retry_policy: See `Service.handler`.
            invocation_context_managers: See `Service.handler`.

        Raises:
            UsageError: as `Service.handler` says, or an unknown `kind` (HD1004).
        """
        if kind not in (None, "exclusive", "shared"):
            raise OutOfBounds(name="kind", value=repr(kind), bound="'exclusive' or 'shared'")
        options = HandlerOptions(
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            idempotency_retention=idempotency_retention,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
        )
        return self._decorator(
            kind or "exclusive",
            name,
            options,
            invocation_context_managers,
            accept=accept,
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            metadata=metadata,
        )


def describe(
    services: Iterable[Service | VirtualObject], options: Options | None = None
) -> list[dict[str, Any]]:
    """Return services as plain data, the way they are registered in the database.

    Each is `{name, kind, description, handlers}`, and each handler `{name, kind, description,
    input_content_type, input_required, input_schema, output_content_type, output_schema, is_public,
    idempotency_retention_seconds, journal_retention_seconds}`. A handler without input has no
    input_content_type.

    Args:
        services: What a program declares.
        options: Where retentions come from that neither handler nor service gives.

    Raises:
        DuplicateName: two services have the same name. HD1002.

    Source: sql/functions/81_registry.sql.
    """
    options = options or Options()
    described: dict[str, dict[str, Any]] = {}
    for service in services:
        if service.name in described:
            raise DuplicateName(what="service", name=service.name, where="This program")
        described[service.name] = {
            "name": service.name,
            "kind": service.kind,
            "description": service.description,
            "handlers": [_described(handler, options) for handler in service.handlers.values()],
        }
    return list(described.values())


def _described(handler: Handler[Any, Any], options: Options) -> dict[str, Any]:
    takes_body = handler.takes_input and handler.input_type is not NoneType
    idempotency = handler.options.idempotency_retention
    journal = handler.options.journal_retention
    return {
        "name": handler.name,
        "kind": handler.kind,
        "description": handler.description,
        "input_content_type": handler.accept if takes_body else None,
        "input_required": handler.input_required,
        "input_schema": handler.input_serde.json_schema() if takes_body else None,
        "output_content_type": handler.content_type,
        "output_schema": handler.output_serde.json_schema(),
        "is_public": not handler.options.ingress_private,
        "idempotency_retention_seconds": _seconds(idempotency, options.idempotency_retention),
        "journal_retention_seconds": _seconds(journal, options.journal_retention),
    }


def _seconds(given: timedelta | None, default: timedelta) -> float:
    return (default if given is None else given).total_seconds()


def code_digest(services: Iterable[Service | VirtualObject]) -> str:
    """Return a name for this version of the handlers' code: 16 hexadecimal digits.

    It covers the handlers and the functions of their own package that they refer to by name, as
    compiled: what an invocation's replay depends on. Comments, line numbers and the place of the
    files do not matter; another Python version gives another digest.
    """
    digest = hashlib.sha256()
    for service in sorted(services, key=lambda service: service.name):
        for name, handler in sorted(service.handlers.items()):
            digest.update(f"{service.kind} {service.name} {handler.kind} {name}\n".encode())
            for function in _reachable_from(inspect.unwrap(handler.fn)):
                digest.update(f"{function.__qualname__}\n".encode())
                _digest_code(digest, function.__code__)
    return digest.hexdigest()[:16]


def _reachable_from(fn: Any) -> Iterator[FunctionType]:
    """Yield a function and, each once, the functions of its package that it names."""
    waiting: list[Any] = [fn]
    seen: set[int] = set()
    package = _package_of(fn)
    while waiting:
        function = waiting.pop()
        if (
            not isinstance(function, FunctionType)
            or id(function) in seen
            or _package_of(function) != package
        ):
            continue
        seen.add(id(function))
        yield function
        names = _names_in(function.__code__)
        waiting.extend(function.__globals__.get(name) for name in reversed(names))


def _package_of(function: Any) -> str:
    return str(getattr(function, "__module__", "")).partition(".")[0]


def _names_in(code: CodeType) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += _names_in(constant)
    return names


def _digest_code(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code)
    digest.update(code.co_exceptiontable)
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _digest_code(digest, constant)
        elif isinstance(constant, frozenset):  # in no particular order, which hashing changes
            digest.update(repr(sorted(map(repr, constant))).encode())
        else:
            digest.update(repr(constant).encode())


def _check_service_name(name: object) -> None:
    expected = "expected a letter, then letters, digits, '.', '_' and '-'"
    if not isinstance(name, str) or not _SERVICE_NAME.fullmatch(name):
        raise InvalidName(what="A service", name=name, expected=expected)
    if len(name) > NAME_LENGTH_MAX:
        expected = f"a name has at most {NAME_LENGTH_MAX} characters"
        raise InvalidName(what="A service", name=name, expected=expected)
    if name.lower().startswith(_RESERVED_PREFIXES) or name.lower() in _RESERVED_NAMES:
        expected = "openapi, and names that begin with howdah or restate, are reserved"
        raise InvalidName(what="A service", name=name, expected=expected)


def _check_handler_name(name: object, service: str) -> None:
    what = f"A handler of {service}"
    if not isinstance(name, str) or not _HANDLER_NAME.fullmatch(name):
        expected = "expected a letter, then letters, digits and '_'"
        raise InvalidName(what=what, name=name, expected=expected)
    if len(name) > NAME_LENGTH_MAX:
        expected = f"a name has at most {NAME_LENGTH_MAX} characters"
        raise InvalidName(what=what, name=name, expected=expected)
