"""Queries of clients: read-only, bounded, and each on a connection of its own.

What is executed here was written by `howdah_api.query`, which refuses what could have an effect. The
transaction is read-only and its settings bound time, memory and disk nevertheless; the bytes that
come back are counted by the database (sql/functions/06_restate_queries.sql). The connection ends
with the query, so nothing that a query did to its session is ever met by another one. A backend that
goes on when its time is up, or when its client has left, is ended by another connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import asyncpg

from howdah.errors import StoreUnavailable
from howdah.store.database import DRIVER_ERRORS, connect, is_lost

logger = logging.getLogger(__name__)

STATEMENT_SECONDS: Final = 10
"""How long the database works for one query until it is ended, each portion of rows by itself."""
REACT_SECONDS: Final = 2.0
"""How long a backend may take to see that its time is up. After that, it is ended by another connection."""
TOTAL_SECONDS: Final = 60.0
"""How long a query may take in all, the client's reading included."""
BYTES_MAX: Final = 32 * 1024 * 1024
ROWS_MAX: Final = 200_000
PORTION_ROWS_MAX: Final = 500
PORTION_VALUES: Final = 10_000
"""About how many values are fetched at once: decoding them must not keep the event loop for long."""
CLOSE_SECONDS: Final = 3.0
"""How long it may take to cancel what a backend executes and to end it in good order."""
STOP_SECONDS: Final = 5.0
"""How long a backend that was told to end is waited for; the log says if it has not."""
_CONNECTION_CHECK: Final = "1s"

_SETTINGS: Final = """
set local search_path = pg_catalog, pg_temp;
set local statement_timeout = '{statement}s';
set local lock_timeout = '1s';
set local idle_in_transaction_session_timeout = '{total:.0f}s';
set local client_connection_check_interval = '{check}';
set local work_mem = '16MB';
set local max_parallel_workers_per_gather = 0;
set local standard_conforming_strings = on;
set local timezone = 'UTC';
"""
# Only a superuser, or who was granted it, may bound the disk that sorting and joining take.
_BOUND_DISK: Final = """
select case when pg_catalog.has_parameter_privilege('temp_file_limit', 'SET')
            then pg_catalog.set_config('temp_file_limit', '524288', true) end
"""
# The number of a process may be given again; together with its start it may not.
_BACKEND: Final = """
select pid, backend_start from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()
"""
_TERMINATE: Final = """
select pg_catalog.pg_terminate_backend(pid, $3) from pg_catalog.pg_stat_activity
 where pid = $1 and backend_start = $2
"""
_SIZED: Final = frozenset({"text", "varchar", "bpchar", "bytea"})


