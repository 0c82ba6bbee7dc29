"""What services and handlers there are, as their current deployments describe them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from howdah.options import format_duration
from howdah.store.catalog import Handler, Service, read_services
from howdah.worker.engine import Engine
from howdah_api.admin.openapi import openapi_document
from howdah_api.admin.replies import Refusal, json

SERVICE_TYPES: Final = {"service": "Service", "object": "VirtualObject", "workflow": "Workflow"}
HANDLER_TYPES: Final = {"exclusive": "Exclusive", "shared": "Shared", "workflow": "Workflow"}


class Services:
    """`/services` and what is below it, state excepted."""

    def __init__(self, engine: Engine, ingress_url: str) -> None:
        self._engine = engine
        self._ingress_url = ingress_url

    async def all(self, _: Request) -> Response:
        """`{"services": [...]}`, by name."""
        found = await read_services(self._engine.database)
        return json(200, {"services": [describe_service(service) for service in found]})

    async def one(self, request: Request) -> Response:
        """One service."""
        return json(200, describe_service(await self._find(request)))

    async def handlers(self, request: Request) -> Response:
        """`{"handlers": [...]}`, by name."""
        service = await self._find(request)
        return json(200, {"handlers": [_handler(handler) for handler in service.handlers]})

    async def handler(self, request: Request) -> Response:
        """One handler."""
        service, name = await self._find(request), request.path_params["handler"]
        for handler in service.handlers:
            if handler.name == name:
                return json(200, _handler(handler))
        raise Refusal(
            404, f"The requested handler '{name}' on service '{service.name}' does not exist"
        )

    async def openapi(self, request: Request) -> Response:
        """The OpenAPI document of one service."""
        return json(200, openapi_document(await self._find(request), self._ingress_url))

    async def _find(self, request: Request) -> Service:
        name = request.path_params["service"]
        for service in await read_services(self._engine.database):
            if service.name == name:
                return service
        raise Refusal(404, f"The requested service '{name}' does not exist")


def describe_service(service: Service) -> dict[str, Any]:
    """A service and its handlers as a JSON object.

    A retention stands here when all handlers have the same, else with each handler only.
    """
    handlers = service.handlers
    described: dict[str, Any] = {
        "name": service.name,
        "ty": SERVICE_TYPES[service.kind],
        "handlers": [_handler(handler) for handler in handlers],
        "documentation": service.description,
        "metadata": service.metadata,
        "deployment_id": service.deployment,
        "revision": service.revision,
        "public": any(handler.is_public for handler in handlers),
        "idempotency_retention": _common(handler.idempotency_retention for handler in handlers),
        "workflow_completion_retention": _common(
            handler.workflow_retention for handler in handlers if handler.kind == "workflow"
        ),
        "journal_retention": _common(handler.journal_retention for handler in handlers),
    }
    return {name: value for name, value in described.items() if value is not None}


def _handler(handler: Handler) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": handler.name,
        "ty": HANDLER_TYPES.get(handler.kind),
        "documentation": handler.description,
        "metadata": handler.metadata,
        "idempotency_retention": format_duration(handler.idempotency_retention),
        "workflow_completion_retention": _common([handler.workflow_retention]),
        "journal_retention": format_duration(handler.journal_retention),
        "public": handler.is_public,
        "input_description": _input(handler),
        "output_description": _content(handler.output_content_type),
        "input_json_schema": handler.input_schema,
        "output_json_schema": handler.output_schema,
    }
    return {name: value for name, value in described.items() if value is not None}


def _common(durations: Iterable[timedelta | None]) -> str | None:
    different = set(durations)
    duration = different.pop() if len(different) == 1 else None
    return None if duration is None else format_duration(duration)


def _input(handler: Handler) -> str:
    content = _content(handler.input_content_type)
    if handler.input_content_type is None or handler.input_required:
        return content
    return f'one of ["none", "{content}"]'


def _content(content_type: str | None) -> str:
    return "none" if content_type is None else f"value of content-type '{content_type}'"
