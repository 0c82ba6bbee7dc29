"""The command line: `howdah`, with a file for each group of commands in `commands/`."""

from __future__ import annotations

from importlib.metadata import version

import click

from howdah_api.commands.calling import invoke
from howdah_api.commands.database import check, migrate, sql
from howdah_api.commands.limits import limit_rules
from howdah_api.commands.operations import invocations
from howdah_api.commands.program import Group
from howdah_api.commands.services import deployments, services
from howdah_api.commands.serving import dev, serve, serve_child
from howdah_api.commands.signals import awakeables, send, signal
from howdah_api.commands.states import state

PROGRAM = "howdah"


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    sections={
        "Run": ("serve", "dev", "invoke", "send"),
        "Look and act": ("invocations", "services", "deployments", "state", "limits"),
        "Answer": ("signal", "awakeables"),
        "The database": ("migrate", "sql", "check"),
    },
)
@click.version_option(version("howdah"), prog_name=PROGRAM)
def main() -> None:
    """Durable execution on Postgres: Python handlers that survive crashes.

    \b
    howdah dev tickets.py                       serve, and reload on every change
    howdah invoke CartObject/joe/checkout       call a handler
    howdah invocations list                     what runs, what waits, and for what
    howdah sql "select * from howdah.journal"   everything is a view

    Options are read from flags, then from variables such as HOWDAH_DATABASE_URL, then from
    howdah.toml. Without a database URL an embedded Postgres is used, which keeps its data in
    .howdah. Every command explains itself: howdah COMMAND --help.
    """


for command in (
    serve,
    serve_child,
    dev,
    invoke,
    send,
    invocations,
    services,
    deployments,
    state,
    limit_rules,
    signal,
    awakeables,
    migrate,
    sql,
    check,
):
    main.add_command(command)
