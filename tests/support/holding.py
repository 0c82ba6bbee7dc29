"""Holds transactions in the middle: whoever changes certain rows waits until the test lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from support.engines import until

LOCK = 770077


@asynccontextmanager
async def held(
    dsn: str, db: asyncpg.Connection[Any], event: str, condition: str = "true"
) -> AsyncIterator[Hold]:
    """Hold every transaction right after it changed a row, until the block ends or `let_go`.

    Args:
        dsn: The database.
        db: A connection of the test's own.
        event: Such as `insert on howdah_core.live`.
        condition: On the row `new`.
    """
    await db.execute(
        f"""create or replace function public.wait_for_the_test() returns trigger
            language plpgsql as $$
            begin
              if {condition} then
                perform pg_advisory_xact_lock_shared({LOCK});
              end if;
              return null;
            end $$;
            create trigger wait_for_the_test after {event}
              for each row execute function public.wait_for_the_test()"""
    )
    holder = await asyncpg.connect(dsn)
    try:
        await holder.execute(f"select pg_advisory_lock({LOCK})")
        yield Hold(holder, db)
    finally:
        await holder.close()


class Hold:
    """One held kind of change."""

    def __init__(self, holder: asyncpg.Connection[Any], db: asyncpg.Connection[Any]) -> None:
        self._holder = holder
        self._db = db

    async def reached(self) -> None:
        """Wait until somebody is held."""
        await until(
            self._db,
            "select exists (select from pg_locks where locktype = 'advisory' and objid = $1"
            " and not granted and database = (select oid from pg_database"
            " where datname = current_database()))",
            LOCK,
        )

    async def let_go(self) -> None:
        """Let everybody go on, now and later."""
        await self._holder.execute(f"select pg_advisory_unlock({LOCK})")
