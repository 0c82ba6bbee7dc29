"""`howdah send`, `howdah signal` and `howdah awakeables`: work and answers from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import click

from howdah.errors import Conflict, NotFound, UsageError
from howdah.ids import parse_awakeable_id
from howdah.options import parse_duration
from howdah.store import verbs
from howdah.store.database import Database
from howdah_api.commands.program import (
    DATABASE_OPTIONS,
    Group,
    invocation_id,
    json_argument,
    open_database,
    operators_errors,
    run,
    with_options,
)

FAILURE_CODE = 500


@click.command()
@click.argument("path", metavar="SERVICE/[KEY/]HANDLER")
@click.argument("body", required=False, metavar="[JSON|@FILE]")
@click.option("--delay", metavar="DURATION", help="Begin after e.g. 10s.")
@click.option("--idempotency-key", metavar="KEY", help="The same key, the same invocation.")
@click.option("--scope", metavar="NAME", help="Where it is counted: see howdah limits.")
@click.option("--limit-key", metavar="NAME[/NAME]", help="Under what, within the scope.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def send(
    path: str,
    body: str | None,
    *,
    delay: str | None,
    idempotency_key: str | None,
    scope: str | None,
    limit_key: str | None,
    **flags: str | None,
) -> None:
    """Send a handler an argument, and print the invocation's id.

    It is written into the database, so that no server need be running: whoever serves the handler
    next executes it. `howdah invoke` asks a running server, and waits for the result.

    Slashes and percent signs in a key are written as in a URL: %2F and %25.

    \b
    howdah send Mailer/welcome '"joe@example.com"'
    howdah send CartObject/joe/expire --delay 15m
    """
    service, key, handler = _split(path)
    argument = json_argument(body, "The argument")
    after = parse_duration(delay) if delay is not None else None

    async def act() -> UUID:
        async with open_database(flags) as database:
            return await verbs.send(
                database,
                service=service,
                handler=handler,
                key=key,
                argument=argument,
                delay=after,
                idempotency_key=idempotency_key,
                scope=scope,
                limit_key=limit_key,
            )

    click.echo(run(act()))


def _split(path: str) -> tuple[str, str | None, str]:
    from howdah_api.ingress.paths import decode_key
    from howdah_api.problems import Problem

    match path.strip("/").split("/"):
        case [service, handler] if service and handler:
            return service, None, handler
        case [service, key, handler] if service and key and handler:
            try:
                return service, decode_key(key.encode().decode("latin-1")), handler
            except Problem as error:
                raise UsageError(f"{path!r}: {error.message}.") from error
    raise UsageError(
        f"{path!r} does not name a handler.",
        hint="Write Service/handler, or Object/key/handler with %2F for a slash in the key.",
    )


@click.command()
@click.argument("id_", type=invocation_id, metavar="ID")
@click.argument("name")
@click.argument("value", required=False, metavar="[JSON|@FILE]")
@click.option("--reject", "message", metavar="MESSAGE", help="Send a failure instead of a value.")
@click.option("--code", type=click.IntRange(400, 599), default=FAILURE_CODE, help="Its code.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def signal(
    id_: UUID,
    name: str,
    value: str | None,
    *,
    message: str | None,
    code: int,
    **flags: str | None,
) -> None:
    """Send an invocation the signal NAME with a JSON value (null without one).

    A signal is kept until the handler waits for it, also before the invocation has begun.

    \b
    howdah signal 0192f0c1-2b3c-7d4e-8f50-617283940a1b approved '{"by": "ann"}'
    """
    if message is not None and value is not None:
        raise UsageError("A signal has a value or is rejected, not both.")
    argument = json_argument(value, "The value")

    async def act(database: Database) -> str:
        if message is not None:
            return await verbs.reject_signal(database, id_, name, message, code)
        return await verbs.signal(database, id_, name, argument)

    _post(act, id_, flags)
    click.echo(f"sent {name} to {id_}")


@click.group(cls=Group)
def awakeables() -> None:
    """Complete awakeables: what a handler waits for, and somebody else brings about.

    Their ids begin with sign_1; a handler gets one from ctx.awakeable() and passes it on.
    """


@awakeables.command()
@click.argument("awakeable_id", metavar="ID")
@click.argument("value", required=False, metavar="[JSON|@FILE]")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def resolve(awakeable_id: str, value: str | None, **flags: str | None) -> None:
    """Complete an awakeable with a JSON value (null without one)."""
    invocation_id, _ = parse_awakeable_id(awakeable_id)
    argument = json_argument(value, "The value")
    _post(lambda database: verbs.resolve_awakeable(database, awakeable_id, argument),
          invocation_id, flags)  # fmt: skip
    click.echo(f"resolved {awakeable_id}")


@awakeables.command()
@click.argument("awakeable_id", metavar="ID")
@click.argument("message", required=False)
@click.option("--code", type=click.IntRange(400, 599), default=FAILURE_CODE, help="Its code.")
@with_options(*DATABASE_OPTIONS)
@operators_errors
def reject(awakeable_id: str, message: str | None, *, code: int, **flags: str | None) -> None:
    """Complete an awakeable with a failure, which the handler sees as a terminal error."""
    invocation_id, _ = parse_awakeable_id(awakeable_id)
    said = message or "rejected"
    _post(lambda database: verbs.reject_awakeable(database, awakeable_id, said, code),
          invocation_id, flags)  # fmt: skip
    click.echo(f"rejected {awakeable_id}")


def _post(
    post: Callable[[Database], Awaitable[str]], id_: UUID, flags: dict[str, str | None]
) -> None:
    async def act() -> str:
        async with open_database(flags) as database:
            return await post(database)

    word = run(act())
    if word == "unknown":
        raise NotFound(what="invocation", name=id_)
    if word == "completed":
        raise Conflict(what="invocation", name=id_, problem="is completed: nobody waits any more")
