"""What a deployment serves as services are registered: `howdah.service.describe` for manifests. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from howdah.handler import ANYTHING
from howdah.options import Options
from howdah.remote.discovery import Discovered
from howdah.remote.manifest import Handler, Input, Output, Service
from howdah.serde import JSON
from howdah.service import describe_set_state


def describe_discovered(found: Discovered, options: Options | None = None) -> list[dict[str, Any]]:
    """Return the services of a deployment as plain data, the way they are registered in the database.

    Args:
        found: What it says of itself.
        options: Where retentions come from that neither handler nor service gives.

    Source: sql/functions/81_registry.sql.
    """
    options = options or Options()
    return [
        _service(service, document, options)
        for service, document in zip(found.manifest.services, found.documents, strict=True)
    ]


def _service(service: Service, document: str, options: Options) -> dict[str, Any]:
    handlers = [_handler(service, handler, options) for handler in service.handlers]
    if service.kind != "service":
        handlers.append(describe_set_state(options))
    return {
        "name": service.name,
        "kind": service.kind,
        "description": service.documentation,
        "metadata": service.metadata or None,
        "handlers": handlers,
        "manifest": msgspec.json.decode(document),
    }


def _handler(service: Service, handler: Handler, options: Options) -> dict[str, Any]:
    own, kind = service.options_of(handler), service.kind_of(handler)
    retention = _seconds(own.workflow_retention, options.workflow_retention)
    return {
        "name": handler.name,
        "kind": kind,
        "description": handler.documentation,
        "metadata": handler.metadata or None,
        **_input(handler.input),
        **_output(handler.output),
        "is_public": not own.ingress_private,
        "idempotency_retention_seconds": _seconds(
            own.idempotency_retention, options.idempotency_retention
        ),
        "journal_retention_seconds": _seconds(own.journal_retention, options.journal_retention),
        "workflow_retention_seconds": retention if kind == "workflow" else None,
    }


def _input(given: Input | None) -> dict[str, Any]:
    given = given or Input(required=False)
    return {
        "input_content_type": None if given.is_nothing else given.content_type or ANYTHING,
        "input_required": bool(given.required),
        "input_schema": given.json_schema,
    }


def _output(given: Output | None) -> dict[str, Any]:
    given = given or Output(content_type=JSON)
    return {
        "output_content_type": given.content_type,
        "output_schema": given.json_schema,
        "labels_empty_output": bool(given.set_content_type_if_empty),
    }


def _seconds(given: timedelta | None, default: timedelta) -> float:
    return (default if given is None else given).total_seconds()
