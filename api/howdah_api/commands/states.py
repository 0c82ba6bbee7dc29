"""`howdah state`: the state of a key, read as it is and changed in the key's turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any
from uuid import UUID

import click
import msgspec

from howdah.errors import StoreError
from howdah.options import did_you_mean, parse_duration
from howdah.store import inspection, verbs
from howdah.store.database import Database
from howdah_api.commands.program import (
    DATABASE_OPTIONS,
    Group,
    json_argument,
    open_database,
    operators_errors,
    run,
    tell,
    with_options,
)
from howdah_api.commands.selecting import service_named
from howdah_api.tables import Column, facts_of, print_json, print_table
from howdah_api.texts import shown

POLL_SECONDS_MIN = 0.02
POLL_SECONDS_MAX = 0.5
TELL_EVERY_SECONDS = 3.0

_COLUMNS = (Column("name"), Column("bytes", is_number=True), Column("value", is_cut=True))


@click.group(cls=Group)
def state() -> None:
    """Read and change the state of an object's or a workflow's key.

    \b
    howdah state get CartObject joe
    howdah state set CartObject joe limit 10
    howdah state clear CartObject joe limit
    """


@state.command("get")
@click.argument("service")
@click.argument("key")
@click.argument("name", required=False)
@click.option("--json", "is_json", is_flag=True, help="A JSON object of names and values.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def get_state(
    service: str, key: str, name: str | None, *, is_json: bool, **flags: str | None
) -> None:
    """Show the state of KEY, or print the value of the entry NAME as it is stored."""

    async def ask() -> list[Any]:
        async with open_database(flags) as database:
            await _require_state(database, service)
            return list(await inspection.state(database, service, key))

    rows = run(ask())
    if name is not None:
        names = [row["name"] for row in rows]
        if name not in names:
            raise StoreError(
                f"{service}/{key} has no state named {name!r}.{did_you_mean(name, names)}",
                hint=f"It has {', '.join(names[:12]) or 'none'}.",
            )
        click.echo(rows[names.index(name)]["value"])
    elif is_json:
        values = [facts_of(row) for row in rows]
        print_json({one["name"]: one["value"] for one in values})
    elif not rows:
        click.echo(f"{service}/{key} has no state.")
    else:
        print_table(
            _COLUMNS, [(row["name"], row["value_bytes"], shown(row["value"])) for row in rows]
        )


def _with_waiting(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--timeout",
            metavar="DURATION",
            default="1m",
            show_default=True,
            help="How long to wait; the change stays in the queue after that.",
        ),
        click.option(
            "--no-wait", is_flag=True, help="Leave the change in the key's queue, and return."
        ),
    ):
        command = option(command)
    return command


@state.command("set")
@click.argument("service")
@click.argument("key")
@click.argument("name")
@click.argument("value", metavar="JSON|@FILE")
@_with_waiting
@with_options(*DATABASE_OPTIONS)
@operators_errors
def set_state(
    service: str,
    key: str,
    name: str,
    value: str,
    *,
    no_wait: bool,
    timeout: str,
    **flags: str | None,
) -> None:
    """Set the entry NAME of KEY to a JSON value, or to what a file holds.

    The change waits in the key's queue like any exclusive handler, so nothing that runs sees its
    state change under its hands; the other entries stay as they are. A worker that serves the
    object carries it out.

    \b
    howdah state set CartObject joe tickets '["seat2B"]'
    howdah state set CartObject joe tickets @tickets.json
    """
    text = json_argument(value, "The value")
    assert text is not None
    stored = msgspec.json.format(text.encode(), indent=-1)

    async def change(database: Database) -> UUID:
        return await verbs.change_state(database, service, key, {name: stored})

    _change(service, key, change, f"set {name} of {service}/{key}", no_wait, timeout, flags)


@state.command("clear")
@click.argument("service")
@click.argument("key")
@click.argument("name", required=False)
@_with_waiting
@with_options(*DATABASE_OPTIONS)
@operators_errors
def clear_state(
    service: str,
    key: str,
    name: str | None,
    *,
    no_wait: bool,
    timeout: str,
    **flags: str | None,
) -> None:
    """Clear the entry NAME of KEY, or all of its state; in the key's turn, as `set`."""

    async def change(database: Database) -> UUID:
        if name is None:
            return await verbs.clear_state(database, service, key)
        return await verbs.change_state(database, service, key, {name: None})

    what = "the state" if name is None else name
    _change(service, key, change, f"cleared {what} of {service}/{key}", no_wait, timeout, flags)


def _change(
    service: str,
    key: str,
    change: Callable[[Database], Awaitable[UUID]],
    done: str,
    no_wait: bool,
    timeout: str,
    flags: Mapping[str, str | None],
) -> None:
    seconds = parse_duration(timeout).total_seconds()

    async def act() -> UUID:
        async with open_database(flags) as database:
            served = await _require_state(database, service)
            if not no_wait and not served["workers"]:
                raise StoreError(
                    f"No worker serves {service}, so nothing was changed.",
                    hint="Start one, or leave the change in the key's queue with --no-wait.",
                )
            id_ = await change(database)
            if not no_wait:
                await _until_done(database, service, key, id_, seconds)
            return id_

    id_ = run(act())
    click.echo(f"in the queue of {service}/{key} as {id_}" if no_wait else done)


async def _until_done(
    database: Database, service: str, key: str, id_: UUID, seconds: float
) -> None:
    """Wait until a change is applied.

    Raises:
        StoreError: it failed, or the key's queue did not come so far in time.
    """
    begun = told = monotonic()
    pause = POLL_SECONDS_MIN
    while True:
        row = await inspection.invocation(database, id_)
        if row is None or row["outcome"] == "succeeded":
            return
        if row["status"] == "completed":
            raise StoreError(f"The change {id_} was not made: {row['failure']}.")
        is_late = monotonic() - begun > seconds
        if is_late or monotonic() - told > TELL_EVERY_SECONDS:
            told = monotonic()
            why = await _why_waiting(database, service, key, row)
            if is_late:
                raise StoreError(
                    f"The change is still in the queue of {service}/{key} as {id_}: {why}.",
                    hint=f"It is made when its turn comes; `howdah invocations cancel {id_}` takes"
                    " it back.",
                )
            tell(f"waiting for the turn of {id_}: {why}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS_MAX)


async def _why_waiting(database: Database, service: str, key: str, row: Any) -> str:
    lock = await inspection.lock(database, service, key)
    if lock is None or lock["held_by"] == row["id"]:
        return f"it is {row['status'].replace('_', ' ')}"
    holder = await inspection.invocation(database, lock["held_by"])
    held = f"the key is held by {lock['held_by']}"
    if holder is None:
        return held
    waiting = f", waits for {holder['waiting_for']}" if holder["waiting_for"] else ""
    return f"{held} ({holder['target']}, {holder['status'].replace('_', ' ')}{waiting})"


async def _require_state(database: Database, service: str) -> Any:
    row = await service_named(database, service)
    if row["kind"] == "service":
        raise StoreError(
            f"{service} is a plain service: it has no keys and no state.",
            hint="Objects and workflows have; `howdah services list` shows which is which.",
        )
    return row
