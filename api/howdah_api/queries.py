"""`howdah sql` and `howdah check`: psql on the database, or one statement shown as a table."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from howdah.errors import UsageError
from howdah.store.access import Answered, query, redacted
from howdah_api.texts import shown

FILE_COLUMNS = 400  # the width that output to a file gets: lines are not folded there
CHECK = "select * from howdah.check()"


async def print_statement(dsn: str, statement: str) -> None:
    """Execute one statement and print its rows, or what it did.

    Raises:
        StoreError: the database refuses the statement.
    """
    answered = await query(dsn, statement)
    if answered.names:
        _print_rows(answered)
    else:
        Console().print(answered.tag, highlight=False)


async def print_findings(dsn: str) -> int:
    """Print what `howdah.check()` finds wrong; return 1 when there is something, else 0.

    Raises:
        StoreError: the schema has no such function: it is not migrated.
    """
    answered = await query(dsn, CHECK)
    if not answered.rows:
        Console().print("everything is consistent", highlight=False)
        return 0
    _print_rows(answered)
    return 1


async def open_psql(dsn: str) -> int:
    """Run psql on the database until it ends; return its exit code.

    Raises:
        UsageError: there is no psql on the PATH.
    """
    program = shutil.which("psql")
    if program is None:
        raise UsageError(
            f"There is no psql on the PATH; the database is {redacted(dsn)}.",
            hint='Install it, or give a statement: howdah sql "select * from howdah.invocations"',
        )
    process = await asyncio.create_subprocess_exec(
        program, dsn, env={**os.environ, "PGAPPNAME": "howdah sql"}
    )
    return await process.wait()


def _print_rows(answered: Answered) -> None:
    table = Table(highlight=False)
    for name in answered.names:
        table.add_column(Text(name), overflow="fold")
    for row in answered.rows:
        table.add_row(*_cells(row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_COLUMNS)
    console.print(table)
    count = len(answered.rows)
    console.print(f"({count} row{'' if count == 1 else 's'})", highlight=False)


def _cells(row: Sequence[Any]) -> list[Text]:
    # Text, not str: brackets in a value are not markup.
    return [Text(shown(value)) for value in row]
