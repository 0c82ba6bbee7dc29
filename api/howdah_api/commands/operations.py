"""`howdah invocations cancel`, `kill`, `pause`, `resume`, `restart`, `purge` and `purge-journal`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import UUID

import click

from howdah.errors import StoreError, UsageError
from howdah.ids import restate_deployment_id
from howdah.options import did_you_mean
from howdah.store import inspection
from howdah.store.database import POOL_CONNECTIONS_MAX, Database
from howdah.store.inspection import COMPLETED, IN_FLIGHT, NOT_BEGUN
from howdah.store.operations import Operator
from howdah_api.commands.invocations import invocations
from howdah_api.commands.program import (
    DATABASE_OPTIONS,
    invocation_id,
    open_database,
    operators_errors,
    run,
    tell,
    with_options,
)
from howdah_api.commands.selecting import Asked, filter_of, with_filter
from howdah_api.exits import FAILED_EXIT_CODE
from howdah_api.tables import print_json
from howdah_api.texts import counted

__all__ = ["invocations"]

F = TypeVar("F", bound=Callable[..., Any])

PAGE_MAX: Final = 10_000
"""Ids that are read at once."""
TELL_EVERY: Final = 100
"""Operations after which engines are told, and the counter is shown."""
FAILURES_SHOWN_MAX: Final = 20

_DONE: Final = ("done", "accepted")
_WHY_NOT: Final = {
    "unknown": "there is no such invocation: it never existed, or its retention has passed",
    "completed": "it is completed already",
    "not completed": "it is not completed: cancel or kill it first",
    "not started": "it has not begun: it waits for its time or its key",
    "not running": "it has not begun: there is nothing to pause",
    "unknown deployment": "that deployment does not have its service",
    "unsupported": "its kind of handler cannot be restarted that way",
    "gone": "its journal was removed",
    "out of range": "its journal has no such entry",
    "incomplete": "an entry among those to keep has no result yet",
    "busy": "it is locked by somebody else: try again",
}


@dataclass(frozen=True, slots=True)
class Verb:
    """What one command does.

    Attributes:
        name: The command.
        done, under_way: `cancelled`, `cancelling`.
        statuses: Which invocations a filter without --status means.
        operate: Does it to one invocation; returns a word, and the id of a new one.
        accepted: What is said of one invocation where an attempt has still to notice.
    """

    name: str
    done: str
    under_way: str
    statuses: tuple[str, ...]
    operate: Callable[[Operator, UUID], Awaitable[tuple[str, UUID | None]]]
    accepted: str | None = None


@dataclass(slots=True)
class Results:
    """What became of each invocation."""

    succeeded: list[tuple[UUID, str, UUID | None]] = field(default_factory=list)
    failed: list[tuple[UUID, str]] = field(default_factory=list)

    def add(self, id_: UUID, word: str, new_id: UUID | None) -> None:
        """Note one."""
        if word in _DONE:
            self.succeeded.append((id_, word, new_id))
        else:
            self.failed.append((id_, word))

    @property
    def count(self) -> int:
        """How many were tried."""
        return len(self.succeeded) + len(self.failed)


def _command(name: str) -> Callable[[F], F]:
    """A command of the group with everything that all of them take."""

    def add(command: F) -> F:
        own = list(reversed(getattr(command, "__click_params__", [])))
        decorated: Any = operators_errors(command)
        decorated = with_options(*DATABASE_OPTIONS)(decorated)
        for option in (
            click.option("--json", "is_json", is_flag=True, help="A JSON object, for programs."),
            click.option("--yes", "-y", is_flag=True, help="Do not ask before changing many."),
            click.option("--all", "is_all", is_flag=True, help="All for which it makes sense."),
        ):
            decorated = option(decorated)
        decorated = with_filter(decorated)
        ids = click.argument("ids", nargs=-1, type=invocation_id, metavar="[ID]...")
        made = invocations.command(name)(ids(decorated))
        made.params.sort(key=lambda one: one not in own)  # in the help, what is its own comes first
        return command

    return add


def _simple(verb: str) -> Callable[[Operator, UUID], Awaitable[tuple[str, UUID | None]]]:
    async def operate(operator: Operator, id_: UUID) -> tuple[str, UUID | None]:
        return await operator.operate(verb, id_), None

    return operate


@_command("cancel")
def cancel(ids: tuple[UUID, ...], **asked: Any) -> None:
    """Ask invocations to end, so that their handlers can compensate.

    The handler sees the cancellation at its next await, and may run durable steps before it ends.
    What it calls and waits for is cancelled first. One that has not begun ends at once.

    \b
    howdah invocations cancel 0192f0c1-2b3c-7d4e-8f50-617283940a1b
    howdah invocations cancel --service Payments --status suspended
    """
    verb = Verb(
        "cancel", "cancelled", "cancelling", IN_FLIGHT, _simple("cancel"),
        accepted="asked {id} to cancel: it sees that at its next await",
    )  # fmt: skip
    _operate(verb, ids, **asked)


@_command("kill")
def kill(ids: tuple[UUID, ...], **asked: Any) -> None:
    """End invocations, and all that they called or sent, without asking their handlers.

    Nothing is compensated, and steps that are being executed are stopped. Prefer `cancel`.
    """
    _operate(Verb("kill", "killed", "killing", IN_FLIGHT, _simple("kill")), ids, **asked)


@_command("pause")
def pause(ids: tuple[UUID, ...], **asked: Any) -> None:
    """Stop invocations until they are resumed.

    A paused invocation keeps its key, its journal and its mail, and holds no worker.
    """
    statuses = tuple(one for one in IN_FLIGHT if one not in NOT_BEGUN and one != "paused")
    _operate(Verb("pause", "paused", "pausing", statuses, _simple("pause")), ids, **asked)


@_command("resume")
@click.option(
    "--deployment",
    metavar="latest|NAME",
    help="Go on with another version of the code; `howdah deployments list` names them.",
)
def resume(ids: tuple[UUID, ...], *, deployment: str | None, **asked: Any) -> None:
    """Let invocations go on now, with a new count of retries.

    A filter without --status means those that are paused or back off; with --deployment, those that
    are paused or suspended.

    An invocation goes on with the version of the code that began it. When no worker serves that
    version any more, --deployment moves it to another; without ids and filters it moves all that
    wait for such a version. A suspended or paused one can be moved at any time. The new code must
    take the path that the journal holds, or the attempt fails and nothing is lost.

    \b
    howdah invocations resume --status paused --service Payments
    howdah invocations resume --deployment latest
    """

    async def operate(operator: Operator, id_: UUID) -> tuple[str, UUID | None]:
        return await operator.operate("resume", id_, deployment), None

    statuses = ("paused", "backing_off") if deployment is None else ("paused", "suspended")
    verb = Verb("resume", "resumed", "resuming", statuses, operate)
    _operate(verb, ids, deployment=deployment, **asked)


@_command("restart")
@click.option(
    "--from",
    "from_entry",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Keep the journal up to this entry, so that its steps are not done again.",
)
@click.option(
    "--deployment", metavar="keep|NAME", help="The version that executes it. Default: the latest."
)
def restart(
    ids: tuple[UUID, ...], *, from_entry: int, deployment: str | None, **asked: Any
) -> None:
    """Begin completed invocations again, each under a new id, with the same input.

    The run of a workflow cannot be restarted: purge it, then call it again. A filter without
    --status means those that failed or were killed.

    \b
    howdah invocations restart 0192f0c1-2b3c-7d4e-8f50-617283940a1b --from 4
    """

    async def operate(operator: Operator, id_: UUID) -> tuple[str, UUID | None]:
        return await operator.restart_as_new(id_, from_entry, deployment)

    verb = Verb("restart", "restarted", "restarting", ("failed", "killed"), operate)
    _operate(verb, ids, deployment=deployment, **asked)


@_command("purge")
def purge(ids: tuple[UUID, ...], **asked: Any) -> None:
    """Remove completed invocations before their retention ends.

    With the run of a workflow its state and promises go as well: its key can be used again.
    """
    _operate(Verb("purge", "purged", "purging", (COMPLETED,), _simple("purge")), ids, **asked)


@_command("purge-journal")
def purge_journal(ids: tuple[UUID, ...], **asked: Any) -> None:
    """Remove the journals of completed invocations; their outcomes stay."""
    verb = Verb(
        "purge-journal", "journal removed of", "removing journals", (COMPLETED,),
        _simple("purge_journal"),
    )  # fmt: skip
    _operate(verb, ids, **asked)


def _operate(
    verb: Verb,
    ids: Sequence[UUID],
    *,
    statuses: tuple[str, ...],
    service: str | None,
    handler: str | None,
    key: str | None,
    is_all: bool,
    yes: bool,
    is_json: bool,
    deployment: str | None = None,
    **flags: str | None,
) -> None:
    asked = Asked(statuses, service, handler, key)
    moves_stranded = verb.name == "resume" and deployment is not None
    if ids and (asked.is_any or is_all):
        raise UsageError(
            "Give ids, or say which with --status, --service, --key or --all: not both."
        )
    if not ids and not asked.is_any and not is_all and not moves_stranded:
        raise UsageError(
            f"There is nothing to {verb.name}.",
            hint="Give ids, or say which with --status, --service, --key or --all.",
        )

    async def act() -> Results | None:
        async with open_database(flags) as database:
            if deployment not in (None, "latest", "keep"):
                await _check_deployment(database, deployment)
            if ids:
                return await _operate_on(database, verb, _listed(ids), len(ids))
            if moves_stranded and not asked.is_any and not is_all:
                return await _move_stranded(database, verb, is_json=is_json)
            which = await filter_of(database, asked, verb.statuses)
            count = await inspection.count_invocations(database, which)
            if count == 0:
                return Results()
            if not _is_confirmed(verb, count, yes=yes):
                return None
            return await _operate_on(database, verb, _found(database, which), count)

    results = run(act())
    if results is None:
        click.echo("Nothing was changed.", err=True)
        sys.exit(FAILED_EXIT_CODE)
    _report(verb, results, is_json=is_json, are_ids=bool(ids))
    # Of many, some end by themselves meanwhile; one that was named should be what was said of it.
    bad = [word for _, word in results.failed if ids or word != "completed"]
    sys.exit(FAILED_EXIT_CODE if bad else 0)


async def _check_deployment(database: Database, name: str | None) -> None:
    names = [row["name"] for row in await inspection.deployments(database)]
    if name not in (*names, *map(restate_deployment_id, names)):
        raise StoreError(
            f"There is no deployment {name!r}.{did_you_mean(name or '', names)}",
            hint="`howdah deployments list` shows them.",
        )


async def _move_stranded(database: Database, verb: Verb, *, is_json: bool) -> Results:
    """Move what waits for a version that nobody serves."""
    for deployment, count in await inspection.stranded(database):
        wait = "waits" if count == 1 else "wait"
        click.echo(
            f"{counted(count, 'invocation')} {wait} for deployment {deployment},"
            " which no worker serves.",
            err=is_json,
        )
    ids = await inspection.stranded_ids(database)
    if not ids:
        click.echo("No invocation waits for a version that no worker serves.", err=is_json)
        return Results()
    return await _operate_on(database, verb, _listed(ids), len(ids))


def _is_confirmed(verb: Verb, count: int, *, yes: bool) -> bool:
    if yes:
        return True
    question = f"{verb.name.capitalize()} {counted(count, 'invocation')}?"
    if not sys.stdin.isatty():
        raise UsageError(
            f"{question} There is no terminal to ask on.",
            hint="Say --yes if that is what you want.",
        )
    return click.confirm(question, err=True)


async def _listed(ids: Sequence[UUID]) -> AsyncIterator[UUID]:
    for id_ in ids:
        yield id_


async def _found(database: Database, which: inspection.Filter) -> AsyncIterator[UUID]:
    after = None
    while page := await inspection.invocation_ids(database, which, after, PAGE_MAX):
        for id_ in page:
            yield id_
        after = page[-1]


async def _operate_on(
    database: Database, verb: Verb, ids: AsyncIterator[UUID], count: int
) -> Results:
    operator = Operator(database)
    results = Results()

    async def one(id_: UUID) -> tuple[UUID, str, UUID | None]:
        return id_, *await verb.operate(operator, id_)

    with _Counter(verb, count) as counter:
        some: list[UUID] = []
        async for id_ in ids:
            some.append(id_)
            if len(some) == TELL_EVERY:
                await _together(one, some, results)
                await operator.tell()
                counter.show(results.count)
                some = []
        await _together(one, some, results)
        await operator.tell()
    return results


async def _together(
    one: Callable[[UUID], Awaitable[tuple[UUID, str, UUID | None]]],
    ids: Sequence[UUID],
    results: Results,
) -> None:
    """Operate on some at once: as many as there are connections, the oldest first."""
    left = iter(ids)
    while batch := list(islice(left, POOL_CONNECTIONS_MAX)):
        for done in await asyncio.gather(*(one(id_) for id_ in batch)):
            results.add(*done)


class _Counter:
    """Shows how far it is, when there are many."""

    def __init__(self, verb: Verb, count: int) -> None:
        self._verb = verb
        self._count = count
        self._is_line = sys.stderr.isatty()

    def __enter__(self) -> _Counter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_line and self._count > TELL_EVERY:
            click.echo("\r\x1b[K", nl=False, err=True)

    def show(self, done: int) -> None:
        text = f"{self._verb.under_way}: {done:,} of {self._count:,}"
        if self._is_line:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)
        elif done % (10 * TELL_EVERY) == 0:
            tell(text)


def _report(verb: Verb, results: Results, *, is_json: bool, are_ids: bool) -> None:
    if is_json:
        print_json(
            {
                "succeeded": [
                    {"id": id_, "result": word, **({"new_id": new_id} if new_id else {})}
                    for id_, word, new_id in results.succeeded
                ],
                "failed": [
                    {"id": id_, "result": word, "message": _why_not(verb, word)}
                    for id_, word in results.failed
                ],
            }
        )
        return
    if are_ids:
        for id_, word, new_id in results.succeeded:
            if new_id is not None:
                click.echo(f"{verb.done} {id_} as {new_id}")
            elif word == "accepted" and verb.accepted is not None:
                click.echo(verb.accepted.format(id=id_))
            else:
                click.echo(f"{verb.done} {id_}")
    elif results.count == 0 and verb.name != "resume":
        click.echo("There are no such invocations.")
    elif results.count > 0:
        click.echo(f"{verb.done} {counted(len(results.succeeded), 'invocation')}")
    for id_, word in results.failed[:FAILURES_SHOWN_MAX]:
        tell(f"{id_} is unchanged: {_why_not(verb, word)}")
    if len(results.failed) > FAILURES_SHOWN_MAX:
        tell(f"and so are {len(results.failed) - FAILURES_SHOWN_MAX:,} others")


def _why_not(verb: Verb, word: str) -> str:
    if word == "still running" and verb.name == "resume":
        return (
            "its version cannot be exchanged now: an attempt is under way or about to begin (pause it"
            " first), or it has recorded nothing yet and goes on with any version"
        )
    if word == "still running":
        return "it is not completed: cancel or kill it first"
    return _WHY_NOT.get(word, word)
