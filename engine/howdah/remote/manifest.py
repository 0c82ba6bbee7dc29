"""What a deployment says of itself when it is discovered: versions 1 to 4 of the manifest.

One set of structs for all versions: later ones only add fields. Durations are whole milliseconds.
What is absent is inherited: a handler's from its service, a service's from howdah's options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final, Literal

import msgspec

from howdah.errors import UsageError
from howdah.handler import HandlerKind, HandlerOptions, ServiceKind
from howdah.retry import InvocationRetryPolicy, OnMaxAttempts

ProtocolMode = Literal["BIDI_STREAM", "REQUEST_RESPONSE"]
ServiceType = Literal["SERVICE", "VIRTUAL_OBJECT", "WORKFLOW"]
HandlerType = Literal["WORKFLOW", "EXCLUSIVE", "SHARED"]

NAME_CHARACTERS_MAX: Final = 255
SERVICES_MAX: Final = 1000
HANDLERS_MAX: Final = 1000
_SERVICE_NAME: Final = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*", re.ASCII)
_HANDLER_NAME: Final = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*", re.ASCII)
_RESERVED_PREFIXES: Final = ("howdah", "restate")
_RESERVED_NAMES: Final = frozenset({"openapi"})
_MILLISECONDS_MAX: Final = 36500 * 24 * 3600 * 1000
_SERVICE_KINDS: Final[dict[ServiceType, ServiceKind]] = {
    "SERVICE": "service",
    "VIRTUAL_OBJECT": "object",
    "WORKFLOW": "workflow",
}
_HANDLER_KINDS: Final[dict[HandlerType, HandlerKind]] = {
    "WORKFLOW": "workflow",
    "EXCLUSIVE": "exclusive",
    "SHARED": "shared",
}
_ON_MAX_ATTEMPTS: Final[dict[str, OnMaxAttempts]] = {"PAUSE": "pause", "KILL": "kill"}


class ManifestError(Exception):
    """A manifest says what cannot be.

    Attributes:
        is_reserved_name: Whether it is only that a service has a reserved name.
    """

    def __init__(self, message: str, *, is_reserved_name: bool = False) -> None:
        super().__init__(message)
        self.is_reserved_name: Final = is_reserved_name


class Input(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a handler takes. With none of the three, it takes no body and no content type."""

    required: bool | None = None
    content_type: str | None = None
    json_schema: Any = None

    @property
    def is_nothing(self) -> bool:
        """Whether the handler takes no body."""
        return self.required is None and self.content_type is None and self.json_schema is None


