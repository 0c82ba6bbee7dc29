"""Brings a database's schema to this release: Alembic's revisions, then functions, then views.

Everything happens in one transaction under one advisory lock, so that a database is never between
two releases and any number of migrators may start together. Tables and indexes are Alembic's;
functions and views are installed whole from `sql/` after them. What was installed is written on the
schema as a comment, so that `is_current` costs one query and a second `upgrade` changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from howdah.errors import InvalidOption, SchemaOutdated, StoreError, StoreUnavailable
from howdah.resources import alembic_dir, sql_files

CONTEXT_OPTIONS: Final[dict[str, Any]] = {
    "version_table": "alembic_version",
    "version_table_schema": "howdah_core",
    "transaction_per_migration": False,
}
"""What `alembic/env.py` passes to Alembic; one place, because `current` needs it as well."""

LOCK_TIMEOUT_MS: Final = 2_000
"""How long one try waits for a lock. Longer would stall traffic that queues behind the migration."""

LOCK_TRIES: Final = 30
"""How many tries are made before giving up: about a minute of waiting behind long transactions."""

_ADVISORY_LOCK: Final = 0x686F77646168  # "howdah"; every migrator takes it first
_LOCK_NOT_AVAILABLE: Final = "55P03"
_DEADLOCK_DETECTED: Final = "40P01"
_CONNECT_TIMEOUT_S: Final = 10.0
_SERVER_MAJOR_MIN: Final = 15

# The first of these is what opens the transaction: scripts join it, and cannot open one themselves.
_PREPARE = (
    f"set local lock_timeout = '{LOCK_TIMEOUT_MS}ms'",
    "set local search_path = pg_catalog, pg_temp",
    f"select pg_advisory_xact_lock({_ADVISORY_LOCK})",
)

_INSTALLED: Final = "select obj_description(to_regnamespace('howdah_core')::oid, 'pg_namespace')"

RESTATE_SCHEMA_MARK: Final = "howdah: views with Restate's names and columns"
"""The comment on the schema `restate` that says that it is ours: the name may be anybody's."""

# The schemas whose views and functions are ours. `restate` is, once we have made it.
_OURS = f"""(
select oid from pg_namespace
 where nspname in ('howdah', 'howdah_core')
    or (nspname = 'restate' and obj_description(oid, 'pg_namespace') = '{RESTATE_SCHEMA_MARK.replace("'", "''")}'))
"""

_CREATE_SCHEMAS = """
create schema if not exists howdah_core;
create schema if not exists howdah;
"""

_IS_RESTATE_FOREIGN = f"""
select to_regnamespace('restate') is not null and to_regnamespace('restate') not in {_OURS}
"""

_CREATE_RESTATE = f"""
create schema if not exists restate;
comment on schema restate is '{RESTATE_SCHEMA_MARK.replace("'", "''")}';
"""

# Without cascade: a table that somebody has put there stops it.
_DROP_RESTATE = f"""
do $$
begin
  if to_regnamespace('restate') in {_OURS} then
    drop schema restate;
  end if;
end $$
"""

_DROP_SCHEMAS = """
drop schema if exists howdah cascade;
drop schema if exists howdah_core cascade;
"""

# Objects of other people that would go with ours. They are named rather than dropped.
_DEPENDENTS = f"""
select distinct case d.classid
    when 'pg_rewrite'::regclass then (select ev_class::regclass::text from pg_rewrite where oid = d.objid)
    else d.objid::regprocedure::text end
from pg_depend d
where d.deptype = 'n'
  and ((d.refclassid = 'pg_class'::regclass and d.refobjid in (
        select oid from pg_class where relkind in ('v', 'm') and relnamespace in {_OURS}))
    or (d.refclassid = 'pg_proc'::regclass and d.refobjid in (
        select oid from pg_proc where pronamespace in {_OURS})))
  and case d.classid
      when 'pg_rewrite'::regclass then
        (select c.relnamespace from pg_rewrite r join pg_class c on c.oid = r.ev_class where r.oid = d.objid)
      when 'pg_proc'::regclass then (select pronamespace from pg_proc where oid = d.objid)
      end not in {_OURS}
order by 1
"""

# The names are collected first: one drop may take others along, which then have no name any more.
_DROP_ROUTINES_AND_VIEWS = f"""
do $$
declare
  v_statement text;
  v_statements text[] := array(
    select format('drop view if exists %s cascade', oid::regclass) from pg_class
     where relkind = 'v' and relnamespace in {_OURS})
    || array(
    select format('drop routine if exists %s cascade', oid::regprocedure) from pg_proc
     where pronamespace in {_OURS});
begin
  foreach v_statement in array v_statements loop
    execute v_statement;
  end loop;
end $$
"""

