"""One serving process: the engine, the ingress and the admin port in one event loop.

Stopping is orderly: the ports close, the engine gives its leases back, waiting clients are told,
and only then does the process end. A second signal ends it at once; nothing durable depends on the
difference.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from starlette.types import ASGIApp

from howdah.errors import StoreUnavailable
from howdah.options import Options
from howdah.remote.connecting import Connector
from howdah.remote.deployments import RemoteDeployments
from howdah.worker.engine import Engine
from howdah.worker.observer import Observer
from howdah_api.addresses import url_of
from howdah_api.admin import create_admin
from howdah_api.databases import Tell, await_database
from howdah_api.http import serve_http
from howdah_api.ingress.app import IngressApp
from howdah_api.modules import Declared

logger = logging.getLogger(__name__)

T = TypeVar("T")

CLOSE_SECONDS = 5.0  # how long open connections may take to end after the engine has drained
START_ATTEMPTS_MAX = 5
COLLECT_AFTER = 20_000
"""New objects until garbage is looked for: attempts free themselves, so that looking finds nothing."""
POSTGRES_PORT = 5432


@dataclass(slots=True)
class Listeners:
    """The sockets of this process; None where a role is not asked for."""

    ingress: socket.socket | None = None
    admin: socket.socket | None = None


@dataclass(slots=True)
class Stopping:
    """The wish to stop: from a signal, or from the parent process that is gone."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    before_exit: Callable[[], None] | None = None  # for ending at once: what must not stay behind

    def ask(self) -> None:
        """Stop in order; asked for a second time, end at once."""
        if self.asked.is_set():
            if self.before_exit is not None:
                self.before_exit()
            os._exit(1)
        self.asked.set()

    def watch_signals(self) -> None:
        """Ask on SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask)

    def watch_parent(self, parent_fd: int) -> None:
        """Ask when the other end of the pipe is closed: the parent has died."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            loop.remove_reader(parent_fd)
            if not self.asked.is_set():
                self.ask()

        loop.add_reader(parent_fd, gone)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop where there is one."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


async def serve_process(
    *,
    dsn: str,
    options: Options,
    services: Sequence[Declared],
    listeners: Listeners,
    stopping: Stopping,
    tell: Tell,
    on_ready: Callable[[], None] | None = None,
    is_breaking: bool = False,
    progress: Observer | None = None,
) -> None:
    """Serve until asked to stop, then drain.

    Args:
        dsn: The database, migrated.
        options: Of this process.
        services: What its worker executes, beside what is registered of remote deployments.
        listeners: Bound sockets; closed when this returns.
        stopping: Ends it.
        tell: Told about progress while the database is away.
        on_ready: Called once requests are answered.
        is_breaking: A service may lose handlers, or change its kind.
        progress: Told what becomes of invocations here.

    Raises:
        UsageError: the database stayed away, or an option cannot be used.
        StoreError: it refuses what the engine asks.
    """
    asyncio.get_running_loop().set_exception_handler(_log_stray)
    ingress_url = url_of(listeners.ingress) if listeners.ingress else ""
    connector = Connector(options, own_ports=_own_ports(listeners, dsn))
    engine = await start_engine(
        dsn, options, services, tell, connector, is_breaking=is_breaking, observer=progress
    )
    servers: list[asyncio.Task[None]] = []
    ingress_app: IngressApp | None = None
    try:
        if listeners.ingress is not None:
            ingress_app = IngressApp(engine, options)
            servers.append(_serve(ingress_app, listeners.ingress, options, stopping))
        if listeners.admin is not None:
            admin_app = create_admin(engine, connector=connector, ingress_url=ingress_url)
            servers.append(_serve(admin_app, listeners.admin, options, stopping))
        if on_ready is not None:
            on_ready()
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
        await _until_asked(stopping, servers)
        logger.info("process draining")
        await engine.drain()
        if ingress_app is not None:
            ingress_app.close_waits()
        if servers:
            await asyncio.wait(servers, timeout=CLOSE_SECONDS)
    finally:
        stopping.asked.set()
        for server in servers:
            server.cancel()
        await asyncio.gather(*servers, return_exceptions=True)
        await engine.stop()


async def start_engine(
    dsn: str,
    options: Options,
    services: Sequence[Declared],
    tell: Tell,
    connector: Connector,
    *,
    is_breaking: bool = False,
    observer: Observer | None = None,
) -> Engine:
    """Start an engine, and wait for a database that goes away meanwhile.

    Raises:
        UsageError: the database refuses us, or stayed away.
        StoreError: it refuses what the engine asks.
    """
    for attempt in range(1, START_ATTEMPTS_MAX + 1):
        await await_database(dsn, tell)
        engine = Engine.create(
            dsn=dsn,
            options=options,
            services=services,
            is_breaking=is_breaking,
            observer=observer,
            remote=RemoteDeployments(connector.connect_deployment),
        )
        try:
            await engine.start()
        except StoreUnavailable as error:
            await engine.stop()
            if attempt == START_ATTEMPTS_MAX:
                raise
            tell(f"the database went away: {error.__cause__ or error}")
        else:
            return engine
    raise AssertionError("the loop returns or raises")


def _own_ports(listeners: Listeners, dsn: str) -> set[int]:
    """Ports that are no endpoints of deployments: howdah's and the database's."""
    sockets = [sock for sock in (listeners.ingress, listeners.admin) if sock is not None]
    ports = {sock.getsockname()[1] for sock in sockets if sock.family != socket.AF_UNIX}
    return ports | {urlsplit(dsn).port or POSTGRES_PORT}


async def _until_asked(stopping: Stopping, servers: Sequence[asyncio.Task[None]]) -> None:
    asked = asyncio.ensure_future(stopping.asked.wait())
    try:
        await asyncio.wait([asked, *servers], return_when=asyncio.FIRST_COMPLETED)
        for server in servers:
            if server.done():
                server.result()
    finally:
        asked.cancel()


def _serve(
    app: ASGIApp,
    sock: socket.socket,
    options: Options,
    stopping: Stopping,
) -> asyncio.Task[None]:
    grace_seconds = options.drain_timeout.total_seconds() + CLOSE_SECONDS
    return asyncio.ensure_future(
        serve_http(app, sock, stop=stopping.asked, grace_seconds=grace_seconds)
    )


def _log_stray(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # What a broken connection leaves behind in the HTTP server: one line, not a trace.
    error = context.get("exception")
    logger.warning("stray error", extra={"error": repr(error) if error else context["message"]})
