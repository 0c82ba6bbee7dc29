"""What is said of a service: its handlers, how long things are kept, how attempts are made. Pure.

The names are those that clients of this interface know. Durations are written `1m 30s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from howdah.ids import restate_deployment_id
from howdah.options import Options, format_duration
from howdah.retry import DEFAULT_INVOCATION_RETRY
from howdah.store.catalog import Handler, Service

SERVICE_TYPES: Final = {"service": "Service", "object": "VirtualObject", "workflow": "Workflow"}
HANDLER_TYPES: Final = {"exclusive": "Exclusive", "shared": "Shared", "workflow": "Workflow"}

Manifest = Mapping[str, Any]


def describe_service(service: Service, options: Options) -> dict[str, Any]:
    """A service and its handlers as a JSON object.

    Args:
        service: What is known of it.
        options: Where values come from that neither an operator nor its code gives.
    """
    said = service.manifest
    runs = [one.workflow_retention for one in service.handlers if one.kind == "workflow"]
    described: dict[str, Any] = {
        "name": service.name,
        "ty": SERVICE_TYPES[service.kind],
        "handlers": [describe_handler(handler, service) for handler in service.handlers],
        "documentation": service.description,
        "metadata": service.metadata,
        "deployment_id": restate_deployment_id(service.deployment),
        "revision": service.revision,
        "public": any(handler.is_public for handler in service.handlers),
        "idempotency_retention": _given(
            service, "idempotency_retention", said, "idempotencyRetention"
        )
        or format_duration(options.idempotency_retention),
        "workflow_completion_retention": _written(runs[0] if runs else None),
        "journal_retention": _given(service, "journal_retention", said, "journalRetention")
        or format_duration(options.journal_retention),
        "inactivity_timeout": _given(service, "inactivity_timeout", said, "inactivityTimeout")
        or format_duration(options.inactivity_timeout),
        "abort_timeout": _given(service, "abort_timeout", said, "abortTimeout")
        or format_duration(options.abort_timeout),
        "enable_lazy_state": bool(said.get("enableLazyState")),
        "retry_policy": _service_policy(said),
    }
    return {name: value for name, value in described.items() if value is not None}


def describe_handler(handler: Handler, service: Service) -> dict[str, Any]:
    """A handler as a JSON object; how its attempts are made only where it differs from its service."""
    said = handler.manifest
    described: dict[str, Any] = {
        "name": handler.name,
        "ty": HANDLER_TYPES.get(handler.kind),
        "documentation": handler.description,
        "metadata": handler.metadata,
        "idempotency_retention": format_duration(handler.idempotency_retention),
        "workflow_completion_retention": _written(handler.workflow_retention),
        "journal_retention": format_duration(handler.journal_retention),
        "inactivity_timeout": _given(service, "inactivity_timeout", said, "inactivityTimeout"),
        "abort_timeout": _given(service, "abort_timeout", said, "abortTimeout"),
        "enable_lazy_state": said.get("enableLazyState"),
        "public": handler.is_public,
        "input_description": _input(handler),
        "output_description": _content(handler.output_content_type),
        "input_json_schema": handler.input_schema,
        "output_json_schema": handler.output_schema,
    }
    return {
        **{name: value for name, value in described.items() if value is not None},
        "retry_policy": _handler_policy(said),
    }


def _given(service: Service, name: str, manifest: Manifest, word: str) -> str | None:
    """What an operator set, or else what the code says."""
    seconds = service.overrides.get(f"{name}_seconds")
    if seconds is not None:
        return format_duration(timedelta(seconds=seconds))
    return _milliseconds(manifest, word)


def _milliseconds(manifest: Manifest, word: str) -> str | None:
    value = manifest.get(word)
    return None if value is None else format_duration(timedelta(milliseconds=value))


def _written(duration: timedelta | None) -> str | None:
    return None if duration is None else format_duration(duration)


def _service_policy(manifest: Manifest) -> dict[str, Any]:
    default = DEFAULT_INVOCATION_RETRY
    return {
        "initial_interval": format_duration(default.initial_interval),
        "exponentiation_factor": default.exponentiation_factor,
        "max_interval": format_duration(default.max_interval),
        "on_max_attempts": default.on_max_attempts.capitalize(),
        **_policy(manifest, default.max_attempts),
    }


def _handler_policy(manifest: Manifest) -> dict[str, Any]:
    return _policy(manifest, None)


def _policy(manifest: Manifest, max_attempts: int | None) -> dict[str, Any]:
    on_max_attempts = manifest.get("retryPolicyOnMaxAttempts")
    attempts = manifest.get("retryPolicyMaxAttempts")
    given = {
        "initial_interval": _milliseconds(manifest, "retryPolicyInitialInterval"),
        "exponentiation_factor": manifest.get("retryPolicyExponentiationFactor"),
        "max_interval": _milliseconds(manifest, "retryPolicyMaxInterval"),
        "on_max_attempts": on_max_attempts and on_max_attempts.capitalize(),
    }
    return {
        **{name: value for name, value in given.items() if value is not None},
        "max_attempts": max_attempts if attempts is None else max(attempts, 1),
    }


def _input(handler: Handler) -> str:
    content = _content(handler.input_content_type)
    if handler.input_content_type is None or handler.input_required:
        return content
    return f'one of ["none", "{content}"]'


def _content(content_type: str | None) -> str:
    return "none" if content_type is None else f"value of content-type '{content_type}'"
