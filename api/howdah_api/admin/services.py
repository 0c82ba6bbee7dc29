"""What services and handlers there are, as their current deployments describe them.

And what an operator may set of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from howdah.errors import RegistryBusy, UsageError
from howdah.handler import RETENTION_MAX, TIMEOUT_MAX
from howdah.options import format_duration, parse_duration
from howdah.store.catalog import Service, read_services
from howdah.store.overrides import override_service
from howdah.worker.engine import Engine
from howdah_api.admin.metadata import describe_handler, describe_service
from howdah_api.admin.openapi import openapi_document
from howdah_api.admin.replies import Refusal, busy, invalid, json, read_json

_DURATIONS: Final = {
    "idempotency_retention": "idempotency_retention_seconds",
    "workflow_completion_retention": "workflow_retention_seconds",
    "journal_retention": "journal_retention_seconds",
    "inactivity_timeout": "inactivity_timeout_seconds",
    "abort_timeout": "abort_timeout_seconds",
}
_SETTINGS: Final = {"public": "is_public", **_DURATIONS}
_BODY_BYTES_MAX: Final = 64 * 1024


class Changes(msgspec.Struct, forbid_unknown_fields=True):
    """What is set of a service. null: it stays as it is; clients send that for what they don't change.

    Attributes:
        reset: Names of the others that are to be again what the code says.
    """

    public: bool | None = None
    idempotency_retention: str | None = None
    workflow_completion_retention: str | None = None
    journal_retention: str | None = None
    inactivity_timeout: str | None = None
    abort_timeout: str | None = None
    reset: list[str] = []


class Services:
    """`/services` and what is below it, state excepted."""

    def __init__(self, engine: Engine, ingress_url: str) -> None:
        self._engine = engine
        self._ingress_url = ingress_url

    async def all(self, _: Request) -> Response:
        """`{"services": [...]}`, by name."""
        found = await read_services(self._engine.database)
        return json(200, {"services": [self._described(service) for service in found]})

    async def one(self, request: Request) -> Response:
        """One service."""
        return json(200, self._described(await self._find(request)))

    async def handlers(self, request: Request) -> Response:
        """`{"handlers": [...]}`, by name."""
        service = await self._find(request)
        described = [describe_handler(handler, service) for handler in service.handlers]
        return json(200, {"handlers": described})

    async def handler(self, request: Request) -> Response:
        """One handler."""
        service, name = await self._find(request), request.path_params["handler"]
        for handler in service.handlers:
            if handler.name == name:
                return json(200, describe_handler(handler, service))
        raise Refusal(
            404, f"The requested handler '{name}' on service '{service.name}' does not exist"
        )

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document of one service."""
        return json(200, openapi_document(await self._find(request), self._ingress_url))

    async def change(self, request: Request) -> Response:
        """Set what operators decide: who may call it, how long things are kept, timeouts.

        It goes before what the code says, of its handlers too, until a remote deployment with the
        service is registered, or until it is in `reset`.
        """
        name = request.path_params["service"]
        changes = await read_json(request, Changes, bytes_max=_BODY_BYTES_MAX)
        service = await self._known(name)
        if service is None:
            raise _unknown(name)
        overrides = _overrides(changes, service)
        if overrides:
            try:
                is_there = await override_service(self._engine.database, name, overrides)
            except RegistryBusy as error:
                raise busy(error.message) from error
            await self._engine.reload_registry()
            service = await self._known(name) if is_there else None
        if service is None:
            raise _unknown(name)
        return json(200, self._described(service))

    def _described(self, service: Service) -> dict[str, Any]:
        return describe_service(service, self._engine.options)

    async def _find(self, request: Request) -> Service:
        name = request.path_params["service"]
        service = await self._known(name)
        if service is None:
            raise Refusal(404, f"The requested service '{name}' does not exist")
        return service

    async def _known(self, name: str) -> Service | None:
        for service in await read_services(self._engine.database):
            if service.name == name:
                return service
        return None


def _unknown(name: str) -> Refusal:
    return Refusal(404, f"not found in the schema registry: service with name '{name}'")


def _overrides(changes: Changes, service: Service) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for field in changes.reset:
        if field not in _SETTINGS:
            raise invalid("reset", f"expected any of {', '.join(_SETTINGS)}")
        overrides[_SETTINGS[field]] = None
    if changes.public is not None:
        overrides["is_public"] = changes.public
    for field, name in _DURATIONS.items():
        text = getattr(changes, field)
        if text is None:
            continue
        if field == "workflow_completion_retention" and service.kind != "workflow":
            raise invalid(field, f"service '{service.name}' is not a workflow")
        overrides[name] = _duration(field, text).total_seconds()
    return overrides


def _duration(field: str, text: str) -> timedelta:
    try:
        duration = parse_duration(text)
    except UsageError as error:
        raise invalid(field, error.message) from error
    longest = TIMEOUT_MAX if field.endswith("timeout") else RETENTION_MAX
    if duration > longest:
        raise invalid(field, f"'{text}' is longer than {format_duration(longest)}")
    return duration