# What the owner has allowed others to do with the views and functions, as statements: a drop
# forgets it, and whoever granted it expects it to outlive an upgrade.
_GRANTS = f"""
select format('grant %s on %s to %s%s', a.privilege_type, c.oid::regclass,
              case a.grantee when 0 then 'public' else a.grantee::regrole::text end,
              case when a.is_grantable then ' with grant option' else '' end),
       c.oid::regclass::text, null
from pg_class c, aclexplode(c.relacl) a
where c.relkind = 'v' and a.grantee <> c.relowner and c.relnamespace in {_OURS}
union all
select format('grant %s on routine %s to %s%s', a.privilege_type, p.oid::regprocedure,
              case a.grantee when 0 then 'public' else a.grantee::regrole::text end,
              case when a.is_grantable then ' with grant option' else '' end),
       null, p.oid::regprocedure::text
from pg_proc p, aclexplode(p.proacl) a
where a.grantee <> p.proowner and p.pronamespace in {_OURS}
"""


async def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the database to a revision, and to this release's functions and views.

    Does nothing, and waits for no lock, if the database is already there.

    Raises:
        InvalidOption: The address is not a Postgres URL.
        StoreUnavailable: The database cannot be reached.
        StoreError: Postgres refused, is too old, or locks were held for too long.
    """
    if revision == "head" and await is_current(dsn):
        return

    def run(connection: Connection) -> None:
        command.upgrade(_config(connection), revision)

    await apply(dsn, run, unless_current=revision == "head")


async def downgrade(dsn: str, revision: str = "base") -> None:
    """Take the database back to a revision; "base" removes everything, data included.

    Views and functions belong to a release, so none are left: migrating with the older release
    installs its own.
    """
    await apply(dsn, lambda connection: command.downgrade(_config(connection), revision))


async def current(dsn: str) -> str | None:
    """Return the revision of the database's tables, or None if howdah was never installed."""
    connection = await _connect(dsn)
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
    """Tell whether tables, functions and views are exactly this release's."""
    connection = await _connect(dsn)
    try:
        found = await connection.fetchval(_INSTALLED)
    finally:
        await connection.close()
    return bool(found == signature())


async def check_server(dsn: str, *, allow_unsafe: bool = False) -> None:
    """See that the server keeps what it has acknowledged, and takes writes.

    Args:
        dsn: The database.
        allow_unsafe: Put up with a server that may lose commits when its machine fails.

    Raises:
        StoreError: It may lose commits, or it is a standby.
    """
    connection = await _connect(dsn)
    try:
        is_standby = await connection.fetchval("select pg_is_in_recovery()")
        risks = [
            name
            for name in ("fsync", "full_page_writes")
            if await connection.fetchval("select current_setting($1)", name) == "off"
        ]
    finally:
        await connection.close()
    if is_standby:
        raise StoreError(
            "The server is a standby, which takes no writes.",
            hint="Point the URL at the primary; add ?target_session_attrs=read-write to find it.",
        )
    if risks and not allow_unsafe:
        raise StoreError(
            f"The server may lose what it has acknowledged: {' and '.join(risks)} is off.",
            hint="Turn it on, or set HOWDAH_ALLOW_UNSAFE_POSTGRES=yes if losing data is all right.",
        )


async def require_current(dsn: str) -> None:
    """Raise `SchemaOutdated` unless the schema is exactly this release's."""
    if not await is_current(dsn):
        raise SchemaOutdated(found=await current(dsn), expected=head())


@cache
def head() -> str:
    """Return the newest revision that this release has."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise RuntimeError(f"howdah is installed without its migrations: none in {alembic_dir()}")
    return found


@cache
def signature() -> str:
    """Return the name of this release's schema: head revision and digest of the SQL files."""
    digest = hashlib.sha256()
    for name, text in [*sql_files("functions"), *sql_files("views")]:
        digest.update(f"{name}\0{text}\0".encode())
    return f"howdah schema {head()} {digest.hexdigest()}"