class Output(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a handler returns. Without a content type, the response has none."""

    content_type: str | None = None
    set_content_type_if_empty: bool | None = None
    json_schema: Any = None


class _Options(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True
):
    """What a service or a handler says of how it is executed."""

    documentation: str | None = None
    metadata: dict[str, str] | None = None
    inactivity_timeout: int | None = None
    abort_timeout: int | None = None
    journal_retention: int | None = None
    idempotency_retention: int | None = None
    enable_lazy_state: bool | None = None
    ingress_private: bool | None = None
    retry_policy_initial_interval: int | None = None
    retry_policy_max_interval: int | None = None
    retry_policy_max_attempts: int | None = None
    retry_policy_exponentiation_factor: float | None = None
    retry_policy_on_max_attempts: Literal["PAUSE", "KILL"] | None = None

    def _options(self, workflow_retention: int | None = None) -> HandlerOptions:
        on_max_attempts = self.retry_policy_on_max_attempts
        return HandlerOptions(
            inactivity_timeout=_duration(self.inactivity_timeout),
            abort_timeout=_duration(self.abort_timeout),
            journal_retention=_duration(self.journal_retention),
            idempotency_retention=_duration(self.idempotency_retention),
            workflow_retention=_duration(workflow_retention),
            enable_lazy_state=self.enable_lazy_state,
            ingress_private=self.ingress_private,
            invocation_retry_policy=InvocationRetryPolicy(
                initial_interval=_duration(self.retry_policy_initial_interval),
                max_interval=_duration(self.retry_policy_max_interval),
                max_attempts=self.retry_policy_max_attempts,
                exponentiation_factor=self.retry_policy_exponentiation_factor,
                on_max_attempts=_ON_MAX_ATTEMPTS[on_max_attempts] if on_max_attempts else None,
            ),
        )


class Handler(_Options, frozen=True, kw_only=True):
    """A handler.

    Attributes:
        ty: As it was said; see `Service.kind_of` for what it means.
        input: None: any body, or none at all.
        output: None: JSON.
    """

    name: str
    ty: HandlerType | None = None
    input: Input | None = None
    output: Output | None = None
    workflow_completion_retention: int | None = None


class Service(_Options, frozen=True, kw_only=True):
    """A service and its handlers."""

    name: str
    ty: ServiceType
    handlers: list[Handler]

    @property
    def kind(self) -> ServiceKind:
        """The kind by howdah's name for it."""
        return _SERVICE_KINDS[self.ty]

    def kind_of(self, handler: Handler) -> HandlerKind:
        """The kind of a handler of this service.

        One that says nothing is exclusive in an object and shared in a workflow.
        """
        if self.ty == "SERVICE":
            return "stateless"
        if handler.ty is None:
            return "exclusive" if self.ty == "VIRTUAL_OBJECT" else "shared"
        return _HANDLER_KINDS[handler.ty]

    def options_of(self, handler: Handler) -> HandlerOptions:
        """How a handler is executed, with what it leaves open taken from the service.

        Raises:
            OutOfBounds: a value lies outside its bounds; never for a manifest that was checked.
        """
        return handler._options(handler.workflow_completion_retention).over(self._options())


class Manifest(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True
):
    """All that a deployment serves, and how it is spoken to."""

    protocol_mode: ProtocolMode
    min_protocol_version: int
    max_protocol_version: int
    services: list[Service]
    lambda_compression: Literal["zstd"] | None = None


def read_manifest(body: bytes) -> tuple[Manifest, list[str]]:
    """Read and check a manifest.

    Returns:
        The manifest, and each of its services as a JSON document, which Postgres can hold.

    Raises:
        ManifestError: it is no manifest, or says what cannot be.
    """
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        problem = str(error) if not isinstance(error, RecursionError) else "it is nested too deep"
        raise ManifestError(f"it cannot be read: {problem}") from error
    if any("\0" in text for text in _texts(document)):
        raise ManifestError("it holds a text with a NUL character, which cannot be stored")
    _check(manifest)
    return manifest, [msgspec.json.encode(one).decode() for one in document["services"]]


def _check(manifest: Manifest) -> None:
    if len(manifest.services) > SERVICES_MAX:
        raise ManifestError(f"it has more than {SERVICES_MAX} services")
    seen: set[str] = set()
    for service in manifest.services:
        _check_name("service", service.name, _SERVICE_NAME)
        lower = service.name.lower()
        if lower.startswith(_RESERVED_PREFIXES) or lower in _RESERVED_NAMES:
            problem = f"the name of service {service.name} is reserved"
            raise ManifestError(problem, is_reserved_name=True)
        if service.name in seen:
            raise ManifestError(f"it has two services named {service.name}")
        seen.add(service.name)
        _check_service(service)


def _check_service(service: Service) -> None:
    if len(service.handlers) > HANDLERS_MAX:
        raise ManifestError(f"{service.name} has more than {HANDLERS_MAX} handlers")
    seen: set[str] = set()
    for handler in service.handlers:
        _check_name("handler", handler.name, _HANDLER_NAME)
        where = f"{service.name}/{handler.name}"
        if handler.name in seen:
            raise ManifestError(f"{service.name} has two handlers named {handler.name}")
        seen.add(handler.name)
        _check_type(service, handler, where)
        if service.ingress_private and handler.ingress_private is False:
            raise ManifestError(f"{where} cannot be public in a private service")
        is_main = service.kind_of(handler) == "workflow"
        if handler.workflow_completion_retention is not None and not is_main:
            raise ManifestError(f"{where} has a workflowCompletionRetention, but is no workflow")
        if handler.idempotency_retention is not None and is_main:
            raise ManifestError(f"{where} is a workflow, which has no idempotencyRetention")
        for payload in (handler.input, handler.output):
            if payload is not None:
                _check_schema(payload.json_schema, where)
                _check_content_type(payload.content_type, where)
        try:
            service.options_of(handler)
        except UsageError as error:
            raise ManifestError(f"{where}: {error.message.rstrip('.')}") from error
    if service.ty == "WORKFLOW" and sum(one.ty == "WORKFLOW" for one in service.handlers) != 1:
        raise ManifestError(f"{service.name} needs exactly one handler of type WORKFLOW")


def _check_name(what: str, name: str, pattern: re.Pattern[str]) -> None:
    if len(name) > NAME_CHARACTERS_MAX or not pattern.fullmatch(name):
        raise ManifestError(f"{name[:60]!r} cannot be the name of a {what}")


def _check_type(service: Service, handler: Handler, where: str) -> None:
    allowed: Final[dict[ServiceType, tuple[HandlerType, ...]]] = {
        "SERVICE": ("SHARED",),
        "VIRTUAL_OBJECT": ("EXCLUSIVE", "SHARED"),
        "WORKFLOW": ("WORKFLOW", "SHARED"),
    }
    if handler.ty is not None and handler.ty not in allowed[service.ty]:
        raise ManifestError(f"{where} cannot be {handler.ty} in a {service.ty}")


def _check_schema(schema: Any, where: str) -> None:
    if not isinstance(schema, dict | bool | None):
        raise ManifestError(f"{where} has a jsonSchema that is neither an object nor true or false")
    for one in _objects(schema):
        reference = one.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            raise ManifestError(f"{where} has a jsonSchema that refers to another document")


def _check_content_type(content_type: str | None, where: str) -> None:
    if content_type is None:
        return
    if not content_type.isascii() or not content_type.isprintable() or "/" not in content_type:
        raise ManifestError(f"{where} has a contentType that is none: {content_type[:60]!r}")


def _duration(milliseconds: int | None) -> timedelta | None:
    if milliseconds is None:
        return None
    # What is longer is above every bound, and would be above timedelta's.
    bounded = max(-1, min(milliseconds, _MILLISECONDS_MAX))
    return timedelta(milliseconds=bounded)


def _values(document: Any) -> Iterator[Any]:
    waiting = [document]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _texts(document: Any) -> Iterator[str]:
    return (value for value in _values(document) if isinstance(value, str))


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    return (value for value in _values(document) if isinstance(value, dict))
