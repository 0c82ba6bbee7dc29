"""What operators set of services, before what their code says. Source: sql/functions/81_registry.sql."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import asyncpg
import msgspec

from howdah.errors import RegistryBusy
from howdah.store.database import Database

OVERRIDE: Final = "select howdah_core.override_service($1, $2)"


async def override_service(database: Database, name: str, changes: Mapping[str, Any]) -> bool:
    """Change what is set of a service; null takes a setting back.

    Args:
        database: Open.
        name: The service.
        changes: Any of is_public, idempotency_retention_seconds, workflow_retention_seconds,
            journal_retention_seconds, inactivity_timeout_seconds and abort_timeout_seconds.

    Returns:
        Whether there is such a service.

    Raises:
        RegistryBusy: another registration is under way.
        StoreUnavailable: the database is away; it may have been changed.
    """
    try:
        rows = await database.fetch(OVERRIDE, name, msgspec.json.encode(changes).decode())
    except asyncpg.LockNotAvailableError as error:
        raise RegistryBusy from error
    return bool(rows[0][0])
