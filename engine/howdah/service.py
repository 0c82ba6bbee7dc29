"""Services, virtual objects and workflows: what a program declares, as the database is told it.

Names, options and signatures are checked while the program is imported, so a wrong declaration
never meets a request. What is declared here is plain data: workers and the registry read it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import NoneType
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from howdah.digest import digest_handlers
from howdah.errors import (
    DuplicateName,
    IncompleteWorkflow,
    InvalidHandler,
    InvalidName,
    OutOfBounds,
)
from howdah.handler import (
    ATTRIBUTE,
    ContextManagers,
    Declaration,
    Handler,
    HandlerKind,
    HandlerOptions,
    ServiceKind,
    StatePreload,
    make_handler,
    names_at,
)
from howdah.manifests import write_options
from howdah.options import Options
from howdah.retry import InvocationRetryPolicy
from howdah.serde import DefaultSerde, Serde, serde_for

F = TypeVar("F", bound=Callable[[Any], Any] | Callable[[Any, Any], Any])

SET_STATE = "~set_state"
"""A handler of every object and workflow that no program declares; no name can be the same."""

NAME_LENGTH_MAX = 255
_SERVICE_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*")
_HANDLER_NAME = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*")
_RESERVED_PREFIXES = ("howdah", "restate")
_RESERVED_NAMES = ("openapi",)

_BY_TYPE: Serde[Any] = DefaultSerde()


class _Declared:
    """What services, virtual objects and workflows have in common."""

    kind: ClassVar[ServiceKind]
    _takes_nothing_as_none: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        description: str | None,
        metadata: Mapping[str, str] | None,
        options: HandlerOptions,
        context_managers: ContextManagers | None,
    ) -> None:
        _check_service_name(name)
        self.name = name
        self.description = description
        self.metadata = dict(metadata or {})
        self.options = options
        self.context_managers = tuple(context_managers or ())
        self.handlers: dict[str, Handler[Any, Any]] = {}
        self._given = options
        self._given_to: dict[str, tuple[Callable[..., Any], HandlerOptions]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def configure(
        self, options: HandlerOptions, handlers: Mapping[str, HandlerOptions] | None = None
    ) -> None:
        """Put an operator's options before those that the program gives at the same places.

        A handler's options still go before its service's. A second call replaces the first.

        Args:
            options: For the whole service; None leaves the program's value.
            handlers: For single handlers, by name; likewise.

        Raises:
            KeyError: there is no handler of such a name.
            InvalidHandler: a public handler in a private service. HD1003.
            OutOfBounds: intervals of a retry policy that do not fit each other. HD1004.
        """
        for name in handlers or ():
            self._given_to[name]
        service = options.over(self._given)
        merged: dict[str, HandlerOptions] = {}
        for name, (_, given) in self._given_to.items():
            own = (handlers or {}).get(name, HandlerOptions()).over(given)
            _check_private(self.name, name, own, service)
            merged[name] = own.over(service)
        self.options = service
        for name, (fn, _) in self._given_to.items():
            self.handlers[name] = self.handlers[name].with_options(merged[name])
            setattr(fn, ATTRIBUTE, self.handlers[name])

    def check_complete(self) -> None:
        """Refuse what cannot be served as it is."""

    def _check_handler(self, name: str, kind: HandlerKind) -> None:
        """Refuse a further handler."""

    def _serde_for(self, type_hint: Any) -> Serde[Any]:
        """Return what reads and writes a type, where the author gave no serde."""
        return serde_for(type_hint)

    def _adapted(self, handler: Handler[Any, Any]) -> Handler[Any, Any]:
        """Return the handler as it is executed, for services whose functions take other contexts."""
        return handler

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
        _check_private(self.name, name, options, self.options)

        def declare(fn: F) -> F:
            chosen = getattr(fn, "__name__", "") if name is None else name
            _check_handler_name(chosen, self.name)
            if chosen in self.handlers:
                raise DuplicateName(what="handler", name=chosen, where=f"{self.kind} {self.name}")
            self._check_handler(chosen, kind)
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
                serde_for=self._serde_for,
                takes_nothing_as_none=self._takes_nothing_as_none,
            )
            handler = self._adapted(make_handler(fn, declared, names_at(1)))
            setattr(fn, ATTRIBUTE, handler)
            self.handlers[chosen] = handler
            self._given_to[chosen] = (fn, options)
            return fn

        return declare


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
        options = HandlerOptions(
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            idempotency_retention=idempotency_retention,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
        )
        super().__init__(name, description, metadata, options, invocation_context_managers)

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
        """Declare a function `(ctx)` or `(ctx, argument)` as a handler.

        The types of argument and result come from the annotations. An argument with a default may
        be left out. The function itself comes back, to be given to `ctx.service_call`. An
        `async def` function runs on the event loop. A `def` function runs in a thread of its own
        and may block; its context is one of `howdah.blocking`.

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
        enable_lazy_state: Read state when a handler asks for it, instead of with its invocation.
        state_preload: What of a key's state comes with an invocation: `True` for all of it (up to
            `Options.state_eager_bytes_max`), `False` for nothing, or a list of names. Goes before
            `enable_lazy_state`. What does not come is read when it is asked for.
        ingress_private: See `Service`.
        invocation_retry_policy: See `Service`.
        invocation_context_managers: See `Service`.

    Raises:
        InvalidName: the name cannot be used. HD1001.
        OutOfBounds: a duration lies outside its bounds. HD1004.
    """

    kind = "object"

    def __init__(
        self,
        name: str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        enable_lazy_state: bool | None = None,
        state_preload: StatePreload | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
    ) -> None:
        options = HandlerOptions(
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            idempotency_retention=idempotency_retention,
            enable_lazy_state=enable_lazy_state,
            state_preload=state_preload,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
        )
        super().__init__(name, description, metadata, options, invocation_context_managers)

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
        enable_lazy_state: bool | None = None,
        state_preload: StatePreload | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
    ) -> Callable[[F], F]:
        """Declare a function `(ctx)` or `(ctx, argument)` as a handler.

        Args:
            name: As for `Service.handler`, and so for all others but these three.
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
            enable_lazy_state: The object's unless given; see `VirtualObject`.
            state_preload: Likewise.
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
            enable_lazy_state=enable_lazy_state,
            state_preload=state_preload,
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


