"""The database of a command: embedded or given, reached, and with the right schema.

A database that is away is waited for; one that refuses us (password, name, permission) is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

from howdah.errors import StoreUnavailable, UsageError
from howdah.options import Options
from howdah.store.access import probe, redacted

WAIT_SECONDS = 30.0
RETRY_SECONDS = 0.5
TELL_EVERY_SECONDS = 3.0

Tell = Callable[[str], None]


@asynccontextmanager
async def database_of(options: Options, tell: Tell) -> AsyncIterator[str]:
    """The URL of the database to use; without one, an embedded Postgres runs meanwhile.

    Raises:
        StoreError: there is no URL, and the embedded Postgres is not installed or does not start.
    """
    if options.database_url is not None:
        yield options.database_url
        return
    from howdah.embedded import EmbeddedPostgres

    postgres = await EmbeddedPostgres.start(options.data_dir, on_progress=tell)
    try:
        yield postgres.dsn
    finally:
        await postgres.stop()


async def await_database(dsn: str, tell: Tell, *, wait_seconds: float = WAIT_SECONDS) -> None:
    """Return once the database takes connections.

    Args:
        dsn: Where it is.
        tell: Told what is waited for, every few seconds.
        wait_seconds: Give up after this long.

    Raises:
        UsageError: it refuses us, or stayed away.
    """
    begun = monotonic()
    told_at = begun - TELL_EVERY_SECONDS
    while True:
        try:
            await probe(dsn)
        except StoreUnavailable as error:
            reason = str(error.__cause__) or type(error.__cause__).__name__
            waited = monotonic() - begun
            if waited >= wait_seconds:
                raise UsageError(
                    f"The database at {redacted(dsn)} stayed away for {wait_seconds:.0f} s:"
                    f" {reason}."
                ) from error
            if monotonic() - told_at >= TELL_EVERY_SECONDS:
                told_at = monotonic()
                tell(f"waiting for the database at {redacted(dsn)} ({waited:.0f} s): {reason}")
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def prepare(dsn: str, tell: Tell, *, migrates: bool, allow_unsafe: bool = False) -> None:
    """Wait for the database, and see that it is safe and its schema is this version's.

    Args:
        dsn: Where it is.
        tell: Told about progress.
        migrates: Bring the schema up to date instead of asking for it.
        allow_unsafe: Put up with a server that may lose commits in a power cut.

    Raises:
        UsageError: the database refuses us, or stayed away.
        StoreError: it may lose commits, or takes no writes.
        SchemaOutdated: the schema is missing or another, and `migrates` is False.
    """
    from howdah import migrate  # slow, and most commands do without it

    await await_database(dsn, tell)
    await migrate.check_server(dsn, allow_unsafe=allow_unsafe)
    if migrates and not await migrate.is_current(dsn):
        tell("bringing the schema up to date")
        await migrate.upgrade(dsn)
    await migrate.require_current(dsn)
