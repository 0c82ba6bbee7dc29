"""Alembic's entry: `alembic upgrade head` and `howdah migrate` run through here alike."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import Connection, text

from alembic import context
from howdah import migrate


def run(connection: Connection) -> None:
    """Run the revisions on a connection, then install functions and views."""
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": migrate.LOCK})
    connection.execute(text(f"create schema if not exists {migrate.VERSION_SCHEMA}"))
    context.configure(
        connection=connection,
        version_table_schema=migrate.VERSION_SCHEMA,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    exists = connection.execute(text("select to_regclass('howdah_core.invocation')")).scalar()
    if exists is not None:
        migrate.install(connection)


def run_from_command_line() -> None:
    """`alembic` itself called: connect to HOWDAH_DATABASE_URL."""

    def work(connection: Connection, driver: Any) -> None:
        del driver
        run(connection)

    asyncio.run(migrate._with_connection(migrate.database_url(), work))


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    run_from_command_line()