class Workflow(_Declared):
    """A function that runs once for each key, with state, promises and handlers beside it.

    Args:
        name: As for `Service`, and so for all that is not named here.
        description: What it is for.
        metadata: Facts for people and tools.
        inactivity_timeout: See `Service`.
        abort_timeout: See `Service`.
        journal_retention: See `Service`.
        idempotency_retention: See `Service`; of its shared handlers, as the main one runs once.
        enable_lazy_state: See `VirtualObject`.
        state_preload: See `VirtualObject`.
        ingress_private: See `Service`.
        invocation_retry_policy: See `Service`.
        invocation_context_managers: See `Service`.
        workflow_retention: How long the outcome, the state and the promises of a key are kept once
            its main handler completed; from `Options` unless given, up to 3650 days.

    Raises:
        InvalidName: the name cannot be used. HD1001.
        OutOfBounds: a value lies outside its bounds. HD1004.
    """

    kind = "workflow"

    def __init__(
        self,
        name: str,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
        inactivity_timeout: timedelta | None = None,
        abort_timeout: timedelta | None = None,
        journal_retention: timedelta | None = None,
        idempotency_retention: timedelta | None = None,
        enable_lazy_state: bool | None = None,
        state_preload: StatePreload | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
        workflow_retention: timedelta | None = None,
    ) -> None:
        options = HandlerOptions(
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            idempotency_retention=idempotency_retention,
            workflow_retention=workflow_retention,
            enable_lazy_state=enable_lazy_state,
            state_preload=state_preload,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
        )
        super().__init__(name, description, metadata, options, invocation_context_managers)

    def main(
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
        workflow_retention: timedelta | None = None,
        enable_lazy_state: bool | None = None,
        state_preload: StatePreload | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
    ) -> Callable[[F], F]:
        """Declare the function that a workflow is: `(ctx)` or `(ctx, argument)`.

        It runs once for each key. `ctx` is a `WorkflowContext`: it reads and writes the key's
        state, and waits for promises.

        Args:
            name: As for `Service.handler`, and so for all that is not named here.
            accept: See `Service.handler`.
            content_type: See `Service.handler`.
            input_serde: See `Service.handler`.
            output_serde: See `Service.handler`.
            metadata: See `Service.handler`.
            inactivity_timeout: See `Service.handler`.
            abort_timeout: See `Service.handler`.
            journal_retention: See `Service.handler`.
            workflow_retention: How long outcome, state and promises are kept once it completed;
                the workflow's unless given, then that of `Options`. Until then a second start of
                the same key is refused, and afterwards the key may run again.
            enable_lazy_state: The workflow's unless given; see `VirtualObject`.
            state_preload: Likewise.
            ingress_private: See `Service.handler`.
            invocation_retry_policy: See `Service.handler`.
            invocation_context_managers: See `Service.handler`.

        Raises:
            UsageError: as `Service.handler` says, or there is a main handler already (HD1003).
        """
        options = HandlerOptions(
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            workflow_retention=workflow_retention,
            enable_lazy_state=enable_lazy_state,
            state_preload=state_preload,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
        )
        return self._decorator(
            "workflow",
            name,
            options,
            invocation_context_managers,
            accept=accept,
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            metadata=metadata,
        )

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
        enable_lazy_state: bool | None = None,
        state_preload: StatePreload | None = None,
        ingress_private: bool | None = None,
        invocation_retry_policy: InvocationRetryPolicy | None = None,
        invocation_context_managers: ContextManagers | None = None,
    ) -> Callable[[F], F]:
        """Declare a handler that runs beside the main one, as often as it is called.

        `ctx` is a `WorkflowSharedContext`: it reads the key's state, and resolves promises.

        Args:
            name: As for `Service.handler`, and so for all that is not named here.
            accept: See `Service.handler`.
            content_type: See `Service.handler`.
            input_serde: See `Service.handler`.
            output_serde: See `Service.handler`.
            metadata: See `Service.handler`.
            inactivity_timeout: See `Service.handler`.
            abort_timeout: See `Service.handler`.
            journal_retention: See `Service.handler`.
            idempotency_retention: See `Service.handler`.
            enable_lazy_state: The workflow's unless given; see `VirtualObject`.
            state_preload: Likewise.
            ingress_private: See `Service.handler`.
            invocation_retry_policy: See `Service.handler`.
            invocation_context_managers: See `Service.handler`.

        Raises:
            UsageError: as `Service.handler` says.
        """
        options = HandlerOptions(
            inactivity_timeout=inactivity_timeout,
            abort_timeout=abort_timeout,
            journal_retention=journal_retention,
            idempotency_retention=idempotency_retention,
            enable_lazy_state=enable_lazy_state,
            state_preload=state_preload,
            ingress_private=ingress_private,
            invocation_retry_policy=invocation_retry_policy,
        )
        return self._decorator(
            "shared",
            name,
            options,
            invocation_context_managers,
            accept=accept,
            content_type=content_type,
            input_serde=input_serde,
            output_serde=output_serde,
            metadata=metadata,
        )

    def check_complete(self) -> None:
        """Refuse a workflow that has nothing to run.

        Raises:
            IncompleteWorkflow: it has no main handler. HD1009.
        """
        if self._main is None:
            raise IncompleteWorkflow(workflow=self.name)

    @property
    def _main(self) -> Handler[Any, Any] | None:
        return next((one for one in self.handlers.values() if one.kind == "workflow"), None)

    def _check_handler(self, name: str, kind: HandlerKind) -> None:
        if kind == "workflow" and self._main is not None:
            raise InvalidHandler(
                handler=f"{self.name}/{name}",
                problem=f"the main handler of this workflow is {self._main.target} already",
                hint="A workflow is one function; declare the others with `.handler()`.",
            )


