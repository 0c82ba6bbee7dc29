"""`howdah invocations list` and `describe`: what there is, and everything about one of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import click

from howdah.errors import NotFound
from howdah.store import inspection
from howdah.store.inspection import IN_FLIGHT
from howdah_api.commands.program import (
    DATABASE_OPTIONS,
    Group,
    invocation_id,
    open_database,
    operators_errors,
    run,
    with_options,
)
from howdah_api.commands.selecting import Asked, filter_of, with_filter
from howdah_api.tables import Column, facts_of, print_facts, print_json, print_table
from howdah_api.texts import ago, counted, lasted, moment, one_line, shown

LIST_MAX = 50
JOURNAL_MAX = 200
FAILURES_MAX = 5
PAYLOAD_CHARACTERS_MAX = 2000

_LIST_COLUMNS = (
    Column("id"),
    Column("target"),
    Column("status"),
    Column("created"),
    Column("attempts", is_number=True),
    Column("waits for, or failed with"),
)
_JOURNAL_COLUMNS = (
    Column("#", is_number=True),
    Column("entry"),
    Column("name"),
    Column("at", is_number=True),
    Column("took", is_number=True),
    Column("value", is_cut=True),
)
_FAILURE_COLUMNS = (
    Column("attempt", is_number=True),
    Column("when"),
    Column("code", is_number=True),
    Column("step"),
    Column("message"),
)


@click.group(
    cls=Group,
    sections={
        "Look": ("list", "describe"),
        "Act": ("cancel", "kill", "pause", "resume", "restart", "purge", "purge-journal"),
    },
)
def invocations() -> None:
    """Look at invocations, and cancel, pause, resume or remove them.

    An invocation is one call of a handler, from its acceptance until its retention ends. These
    commands work on the database itself, so they need no running server; a running one hears of
    what they do at once.

    \b
    howdah invocations list
    howdah invocations describe 0192f0c1-2b3c-7d4e-8f50-617283940a1b
    howdah invocations resume --status paused --service Payments
    """


@invocations.command("list")
@with_filter
@click.option("--all", "is_all", is_flag=True, help="Completed ones as well.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=LIST_MAX,
    show_default=True,
    help="At most this many.",
)
@click.option("--json", "is_json", is_flag=True, help="A JSON array, for programs.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def list_invocations(
    statuses: tuple[str, ...],
    service: str | None,
    handler: str | None,
    key: str | None,
    *,
    is_all: bool,
    limit: int,
    is_json: bool,
    **flags: str | None,
) -> None:
    """List invocations, the newest first.

    Without --all or --status those that are not completed: what runs, what waits, and for what.
    A completed one shows its outcome as its status: succeeded, failed or killed.

    \b
    howdah invocations list --status paused
    howdah invocations list --service Cart --key joe --all
    """
    asked = Asked(statuses, service, handler, key)

    async def ask() -> tuple[Sequence[Any], int]:
        async with open_database(flags) as database:
            which = await filter_of(database, asked, () if is_all else IN_FLIGHT)
            rows = await inspection.invocations(database, which, limit)
            is_full = len(rows) == limit
            count = await inspection.count_invocations(database, which) if is_full else len(rows)
            return rows, count

    rows, count = run(ask())
    if is_json:
        print_json([facts_of(row, left_out=("now",)) for row in rows])
        return
    if not rows:
        hint = "" if is_all or statuses else " Those that are completed are shown with --all."
        click.echo(f"There are no such invocations.{hint}")
        return
    print_table(_LIST_COLUMNS, [_listed(row) for row in rows])
    if count > len(rows):
        click.echo(f"{counted(count - len(rows), 'older one')} left out: --limit N shows more.")


def _listed(row: Any) -> Sequence[object]:
    return (
        row["id"],
        row["target"],
        row["outcome"] or row["status"],
        ago(row["created_at"], row["now"]),
        row["attempts"],
        _note(row),
    )


def _note(row: Any) -> str:
    if row["status"] in ("backing_off", "paused") and row["failure"]:
        return f"{row['waiting_for']}, after {row['failure']}"
    return row["waiting_for"] or (row["failure"] if row["outcome"] != "succeeded" else "") or ""


@invocations.command()
@click.argument("id_", type=invocation_id, metavar="ID")
@click.option(
    "--entries",
    type=click.IntRange(1, 100_000),
    default=JOURNAL_MAX,
    show_default=True,
    help="At most this many entries of the journal.",
)
@click.option("--json", "is_json", is_flag=True, help="A JSON object, for programs.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def describe(id_: UUID, *, entries: int, is_json: bool, **flags: str | None) -> None:
    """Show everything about one invocation.

    Its facts, what it waits for, its journal (each entry with its time since the beginning and how
    long it took), its last failed attempts, and what can be done about it.
    """

    async def ask() -> tuple[Any, ...]:
        async with open_database(flags) as database:
            row = await inspection.invocation(database, id_)
            if row is None:
                raise NotFound(what="invocation", name=id_)
            lock = None
            if row["key"] is not None:
                lock = await inspection.lock(database, row["service"], row["key"])
            return (
                row,
                lock,
                await inspection.waits(database, id_),
                await inspection.journal(database, id_, entries),
                await inspection.failures(database, id_, FAILURES_MAX),
            )

    row, lock, waits, journal, failures = run(ask())
    if is_json:
        print_json(
            {
                **facts_of(row, left_out=("now", "service_no", "handler_no")),
                "waits": [facts_of(one, left_out=("invocation_id",)) for one in waits],
                "journal": [facts_of(one, left_out=("invocation_id",)) for one in journal],
                "failures": [facts_of(one, left_out=("invocation_id",)) for one in failures],
            }
        )
        return
    click.echo(one_line(row["target"]))
    print_facts(_facts(row, lock))
    if waits:
        click.echo("\nWaits for " + _quantity(waits))
        print_facts((one["type"], _wait(one)) for one in waits)
    total = row["journal_length"]
    click.echo(f"\nJournal ({counted(total, 'entry') if total == 1 else f'{total:,} entries'})")
    print_table(_JOURNAL_COLUMNS, [_entry(one, row) for one in journal])
    if total > len(journal):
        click.echo(f"{total - len(journal):,} later ones left out: --entries N shows more.")
    if failures:
        shows = "Failed attempts" if len(failures) < FAILURES_MAX else "Last failed attempts"
        click.echo(f"\n{shows}")
        print_table(_FAILURE_COLUMNS, [_failure(one, row) for one in failures])
        _show_mismatch(failures[0])
    suggested = _what_next(row, waits)
    if suggested:
        click.echo("\nWhat can be done")
        print_facts(suggested)


def _facts(row: Any, lock: Any) -> list[tuple[str, str]]:
    status = row["outcome"] or row["status"]
    if row["waiting_for"]:
        status += f", waits for {row['waiting_for']}"
    now, created = row["now"], row["created_at"]
    key = ""
    if lock is not None and row["status"] != "completed":
        waiting = f", {lock['waiting']} behind it" if lock["waiting"] else ""
        if lock["held_by"] == row["id"]:
            key = f"{row['key']}, which it holds{waiting}"
        else:
            key = f"{row['key']}, held by {lock['held_by']} ({lock['status']}){waiting}"
    return [
        ("id", str(row["id"])),
        ("status", one_line(status)),
        ("failure", one_line(row["failure"], PAYLOAD_CHARACTERS_MAX)),
        ("created", f"{moment(created)} ({ago(created, now)}), {_origin(row)}"),
        ("scheduled", moment(row["scheduled_at"]) if row["scheduled_at"] != created else ""),
        ("started", _since(row["started_at"], created)),
        ("completed", _since(row["completed_at"], created)),
        ("attempts", str(row["attempts"])),
        ("deployment", row["deployment"] or ""),
        ("worker", str(row["worker"] or "")),
        ("key", one_line(key)),
        ("idempotency key", one_line(row["idempotency_key"])),
        ("scope", one_line(row["scope"])),
        ("limit key", one_line(row["limit_key"])),
        ("restarted from", str(row["restarted_from"] or "")),
        ("input", shown(row["input"], PAYLOAD_CHARACTERS_MAX)),
        ("output", shown(row["output"], PAYLOAD_CHARACTERS_MAX)),
        ("kept until", moment(row["expires_at"])),
    ]


def _origin(row: Any) -> str:
    if row["parent_id"] is not None:
        return f"by {row['parent_id']}"
    return {"ingress": "by HTTP", "sql": "by SQL"}.get(row["invoked_by"], f"by {row['invoked_by']}")


def _since(at: Any, created: Any) -> str:
    return f"{moment(at)} (after {lasted(at - created)})" if at is not None else ""


def _quantity(waits: Sequence[Any]) -> str:
    if len(waits) == 1:
        return "this"
    return "all of these" if waits[0]["is_all_needed"] else "any of these"


def _wait(one: Any) -> str:
    words = [one["name"], one["target"], one["callee_id"]]
    if one["due_at"] is not None:
        words.append(f"until {moment(one['due_at'])}")
    if one["is_answered"]:
        words.append("(answered)")
    return one_line(" ".join(str(word) for word in words if word)) or "-"


def _entry(one: Any, row: Any) -> Sequence[object]:
    name = " ".join(str(word) for word in (one["name"], one["target"]) if word)
    if one["type"] == "input":
        name = ""
    value = one["failure"] or one["value"]
    if one["due_at"] is not None and not value:
        value = f"until {moment(one['due_at'])}"
    if one["callee_id"] is not None and not one["failure"]:
        value = f"{one['callee_id']} {one_line(value, 80)}"
    return (
        one["index"],
        one["type"],
        name,
        f"+{lasted(one['appended_at'] - row['created_at'])}",
        lasted(one["duration"]),
        one_line(value, 120),
    )


def _failure(one: Any, row: Any) -> Sequence[object]:
    return (
        one["attempt"],
        ago(one["failed_at"], row["now"]),
        one["error_code"] or one["code"],
        one["name"],
        one["message"],
    )


def _show_mismatch(failure: Any) -> None:
    """The replay took another path: both commands below each other."""
    if failure["error_code"] != "HD2001":
        return
    click.echo()
    for line in shown(failure["message"], PAYLOAD_CHARACTERS_MAX).splitlines():
        click.echo(f"  {line}")


def _what_next(row: Any, waits: Sequence[Any]) -> list[tuple[str, str]]:
    """Commands and what they do."""

    def command(verb: str, does: str, flags: str = "") -> tuple[str, str]:
        return f"howdah invocations {verb} {row['id']}{flags}", does

    if row["status"] == "completed":
        return [
            command("restart", "begins it again, under a new id"),
            command("purge", "removes it before its retention ends"),
        ]
    suggested = []
    if row["status"] == "paused":
        suggested.append(command("resume", "goes on where it stopped"))
    elif row["status"] == "backing_off":
        suggested.append(command("resume", "tries again now"))
    elif row["waiting_for"] and "or to be moved to another" in row["waiting_for"]:
        flags = " --deployment latest"
        suggested.append(command("resume", "goes on with the latest version", flags))
    for one in waits:
        if one["is_answered"] or one["name"] is None:
            continue
        if one["type"] == "awakeable":
            resolve = f"howdah awakeables resolve {one['name']} JSON"
            suggested.append((resolve, "gives it what it waits for"))
        elif one["type"] == "signal":
            signal = f"howdah signal {row['id']} {shlex.quote(one['name'])} JSON"
            suggested.append((signal, "gives it what it waits for"))
    suggested.append(command("cancel", "its handler may compensate"))
    return suggested
