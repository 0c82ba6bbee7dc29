"""Services and virtual objects: what a user declares."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import CodeType
from typing import Any, Literal, TypeVar

from howdah.errors import DuplicateName, InvalidName
from howdah.handler import ATTRIBUTE, Handler, HandlerOptions, make_handler
from howdah.retry import InvocationRetryPolicy
from howdah.serde import DefaultSerde, Serde, json_schema

F = TypeVar("F", bound=Callable[..., Any])

_SERVICE_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*")
_HANDLER_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*")
_RESERVED = ("restate", "howdah")
NAME_CHARACTERS_MAX = 255

RETENTION_DEFAULT = timedelta(days=1)


class _Declared:
    """What services and virtual objects have in common."""

    kind: str

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
        if not _SERVICE_NAME.fullmatch(name) or len(name) > NAME_CHARACTERS_MAX:
            raise InvalidName(
                what="service", name=name,
                expected="a letter, then letters, digits, '.', '_' or '-'",
            )  # fmt: skip
        if name.lower().startswith(_RESERVED) or name.lower() == "openapi":
            raise InvalidName(
                what="service", name=name,
                expected="a name that does not begin with restate or howdah and is not openapi",
            )  # fmt: skip
        self.name = name
        self.description = description
        self.metadata = dict(metadata or {})
        self.options = HandlerOptions(
            inactivity_timeout, abort_timeout, journal_retention, idempotency_retention,
            ingress_private, invocation_retry_policy,
        )  # fmt: skip
        self.handlers: dict[str, Handler[Any, Any]] = {}

    def _declare(self, kind: str, name: str | None, **facts: Any) -> Callable[[F], F]:
        def declare(fn: F) -> F:
            chosen = name if name is not None else fn.__name__
            if not _HANDLER_NAME.fullmatch(chosen) or len(chosen) > NAME_CHARACTERS_MAX:
                raise InvalidName(
                    what="handler", name=chosen, expected="a letter, then letters, digits or '_'"
                )
            if chosen in self.handlers:
                raise DuplicateName(what="handler", name=chosen, where=self.name)
            handler = make_handler(
                fn, service=self.name, service_kind=self.kind, name=chosen, kind=kind, **facts
            )
            self.handlers[chosen] = handler
            setattr(fn, ATTRIBUTE, handler)
            return fn

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
            raise InvalidName(what="handler kind", name=kind, expected="exclusive or shared")
        options = HandlerOptions(
            inactivity_timeout, abort_timeout, journal_retention, idempotency_retention,
            ingress_private, invocation_retry_policy,
        )  # fmt: skip
        return self._declare(
            kind, name, accept=accept, content_type=content_type, input_serde=input_serde,
            output_serde=output_serde, metadata=metadata, options=options.over(self.options),
        )  # fmt: skip


def describe(services: Iterable[Service | VirtualObject]) -> list[dict[str, Any]]:
    """Services as `howdah_core.register_deployment` takes them; see its comment for the fields."""
    return [
        {
            "name": service.name,
            "kind": service.kind,
            "description": service.description,
            "handlers": [_described(handler) for handler in service.handlers.values()],
        }
        for service in services
    ]


def _described(handler: Handler[Any, Any]) -> dict[str, Any]:
    options = handler.options
    journal = options.journal_retention if options.journal_retention is not None else (
        RETENTION_DEFAULT)  # fmt: skip
    idempotency = options.idempotency_retention if options.idempotency_retention is not None else (
        RETENTION_DEFAULT)  # fmt: skip
    optional = handler.input_type is Any or type(None) in getattr(
        handler.input_type, "__args__", ()
    )
    return {
        "name": handler.name,
        "kind": handler.kind,
        "description": handler.description,
        "input_content_type": handler.accept if handler.takes_input else None,
        "input_required": handler.takes_input and not optional and handler.accept != "*/*",
        "input_schema": json_schema(handler.input_type),
        "output_content_type": handler.content_type,
        "output_schema": json_schema(handler.output_type),
        "is_public": not options.ingress_private,
        "idempotency_retention_seconds": idempotency.total_seconds(),
        "journal_retention_seconds": journal.total_seconds(),
    }


def code_digest(services: Iterable[Service | VirtualObject]) -> str:
    """A name for this version of the code: 16 hex digits over the handlers' bytecode.

    Independent of where the files lie and of line numbers; helper functions that handlers call
    are not part of it.
    """
    digest = hashlib.sha256()
    for service in sorted(services, key=lambda service: service.name):
        digest.update(f"{service.kind} {service.name}\n".encode())
        for name in sorted(service.handlers):
            handler = service.handlers[name]
            digest.update(f"{handler.kind} {name}\n".encode())
            code = getattr(handler.fn, "__code__", None)
            if code is not None:
                _digest_code(digest, code)
    return digest.hexdigest()[:16]


def _digest_code(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code)
    digest.update(repr((code.co_names, code.co_varnames)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _digest_code(digest, constant)
        else:
            digest.update(repr(constant).encode())