AnyService: TypeAlias = Service | VirtualObject | Workflow


class Bundle:
    """Services that are served together; a module may hold one in place of the services.

    Attributes:
        services: In the order given.
    """

    def __init__(self, services: Iterable[AnyService]) -> None:
        self.services = tuple(services)


def describe(
    services: Iterable[AnyService], options: Options | None = None
) -> list[dict[str, Any]]:
    """Return services as plain data, the way they are registered in the database.

    Each is `{name, kind, description, metadata, handlers, manifest}`, and each handler `{name, kind,
    description, metadata, input_content_type, input_required, input_schema, output_content_type,
    output_schema, is_public, idempotency_retention_seconds, journal_retention_seconds,
    workflow_retention_seconds}`; the manifest has the options that the program gives, as
    `howdah.manifests` writes them. A handler without input has no input_content_type, and only the
    main handler of a workflow has a workflow_retention. Objects and workflows have one more
    handler, `~set_state`, which the engine answers itself: it replaces the state of a key, in its
    turn.

    Args:
        services: What a program declares.
        options: Where retentions come from that neither handler nor service gives.

    Raises:
        DuplicateName: two services have the same name. HD1002.
        IncompleteWorkflow: a workflow has no main handler. HD1009.

    Source: sql/functions/81_registry.sql.
    """
    options = options or Options()
    described: dict[str, dict[str, Any]] = {}
    for service in services:
        if service.name in described:
            raise DuplicateName(what="service", name=service.name, where="This program")
        service.check_complete()
        handlers = [_described(handler, options) for handler in service.handlers.values()]
        if service.kind != "service":
            handlers.append(describe_set_state(options))
        described[service.name] = {
            "name": service.name,
            "kind": service.kind,
            "description": service.description,
            "metadata": service.metadata or None,
            "handlers": handlers,
            "manifest": _manifest(service),
        }
    return list(described.values())


