"""Alembic's entry: `howdah migrate` and `alembic upgrade head` both run through here."""

import os
import sys
from typing import Any

from alembic import context
from sqlalchemy import Connection

from howdah import migrate


def _run(connection: Connection) -> None:
    context.configure(connection=connection, **migrate.CONTEXT_OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def _run_for_command_line() -> None:
    """Run what `alembic` was asked for with the same lock and steps as `howdah migrate`."""
    if context.is_offline_mode():
        sys.exit("howdah's migrations run against a database: --sql is not supported.")
    dsn = os.environ.get("HOWDAH_DATABASE_URL")
    if not dsn:
        sys.exit(
            "Set HOWDAH_DATABASE_URL to the database, e.g. postgresql://howdah@localhost/howdah"
        )
    command: Any = getattr(context.config.cmd_opts, "cmd", None)
    name = command[0].__name__ if command else ""
    migrate.apply_blocking(dsn, _run, changes=name in {"upgrade", "downgrade", "stamp"})


_given: Connection | None = context.config.attributes.get("connection")
if _given is not None:
    _run(_given)
else:
    _run_for_command_line()