class QueryFailed(Exception):
    """The database did not answer a query.

    Attributes:
        message: What it says.
        is_meaningless: The query cannot be meant (an operator that its types do not have); False
            when it failed on the way.
    """

    def __init__(self, message: str, *, is_meaningless: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.is_meaningless = is_meaningless


class Answer:
    """What a query returns.

    Attributes:
        types: Postgres's name for each column's type: `text`, `timestamptz`, `int4[]`, ….
    """

    def __init__(self, types: Sequence[str], cursor: Any) -> None:
        self.types = types
        self._cursor = cursor

    async def portions(self) -> AsyncIterator[list[Sequence[Any]]]:
        """The rows, a portion at a time. Each has one more value than there are columns.

        Raises:
            QueryFailed: it fails, or there are more rows or bytes than a query may return.
            StoreUnavailable: the connection is gone.
        """
        count = 0
        portion = max(1, min(PORTION_ROWS_MAX, PORTION_VALUES // len(self.types)))
        while True:
            async with _bounded():
                rows = await self._cursor.fetch(portion)
            if not rows:
                return
            count += len(rows)
            if count > ROWS_MAX:
                raise QueryFailed(f"the result has more than {ROWS_MAX} rows. Add a LIMIT")
            yield rows


@asynccontextmanager
async def asked(dsn: str, sql: str) -> AsyncIterator[Answer]:
    """Execute a query, and end it with the block.

    Raises:
        QueryFailed: the database refuses it, or it takes too long.
        StoreUnavailable: the database does not answer.
    """
    connection = await connect(dsn, "query", default_transaction_read_only="on")
    backend: Any = None
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            transaction = connection.transaction(readonly=True)
            async with _bounded():
                backend = await connection.fetchrow(_BACKEND)
                await transaction.start()
                await connection.execute(
                    _SETTINGS.format(
                        statement=STATEMENT_SECONDS, total=TOTAL_SECONDS, check=_CONNECTION_CHECK
                    )
                )
                await connection.execute(_BOUND_DISK)
                inner = await connection.prepare(sql)
                types = [attribute.type.name for attribute in inner.get_attributes()]
                metered = await connection.prepare(_metered(sql, types))
                cursor = await metered.cursor()
            yield Answer(types, cursor)
    except TimeoutError:
        raise QueryFailed(f"the query took more than {TOTAL_SECONDS:.0f} s") from None
    finally:
        # Waits until the server has stopped what it may still be doing.
        await asyncio.shield(_end(dsn, connection, backend))


async def _end(dsn: str, connection: asyncpg.Connection[Any], backend: Any) -> None:
    if not connection.is_closed():
        try:
            # If it executes something, the driver has that cancelled.
            await connection.close(timeout=CLOSE_SECONDS)
            return
        except DRIVER_ERRORS:
            connection.terminate()
    if backend is None:
        return
    try:
        await _stop(dsn, *backend)
    except (StoreUnavailable, *DRIVER_ERRORS) as error:
        logger.warning(
            "nobody could look whether a query has ended",
            extra={"pid": backend["pid"], "error": str(error)},
        )


async def _stop(dsn: str, pid: int, began_at: Any) -> None:
    """End a backend that does not listen to its own connection any more."""
    watchdog = await connect(dsn, "watchdog")
    try:
        has_ended = await watchdog.fetchval(_TERMINATE, pid, began_at, int(STOP_SECONDS * 1000))
        if has_ended is False:
            logger.error("a query does not end: its backend does not react", extra={"pid": pid})
    finally:
        watchdog.terminate()


def _metered(sql: str, types: Sequence[str]) -> str:
    """The query with one more column, which counts the bytes of the others."""
    names = [f"c{number}" for number in range(len(types))]
    sizes = [
        f"coalesce(pg_catalog.octet_length(q.{name})::bigint, 0)"
        if type_ in _SIZED
        else f"coalesce(pg_catalog.pg_column_size(q.{name})::bigint, 0)"
        for name, type_ in zip(names, types, strict=True)
    ]
    return (
        f"select q.*, howdah_core.meter({' + '.join(sizes)}, {BYTES_MAX})"
        f" from ({sql}) as q ({', '.join(names)})"
    )


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """Give the database the time of one statement, and turn what asyncpg raises as `_failures` does."""
    try:
        async with asyncio.timeout(STATEMENT_SECONDS + REACT_SECONDS):
            with _failures():
                yield
    except TimeoutError:
        raise QueryFailed(f"the query took more than {STATEMENT_SECONDS} s") from None


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what asyncpg raises into the two errors of this module."""
    try:
        yield
    except TimeoutError:
        raise
    except asyncpg.QueryCanceledError as error:
        raise QueryFailed(f"the query took more than {STATEMENT_SECONDS} s") from error
    except DRIVER_ERRORS as error:
        if is_lost(error):
            raise StoreUnavailable(doing="asking the database") from error
        state = getattr(error, "sqlstate", None) or ""
        said = getattr(error, "message", None) or str(error) or type(error).__name__
        if hint := getattr(error, "hint", None):
            said = f"{said}. {hint}"
        raise QueryFailed(said, is_meaningless=state.startswith(("42", "0A"))) from error