_SERVICE_TYPES = {"service": "SERVICE", "object": "VIRTUAL_OBJECT", "workflow": "WORKFLOW"}
_HANDLER_TYPES = {"exclusive": "EXCLUSIVE", "shared": "SHARED", "workflow": "WORKFLOW"}


def _manifest(service: AnyService) -> dict[str, Any]:
    handlers = []
    for handler in service.handlers.values():
        described = {"name": handler.name, **write_options(handler.options)}
        if handler.kind in _HANDLER_TYPES:
            described["ty"] = _HANDLER_TYPES[handler.kind]
        handlers.append(described)
    return {
        "name": service.name,
        "ty": _SERVICE_TYPES[service.kind],
        **write_options(service.options),
        "handlers": handlers,
    }


def _described(handler: Handler[Any, Any], options: Options) -> dict[str, Any]:
    takes_body = handler.takes_input and handler.input_type is not NoneType
    own = handler.options
    retention = _seconds(own.workflow_retention, options.workflow_retention)
    return {
        "name": handler.name,
        "kind": handler.kind,
        "description": handler.description,
        "metadata": dict(handler.metadata) or None,
        "input_content_type": handler.accept if takes_body else None,
        "input_required": handler.input_required,
        "input_schema": handler.input_serde.json_schema() if takes_body else None,
        "output_content_type": handler.content_type,
        "output_schema": handler.output_serde.json_schema(),
        "is_public": not own.ingress_private,
        **_retentions(own, options),
        "workflow_retention_seconds": retention if handler.kind == "workflow" else None,
    }


def describe_set_state(options: Options) -> dict[str, Any]:
    """The hidden handler that objects and workflows have, as in `describe`."""
    return {
        "name": SET_STATE,
        "kind": "exclusive",
        "description": "Replaces the state of a key.",
        "metadata": None,
        "input_content_type": "application/json",
        "input_required": True,
        "input_schema": None,
        "output_content_type": "application/json",
        "output_schema": None,
        "is_public": False,
        **_retentions(HandlerOptions(), options),
        "workflow_retention_seconds": None,
    }


def _retentions(own: HandlerOptions, options: Options) -> dict[str, float]:
    idempotency, journal = own.idempotency_retention, own.journal_retention
    return {
        "idempotency_retention_seconds": _seconds(idempotency, options.idempotency_retention),
        "journal_retention_seconds": _seconds(journal, options.journal_retention),
    }


def _seconds(given: timedelta | None, default: timedelta) -> float:
    return (default if given is None else given).total_seconds()


def code_digest(services: Iterable[AnyService]) -> str:
    """Return a name for this version of the handlers' code: 16 hexadecimal digits.

    It covers the handlers and the functions of their own package that they refer to by name, as
    compiled: what an invocation's replay depends on. Comments, line numbers and the place of the
    files do not matter; another Python version gives another digest.
    """
    return digest_handlers(handler for service in services for handler in service.handlers.values())


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


def _check_private(
    service: str, name: str | None, options: HandlerOptions, inherited: HandlerOptions
) -> None:
    if inherited.ingress_private and options.ingress_private is False:
        raise InvalidHandler(
            handler=f"{service}/{name}" if name else f"A handler of {service}",
            problem="it is public, but its service is private",
            hint="Drop ingress_private from one of the two.",
        )
