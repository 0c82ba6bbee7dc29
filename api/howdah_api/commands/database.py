"""`howdah migrate`, `sql` and `check`: the database itself."""

from __future__ import annotations

import sys

import click

from howdah.store.access import redacted
from howdah_api import databases
from howdah_api.commands.program import (
    DATABASE_OPTIONS,
    one_line_errors,
    options_of,
    run,
    tell,
    with_options,
)


@click.command()
@with_options(*DATABASE_OPTIONS)
@click.option("--to", "revision", metavar="REV", help="This revision instead of the newest.")
@one_line_errors
def migrate(revision: str | None, **flags: str | None) -> None:
    """Bring the database's schema to this version of howdah.

    Tables, functions and views are changed in one transaction. `--to base` removes everything, data
    included.
    """
    from howdah import migrate as migrations

    options = options_of(flags)

    async def bring() -> None:
        async with databases.database_of(options, tell) as dsn:
            await databases.await_database(dsn, tell)
            if revision is None or revision == "head":
                await migrations.upgrade(dsn)
            elif revision == "base":
                await migrations.downgrade(dsn)
            else:
                await migrations.upgrade(dsn, revision)
            found = await migrations.current(dsn)
            click.echo(f"{redacted(dsn)} is at revision {found or 'base'}")

    run(bring())


@click.command()
@click.argument("statement", required=False)
@with_options(*DATABASE_OPTIONS)
@one_line_errors
def sql(statement: str | None, **flags: str | None) -> None:
    """Open psql on the database, or print what one STATEMENT returns.

    Schema howdah has a view for everything there is; docs/sql.md is the tour.

    \b
    howdah sql "select target, status, waiting_for from howdah.invocations"
    """
    from howdah_api import queries

    options = options_of(flags)

    async def ask() -> int:
        async with databases.database_of(options, tell) as dsn:
            await databases.await_database(dsn, tell)
            if statement is None:
                return await queries.open_psql(dsn)
            await queries.print_statement(dsn, statement)
            return 0

    sys.exit(run(ask()))


@click.command()
@with_options(*DATABASE_OPTIONS)
@one_line_errors
def check(**flags: str | None) -> None:
    """Verify the stored state; exit code 1 when something is inconsistent.

    Each finding names the rule that is broken, and where. It may run at any time.
    """
    from howdah_api import queries

    options = options_of(flags)

    async def ask() -> int:
        async with databases.database_of(options, tell) as dsn:
            await databases.await_database(dsn, tell)
            return await queries.print_findings(dsn)

    sys.exit(run(ask()))
