"""A `howdah serve` without handlers of its own, and services of an SDK registered with it.

Everything goes over HTTP: requests by the ingress, operations by the admin port. The database is
only looked into, and asked for signals, which have no route.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec

from acceptance.effects import effects
from acceptance.world import Failed, World
from support.servers import HowdahProcess

SECONDS = 30.0


@dataclass(frozen=True)
class Setting:
    """How an endpoint is driven."""

    use_http_11: bool = False
    is_lazy: bool = False
    environment: dict[str, str] = field(default_factory=dict)


SETTINGS = {
    "bidirectional": Setting(),
    "request response": Setting(use_http_11=True),
    "suspending": Setting(environment={"HOWDAH_INACTIVITY_TIMEOUT": "0"}),
    "lazy": Setting(is_lazy=True),
    "version 7": Setting(
        environment={"HOWDAH_REMOTE_PROTOCOL_MAX": "7", "HOWDAH_INACTIVITY_TIMEOUT": "50ms"}
    ),
}
REPLAYING = ("request response", "suspending")
"""Settings in which a handler that waited, or executed a step, begins again."""
SCOPED = ("version 7",)
"""Settings in which handlers may call in a scope."""
RUNNING: dict[str, str] = {
    "HOWDAH_INGRESS": "127.0.0.1:0",
    "HOWDAH_ADMIN": "127.0.0.1:0",
    "HOWDAH_ENDPOINT_ALLOW": "127.0.0.0/8",
    "HOWDAH_CLEANUP_INTERVAL": "1s",
}


class HttpWorld(World):
    """What clients and operators of a howdah see.

    Attributes:
        admin: A client of its admin port.
        server: The process.
        registration: How endpoints are registered, if nothing else is said.
        effects: Who is asked what the services executed, if that is not this process.
    """

    mismatch = "Found a mismatch between"

    def __init__(
        self,
        mode: str,
        db: asyncpg.Connection[Any],
        ingress: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        server: HowdahProcess,
    ) -> None:
        super().__init__(mode, db)
        self._ingress = ingress
        self.admin = admin
        self.server = server
        self.registration: dict[str, Any] = {}
        self.effects: httpx.AsyncClient | None = None

    @property
    def http(self) -> httpx.AsyncClient:
        return self._ingress

    async def register(self, uri: str, **facts: Any) -> str:
        """Register a deployment; returns its id."""
        wanted = {"uri": uri, **self.registration, **facts}
        answer = await self.admin.post("/deployments", json=wanted)
        assert answer.status_code in (200, 201), answer.text
        found: str = answer.json()["id"]
        return found

    async def executed(self, name: str) -> int:
        if self.effects is None:
            return await super().executed(name)
        return int((await self.effects.get(f"/{quote(name, safe='')}")).text)

    async def _set_executed(self, name: str, number: int) -> None:
        effects[name] = number
        if self.effects is not None:
            await self.effects.put(f"/{quote(name, safe='')}/{number}")

    async def allow(self, name: str) -> None:
        await self._set_executed(name, 1)

    async def forbid(self, name: str) -> None:
        await self._set_executed(name, 0)

    async def call(self, target: str, argument: Any = None) -> Any:
        return _value(await self._post(f"/{target}", argument))

    async def send(self, target: str, argument: Any = None) -> UUID:
        answer = await self._post(f"/{target}/send", argument)
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["invocationId"])

    async def _post(self, path: str, argument: Any) -> httpx.Response:
        if argument is None:
            return await self._ingress.post(path)
        return await self._ingress.post(path, json=argument)

    async def attach(self, id_: UUID | str) -> Any:
        return _value(await self._ingress.get(f"/restate/invocation/{id_}/attach"))

    async def signal(self, id_: UUID, name: str, value: Any) -> None:
        if isinstance(value, Exception):
            await self.db.fetchval("select howdah.reject_signal($1, $2, $3)", id_, name, str(value))
            return
        body = msgspec.json.encode(str(value)).decode()
        await self.db.fetchval("select howdah.signal($1, $2, $3)", id_, name, body)

    async def complete_awakeable(self, id_: str, value: Any) -> None:
        path = f"/restate/awakeables/{id_}"
        if isinstance(value, Exception):
            answer = await self._ingress.post(f"{path}/reject", content=str(value))
        else:
            answer = await self._ingress.post(f"{path}/resolve", json=value)
        assert answer.status_code == 202, answer.text

    async def cancel(self, id_: UUID) -> None:
        answer = await self.admin.patch(f"/invocations/{id_}/cancel")
        assert answer.status_code in (200, 202, 404, 409), answer.text

    async def kill(self, id_: UUID) -> None:
        await self._operate(id_, "kill")

    async def resume(self, id_: UUID, deployment: str = "keep") -> None:
        await self._operate(id_, f"resume?deployment={deployment}")

    async def restart_as_new(self, id_: UUID, from_entry: int) -> UUID:
        answer = await self._operate(id_, f"restart-as-new?from={from_entry}")
        return UUID(answer.json()["new_invocation_id"])

    async def _operate(self, id_: UUID, verb: str) -> httpx.Response:
        answer = await self.admin.patch(f"/invocations/{id_}/{verb}")
        assert answer.status_code == 200, answer.text
        return answer


def _value(answer: httpx.Response) -> Any:
    if answer.status_code != 200:
        facts = answer.json()
        raise Failed(facts["code"], facts["message"])
    return msgspec.json.decode(answer.content) if answer.content else None


@asynccontextmanager
async def clients(
    server: HowdahProcess,
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Clients of the ingress and of the admin port of a server, which is waited for."""
    ingress, admin = await asyncio.to_thread(lambda: (server.ingress, server.admin))
    limits = httpx.Limits(max_connections=200)
    async with (
        httpx.AsyncClient(base_url=ingress, timeout=SECONDS, trust_env=False, limits=limits) as one,
        httpx.AsyncClient(base_url=admin, timeout=SECONDS, trust_env=False) as other,
    ):
        yield one, other


@asynccontextmanager
async def running_howdah(
    dsn: str, mode: str, folder: Path, *modules: str, **environment: str
) -> AsyncIterator[HttpWorld]:
    """A server on a database that is migrated, and nothing registered but what modules declare."""
    output = folder / f"howdah-{uuid4().hex}"
    options = {**RUNNING, **environment}
    server = HowdahProcess(output, "serve", *modules, HOWDAH_DATABASE_URL=dsn, **options)
    db = await asyncpg.connect(dsn)
    try:
        async with clients(server) as (ingress, admin):
            yield HttpWorld(mode, db, ingress, admin, server)
    finally:
        await db.close()
        await asyncio.to_thread(server.end)
