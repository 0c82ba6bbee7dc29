"""What all commands share: options, errors as one line, help in sections, the way to the database.

Exit codes: 0 done, 1 it could not be done, 2 it was asked for wrongly. `serve` and its like end
with 2 whenever they cannot start, so that nobody starts them again in vain.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click
import msgspec

from howdah.config import read_options
from howdah.errors import HowdahError, InvalidId, StoreError, UsageError
from howdah.ids import parse_id
from howdah.options import Options, did_you_mean
from howdah.store.access import refusal
from howdah.store.database import Database, is_schema_missing
from howdah_api.databases import await_database, database_of
from howdah_api.exits import FAILED_EXIT_CODE, USAGE_EXIT_CODE

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

WAIT_SECONDS = 5.0
"""How long a command that looks or operates waits for a database that does not answer."""

DATABASE_OPTIONS = ("config", "database_url", "data_dir")

_FLAGS = {
    "config": ("--config", "FILE", "Options in a file. Default: howdah.toml, if there is one."),
    "database_url": ("--database-url", "URL", "The Postgres to use, 15 to 18."),
    "data_dir": ("--data-dir", "DIR", "Where the embedded Postgres keeps its data."),
    "ingress": ("--ingress", "HOST:PORT", "Where requests are accepted."),
    "admin": ("--admin", "HOST:PORT", "Where operators inspect and steer."),
    "roles": ("--roles", "LIST", "Any of ingress,admin,worker. Default: all."),
    "processes": ("--processes", "N", "Serving processes behind the same ports."),
    "max_resident": ("--max-resident", "N", "Invocations in memory at once, per process."),
    "deployment": (
        "--deployment",
        "NAME",
        "This version of the code. Default: a digest of the handlers.",
    ),
}


def tell(message: str) -> None:
    """Progress for a person, on stderr."""
    click.echo(f"howdah: {message}", err=True)


def say_error(error: HowdahError) -> None:
    """One line on stderr: what happened, what to do next, and the code that documents it."""
    said = error.message if error.hint is None else f"{error.message} {error.hint}"
    click.echo(f"howdah: {' '.join(said.split())} [{error.code}]", err=True)


def one_line_errors(command: F) -> F:
    """Of a command that serves: whatever a person can act on ends it with exit code 2."""
    return _guarded(command, lambda _: USAGE_EXIT_CODE)


def operators_errors(command: F) -> F:
    """Of a command that looks or operates: exit code 2 for how it was asked, 1 for the rest."""
    return _guarded(
        command,
        lambda error: USAGE_EXIT_CODE if isinstance(error, UsageError) else FAILED_EXIT_CODE,
    )


def _guarded(command: F, exit_code: Callable[[HowdahError], int]) -> F:
    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except HowdahError as error:
            say_error(error)
            sys.exit(exit_code(error))
        except KeyboardInterrupt:
            sys.exit(130)

    return guarded  # type: ignore[return-value]


def with_options(*names: str) -> Callable[[F], F]:
    """Add the flags of these `Options`, in order; their texts are read by `options_of`."""

    def add(command: F) -> F:
        for name in reversed(names):
            flag, metavar, text = _FLAGS[name]
            command = click.option(flag, name, metavar=metavar, help=text)(command)
        return command

    return add


def options_of(flags: Mapping[str, str | None]) -> Options:
    """The options: from flags, variables and the file."""
    return read_options(os.environ, flags)


class Group(click.Group):
    """A group of commands that answers a mistyped one with the one that was meant.

    Args:
        sections: Heads and the names of the commands below them, for a long list of commands.
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections or {}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or refuse with a suggestion."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            known = [one for one in self.list_commands(ctx) if not self.commands[one].hidden]
            ctx.fail(f"There is no command {name!r}.{did_you_mean(name, known)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, in sections where there are some."""
        if not self.sections:
            super().format_commands(ctx, formatter)
            return
        width = max(len(name) for name in self.commands)
        for head, names in self.sections.items():
            with formatter.section(head):
                formatter.write_dl(
                    [
                        (name.ljust(width), self.commands[name].get_short_help_str(limit=90))
                        for name in names
                    ]
                )


def invocation_id(text: str) -> UUID:
    """Read an invocation's id from the command line; the type of such arguments."""
    try:
        return parse_id(text)
    except InvalidId as error:
        raise click.BadParameter(f"{error.message} {error.hint}") from error


def json_argument(text: str | None, name: str) -> str | None:
    """Check that an argument is JSON; `@FILE` stands for the contents of a file, `@-` for stdin.

    Raises:
        UsageError: it is no JSON, or there is no such file.
    """
    if text is None:
        return None
    where = ""
    if text.startswith("@"):
        where = f" in {text[1:]}" if text != "@-" else " on stdin"
        try:
            raw = sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
            text = raw.decode()
        except OSError as error:
            raise UsageError(f"{name}: {text[1:]} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{name}: what is{where} is not UTF-8.") from error
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise UsageError(
            f"{name}: {shown!r}{where} is not JSON: {error}.",
            hint="A text is written with quotes that the shell leaves alone: '\"a text\"'.",
        ) from error
    return text


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine."""
    return asyncio.run(main)


@asynccontextmanager
async def open_database(flags: Mapping[str, str | None]) -> AsyncIterator[Database]:
    """The database that is there, as `howdah sql` selects it; nothing is created or migrated.

    Raises:
        StoreError: there is none, it does not answer, or its schema is missing or another.
    """
    options = options_of(flags)
    if options.database_url is None:
        _require_embedded(options.data_dir)
    async with database_of(options, tell) as dsn:
        try:
            await await_database(dsn, tell, wait_seconds=WAIT_SECONDS)
        except UsageError as error:
            raise StoreError(error.message, hint=error.hint) from error
        database = Database(dsn)
        await database.open()
        try:
            yield database
        except Exception as error:
            if is_schema_missing(error):
                from howdah import migrate

                await migrate.require_current(dsn)
            refused = refusal(error)
            if refused is error:
                raise
            raise refused from error
        finally:
            await database.close()


def _require_embedded(data_dir: Path) -> None:
    try:
        is_there = (data_dir / "postgres" / "data" / "PG_VERSION").exists()
    except PermissionError:
        return
    if not is_there:
        raise StoreError(
            f"There is no database in {data_dir}.",
            hint="Run this where `howdah serve` or `howdah dev` keeps its data, or name the"
            " database with --database-url or --data-dir.",
        )
