"""What an acceptance test talks to: engines in one of the modes, and their ingresses."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import msgspec

from acceptance.services import ALL, KEYED
from howdah.handler import HandlerOptions
from howdah.ids import parse_awakeable_id
from howdah.machine.entries import Kind, signal_cid
from howdah.store.units import Mail, Outcome
from howdah.worker.engine import Engine
from howdah_api.addresses import bind, url_of
from howdah_api.http import serve_http
from howdah_api.ingress.app import IngressApp
from support import engines

MODES: dict[str, dict[str, Any]] = {
    "default": {},
    "suspending": {"inactivity_timeout": timedelta(0)},
    "replaying": {"always_replay": True},
    "lazy": {},
    "two engines": {},
}
REPLAYING = ["suspending", "replaying"]
"""Modes in which a handler that waited begins again."""


class Failed(Exception):
    """An invocation failed: its code and message."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"{outcome.code} {outcome.message}")
        self.outcome = outcome


class World:
    """Engines on one database, and clients of their ingresses. Each request goes to the next one.

    Attributes:
        db: A connection to the database.
        engines: One, or two.
    """

    def __init__(self, mode: str, db: asyncpg.Connection[Any]) -> None:
        self.mode = mode
        self.db = db
        self.engines: list[Engine] = []
        self._clients: list[httpx.AsyncClient] = []
        self._turn = itertools.count()

    def add(self, engine: Engine, client: httpx.AsyncClient) -> None:
        self.engines.append(engine)
        self._clients.append(client)

    @property
    def engine(self) -> Engine:
        return self.engines[next(self._turn) % len(self.engines)]

    @property
    def http(self) -> httpx.AsyncClient:
        return self._clients[next(self._turn) % len(self._clients)]

    async def call(self, target: str, argument: Any = None, **facts: Any) -> Any:
        """The value of a request; raises `Failed`."""
        return _value(await engines.call(self.engine, target, argument, **facts))

    async def send(self, target: str, argument: Any = None, **facts: Any) -> UUID:
        """Accept a request; returns its id."""
        return (await engines.send(self.engine, target, argument, **facts)).id

    async def attach(self, id_: UUID | str) -> Any:
        """The value of an invocation, once it is there; raises `Failed`."""
        waiting = self.engine.attach(UUID(str(id_)))
        return _value(await asyncio.wait_for(waiting, engines.BOUND_SECONDS))

    async def signal(self, id_: UUID, name: str, value: Any) -> None:
        """Send a signal from outside; an `Exception` as a failure."""
        body: bytes | None = msgspec.json.encode(str(value))
        detail = None
        if isinstance(value, Exception):
            body, detail = None, msgspec.json.encode({"code": 500, "message": str(value)}).decode()
        await self.engine.deliver(Mail(id_, Kind.SIGNAL, signal_cid(name), body, detail, name))

    async def complete_awakeable(self, id_: str, value: Any) -> None:
        """Resolve an awakeable from outside; an `Exception` rejects it."""
        target, number = parse_awakeable_id(id_)
        body: bytes | None = (
            msgspec.json.encode(value) if not isinstance(value, Exception) else None
        )
        detail = None
        if body is None:
            detail = msgspec.json.encode({"code": 500, "message": str(value)}).decode()
        await self.engine.deliver(Mail(target, Kind.SIGNAL, -number, body, detail))

    async def eventually(
        self, target: str, argument: Any = None, *, until: Callable[[Any], Any] = bool
    ) -> Any:
        """Call until the value satisfies a condition; returns it. The bound is in time."""
        async with asyncio.timeout(engines.BOUND_SECONDS):
            while True:
                value = await self.call(target, argument)
                if until(value):
                    return value
                await asyncio.sleep(0.02)

    async def cancel(self, id_: UUID) -> None:
        """Cancel as an operator does, who does not mind when it is too late."""
        assert await self.engine.operate("cancel", id_) in ("accepted", "done", "completed")

    async def status(self, id_: UUID) -> str:
        found: str = await self.db.fetchval(
            "select status from howdah.invocations where id = $1", id_
        )
        return found

    async def until_status(self, id_: UUID, *words: str) -> None:
        query = "select status = any ($2) from howdah.invocations where id = $1"
        await engines.until(self.db, query, id_, list(words))

    async def until_waiting(self, id_: UUID, type_: str) -> None:
        """Wait until the invocation's journal has an entry of this type."""
        await engines.until(
            self.db,
            "select exists (select from howdah.journal where invocation_id = $1 and type = $2)",
            id_,
            type_,
        )


def _value(outcome: Outcome) -> Any:
    if outcome.outcome != "succeeded":
        raise Failed(outcome)
    return msgspec.json.decode(outcome.value) if outcome.value else None


@asynccontextmanager
async def ingress(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an ingress of this engine, on a port of its own."""
    stop = asyncio.Event()
    sock = bind("127.0.0.1:0", option="ingress")
    url = url_of(sock)
    served = asyncio.ensure_future(
        serve_http(IngressApp(engine, engine.options), sock, stop=stop, grace_seconds=1)
    )
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
            yield client
    finally:
        stop.set()
        await served


@asynccontextmanager
async def running_world(dsn: str, mode: str) -> AsyncIterator[World]:
    """A world in one of the modes, with all services."""
    if mode == "lazy":
        for service in KEYED:
            service.configure(HandlerOptions(enable_lazy_state=True))
    async with AsyncExitStack() as stack:
        db = await asyncpg.connect(dsn)
        stack.push_async_callback(db.close)
        world = World(mode, db)
        for _ in range(2 if mode == "two engines" else 1):
            engine = await stack.enter_async_context(
                engines.running_engine(
                    dsn, ALL, cleanup_interval=timedelta(seconds=1), **MODES[mode]
                )
            )
            world.add(engine, await stack.enter_async_context(ingress(engine)))
        yield world
    for service in KEYED:
        service.configure(HandlerOptions())
