"""What people are shown of services, handlers and deployments, read from the views.

For looking only: what requests are checked against is `registry.py`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from howdah.store.database import Database

SERVICES = """
select name, kind, description, metadata, deployment, revision from howdah.services order by name
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
select name, kind, created_at, services, latest_of, workers, in_flight
  from howdah.deployments
 order by created_at, name
"""


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler in force. Fields as in `howdah.handlers`, JSON decoded."""

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


@dataclass(frozen=True, slots=True)
class Service:
    """A service with its handlers by name. Fields as in `howdah.services`, JSON decoded."""

    name: str
    kind: str
    description: str | None
    metadata: Any
    deployment: str
    revision: int
    handlers: list[Handler]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version of the code. Fields as in `howdah.deployments`."""

    name: str
    kind: str
    created_at: datetime
    services: list[str]
    latest_of: list[str]
    workers: int
    in_flight: int


async def read_services(database: Database) -> list[Service]:
    """All services that have handlers, by name. Raises `StoreUnavailable`."""
    handlers: dict[str, list[Handler]] = defaultdict(list)
    services = await database.fetch(SERVICES)
    for row in await database.fetch(HANDLERS):
        handlers[row["service"]].append(_handler(row))
    return [_service(row, handlers[row["name"]]) for row in services if row["name"] in handlers]


async def read_deployments(database: Database) -> list[Deployment]:
    """All deployments, the oldest first. Raises `StoreUnavailable`."""
    return [Deployment(**row) for row in await database.fetch(DEPLOYMENTS)]


def _service(row: Any, handlers: list[Handler]) -> Service:
    facts = dict(row)
    facts["metadata"] = _decoded(facts["metadata"])
    return Service(**facts, handlers=handlers)


def _handler(row: Any) -> Handler:
    facts = dict(row)
    del facts["service"]
    for name in ("metadata", "input_schema", "output_schema"):
        facts[name] = _decoded(facts[name])
    return Handler(**facts)


def _decoded(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
