"""`howdah limits`: how many invocations of a scope, or of a limit key in it, may run at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click

from howdah.store import inspection, limits
from howdah.store.database import Database
from howdah_api.commands.program import (
    DATABASE_OPTIONS,
    Group,
    open_database,
    operators_errors,
    run,
    with_options,
)
from howdah_api.tables import Column, facts_of, print_json, print_table
from howdah_api.texts import moment

_PLACE_COLUMNS = (
    Column("place"),
    Column("running", is_number=True),
    Column("waiting", is_number=True),
    Column("at most", is_number=True),
    Column("rule"),
)
_RULE_COLUMNS = (
    Column("pattern"),
    Column("at most", is_number=True),
    Column("in force"),
    Column("changed"),
    Column("description", is_cut=True),
)
CONCURRENCY_MAX = 2**31 - 1


@click.group("limits", cls=Group)
def limit_rules() -> None:
    """Limit how many invocations of a scope, or of a limit key in it, run at once.

    \b
    howdah limits set acme 10         ten in scope acme
    howdah limits set 'acme/*' 3      three for each limit key in it
    howdah limits list                what runs, and what waits for room
    """


def _rows(flags: dict[str, str | None], ask: Callable[[Database], Awaitable[Any]]) -> Any:
    async def asking() -> Any:
        async with open_database(flags) as database:
            return await ask(database)

    return run(asking())


@limit_rules.command("list")
@click.option("--json", "is_json", is_flag=True, help="A JSON array, for programs.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def list_places(*, is_json: bool, **flags: str | None) -> None:
    """List the scopes and limit keys under which something runs or waits."""
    rows: Sequence[Any] = _rows(flags, inspection.limits)
    if is_json:
        print_json([facts_of(row) for row in rows])
    elif not rows:
        click.echo("Nothing runs or waits in a scope.")
    else:
        print_table(
            _PLACE_COLUMNS,
            [
                (row["place"], row["running"], row["waiting"], row["concurrency"], row["pattern"])
                for row in rows
            ],
        )


@limit_rules.command()
@click.option("--json", "is_json", is_flag=True, help="A JSON array, for programs.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def rules(*, is_json: bool, **flags: str | None) -> None:
    """List the rules."""
    rows: Sequence[Any] = _rows(flags, inspection.limit_rules)
    if is_json:
        print_json([facts_of(row) for row in rows])
    elif not rows:
        click.echo("There are no rules: howdah limits set SCOPE CONCURRENCY")
    else:
        print_table(
            _RULE_COLUMNS,
            [
                (
                    row["pattern"],
                    "no limit" if row["concurrency"] is None else row["concurrency"],
                    "no" if row["is_disabled"] else "yes",
                    moment(row["modified_at"]),
                    row["description"],
                )
                for row in rows
            ],
        )


class _Concurrency(click.ParamType[int | None]):
    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value == "none":
            return None
        if not str(value).isdecimal() or int(value) > CONCURRENCY_MAX:
            self.fail(f"{value!r} is not a number from 0 to {CONCURRENCY_MAX}, or none", param, ctx)
        return int(value)


@limit_rules.command("set")
@click.argument("pattern")
@click.argument("concurrency", type=_Concurrency(), metavar="NUMBER|none")
@click.option("--description", metavar="TEXT", help="What it is for.")
@click.option("--disabled", "is_disabled", is_flag=True, help="Keep it, and leave it aside.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def set_rule(
    pattern: str,
    concurrency: int | None,
    *,
    description: str | None,
    is_disabled: bool,
    **flags: str | None,
) -> None:
    """Set the rule of PATTERN: SCOPE, SCOPE/KEY or SCOPE/KEY/KEY, where a part may be *.

    The most specific rule of as many parts holds. NUMBER may run at once, none lifts the limit of a
    less specific rule. It holds for whatever begins from now on.
    """
    rule = {
        "pattern": pattern,
        "concurrency": concurrency,
        "description": description,
        "is_disabled": is_disabled,
    }
    _rows(flags, lambda database: limits.set_rules(database, [rule]))
    click.echo(f"set {pattern}")


@limit_rules.command("delete")
@click.argument("pattern")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def delete_rule(pattern: str, **flags: str | None) -> None:
    """Delete the rule of PATTERN."""
    removed = _rows(flags, lambda database: limits.delete_rules(database, [{"pattern": pattern}]))
    click.echo(f"deleted {pattern}" if removed else f"there is no rule {pattern}")
