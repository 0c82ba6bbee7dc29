"""`howdah services` and `howdah deployments`: what is served, by which version of the code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from howdah.store import inspection
from howdah_api.commands.program import (
    DATABASE_OPTIONS,
    Group,
    open_database,
    operators_errors,
    run,
    with_options,
)
from howdah_api.commands.remote import register, remove
from howdah_api.commands.selecting import service_named
from howdah_api.tables import Column, facts_of, print_facts, print_json, print_table
from howdah_api.texts import ago, lasted, moment

_SERVICE_COLUMNS = (
    Column("name"),
    Column("kind"),
    Column("handlers", is_number=True),
    Column("workers", is_number=True),
    Column("deployment"),
    Column("description", is_cut=True),
)
_HANDLER_COLUMNS = (
    Column("handler"),
    Column("kind"),
    Column("input"),
    Column("output"),
    Column("access"),
    Column("kept for"),
    Column("description", is_cut=True),
)
_DEPLOYMENT_COLUMNS = (
    Column("name"),
    Column("since"),
    Column("workers", is_number=True),
    Column("in flight", is_number=True),
    Column("latest of"),
    Column("services"),
)


@click.group(cls=Group)
def services() -> None:
    """Look at the services, objects and workflows that the database knows.

    \b
    howdah services list
    howdah services describe CartObject
    """


@services.command("list")
@click.option("--json", "is_json", is_flag=True, help="A JSON array, for programs.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def list_services(*, is_json: bool, **flags: str | None) -> None:
    """List services, with their latest version and how many workers serve them now."""

    async def ask() -> Sequence[Any]:
        async with open_database(flags) as database:
            return await inspection.services(database)

    rows = run(ask())
    if is_json:
        print_json([facts_of(row, left_out=("service_no",)) for row in rows])
        return
    if not rows:
        click.echo("No worker has registered any service yet: howdah serve MODULE")
        return
    print_table(
        _SERVICE_COLUMNS,
        [
            (
                row["name"],
                row["kind"],
                row["handlers"],
                row["workers"],
                row["deployment"],
                _first_line(row["description"]),
            )
            for row in rows
        ],
    )


@services.command()
@click.argument("name")
@click.option("--json", "is_json", is_flag=True, help="A JSON object, for programs.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def describe(name: str, *, is_json: bool, **flags: str | None) -> None:
    """Show a service: its handlers, what they take and return, and who may call them."""

    async def ask() -> tuple[Any, Sequence[Any]]:
        async with open_database(flags) as database:
            service = await service_named(database, name)
            return service, await inspection.handlers(database, name)

    service, handlers = run(ask())
    if is_json:
        left_out = ("service_no", "handlers")
        print_json(
            {
                **facts_of(service, left_out=left_out),
                "handlers": [
                    facts_of(row, left_out=("service", "handler_no", "retired_at"))
                    for row in handlers
                ],
            }
        )
        return
    click.echo(f"{service['name']} ({service['kind']})")
    print_facts(
        [
            ("description", service["description"] or ""),
            ("deployment", f"{service['deployment']}, revision {service['revision']}"),
            ("workers", str(service["workers"])),
            ("known since", moment(service["created_at"])),
            ("changed", moment(service["modified_at"])),
        ]
    )
    click.echo()
    print_table(_HANDLER_COLUMNS, [_handler(row) for row in handlers])


def _handler(row: Any) -> Sequence[object]:
    kept = row["workflow_retention"] if row["kind"] == "workflow" else row["journal_retention"]
    return (
        row["name"],
        "main" if row["kind"] == "workflow" else row["kind"],
        row["input_content_type"],
        row["output_content_type"],
        "public" if row["is_public"] else "private",
        lasted(kept),
        _first_line(row["description"]),
    )


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


@click.group(cls=Group)
def deployments() -> None:
    """Look at the versions of the code that were served, and register endpoints that serve elsewhere.

    A new invocation is begun by the latest version that has its service and a worker; it then stays
    with the version that began it.
    """


deployments.add_command(register)
deployments.add_command(remove)


@deployments.command("list")
@click.option("--json", "is_json", is_flag=True, help="A JSON array, for programs.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def list_deployments(*, is_json: bool, **flags: str | None) -> None:
    """List versions of the code, the newest first.

    IN FLIGHT counts the invocations that a version began and that are not completed. Where no
    worker is left for them, `howdah invocations resume --deployment latest` moves them.
    """

    async def ask() -> tuple[Sequence[Any], dict[str, int]]:
        async with open_database(flags) as database:
            return await inspection.deployments(database), dict(await inspection.stranded(database))

    rows, stranded = run(ask())
    if is_json:
        print_json(
            [
                {**facts_of(row, left_out=("now",)), "stranded": stranded.get(row["name"], 0)}
                for row in rows
            ]
        )
        return
    if not rows:
        click.echo("No version was ever served: howdah serve MODULE")
        return
    print_table(
        _DEPLOYMENT_COLUMNS,
        [
            (
                row["name"],
                ago(row["created_at"], row["now"]),
                row["workers"],
                row["in_flight"],
                "all" if row["latest_of"] == row["services"] else ", ".join(row["latest_of"]),
                ", ".join(row["services"]),
            )
            for row in rows
        ],
    )
    if stranded:
        count = sum(stranded.values())
        waits, them = ("waits", "it") if count == 1 else ("wait", "them")
        click.echo(
            f"\n{count:,} of them {waits} for a version that no worker serves. Start it,"
            f" or move {them}:\n  howdah invocations resume --deployment latest"
        )
