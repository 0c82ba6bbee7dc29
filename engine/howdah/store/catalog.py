"""What people are shown of services, handlers and deployments.

For looking only: what requests are checked against is `registry.py`. What is current is read from the
views; earlier versions of a service from what their deployments registered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from howdah.store.database import Database

SERVICES = """
select s.name, s.kind, s.description, s.metadata, s.deployment, s.revision, v.overrides, d.manifest
  from howdah.services s
  join howdah_core.service v on v.no = s.service_no
  left join howdah_core.deployment_service d on d.deployment = v.deployment and d.service = v.no
 order by s.name
"""
HANDLERS = """
select service, name, kind, is_public, description, metadata, input_content_type, input_required,
       input_schema, output_content_type, output_schema, idempotency_retention, journal_retention,
       workflow_retention
  from howdah.handlers
 where retired_at is null
 order by service, name
"""
DEPLOYMENTS = """
select d.name, d.kind, d.created_at, d.latest_of, d.workers, d.in_flight, d.uri, d.sdk_version,
       c.headers, c.metadata, c.protocol_type, c.http_version, c.use_http_11,
       c.min_protocol_version, c.max_protocol_version,
       (select coalesce(jsonb_object_agg(v.name, s.revision), '{}')
          from howdah_core.deployment_service s join howdah_core.service v on v.no = s.service
         where s.deployment = c.no and s.removed_at is null) as revisions
  from howdah.deployments d
  join howdah_core.deployment c on c.name = d.name
 where d.removed_at is null
 order by d.created_at, d.name
"""
VERSIONS = """
select v.name, s.revision, s.described, s.manifest, d.name as deployment,
       v.deployment = s.deployment as is_current
  from howdah_core.deployment d
  join howdah_core.deployment_service s on s.deployment = d.no and s.removed_at is null
  join howdah_core.service v on v.no = s.service
 where d.name = $1
 order by v.name
"""


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler in force. Fields as in `howdah.handlers`, JSON decoded.

    Attributes:
        manifest: What else was said of it, as in a deployment's manifest.
    """

    name: str
    kind: str
    is_public: bool
    description: str | None
    metadata: Any
    input_content_type: str | None
    input_required: bool
    input_schema: Any
    output_content_type: str | None
    output_schema: Any
    idempotency_retention: timedelta
    journal_retention: timedelta
    workflow_retention: timedelta | None
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    """A service with its handlers by name. Fields as in `howdah.services`, JSON decoded.

    Attributes:
        manifest: What else was said of it, as in a deployment's manifest.
        overrides: What operators set, as in `howdah_core.service`.
    """

    name: str
    kind: str
    description: str | None
    metadata: Any
    deployment: str
    revision: int
    handlers: list[Handler]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version of the code, or a remote deployment. Fields as in `howdah.deployments`.

    Attributes:
        revisions: Of its services, by name.
        headers, metadata, protocol_type, http_version, use_http_11, min_protocol_version,
        max_protocol_version: Of a remote one, as in `howdah_core.deployment`, JSON decoded.
    """

    name: str
    kind: str
    created_at: datetime
    latest_of: list[str]
    workers: int
    in_flight: int
    uri: str | None
    sdk_version: str | None
    headers: Mapping[str, str] | None
    metadata: Mapping[str, str] | None
    protocol_type: str | None
    http_version: str | None
    use_http_11: bool
    min_protocol_version: int | None
    max_protocol_version: int | None
    revisions: Mapping[str, int]


async def read_services(database: Database) -> list[Service]:
    """All services that have handlers, by name. Raises `StoreUnavailable`."""
    handlers: dict[str, list[Any]] = defaultdict(list)
    services = await database.fetch(SERVICES)
    for row in await database.fetch(HANDLERS):
        handlers[row["service"]].append(row)
    return [_service(row, handlers[row["name"]]) for row in services if row["name"] in handlers]


async def read_deployments(database: Database) -> list[Deployment]:
    """All deployments that were not removed, the oldest first. Raises `StoreUnavailable`."""
    return [_deployment(row) for row in await database.fetch(DEPLOYMENTS)]


async def read_versions(database: Database, deployment: str) -> list[Service | tuple[str, int]]:
    """The services of one deployment by name, as it has them.

    Of those that an older release registered, name and revision are all that is known, unless they
    are current. Raises `StoreUnavailable`.
    """
    current = {service.name: service for service in await read_services(database)}
    versions: list[Service | tuple[str, int]] = []
    for row in await database.fetch(VERSIONS, deployment):
        name, described = row["name"], _decoded(row["described"])
        if row["is_current"] and name in current:
            versions.append(current[name])
        elif described is not None:
            described["manifest"] = _decoded(row["manifest"])
            versions.append(service_of(described, deployment, row["revision"]))
        else:
            versions.append((name, row["revision"]))
    return versions


def service_of(described: Mapping[str, Any], deployment: str, revision: int) -> Service:
    """A service as it is described to be registered; see `howdah.service.describe`."""
    manifest = described.get("manifest") or {}
    said = _by_name(manifest)
    handlers = [
        Handler(
            **{name: handler.get(name) for name in _HANDLER_FACTS},
            **{name: _duration(handler.get(f"{name}_seconds")) for name in _RETENTIONS},
            manifest=said.get(handler["name"], {}),
        )
        for handler in sorted(described["handlers"], key=lambda handler: str(handler["name"]))
        if not handler["name"].startswith("~")
    ]
    return Service(
        described["name"],
        described["kind"],
        described.get("description"),
        described.get("metadata"),
        deployment,
        revision,
        handlers,
        manifest,
    )


_HANDLER_FACTS = (
    "name", "kind", "is_public", "description", "metadata", "input_content_type", "input_required",
    "input_schema", "output_content_type", "output_schema",
)  # fmt: skip
_RETENTIONS = ("idempotency_retention", "journal_retention", "workflow_retention")


def _service(row: Any, handlers: Sequence[Any]) -> Service:
    manifest = _decoded(row["manifest"]) or {}
    said = _by_name(manifest)
    return Service(
        row["name"],
        row["kind"],
        row["description"],
        _decoded(row["metadata"]),
        row["deployment"],
        row["revision"],
        [_handler(handler, said.get(handler["name"], {})) for handler in handlers],
        manifest,
        _decoded(row["overrides"]) or {},
    )


def _handler(row: Any, manifest: Mapping[str, Any]) -> Handler:
    facts = dict(row)
    del facts["service"]
    for name in ("metadata", "input_schema", "output_schema"):
        facts[name] = _decoded(facts[name])
    return Handler(**facts, manifest=manifest)


def _deployment(row: Any) -> Deployment:
    facts = dict(row)
    for name in ("headers", "metadata", "revisions"):
        facts[name] = _decoded(facts[name])
    return Deployment(**facts)


def _by_name(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {handler["name"]: handler for handler in manifest.get("handlers", ())}


def _duration(seconds: float | None) -> Any:
    return None if seconds is None else timedelta(seconds=seconds)


def _decoded(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
