"""The connections that the commit lane writes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from howdah.errors import StoreUnavailable
from howdah.store.batch import APPEND_BATCH, COMMIT_BATCH
from howdah.store.database import DRIVER_ERRORS, connect, is_lost


class BatchConnection:
    """One of the commit lane's connections, on which its two statements are prepared.

    Args:
        dsn: Where the database is.
        name: What it is called in `pg_stat_activity`, after "howdah ".
        before_call: As for `Database`.

    Attributes:
        has_moved: Whether anything was accepted of what was sent since it was last set to False.
    """

    def __init__(self, dsn: str, name: str, before_call: Callable[[str], None] | None) -> None:
        self._dsn = dsn
        self._name = name
        self._before_call = before_call
        self._connection: asyncpg.Connection[Any] | None = None
        self._prepared: dict[str, Any] = {}
        self.has_moved = False

    async def connect(self) -> None:
        """Open it anew. Raises `StoreUnavailable`."""
        self.disconnect()
        connection = await connect(self._dsn, self._name)
        try:
            self._prepared = {
                statement: await connection.prepare(statement)
                for statement in (APPEND_BATCH, COMMIT_BATCH)
            }
        except BaseException as error:
            connection.terminate()
            if isinstance(error, DRIVER_ERRORS):
                raise StoreUnavailable(doing="preparing the commit lane") from error
            raise
        self._connection = connection

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed since; the other side may be gone."""
        return self._connection is not None and not self._connection.is_closed()

    def disconnect(self) -> None:
        """Close it at once: whatever is on its way is unknown."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def call(self, statement: str, *arguments: Any) -> Sequence[Any]:
        """Send one of the two statements.

        Raises:
            StoreUnavailable: it is not known whether it was executed.
            asyncpg.PostgresError, asyncpg.DataError: the database refused it.
        """
        if self._connection is None:
            raise StoreUnavailable(doing="committing")
        if self._before_call is not None:
            self._before_call(statement)
        try:
            rows: Sequence[Any] = await self._prepared[statement].fetch(*arguments)
        except DRIVER_ERRORS as error:
            if is_lost(error):
                raise StoreUnavailable(doing="committing") from error
            raise
        if self._before_call is not None:
            self._before_call(statement)
        return rows
