"""`howdah serve` and `howdah dev`: programs that run until they are told to stop."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from howdah.errors import InvalidOption
from howdah.options import Options
from howdah_api.commands.program import (
    one_line_errors,
    options_of,
    tell,
    with_options,
)

# What serves is imported when it is asked for: other commands are quicker without.
if TYPE_CHECKING:
    from howdah_api.modules import Declared
    from howdah_api.serve import Listeners

_SERVE_OPTIONS = (
    "config",
    "database_url",
    "data_dir",
    "ingress",
    "admin",
    "roles",
    "processes",
    "max_resident",
    "deployment",
)
_INSECURE_TEXT = "Allow addresses that other machines can reach. There is no authentication."
_BREAKING_TEXT = (
    "Allow a service to lose handlers, and to change its kind once nothing of it is under way."
)


@click.command()
@click.argument("modules", nargs=-1, metavar="MODULE[:ATTR]...")
@with_options(*_SERVE_OPTIONS)
@click.option("--breaking", "is_breaking", is_flag=True, help=_BREAKING_TEXT)
@click.option("--migrate", "migrates", is_flag=True, help="Bring the schema up to date first.")
@click.option("--insecure", is_flag=True, help=_INSECURE_TEXT)
@click.option("--progress", "shows_progress", is_flag=True, help="A line for each invocation.")
@click.option("--embedded", "is_embedded", is_flag=True, hidden=True)
@one_line_errors
def serve(
    modules: tuple[str, ...],
    *,
    is_breaking: bool,
    migrates: bool,
    insecure: bool,
    shows_progress: bool,
    is_embedded: bool,
    **flags: str | None,
) -> None:
    """Serve the handlers of modules or .py files, and drive registered remote deployments.

    MODULE is a dotted path or a file; ATTR names a service in it, or a list of them. Without one
    all services of the module are served; without a MODULE only remote deployments are driven, which
    `howdah deployments register` makes known. Without a database URL an embedded Postgres is started,
    which keeps its data in .howdah.

    Each version of the code is a deployment. An invocation stays with the version that began it, so
    that a new version can be started beside the old one, which is stopped later.

    \b
    howdah serve tickets.py
    howdah serve shop.cart shop.checkout:services --deployment v2 --processes 4
    """
    from howdah_api.logs import configure_logs
    from howdah_api.serve import run

    options = options_of(flags)
    configure_logs(options.log_level, shows_progress=shows_progress)
    services = _services(modules, options)
    listeners = _listen(options, insecure=insecure)
    sys.exit(
        run(
            _serve(
                modules,
                services,
                options,
                listeners,
                is_breaking=is_breaking,
                migrates=migrates,
                shows_progress=shows_progress,
                is_embedded=is_embedded or options.database_url is None,
            )
        )
    )


async def _serve(
    targets: Sequence[str],
    services: Sequence[Declared],
    options: Options,
    listeners: Listeners,
    *,
    is_breaking: bool,
    migrates: bool,
    shows_progress: bool,
    is_embedded: bool,
) -> int:
    from howdah_api import databases
    from howdah_api.banner import Banner
    from howdah_api.processes import serve_processes
    from howdah_api.progress import Progress
    from howdah_api.serve import Stopping, serve_process

    stopping = Stopping()
    stopping.watch_signals()
    async with databases.database_of(options, tell) as dsn:
        await databases.prepare(
            dsn,
            tell,
            migrates=migrates or is_embedded,
            allow_unsafe=options.allow_unsafe_postgres,
        )
        greeting = Banner(
            listeners=listeners,
            dsn=dsn,
            data_dir=options.data_dir if is_embedded else None,
            services=services,
            deployment=options.deployment,
        )
        greeted: list[asyncio.Task[None]] = []

        def greet() -> None:
            greeted.append(asyncio.ensure_future(greeting.show()))

        if options.processes > 1:
            return await serve_processes(
                dsn=dsn,
                options=options,
                targets=targets,
                flags=_child_flags(is_breaking=is_breaking, shows_progress=shows_progress),
                listeners=listeners,
                stopping=stopping,
                on_ready=greet,
            )
        await serve_process(
            dsn=dsn,
            options=options,
            services=services,
            listeners=listeners,
            stopping=stopping,
            tell=tell,
            on_ready=greet,
            is_breaking=is_breaking,
            progress=Progress() if shows_progress else None,
        )
        return 0


def _child_flags(*, is_breaking: bool, shows_progress: bool) -> list[str]:
    given = {"--breaking": is_breaking, "--progress": shows_progress}
    return [flag for flag, is_given in given.items() if is_given]


@click.command(hidden=True)
@click.argument("parent_fd", type=int)
@click.argument("ready_fd", type=int)
@click.option("--ingress-fd", type=int)
@click.option("--admin-fd", type=int)
@click.option("--breaking", "is_breaking", is_flag=True)
@click.option("--progress", "shows_progress", is_flag=True)
@click.argument("modules", nargs=-1)
@one_line_errors
def serve_child(
    parent_fd: int,
    ready_fd: int,
    modules: tuple[str, ...],
    *,
    ingress_fd: int | None,
    admin_fd: int | None,
    is_breaking: bool,
    shows_progress: bool,
) -> None:
    """Serve on inherited sockets: one of the processes of `serve --processes N`."""
    from howdah_api.logs import configure_logs
    from howdah_api.processes import say_ready
    from howdah_api.progress import Progress
    from howdah_api.serve import Listeners, Stopping, run, serve_process

    options = options_of({})
    configure_logs(options.log_level, shows_progress=shows_progress)
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
            is_breaking=is_breaking,
            progress=Progress() if shows_progress else None,
        )

    run(serve_until_asked())


@click.command()
@click.argument("modules", nargs=-1, metavar="MODULE[:ATTR]...")
@with_options(*_SERVE_OPTIONS)
@click.option("--insecure", is_flag=True, help=_INSECURE_TEXT)
@click.option("--quiet", "-q", is_flag=True, help="No line for each invocation that ends.")
@one_line_errors
def dev(modules: tuple[str, ...], *, insecure: bool, quiet: bool, **flags: str | None) -> None:
    """Serve while you write: reload whenever a .py file or howdah.toml changes.

    Invocations in flight go on with the new code, which is the same deployment, named dev. Where it
    takes another path than a journal holds, the attempt fails and says what was recorded and what
    was attempted; bring the old code back, or cancel the invocation. Handlers may come and go.

    Remote deployments may be on this machine and in private networks.

    \b
    howdah dev tickets.py
    """
    from howdah_api import databases
    from howdah_api.dev import serve_reloading
    from howdah_api.logs import configure_logs
    from howdah_api.serve import Stopping, run

    options = options_of(flags)
    configure_logs(options.log_level)
    child_flags = ["--breaking"]
    if insecure:
        child_flags.append("--insecure")
    if not quiet:
        child_flags.append("--progress")
    if options.database_url is None:
        child_flags.append("--embedded")  # the child is given the URL of the server that runs here

    async def serve_until_asked() -> None:
        stopping = Stopping()
        stopping.watch_signals()
        async with databases.database_of(options, tell) as dsn:
            await databases.prepare(
                dsn, tell, migrates=True, allow_unsafe=options.allow_unsafe_postgres
            )
            await serve_reloading(
                dsn=dsn,
                read_options=lambda: options_of(flags),
                targets=modules,
                flags=child_flags,
                stopping=stopping,
                tell=tell,
            )

    run(serve_until_asked())


def _services(targets: Sequence[str], options: Options) -> list[Declared]:
    from howdah.config import read_config
    from howdah_api.modules import load_services

    if "worker" not in options.roles:
        return []
    services = load_services(targets)
    if options.config is not None:
        for remark in read_config(options.config).apply(services):
            tell(f"warning: {remark}")
    return services


def _listen(options: Options, *, insecure: bool) -> Listeners:
    from howdah_api.addresses import bind, is_loopback
    from howdah_api.serve import Listeners

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
