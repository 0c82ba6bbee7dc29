"""Services and virtual objects: what a user declares, and how the database is told about it."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import CodeType, NoneType
from typing import Any, ClassVar, Literal, TypeVar, cast

from howdah.errors import DuplicateName, InvalidHandler, InvalidName, OutOfBounds
from howdah.handler import ANY_CONTENT, Handler, HandlerOptions, bind, make_handler
from howdah.options import Options
from howdah.retry import InvocationRetryPolicy
from howdah.serde import DefaultSerde, Serde, allows_none

F = TypeVar("F", bound=Callable[..., Any])

_SERVICE_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*")
_HANDLER_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*")
_RESERVED = ("restate", "howdah")
NAME_CHARACTERS_MAX = 255


class _Declared:
    """What services and virtual objects have in common."""

    kind: ClassVar[str]

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
    ) -> None:
        _check_service_name(name)
        self.name = name
        self.description = description
        self.metadata = dict(metadata or {})
        self.options = HandlerOptions(
            inactivity_timeout, abort_timeout, journal_retention, idempotency_retention,
            ingress_private, invocation_retry_policy,
        )  # fmt: skip
        self.handlers: dict[str, Handler[Any, Any]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def _declare(self, kind: str, name: str | None, **facts: Any) -> Callable[[F], F]:
        def declare(fn: F) -> F:
            chosen = name if name is not None else getattr(fn, "__name__", repr(fn))
            _check_handler_name(chosen)
            if chosen in self.handlers:
                raise DuplicateName(what="handler", name=chosen, where=self.name)
            handler = make_handler(
                fn,
                service=self.name,
                service_kind=self.kind,
                name=chosen,
                kind=kind,
                # Types that are local to the function in which the decorator stands.
                local_names=sys._getframe(1).f_locals,
                **facts,
            )
            self.handlers[chosen] = handler
            return cast(F, bind(fn, handler))

        if name is not None and not isinstance(name, str):
            raise InvalidHandler(
                handler=f"{self.name}/{getattr(name, '__name__', name)}",
                problem="the decorator was given the function itself",
                hint=f"Write @{self.name}.handler() with parentheses.",
            )
        return declare


class Service(_Declared):
    """Stateless handlers.

    Args:
        name: As in paths and SQL; a letter, then letters, digits, '.', '_' or '-'.
        description: Shown in SQL and in the API documents.
        journal_retention: How long outcome and journal are kept; default one day.
        idempotency_retention: The same for requests with an idempotency key.
        ingress_private: Not callable over HTTP, only by other handlers.
        invocation_retry_policy: For attempts that fail.
    """

    kind = "service"

    def handler(
        self,
        name: str | None = None,
        accept: str = "application/json",
        content_type: str = "application/json",
        input_serde: Serde[Any] = DefaultSerde(),
        output_serde: Serde[Any] = DefaultSerde(),
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
    ) -> Callable[[F], F]:
        """Declare an async function `(ctx)` or `(ctx, argument)` as a handler of this service."""
        options = HandlerOptions(
            inactivity_timeout, abort_timeout, journal_retention, idempotency_retention,
            ingress_private, invocation_retry_policy,
        )  # fmt: skip
        return self._declare(
            "stateless", name, accept=accept, content_type=content_type, input_serde=input_serde,
            output_serde=output_serde, metadata=metadata, options=options.over(self.options),
        )  # fmt: skip


class VirtualObject(_Declared):
    """Handlers keyed by a string, with state: one exclusive handler at a time for each key.

    Arguments as for `Service`.
    """

    kind = "object"

    def handler(
        self,
        name: str | None = None,
        kind: Literal["exclusive", "shared"] = "exclusive",
        accept: str = "application/json",
        content_type: str = "application/json",
        input_serde: Serde[Any] = DefaultSerde(),
        output_serde: Serde[Any] = DefaultSerde(),
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
    ) -> Callable[[F], F]:
        """Declare an async function as a handler: the key's only writer, or a shared reader."""
        if kind not in ("exclusive", "shared"):
            raise OutOfBounds(name="kind", value=repr(kind), bound="'exclusive' or 'shared'")
        options = HandlerOptions(
            inactivity_timeout, abort_timeout, journal_retention, idempotency_retention,
            ingress_private, invocation_retry_policy,
        )  # fmt: skip
        return self._declare(
            kind, name, accept=accept, content_type=content_type, input_serde=input_serde,
            output_serde=output_serde, metadata=metadata, options=options.over(self.options),
        )  # fmt: skip


