"""What the database knows of services and handlers: numbers, rules for requests, retention."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

from howdah.store.database import Database

LOAD_REGISTRY = "select * from howdah_core.load_registry()"
REFRESH_SECONDS_MIN = 1.0
"""Misses ask the database at most this often."""


@dataclass(frozen=True, slots=True)
class HandlerRow:
    """A handler as the database knows it. Fields as in `howdah_core.load_registry`."""

    no: int
    service_no: int
    service: str
    service_kind: str
    name: str
    kind: str
    input_content_type: str | None
    input_required: bool
    output_content_type: str | None
    labels_empty_output: bool
    is_public: bool
    idempotency_retention: timedelta
    journal_retention: timedelta
    workflow_retention: timedelta
    inactivity_timeout: timedelta | None = None
    abort_timeout: timedelta | None = None

    @property
    def is_exclusive(self) -> bool:
        """Whether it runs as its key's only writer."""
        return self.kind in ("exclusive", "workflow")

    def target(self, key: str | None) -> str:
        """`Service/handler` or `Service/key/handler`."""
        if key is None:
            return f"{self.service}/{self.name}"
        return f"{self.service}/{key}/{self.name}"


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """A service and its handlers by name: those in force, and all that it ever had."""

    no: int
    name: str
    kind: str
    handlers: dict[str, HandlerRow]
    all_handlers: dict[str, HandlerRow]


class Registry:
    """A copy of the database's services, refreshed on notice and on a miss."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refreshed_at = 0.0
        self._lock = asyncio.Lock()
        self.services: Mapping[str, ServiceRow] = {}
        self.by_no: Mapping[int, ServiceRow] = {}
        self.handlers: Mapping[int, HandlerRow] = {}

    def service(self, name: str) -> ServiceRow | None:
        """The service of this name, or None."""
        return self.services.get(name)

    async def refresh(self, *, force: bool = False) -> None:
        """Read the database again, at most once a second unless forced."""
        async with self._lock:
            if not force and monotonic() - self._refreshed_at < REFRESH_SECONDS_MIN:
                return
            rows = await self._database.fetch(LOAD_REGISTRY)
            self._refreshed_at = monotonic()
            services: dict[str, ServiceRow] = {}
            handlers: dict[int, HandlerRow] = {}
            for row in rows:
                handler = _handler(row)
                handlers[handler.no] = handler
                service = services.setdefault(
                    handler.service,
                    ServiceRow(handler.service_no, handler.service, handler.service_kind, {}, {}),
                )
                service.all_handlers[handler.name] = handler
                if not row["is_retired"]:
                    service.handlers[handler.name] = handler
            self.handlers = handlers
            self.services = services
            self.by_no = {service.no: service for service in self.services.values()}


def _handler(row: Any) -> HandlerRow:
    return HandlerRow(
        no=row["handler_no"],
        service_no=row["service_no"],
        service=row["service"],
        service_kind=row["service_kind"],
        name=row["handler"],
        kind=row["kind"],
        input_content_type=row["input_content_type"],
        input_required=row["input_required"],
        output_content_type=row["output_content_type"],
        labels_empty_output=row["labels_empty_output"],
        is_public=row["is_public"],
        idempotency_retention=row["idempotency_retention"],
        journal_retention=row["journal_retention"],
        workflow_retention=row["workflow_retention"],
        inactivity_timeout=row["inactivity_timeout"],
        abort_timeout=row["abort_timeout"],
    )
