"""The database as a command needs it: is it there, does it let us in, what does a statement say.

For the command line and for starting up; the engine's own work goes through `database.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from howdah.errors import StoreError, StoreUnavailable, UsageError

CONNECT_SECONDS = 10.0
_PASSWORD_PARAMETER = re.compile(r"((?:^|&)(?:ssl)?password=)[^&]*")

# Starting, stopping or full: these pass. Everything else that Postgres says does not.
_PASSING = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.PostgresConnectionError,
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a statement returned: column names (none when it returns no rows), rows, its tag."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    tag: str


def redacted(dsn: str) -> str:
    """The URL as it may be shown: without its password."""
    try:
        parts = urlsplit(dsn)
        has_password = parts.password is not None
    except ValueError:
        return "(an unreadable URL)"
    query = _PASSWORD_PARAMETER.sub(r"\1***", parts.query)
    netloc = parts.netloc
    if has_password:
        user, _, host = netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}:***@{host}"
    if (netloc, query) == (parts.netloc, parts.query):
        return dsn
    return urlunsplit(parts._replace(netloc=netloc, query=query))


async def connect(dsn: str) -> asyncpg.Connection[Any]:
    """Open a connection for a command.

    Raises:
        StoreUnavailable: the database is away; it may come back.
        UsageError: it refuses us: a wrong password, name or URL.
    """
    try:
        return await asyncpg.connect(
            dsn, timeout=CONNECT_SECONDS, server_settings={"application_name": "howdah command"}
        )
    except _PASSING as error:
        raise StoreUnavailable(doing="connecting") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise UsageError(
            f"The database at {redacted(dsn)} refuses the connection: {error}.",
            hint="Check the database URL.",
        ) from error


async def probe(dsn: str) -> None:
    """Return if the database takes connections. Raises as `connect`."""
    await (await connect(dsn)).close()


async def query(dsn: str, statement: str) -> Answered:
    """Execute one statement and commit it.

    Raises:
        StoreError: the database refuses the statement.
    """
    connection = await connect(dsn)
    try:
        prepared = await connection.prepare(statement)
        rows = await prepared.fetch()
        names = [attribute.name for attribute in prepared.get_attributes()]
        return Answered(names, [tuple(row) for row in rows], prepared.get_statusmsg() or "")
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise refusal(error) from error
    finally:
        await connection.close()


def refusal(error: Exception) -> Exception:
    """What Postgres says of a statement, as a `StoreError`; any other error is returned as it is."""
    if not isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return error
    detail = getattr(error, "detail", None)
    said = f"Postgres refuses the statement: {str(error).rstrip('.')}."
    return StoreError(f"{said} {detail}" if detail else said, hint=getattr(error, "hint", None))
