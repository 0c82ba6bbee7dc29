"""The command line. Every failure that a person can act on is one line and exit code 2."""

from __future__ import annotations

import functools
import os
import socket
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, TypeVar

import click

from howdah.config import read_config, read_options
from howdah.errors import HowdahError, InvalidOption, UsageError
from howdah.options import Options
from howdah.store.access import redacted
from howdah_api import databases, queries, requests
from howdah_api.addresses import bind, is_loopback, url_of
from howdah_api.banner import banner
from howdah_api.dev import serve_reloading
from howdah_api.logs import configure_logs
from howdah_api.modules import Declared, load_services
from howdah_api.processes import USAGE_EXIT_CODE, say_ready, serve_processes
from howdah_api.serve import Listeners, Stopping, run, serve_process

F = TypeVar("F", bound=Callable[..., Any])

HTTP_ERROR_MIN = 400


def tell(message: str) -> None:
    """Progress for a person, on stderr."""
    click.echo(f"howdah: {message}", err=True)


def _one_line_errors(command: F) -> F:
    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except HowdahError as error:
            said = error.message if error.hint is None else f"{error.message} {error.hint}"
            click.echo(f"howdah: {' '.join(said.split())} [{error.code}]", err=True)
            sys.exit(USAGE_EXIT_CODE)
        except KeyboardInterrupt:
            sys.exit(130)

    return guarded  # type: ignore[return-value]


def _with_options(*names: str) -> Callable[[F], F]:
    """Add the flags of these `Options`, in order; their texts are read by `read_options`."""
    flags = {
        "config": ("--config", "FILE", "Options in a file. Default: howdah.toml, if there is one."),
        "database_url": ("--database-url", "URL", "The Postgres to use, 15 to 18."),
        "data_dir": ("--data-dir", "DIR", "Where the embedded Postgres keeps its data."),
        "ingress": ("--ingress", "HOST:PORT", "Where requests are accepted."),
        "admin": ("--admin", "HOST:PORT", "Where operators inspect and steer."),
        "roles": ("--roles", "LIST", "Any of ingress,admin,worker. Default: all."),
        "processes": ("--processes", "N", "Serving processes behind the same ports."),
        "max_resident": ("--max-resident", "N", "Invocations in memory at once, per process."),
    }

    def add(command: F) -> F:
        for name in reversed(names):
            flag, metavar, text = flags[name]
            command = click.option(flag, name, metavar=metavar, help=text)(command)
        return command

    return add


def _options(**flags: str | None) -> Options:
    return read_options(os.environ, flags)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("howdah"), prog_name="howdah")
def main() -> None:
    """Durable execution on Postgres."""


_DATABASE_OPTIONS = ("config", "database_url", "data_dir")
_SERVE_OPTIONS = (
    "config",
    "database_url",
    "data_dir",
    "ingress",
    "admin",
    "roles",
    "processes",
    "max_resident",
)
_INSECURE_TEXT = "Allow addresses that other machines can reach. There is no authentication."


@main.command()
@click.argument("modules", nargs=-1, metavar="MODULE[:ATTR]...")
@_with_options(*_SERVE_OPTIONS)
@click.option("--migrate", "migrates", is_flag=True, help="Bring the schema up to date first.")
@click.option("--insecure", is_flag=True, help=_INSECURE_TEXT)
@_one_line_errors
def serve(modules: tuple[str, ...], migrates: bool, insecure: bool, **flags: str | None) -> None:
    """Serve the handlers of modules or .py files."""
    options = _options(**flags)
    configure_logs(options.log_level)
    services = _services(modules, options)
    listeners = _listen(options, insecure=insecure)
    sys.exit(run(_serve(modules, services, options, listeners, migrates=migrates)))


async def _serve(
    targets: Sequence[str],
    services: Sequence[Declared],
    options: Options,
    listeners: Listeners,
    *,
    migrates: bool,
) -> int:
    stopping = Stopping()
    stopping.watch_signals()
    is_embedded = options.database_url is None
    async with databases.database_of(options, tell) as dsn:
        await databases.prepare(
            dsn,
            tell,
            migrates=migrates or is_embedded,
            allow_unsafe=options.allow_unsafe_postgres,
        )
        greeting = banner(
            ingress_url=url_of(listeners.ingress) if listeners.ingress else None,
            admin_url=url_of(listeners.admin) if listeners.admin else None,
            dsn=dsn,
            is_embedded=is_embedded,
            services=services,
        )
        if options.processes > 1:
            return await serve_processes(
                dsn=dsn,
                options=options,
                targets=targets,
                listeners=listeners,
                stopping=stopping,
                on_ready=lambda: click.echo(greeting),
            )
        await serve_process(
            dsn=dsn,
            options=options,
            services=services,
            listeners=listeners,
            stopping=stopping,
            tell=tell,
            on_ready=lambda: click.echo(greeting),
        )
        return 0


@main.command(hidden=True)
@click.argument("parent_fd", type=int)
@click.argument("ready_fd", type=int)
@click.option("--ingress-fd", type=int)
@click.option("--admin-fd", type=int)
@click.argument("modules", nargs=-1)
@_one_line_errors
def serve_child(
    parent_fd: int,
    ready_fd: int,
    modules: tuple[str, ...],
    *,
    ingress_fd: int | None,
    admin_fd: int | None,
) -> None:
    """Serve on inherited sockets: one of the processes of `serve --processes N`."""
    options = _options()
    configure_logs(options.log_level)
    services = _services(modules, options)
    listeners = Listeners(
        ingress=socket.socket(fileno=ingress_fd) if ingress_fd is not None else None,
        admin=socket.socket(fileno=admin_fd) if admin_fd is not None else None,
    )

    async def serve_until_asked() -> None:
        stopping = Stopping()
        stopping.watch_signals()
        stopping.watch_parent(parent_fd)
        await serve_process(
            dsn=_given(options.database_url),
            options=options,
            services=services,
            listeners=listeners,
            stopping=stopping,
            tell=tell,
            on_ready=lambda: say_ready(ready_fd),
        )

    run(serve_until_asked())