def describe(
    services: Iterable[Service | VirtualObject], options: Options | None = None
) -> list[dict[str, Any]]:
    """Return services as `howdah_core.register_deployment` takes them, ready for JSON.

    Args:
        services: With different names.
        options: Where the retentions come from that neither handler nor service give.

    Raises:
        DuplicateName: two services have the same name. HD1002.

    Source: sql/functions/81_registry.sql, whose comment lists the fields.
    """
    defaults = options or Options()
    described: dict[str, dict[str, Any]] = {}
    for service in services:
        if service.name in described:
            raise DuplicateName(what="service", name=service.name, where="This worker")
        described[service.name] = {
            "name": service.name,
            "kind": service.kind,
            "description": service.description,
            "handlers": [_described(handler, defaults) for handler in service.handlers.values()],
        }
    return list(described.values())


def _described(handler: Handler[Any, Any], defaults: Options) -> dict[str, Any]:
    options = handler.options
    journal, idempotency = options.journal_retention, options.idempotency_retention
    if journal is None:
        journal = defaults.journal_retention
    if idempotency is None:
        idempotency = defaults.idempotency_retention
    takes_body = handler.takes_input and handler.input_type is not NoneType
    is_raw = handler.accept == ANY_CONTENT
    has_output = handler.output_type is not NoneType
    return {
        "name": handler.name,
        "kind": handler.kind,
        "description": handler.description,
        "input_content_type": handler.accept if takes_body else None,
        "input_required": takes_body and not is_raw and not allows_none(handler.input_type),
        "input_schema": handler.input_serde.json_schema() if takes_body else None,
        "output_content_type": handler.content_type,
        "output_schema": handler.output_serde.json_schema() if has_output else None,
        "is_public": not options.ingress_private,
        "idempotency_retention_seconds": idempotency.total_seconds(),
        "journal_retention_seconds": journal.total_seconds(),
    }


def code_digest(services: Iterable[Service | VirtualObject]) -> str:
    """Return a name for this version of the code: 16 hex digits over the handlers' bytecode.

    The same on every machine and in every process with the same minor version of Python:
    independent of where files lie, of line numbers and of hash seeds. Functions that handlers
    call are not part of it.
    """
    digest = hashlib.sha256()
    for service in sorted(services, key=lambda service: service.name):
        digest.update(f"{service.kind} {service.name}\n".encode())
        for name in sorted(service.handlers):
            handler = service.handlers[name]
            digest.update(f"{handler.kind} {name}\n".encode())
            digest.update(_code_facts(inspect.unwrap(handler.fn).__code__).encode())
    return digest.hexdigest()[:16]


def _code_facts(code: CodeType) -> str:
    constants = [_constant_facts(constant) for constant in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, constants))


def _constant_facts(constant: object) -> str:
    if isinstance(constant, CodeType):
        return _code_facts(constant)
    if isinstance(constant, frozenset):
        # Written in the order of the hash seed otherwise.
        return repr(sorted(_constant_facts(member) for member in constant))
    if isinstance(constant, tuple):
        return repr([_constant_facts(member) for member in constant])
    return f"{type(constant).__name__} {constant!r}"


def _check_service_name(name: object) -> None:
    if not isinstance(name, str) or not _SERVICE_NAME.fullmatch(name):
        expected = "a name is a letter, then letters, digits, '.', '_' or '-'"
    elif len(name) > NAME_CHARACTERS_MAX:
        expected = f"a name has at most {NAME_CHARACTERS_MAX} characters"
    elif name.lower().startswith(_RESERVED) or name.lower() == "openapi":
        expected = "names that begin with restate or howdah, and openapi, are reserved"
    else:
        return
    raise InvalidName(what="A service", name=name, expected=expected)


def _check_handler_name(name: str) -> None:
    if not _HANDLER_NAME.fullmatch(name):
        expected = "a name is a letter, then letters, digits or '_'"
    elif len(name) > NAME_CHARACTERS_MAX:
        expected = f"a name has at most {NAME_CHARACTERS_MAX} characters"
    else:
        return
    raise InvalidName(what="A handler", name=name, expected=expected)