async def apply(
    dsn: str,
    run: Callable[[Connection], None],
    *,
    changes: bool = True,
    unless_current: bool = False,
) -> None:
    """Run Alembic inside the transaction that also replaces functions and views.

    Args:
        dsn: The database.
        run: Runs Alembic's migrations on the connection it is given.
        changes: False if `run` only reads (`alembic current`), so that nothing is replaced.
        unless_current: Leave everything as it is if another migrator has been here meanwhile.

    Raises:
        StoreError: Postgres refused, or locks were held for too long. Nothing was changed.
    """
    for left in reversed(range(LOCK_TRIES)):
        engine = _engine(dsn)
        try:
            async with engine.begin() as connection:
                if changes:
                    await connection.run_sync(_migrate, run, unless_current)
                else:
                    await connection.run_sync(_read, run)
            return
        except CommandError as error:
            raise StoreError(
                f"The migration cannot be planned: {error}.",
                hint="A database that a newer howdah has migrated needs that one, or its downgrade.",
            ) from error
        except (DBAPIError, asyncpg.PostgresError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            sqlstate = getattr(cause, "sqlstate", None)
            if sqlstate not in {_LOCK_NOT_AVAILABLE, _DEADLOCK_DETECTED}:
                raise StoreError(
                    f"Postgres refused the migration: {cause}.",
                    hint="Nothing was changed: a migration is one transaction.",
                ) from error
            if not left:
                raise StoreError(
                    "The migration could not lock a table: another transaction holds it.",
                    hint="Look for long transactions in pg_stat_activity, end them, try again.",
                ) from error
        finally:
            await engine.dispose()
        await asyncio.sleep(0.2)  # whoever queued behind the migration goes first


def apply_blocking(dsn: str, run: Callable[[Connection], None], *, changes: bool) -> None:
    """Do as `apply` does, from code that has no event loop: Alembic's command line."""
    asyncio.run(apply(dsn, run, changes=changes))


def _read(connection: Connection, run: Callable[[Connection], None]) -> None:
    connection.exec_driver_sql("set local lock_timeout = '2s'")
    run(connection)


def _migrate(
    connection: Connection, run: Callable[[Connection], None], unless_current: bool
) -> None:
    for statement in _PREPARE:
        connection.exec_driver_sql(statement)
    if unless_current and connection.exec_driver_sql(_INSTALLED).scalar() == signature():
        return
    _refuse_dependents(connection)
    grants = connection.exec_driver_sql(_GRANTS).all()
    connection.exec_driver_sql(_DROP_ROUTINES_AND_VIEWS)
    connection.exec_driver_sql(_CREATE_SCHEMAS)
    run(connection)
    reached = MigrationContext.configure(connection, opts=CONTEXT_OPTIONS).get_current_revision()
    if reached == head():
        _create_restate(connection)
        for _, text in [*sql_files("functions"), *sql_files("views")]:
            connection.exec_driver_sql(text)
        for statement, view, routine in grants:
            _grant_again(connection, statement, view, routine)
        connection.exec_driver_sql(f"comment on schema howdah_core is '{signature()}'")
        return
    connection.exec_driver_sql(_DROP_RESTATE)
    if reached is None:
        connection.exec_driver_sql(_DROP_SCHEMAS)
    else:
        connection.exec_driver_sql("comment on schema howdah_core is null")


def _create_restate(connection: Connection) -> None:
    if connection.exec_driver_sql(_IS_RESTATE_FOREIGN).scalar():
        raise StoreError(
            "The schema restate is somebody else's, and howdah puts views into a schema of that name.",
            hint="Rename it (alter schema restate rename to …), or use another database.",
        )
    connection.exec_driver_sql(_CREATE_RESTATE)


def _refuse_dependents(connection: Connection) -> None:
    others = connection.exec_driver_sql(_DEPENDENTS).scalars().all()
    if others:
        raise StoreError(
            f"Objects outside howdah's schemas depend on its views: {', '.join(others)}.",
            hint="Drop them, migrate, and create them again: views are replaced by a migration.",
        )


def _grant_again(
    connection: Connection, statement: str, view: str | None, routine: str | None
) -> None:
    probe = "select to_regclass($1)" if view is not None else "select to_regprocedure($1)"
    if connection.exec_driver_sql(probe, (view or routine,)).scalar() is not None:
        connection.exec_driver_sql(statement)


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(alembic_dir()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


async def _connect(dsn: str) -> asyncpg.Connection[Any]:
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise InvalidOption(
            name="database_url",
            problem="is not a Postgres URL",
            hint="Write postgresql://user:password@host:port/database.",
        )
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=_CONNECT_TIMEOUT_S,
            statement_cache_size=0,  # what is prepared may be on another session behind a pooler
            server_settings={"application_name": "howdah migrate"},
        )
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
        raise StoreUnavailable(doing="connecting to migrate it") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise StoreError(
            f"The database refused the connection: {error}.",
            hint="Check user, password and database name in the URL.",
        ) from error
    major = connection.get_server_version().major
    if major < _SERVER_MAJOR_MIN:
        await connection.close()
        raise StoreError(
            f"The server is Postgres {major}, but howdah needs {_SERVER_MAJOR_MIN} or newer.",
            hint="Upgrade the server, or point the URL at a newer one.",
        )
    return connection


def _engine(dsn: str) -> AsyncEngine:
    """Return a SQLAlchemy engine over asyncpg, which can also run files of several statements."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: _connect(dsn),
        poolclass=NullPool,
        # Each statement must see what the migrator that held the lock before has committed.
        isolation_level="READ COMMITTED",
    )
    event.listen(engine.sync_engine, "do_execute", _run_script)
    return engine


def _run_script(_cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """Send a text of several statements by the simple protocol: a prepared one may hold only one.

    SQLAlchemy opens the transaction at its own first statement, hence the order in `_migrate`.
    """
    if parameters or ";" not in statement.strip().rstrip(";"):
        return False
    connection = context.root_connection.connection.dbapi_connection
    connection.run_async(lambda raw: raw.execute(statement))
    return True