@main.command()
@click.argument("modules", nargs=-1, required=True, metavar="MODULE[:ATTR]...")
@_with_options(*_SERVE_OPTIONS)
@click.option("--insecure", is_flag=True, help=_INSECURE_TEXT)
@_one_line_errors
def dev(modules: tuple[str, ...], insecure: bool, **flags: str | None) -> None:
    """Serve, and reload whenever a file changes."""
    options = _options(**flags)
    configure_logs(options.log_level)

    async def serve_until_asked() -> None:
        stopping = Stopping()
        stopping.watch_signals()
        async with databases.database_of(options, tell) as dsn:
            await databases.prepare(
                dsn, tell, migrates=True, allow_unsafe=options.allow_unsafe_postgres
            )
            await serve_reloading(
                dsn=dsn,
                options=options,
                targets=modules,
                flags=["--insecure"] if insecure else [],
                stopping=stopping,
                tell=tell,
            )

    run(serve_until_asked())


@main.command()
@_with_options(*_DATABASE_OPTIONS)
@click.option("--to", "revision", metavar="REV", help="This revision instead of the newest.")
@_one_line_errors
def migrate(revision: str | None, **flags: str | None) -> None:
    """Bring the database's schema to this version, or to another revision."""
    from howdah import migrate as migrations

    options = _options(**flags)

    async def bring() -> None:
        async with databases.database_of(options, tell) as dsn:
            await databases.await_database(dsn, tell)
            if revision is None or revision == "head":
                await migrations.upgrade(dsn)
            elif revision == "base":
                await migrations.downgrade(dsn)
            else:
                await migrations.upgrade(dsn, revision)
            found = await migrations.current(dsn)
            click.echo(f"{redacted(dsn)} is at revision {found or 'base'}")

    run(bring())


@main.command()
@click.argument("statement", required=False)
@_with_options(*_DATABASE_OPTIONS)
@_one_line_errors
def sql(statement: str | None, **flags: str | None) -> None:
    """Open psql on the database, or print what one STATEMENT returns."""
    options = _options(**flags)

    async def ask() -> int:
        async with databases.database_of(options, tell) as dsn:
            await databases.await_database(dsn, tell)
            if statement is None:
                return await queries.open_psql(dsn)
            await queries.print_statement(dsn, statement)
            return 0

    sys.exit(run(ask()))


@main.command()
@_with_options(*_DATABASE_OPTIONS)
@_one_line_errors
def check(**flags: str | None) -> None:
    """Verify the stored state; exit code 1 when something is inconsistent."""
    options = _options(**flags)

    async def ask() -> int:
        async with databases.database_of(options, tell) as dsn:
            await databases.await_database(dsn, tell)
            return await queries.print_findings(dsn)

    sys.exit(run(ask()))


@main.command()
@click.argument("path")
@click.argument("body", required=False)
@click.option("--ingress", metavar="HOST:PORT", help="Where the server listens.")
@click.option("--send", "is_send", is_flag=True, help="Do not wait for the result.")
@click.option("--delay", metavar="DURATION", help="Send, to run only after e.g. 10s.")
@click.option("--idempotency-key", metavar="KEY", help="The same key, the same invocation.")
@_one_line_errors
def invoke(
    path: str,
    body: str | None,
    *,
    ingress: str | None,
    is_send: bool,
    delay: str | None,
    idempotency_key: str | None,
) -> None:
    """Call Service/handler or Object/key/handler with a JSON BODY."""
    answer = requests.invoke(
        ingress or _options().ingress,
        path,
        body,
        is_send=is_send or delay is not None,
        delay=delay,
        idempotency_key=idempotency_key,
    )
    is_error = answer.status >= HTTP_ERROR_MIN
    if is_error:
        click.echo(f"howdah: status {answer.status}", err=True)
    if answer.body:
        click.echo(answer.body, err=is_error)
    sys.exit(1 if is_error else 0)


def _services(targets: Sequence[str], options: Options) -> list[Declared]:
    if "worker" not in options.roles:
        return []
    if not targets:
        raise UsageError(
            "There is nothing to serve.",
            hint="Name a module or a .py file: howdah serve tickets.py",
        )
    services = load_services(targets)
    if options.config is not None:
        for remark in read_config(options.config).apply(services):
            tell(f"warning: {remark}")
    return services


def _listen(options: Options, *, insecure: bool) -> Listeners:
    listeners = Listeners()
    for role in ("ingress", "admin"):
        if role not in options.roles:
            continue
        address: str = getattr(options, role)
        if not is_loopback(address):
            if not insecure:
                raise InvalidOption(
                    name=f"--{role}",
                    problem=f"is {address}, which other machines can reach, without authentication",
                    hint="Put a proxy before it, and allow it with --insecure.",
                )
            tell(f"warning: {role} on {address} is open to other machines, unauthenticated")
        setattr(listeners, role, bind(address, option=f"--{role}"))
    return listeners


def _given(url: str | None) -> str:
    if url is None:
        raise InvalidOption(name="HOWDAH_DATABASE_URL", problem="is not set")
    return url
