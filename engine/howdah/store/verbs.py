"""The verbs of schema `howdah` that leave work for the engines: sends, signals, changes of state.

None of them needs an engine, or waits for one: a verb has taken effect when it returns, and whoever
serves the handler next carries it out. Source: sql/functions/83_verbs.sql, 84_signals.sql.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from howdah.errors import StoreError
from howdah.store.database import Database

SEND: Final = (
    "select howdah.send($1, $2, $3, key => $4, delay => $5, idempotency_key => $6, scope => $7,"
    " limit_key => $8)"
)
SIGNAL: Final = "select howdah.signal($1, $2, $3)"
REJECT_SIGNAL: Final = "select howdah.reject_signal($1, $2, $3, $4)"
RESOLVE_AWAKEABLE: Final = "select howdah.resolve_awakeable($1, $2)"
REJECT_AWAKEABLE: Final = "select howdah.reject_awakeable($1, $2, $3)"
SET_STATE: Final = (
    "select howdah_core.accept_one("
    "howdah_core.find_handler($1, '~set_state', $2, true), $2, $3, null, null)"
)


async def send(
    database: Database,
    *,
    service: str,
    handler: str,
    key: str | None,
    argument: str | None,
    delay: timedelta | None = None,
    idempotency_key: str | None = None,
    scope: str | None = None,
    limit_key: str | None = None,
) -> UUID:
    """Send a handler an argument; returns the invocation's id.

    Args:
        database: Open.
        service: Its name.
        handler: The handler's name.
        key: For objects and workflows.
        argument: JSON; None sends none.
        delay: It starts after that.
        idempotency_key: Two sends with the same one are one invocation.
        scope: Where it is counted; for services.
        limit_key: Under what it is counted in its scope.

    Raises:
        StoreError: there is no such handler, or it takes no such argument; the hint names others.

    Durability: the invocation is on disk when this returns.
    """
    rows = await _ask(
        database, SEND, service, handler, argument, key, delay, idempotency_key, scope, limit_key
    )
    found: UUID = rows[0][0]
    return found


async def signal(database: Database, id_: UUID, name: str, value: str | None) -> str:
    """Send an invocation a signal with a JSON value: accepted, completed (too late) or unknown."""
    return await _word(database, SIGNAL, id_, name, value)


async def reject_signal(database: Database, id_: UUID, name: str, message: str, code: int) -> str:
    """Send an invocation a failure by a signal's name; answers as `signal`."""
    return await _word(database, REJECT_SIGNAL, id_, name, message, code)


async def resolve_awakeable(database: Database, awakeable_id: str, value: str | None) -> str:
    """Complete an awakeable with a JSON value; answers as `signal`."""
    return await _word(database, RESOLVE_AWAKEABLE, awakeable_id, value)


async def reject_awakeable(database: Database, awakeable_id: str, message: str, code: int) -> str:
    """Complete an awakeable with a failure; answers as `signal`."""
    return await _word(database, REJECT_AWAKEABLE, awakeable_id, message, code)


async def change_state(
    database: Database, service: str, key: str, changes: Mapping[str, bytes | None]
) -> UUID:
    """Change single entries of a key's state, in the key's turn; returns the invocation's id.

    Args:
        database: Open.
        service: An object or a workflow.
        key: Whose state.
        changes: New values by name; None clears the entry.

    Raises:
        StoreError: there is no such service, or it has no state.
    """
    return await _patch(
        database,
        service,
        key,
        {
            "changes": {
                name: None if value is None else b64encode(value).decode()
                for name, value in changes.items()
            }
        },
    )


async def clear_state(database: Database, service: str, key: str) -> UUID:
    """Clear all of a key's state, in the key's turn; as `change_state`."""
    return await _patch(database, service, key, {"state": {}})


async def _patch(database: Database, service: str, key: str, patch: Mapping[str, Any]) -> UUID:
    rows = await _ask(database, SET_STATE, service, key, msgspec.json.encode(patch))
    found: UUID = rows[0][0]
    return found


async def _word(database: Database, statement: str, *arguments: Any) -> str:
    return str((await _ask(database, statement, *arguments))[0][0])


async def _ask(database: Database, statement: str, *arguments: Any) -> Any:
    try:
        return await database.fetch(statement, *arguments)
    except asyncpg.PostgresError as error:
        said = str(error).rstrip(".")
        raise StoreError(
            f"{said[:1].upper()}{said[1:]}.", hint=getattr(error, "hint", None)
        ) from error
