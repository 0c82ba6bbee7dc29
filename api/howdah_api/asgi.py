"""An app as an ASGI server runs it: ingress and worker together, without a command line.

The server's lifespan stands for the process: its start starts an engine, on the database of
HOWDAH_DATABASE_URL or on an embedded Postgres, and its end drains it. Options are those of the
environment and of howdah.toml. There is no admin port.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click
from starlette.types import Receive, Scope, Send

from howdah.config import read_config, read_options
from howdah.errors import HowdahError, UsageError
from howdah.options import Options
from howdah.remote.connecting import Connector
from howdah.service import Bundle
from howdah.worker.engine import Engine
from howdah_api import databases
from howdah_api.addresses import bind, url_of
from howdah_api.admin.app import create_admin
from howdah_api.http import serve_http
from howdah_api.ingress.app import IngressApp
from howdah_api.modules import checked
from howdah_api.problems import unavailable
from howdah_api.serve import CLOSE_SECONDS, start_engine

_ANY_PORT = "127.0.0.1:0"


class AsgiApp:
    """Serves the services of an app.

    Args:
        bundle: The app.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._ingress: IngressApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange of HTTP, or the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._ingress is not None:
            await self._ingress(scope, receive, send)
        elif scope["type"] == "http":
            await _refuse(send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1013})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            try:
                self._ingress = await stack.enter_async_context(_serving(self._bundle))
            except HowdahError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self._ingress = None
        await send({"type": "lifespan.shutdown.complete"})


@asynccontextmanager
async def _serving(bundle: Bundle) -> AsyncIterator[IngressApp]:
    """Run an engine, and drain it at the end.

    Raises:
        UsageError: an option or the app cannot be used, or the database refuses us.
        StoreError: the database has another schema, or refuses what the engine asks.
    """
    options, services = _prepared(bundle)
    is_embedded = options.database_url is None
    async with databases.database_of(options, _tell) as dsn:
        await databases.prepare(
            dsn, _tell, migrates=is_embedded, allow_unsafe=options.allow_unsafe_postgres
        )
        engine = await start_engine(dsn, options, services, _tell, Connector(options))
        ingress = IngressApp(engine, options)
        try:
            yield ingress
            await engine.drain()
        finally:
            ingress.close_waits()
            await engine.stop()


@asynccontextmanager
async def on_free_ports(engine: Engine) -> AsyncIterator[tuple[str, str]]:
    """Serve the ingress and the admin port of an engine, on ports that are free, for a test.

    Yields:
        The URLs of ingress and admin port.
    """
    ingress, admin = bind(_ANY_PORT, option="ingress"), bind(_ANY_PORT, option="admin")
    app = IngressApp(engine, engine.options)
    stop = asyncio.Event()
    urls = url_of(ingress), url_of(admin)
    connector = Connector(engine.options)
    admin_app = create_admin(engine, connector=connector, ingress_url=urls[0])
    servers = [
        asyncio.ensure_future(serve_http(served, sock, stop=stop, grace_seconds=CLOSE_SECONDS))
        for served, sock in ((app, ingress), (admin_app, admin))
    ]
    try:
        yield urls
    finally:
        app.close_waits()
        stop.set()
        await asyncio.gather(*servers)


def _prepared(bundle: Bundle) -> tuple[Options, list[Any]]:
    if getattr(bundle, "identity_keys", ()):
        raise UsageError(
            "This app has identity_keys, but nobody signs requests to howdah.",
            hint="Serve it with `howdah serve`, behind a proxy that checks who asks; or drop them.",
        )
    options = read_options(os.environ, {})
    services = checked(bundle.services)
    if options.config is not None:
        for remark in read_config(options.config).apply(services):
            _tell(f"warning: {remark}")
    return options, services


def _tell(message: str) -> None:
    click.echo(f"howdah: {message}", err=True)


async def _refuse(send: Send) -> None:
    reply = unavailable(
        "the engine is not running: this ASGI server has not run the app's lifespan, or is stopping"
    ).reply()
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
