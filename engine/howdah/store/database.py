"""The doorway to Postgres: every call of the engine goes through `Database.fetch` or a `Session`.

A session is one connection of its own (the commit lane, the listener, the notifier); everything
else shares a small pool. A lost connection is one error, `StoreUnavailable`; whether the statement
was carried out is then unknown, and the caller must ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from howdah.errors import StoreUnavailable

CALL_TIMEOUT_SECONDS = 30.0
POOL_CONNECTIONS_MAX = 4

DRIVER_ERRORS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""All that a call of asyncpg raises."""

_LOST_STATES = ("08", "57P")
"""SQLSTATE classes after which the connection is gone: connection failure, server going down."""


def is_lost(error: BaseException) -> bool:
    """Whether an error says that the database is away, so that the statement's fate is unknown."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith(_LOST_STATES) or state in ("53300", "25006")
    return isinstance(error, DRIVER_ERRORS) and not isinstance(error, asyncpg.DataError)


def is_schema_missing(error: BaseException) -> bool:
    """Whether an error says that a table, column, function or schema is not there.

    As a cause counts too: verbs translate what the database says.
    """
    while not isinstance(error, asyncpg.PostgresError):
        if error.__cause__ is None:
            return False
        error = error.__cause__
    return error.sqlstate in ("42P01", "42703", "42883", "3F000")


async def connect(dsn: str, name: str, **settings: str) -> asyncpg.Connection[Any]:
    """Open one connection.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    try:
        return await asyncpg.connect(
            dsn,
            timeout=10,
            command_timeout=CALL_TIMEOUT_SECONDS,
            server_settings={"application_name": f"howdah {name}", "jit": "off", **settings},
        )
    except DRIVER_ERRORS as error:
        raise StoreUnavailable(doing=f"connecting ({name})") from error


async def _keep(_connection: Any) -> None:
    """Instead of asyncpg's reset, a round trip after each call."""


class Database:
    """A small pool for reads and the loops' calls.

    Args:
        dsn: Where the database is.
        before_call: Called with the statement before each call; tests use it to end the process
            at a chosen round trip.
    """

    def __init__(self, dsn: str, before_call: Callable[[str], None] | None = None) -> None:
        self.dsn = dsn
        self.before_call = before_call
        self._pool: asyncpg.Pool[Any] | None = None

    async def open(self) -> None:
        """Connect. Raises `StoreUnavailable`."""
        try:
            self._pool = await asyncpg.create_pool(
                self.dsn,
                min_size=1,
                max_size=POOL_CONNECTIONS_MAX,
                timeout=10,
                command_timeout=CALL_TIMEOUT_SECONDS,
                # Calls are single statements that leave no session state behind.
                reset=_keep,
                server_settings={"application_name": "howdah", "jit": "off"},
            )
        except DRIVER_ERRORS as error:
            raise StoreUnavailable(doing="connecting") from error

    async def close(self) -> None:
        """Close the pool, waiting a moment for calls in flight."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 5)
            except DRIVER_ERRORS:
                self._pool.terminate()

    def terminate(self) -> None:
        """Cut all connections at once, as the end of the process would."""
        if self._pool is not None:
            self._pool.terminate()

    async def fetch(self, statement: str, *args: Any) -> Sequence[asyncpg.Record]:
        """One round trip.

        Raises:
            StoreUnavailable: the connection is gone; a writing call may have been carried out.
            asyncpg.PostgresError: the database refused; nothing was written.
        """
        assert self._pool is not None, "open() comes first"
        if self.before_call is not None:
            self.before_call(statement)
        try:
            rows = await self._pool.fetch(statement, *args)
        except DRIVER_ERRORS as error:
            if is_lost(error):
                raise StoreUnavailable(doing="asking the database") from error
            raise
        if self.before_call is not None:
            self.before_call(statement)
        return rows
