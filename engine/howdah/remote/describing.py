"""A deployment's manifest as services are registered: what `howdah.service.describe` is for programs. Pure.

Source: the endpoint manifest of the service protocol, versions 1 to 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from howdah.handler import ANYTHING, HandlerOptions
from howdah.manifests import Manifest, read_options
from howdah.options import Options
from howdah.serde import JSON
from howdah.service import describe_set_state

_SERVICE_KINDS: Final = {"SERVICE": "service", "VIRTUAL_OBJECT": "object", "WORKFLOW": "workflow"}
_HANDLER_KINDS: Final = {"EXCLUSIVE": "exclusive", "SHARED": "shared", "WORKFLOW": "workflow"}
_DEFAULT_KINDS: Final = {"object": "exclusive", "workflow": "shared"}


def describe_manifest(
    manifest: Mapping[str, Any], options: Options | None = None
) -> list[dict[str, Any]]:
    """Return the services of a manifest as plain data, the way they are registered in the database.

    Args:
        manifest: As JSON has it; its names and types were checked.
        options: Where retentions come from that neither handler nor service gives.

    Raises:
        OutOfBounds: an option lies outside what howdah takes. HD1004.

    Source: sql/functions/81_registry.sql.
    """
    options = options or Options()
    return [_service(service, options) for service in manifest["services"]]


def _service(service: Manifest, options: Options) -> dict[str, Any]:
    kind = _SERVICE_KINDS[service["ty"]]
    inherited = read_options(service)
    handlers = [_handler(handler, kind, inherited, options) for handler in service["handlers"]]
    if kind != "service":
        handlers.append(describe_set_state(options))
    return {
        "name": service["name"],
        "kind": kind,
        "description": service.get("documentation"),
        "metadata": service.get("metadata") or None,
        "handlers": handlers,
        "manifest": dict(service),
    }


def _handler(
    handler: Manifest, service_kind: str, inherited: HandlerOptions, options: Options
) -> dict[str, Any]:
    own = read_options(handler).over(inherited)
    kind = "stateless"
    if service_kind != "service":
        given = handler.get("ty")
        kind = _HANDLER_KINDS[given] if given else _DEFAULT_KINDS[service_kind]
    is_main = kind == "workflow"
    retention = _seconds(own.workflow_retention, options.workflow_retention)
    return {
        "name": handler["name"],
        "kind": kind,
        "description": handler.get("documentation"),
        "metadata": handler.get("metadata") or None,
        **_input(handler.get("input")),
        **_output(handler.get("output")),
        "is_public": not own.ingress_private,
        "idempotency_retention_seconds": _seconds(
            own.idempotency_retention, options.idempotency_retention
        ),
        "journal_retention_seconds": _seconds(own.journal_retention, options.journal_retention),
        "workflow_retention_seconds": retention if is_main else None,
    }


def _input(given: Mapping[str, Any] | None) -> dict[str, Any]:
    # Nothing said: anything goes. An object that says nothing: no body.
    content_type = ANYTHING
    if given is not None:
        says_nothing = all(
            given.get(word) is None for word in ("required", "contentType", "jsonSchema")
        )
        content_type = None if says_nothing else given.get("contentType") or ANYTHING
    given = given or {}
    return {
        "input_content_type": content_type,
        "input_required": bool(given.get("required")),
        "input_schema": given.get("jsonSchema"),
    }


def _output(given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        given = {"contentType": JSON}
    return {
        "output_content_type": given.get("contentType"),
        "output_schema": given.get("jsonSchema"),
        "labels_empty_output": bool(given.get("setContentTypeIfEmpty")),
    }


def _seconds(given: timedelta | None, default: timedelta) -> float:
    return (default if given is None else given).total_seconds()
