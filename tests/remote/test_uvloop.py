"""Exchanges on uvloop, which serves in production and whose transports differ in small ways."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from howdah.remote.guard import Guard
from howdah.remote.http import Endpoint
from support.endpoints import Listener, Server, serving, until
from support.sdk import serving_app


async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    assert scope["type"] == "http"
    version = scope["http_version"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-version", version)]})
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})
        if not more:
            return


async def talk(endpoint: Endpoint) -> Listener:
    listener = Listener()
    exchange = endpoint.open("/a", [], b"x" * 300_000, end=False, listener=listener)
    await until(lambda: len(listener.body) == 300_000)
    exchange.send(b"y")
    await until(lambda: listener.body.endswith(b"y"))
    exchange.end()
    await listener.wait()
    return listener


async def leave(server: Server, endpoint: Endpoint) -> None:
    listener = Listener()
    exchange = endpoint.open("/a", [], b"x", end=False, listener=listener)
    await until(lambda: listener.body)
    exchange.reset()
    await until(lambda: server.peers[0].was_reset)
    endpoint.close()
    await until(lambda: server.peers[0].is_lost)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    uvloop.run(bounded())


@pytest.mark.parametrize("use_http_11", [False, True])
def test_an_asgi_server_is_talked_to_both_ways(use_http_11: bool) -> None:
    async def scenario() -> None:
        async with serving_app(app) as uri:
            endpoint = Endpoint(uri, guard=Guard(is_dev=True), use_http_11=use_http_11)
            listener = await talk(endpoint)
            endpoint.close()

        assert listener.error is None
        assert listener.headers["x-version"] == ("1.1" if use_http_11 else "2")

    run(scenario)


def test_exchanges_and_connections_end() -> None:
    async def scenario() -> None:
        async with serving() as server:
            await leave(server, Endpoint(server.uri, guard=Guard(is_dev=True)))

    run(scenario)
