"""`howdah invoke`: a request to a running server, as any client of it makes one."""

from __future__ import annotations

import sys

import click

from howdah_api.commands.program import one_line_errors, options_of
from howdah_api.exits import FAILED_EXIT_CODE

HTTP_ERROR_MIN = 400


@click.command()
@click.argument("path", metavar="SERVICE/[KEY/]HANDLER")
@click.argument("body", required=False, metavar="[JSON]")
@click.option("--ingress", metavar="HOST:PORT", help="Where the server listens.")
@click.option("--send", "is_send", is_flag=True, help="Do not wait for the result.")
@click.option("--delay", metavar="DURATION", help="Send, to run only after e.g. 10s.")
@click.option("--idempotency-key", metavar="KEY", help="The same key, the same invocation.")
@click.option("--scope", metavar="NAME", help="Where it is counted: see howdah limits.")
@click.option("--limit-key", metavar="NAME[/NAME]", help="Under what, within the scope.")
@one_line_errors
def invoke(
    path: str,
    body: str | None,
    *,
    ingress: str | None,
    is_send: bool,
    delay: str | None,
    idempotency_key: str | None,
    scope: str | None,
    limit_key: str | None,
) -> None:
    """Call a handler of a running server, and print its result.

    The call is durable: should this command be stopped, the invocation goes on. `howdah send` needs
    no server.

    \b
    howdah invoke Greeter/greet '"joe"'
    howdah invoke CartObject/joe/addTicket '"seat2B"'
    """
    from howdah_api import requests

    answer = requests.invoke(
        ingress or options_of({}).ingress,
        path,
        body,
        is_send=is_send or delay is not None,
        delay=delay,
        idempotency_key=idempotency_key,
        scope=scope,
        limit_key=limit_key,
    )
    is_error = answer.status >= HTTP_ERROR_MIN
    if is_error:
        click.echo(f"howdah: status {answer.status}", err=True)
    if answer.body:
        click.echo(answer.body, err=is_error)
    sys.exit(FAILED_EXIT_CODE if is_error else 0)
