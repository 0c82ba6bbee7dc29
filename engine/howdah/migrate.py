"""Brings a database's schema to this version: Alembic revisions, then functions and views.

Everything happens in one transaction under one advisory lock, so that two migrators at once are
safe and one that is killed half way leaves nothing behind. Tables come from revisions; functions
and views are whole files, installed anew each time. Only the schemas `howdah` and `howdah_core`
are touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from howdah.errors import InvalidOption, SchemaOutdated, StoreError, StoreUnavailable
from howdah.resources import alembic_dir, sql_files

LOCK = 0x686F77646168
"""The advisory lock of migrators."""
SERVER_VERSION_MIN = 150000
VERSION_SCHEMA = "howdah_core"
ATTEMPTS_MAX = 10
RETRY_SECONDS = 0.5

_DROP_INSTALLED = """
do $$
declare r record;
begin
  for r in select c.oid::regclass as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'howdah' and c.relkind = 'v' loop
    execute format('drop view if exists %s cascade', r.name);
  end loop;
  for r in select p.oid::regprocedure as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where n.nspname in ('howdah', 'howdah_core') loop
    execute format('drop function if exists %s cascade', r.name);
  end loop;
end $$;
"""


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(alembic_dir()))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The newest revision that this version of howdah has."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def digest() -> str:
    """A digest of everything that a migration installs besides tables."""
    texts = [text for folder in ("functions", "views") for _, text in sql_files(folder)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def _connect_arguments(dsn: str) -> str:
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise InvalidOption(
            name="HOWDAH_DATABASE_URL", problem="is not a Postgres URL",
            hint="Write postgresql://user:password@host:port/database.",
        )  # fmt: skip
    try:
        urlsplit(dsn)
    except ValueError as error:
        raise InvalidOption(name="HOWDAH_DATABASE_URL", problem=f"can't be read: {error}") from error
    return dsn


async def _with_connection(dsn: str, work: Any) -> None:
    url = _connect_arguments(dsn)

    async def connect() -> asyncpg.Connection[Any]:
        # Lock waits end soon and are tried again: a migration never hangs behind traffic, and
        # traffic never hangs behind it.
        return await asyncpg.connect(
            url, statement_cache_size=0,
            server_settings={"application_name": "howdah migrate", "lock_timeout": "2s"},
        )  # fmt: skip

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=pool.NullPool
    )
    try:
        async with engine.begin() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            version = driver.get_server_version()
            if version.major * 10000 < SERVER_VERSION_MIN:
                raise StoreError(
                    f"Postgres {version.major} is too old: howdah needs Postgres 15 or newer."
                )
            await connection.run_sync(work, driver)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError) as error:
        raise StoreUnavailable(doing="migrating") from error
    finally:
        await engine.dispose()


def migrate_within(connection: Connection, revision: str, *, down: bool) -> None:
    """Run revisions and installation inside the caller's transaction (alembic/env.py as well)."""
    config = _config(connection)
    if down:
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)


async def _migrate(dsn: str, revision: str, *, down: bool) -> None:
    def work(connection: Connection, driver: Any) -> None:
        del driver
        migrate_within(connection, revision, down=down)

    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            await _with_connection(dsn, work)
            return
        except Exception as error:
            if attempt == ATTEMPTS_MAX or not _is_lock_timeout(error):
                raise
            await asyncio.sleep(RETRY_SECONDS)


def _is_lock_timeout(error: BaseException) -> bool:
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "sqlstate", None) in ("55P03", "40P01"):
            return True
        seen = seen.__cause__ or getattr(seen, "orig", None)
    return False


def install(connection: Connection) -> None:
    """Install functions and views anew, in the connection's transaction."""
    for statement in installation():
        connection.exec_driver_sql(statement)


def installation() -> list[str]:
    """The statements that `install` runs, in order."""
    statements = [_DROP_INSTALLED]
    for folder in ("functions", "views"):
        for _, text in sql_files(folder):
            statements += split_statements(text)
    statements.append(f"comment on schema howdah_core is 'howdah {digest()}'")
    return statements


def split_statements(text: str) -> list[str]:
    """Split a file into statements, minding quotes, dollar quotes and comments."""
    statements: list[str] = []
    start = position = 0
    while position < len(text):
        character = text[position]
        if text.startswith("--", position):
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif character == "'":
            position = text.index("'", position + 1)
        elif character == "$":
            end = text.find("$", position + 1)
            tag = text[position : end + 1]
            if end > 0 and tag[1:-1].replace("_", "").isalnum() or tag == "$$":
                position = text.index(tag, end + 1) + len(tag) - 1
        elif character == ";":
            statements.append(text[start:position].strip())
            start = position + 1
        position += 1
    statements.append(text[start:].strip())
    return [statement for statement in statements if _says_something(statement)]


def _says_something(statement: str) -> bool:
    return any(
        line.strip() and not line.strip().startswith("--") for line in statement.splitlines()
    )


async def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the schema to `revision` and install functions and views.

    Raises:
        StoreUnavailable: the database does not answer.
        StoreError: it is older than Postgres 15.
    """
    await _migrate(dsn, revision, down=False)


async def downgrade(dsn: str, revision: str = "base") -> None:
    """Go back to `revision`; 'base' removes everything that howdah ever stored."""
    await _migrate(dsn, revision, down=True)


async def current(dsn: str) -> str | None:
    """The revision that the database is at, or None."""
    connection = await asyncpg.connect(_connect_arguments(dsn))
    try:
        if await connection.fetchval("select to_regclass('howdah_core.alembic_version')") is None:
            return None
        found: str | None = await connection.fetchval(
            "select version_num from howdah_core.alembic_version"
        )
        return found
    finally:
        await connection.close()


async def is_current(dsn: str) -> bool:
    """Whether tables, functions and views are those of this version."""
    if await current(dsn) != head():
        return False
    connection = await asyncpg.connect(_connect_arguments(dsn))
    try:
        comment = await connection.fetchval(
            "select obj_description(to_regnamespace('howdah_core'), 'pg_namespace')"
        )
        return bool(comment == f"howdah {digest()}")
    finally:
        await connection.close()


async def require_current(dsn: str) -> None:
    """Raise `SchemaOutdated` unless the schema is this version's."""
    if not await is_current(dsn):
        raise SchemaOutdated(found=await current(dsn), expected=head())


def database_url() -> str:
    """The URL in `HOWDAH_DATABASE_URL`. Raises `InvalidOption`."""
    url = os.environ.get("HOWDAH_DATABASE_URL")
    if not url:
        raise InvalidOption(
            name="HOWDAH_DATABASE_URL", problem="is not set",
            hint="Set it to postgresql://user:password@host:port/database.",
        )  # fmt: skip
    return url
