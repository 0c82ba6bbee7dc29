"""What an acceptance test talks to: a runtime in one of its modes, and clients of its ingress."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx
import msgspec

from acceptance.effects import effects
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
REPLAYING = ("suspending", "replaying")
"""Modes in which a handler that waited begins again."""
REPLAYING_STEPS = ("replaying",)
"""Modes in which it does so after a step as well."""


class Failed(Exception):
    """An invocation failed: its code and message."""

    def __init__(self, code: int | None, message: str | None) -> None:
        super().__init__(f"{code} {message}")


class World(ABC):
    """A runtime with the services of the acceptance tests, written in whatever language.

    Attributes:
        mode: Which of the modes.
        db: A connection to the database.
        mismatch: What the failure of a handler says that took another path than its journal: a
            pattern.
    """

    mismatch: str = "NonDeterminism"

    def __init__(self, mode: str, db: asyncpg.Connection[Any]) -> None:
        self.mode: Final = mode
        self.db: Final = db

    @property
    @abstractmethod
    def http(self) -> httpx.AsyncClient:
        """A client of the ingress."""

    @abstractmethod
    async def call(self, target: str, argument: Any = None) -> Any:
        """The value of a request; raises `Failed`."""

    @abstractmethod
    async def send(self, target: str, argument: Any = None) -> UUID:
        """Accept a request; returns its id."""

    @abstractmethod
    async def attach(self, id_: UUID | str) -> Any:
        """The value of an invocation, once it is there; raises `Failed`."""

    @abstractmethod
    async def signal(self, id_: UUID, name: str, value: Any) -> None:
        """Send a signal from outside; an `Exception` as a failure."""

    @abstractmethod
    async def complete_awakeable(self, id_: str, value: Any) -> None:
        """Resolve an awakeable from outside; an `Exception` rejects it."""

    @abstractmethod
    async def cancel(self, id_: UUID) -> None:
        """Cancel as an operator does, who does not mind when it is too late."""

    @abstractmethod
    async def kill(self, id_: UUID) -> None:
        """Kill what has not ended."""

    @abstractmethod
    async def resume(self, id_: UUID) -> None:
        """Resume what is paused."""

    @abstractmethod
    async def restart_as_new(self, id_: UUID, from_entry: int) -> UUID:
        """Start again what has ended; returns the new invocation."""

    async def executed(self, name: str) -> int:
        """How often the services' code did what goes by this name."""
        return effects[name]

    async def allow(self, name: str) -> None:
        """Let code of the services do from now on what it did not do before."""
        effects[name] = 1

    async def forbid(self, name: str) -> None:
        """The reverse."""
        effects[name] = 0

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


class LocalWorld(World):
    """Engines on one database, with handlers of their own. Each request goes to the next one.

    Attributes:
        engines: One, or two.
    """

    def __init__(self, mode: str, db: asyncpg.Connection[Any]) -> None:
        super().__init__(mode, db)
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

    async def call(self, target: str, argument: Any = None) -> Any:
        return _value(await engines.call(self.engine, target, argument))

    async def send(self, target: str, argument: Any = None) -> UUID:
        return (await engines.send(self.engine, target, argument)).id

    async def attach(self, id_: UUID | str) -> Any:
        waiting = self.engine.attach(UUID(str(id_)))
        return _value(await asyncio.wait_for(waiting, engines.BOUND_SECONDS))

    async def signal(self, id_: UUID, name: str, value: Any) -> None:
        body: bytes | None = msgspec.json.encode(str(value))
        detail = None
        if isinstance(value, Exception):
            body, detail = None, _failure_json(value)
        await self.engine.deliver(Mail(id_, Kind.SIGNAL, signal_cid(name), body, detail, name))

    async def complete_awakeable(self, id_: str, value: Any) -> None:
        target, number = parse_awakeable_id(id_)
        body: bytes | None = msgspec.json.encode(str(value))
        detail = None
        if isinstance(value, Exception):
            body, detail = None, _failure_json(value)
        await self.engine.deliver(Mail(target, Kind.SIGNAL, -number, body, detail))

    async def cancel(self, id_: UUID) -> None:
        assert await self.engine.operate("cancel", id_) in ("accepted", "done", "completed")

    async def kill(self, id_: UUID) -> None:
        assert await self.engine.operate("kill", id_) == "done"

    async def resume(self, id_: UUID) -> None:
        assert await self.engine.operate("resume", id_) == "done"

    async def restart_as_new(self, id_: UUID, from_entry: int) -> UUID:
        said, new_id = await self.engine.restart_as_new(id_, from_entry)
        assert said == "done"
        assert new_id is not None
        return new_id


def _failure_json(error: Exception) -> str:
    return msgspec.json.encode({"code": 500, "message": str(error)}).decode()


def _value(outcome: Outcome) -> Any:
    if outcome.outcome != "succeeded":
        raise Failed(outcome.code, outcome.message)
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
    """A world in one of the modes, with all services executed by engines in this process."""
    if mode == "lazy":
        for service in KEYED:
            service.configure(HandlerOptions(enable_lazy_state=True))
    async with AsyncExitStack() as stack:
        db = await asyncpg.connect(dsn)
        stack.push_async_callback(db.close)
        world = LocalWorld(mode, db)
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
