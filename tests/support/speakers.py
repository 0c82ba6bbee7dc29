"""Endpoints that follow a script, message by message, and engines that drive them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from howdah.options import Options
from howdah.remote.attempt import CONTENT_TYPE
from howdah.remote.connecting import Connector
from howdah.remote.deployments import RemoteDeployments
from howdah.remote.registering import Registrar, Registration
from howdah.remote.wire import BY_TYPE, Decoder, Notification, Type, encode
from howdah.worker.engine import Engine
from support.endpoints import SECONDS, Peer, Server, serving
from support.engines import running_engine, until_true

MANIFEST_TYPE: Final = "application/vnd.restate.endpointmanifest.v4+json"


class Talk:
    """One attempt, as the endpoint sees it.

    Attributes:
        attempt: Which of its invocation's: 1, 2, ….
        version: The version of the protocol that the runtime chose.
        heard: What the runtime said so far: types and messages.
    """

    def __init__(self, peer: Speaker, stream_id: int, attempt: int) -> None:
        self._peer = peer
        self._stream_id = stream_id
        self._decoder = Decoder(1 << 24)
        self._changed = asyncio.Event()
        self._is_closed = False
        self.attempt = attempt
        media_type = peer.requests[stream_id]["content-type"]
        self.version = int(media_type.removeprefix(CONTENT_TYPE))
        self.heard: list[tuple[int, Any]] = []

    def take(self, data: bytes) -> None:
        for number, _, payload in self._decoder.feed(data):
            read = Notification.FromString if number & 0x8000 else BY_TYPE[number].FromString
            self.heard.append((number, read(payload)))
        self._changed.set()

    def close(self) -> None:
        self._is_closed = True
        self._changed.set()

    async def _until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hear(self, number: Type, count: int = 1) -> Any:
        """Wait for a message of this type, or for so many; returns the last of these."""
        await self._until(lambda: len(self.all_of(number)) >= count)
        return self.all_of(number)[count - 1]

    def all_of(self, number: Type) -> list[Any]:
        return [message for type_, message in self.heard if type_ == number]

    async def start(self) -> Any:
        """Wait for the replay; returns the first message."""
        start = await self.hear(Type.START)
        await self._until(lambda: len(self.heard) > start.known_entries)
        return start

    async def closed(self) -> None:
        """Wait until the runtime wants it to suspend."""
        await self._until(lambda: self._is_closed)

    def say(self, *messages: bytes) -> None:
        self._peer.h2.send_data(self._stream_id, b"".join(messages))
        self._peer.flush()

    def end(self, *messages: bytes) -> None:
        """Say the last."""
        self._peer.h2.send_data(self._stream_id, b"".join(messages), end_stream=True)
        self._peer.flush()

    def succeed(self, value: Any) -> None:
        """Complete with this result."""
        content = json.dumps(value).encode()
        self.end(say(Type.OUTPUT, value={"content": content}), say(Type.END))


Script: TypeAlias = Callable[[Talk], Awaitable[None]]


def say(number: Type, *, flags: int = 0, **facts: Any) -> bytes:
    """A message with these fields."""
    return encode(number, BY_TYPE[number](**facts), flags)


class Speaker(Peer):
    """A connection of an endpoint that follows a script."""

    def __init__(self, speaking: Speaking) -> None:
        super().__init__()
        self._speaking = speaking
        self._talks: dict[int, Talk] = {}

    def on_request(self, stream_id: int) -> None:
        head = self.requests[stream_id]
        if head[":path"] == "/discover":
            self.answer(stream_id, content_type=MANIFEST_TYPE)
            manifest = json.dumps(self._speaking.manifest).encode()
            self.h2.send_data(stream_id, manifest, end_stream=True)
            return
        id_ = head["x-restate-invocation-id"]
        self._speaking.attempts[id_] += 1
        self.answer(stream_id, content_type=head["content-type"])
        talk = Talk(self, stream_id, self._speaking.attempts[id_])
        self._talks[stream_id] = talk
        self._speaking.follow(talk)

    def on_body(self, stream_id: int, data: bytes) -> None:
        if stream_id in self._talks:
            self._talks[stream_id].take(data)

    def on_request_end(self, stream_id: int) -> None:
        if stream_id in self._talks:
            self._talks[stream_id].close()


class Speaking:
    """An endpoint that serves `Speaker/speak`, by a script for each attempt.

    Attributes:
        server: Where it is.
        talks: The attempts so far.
        attempts: How many of each invocation.
    """

    def __init__(self, script: Script, versions: tuple[int, int]) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self.server = Server()
        self.talks: list[Talk] = []
        self.attempts: Counter[str] = Counter()
        self.manifest: dict[str, Any] = {
            "protocolMode": "BIDI_STREAM",
            "minProtocolVersion": versions[0],
            "maxProtocolVersion": versions[1],
            "services": [{"name": "Speaker", "ty": "SERVICE", "handlers": [{"name": "speak"}]}],
        }

    def follow(self, talk: Talk) -> None:
        async def run() -> None:
            await self._script(talk)

        self.talks.append(talk)
        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    async def stop(self) -> None:
        """End what scripts do; raise what one of them raised."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failures:
            raise self._failures[0]


@asynccontextmanager
async def speaking(
    script: Script, *, versions: tuple[int, int] = (5, 7)
) -> AsyncIterator[Speaking]:
    """An endpoint; at the end, no script has failed."""
    endpoint = Speaking(script, versions)
    async with serving(lambda: Speaker(endpoint)) as server:
        endpoint.server = server
        try:
            yield endpoint
        finally:
            await endpoint.stop()


@asynccontextmanager
async def driving(dsn: str, endpoint: Speaking, **options: Any) -> AsyncIterator[Engine]:
    """An engine that drives an endpoint, which is registered if it was not."""
    options.setdefault("remote_protocol_max", 7)
    options["endpoint_allow"] = ("127.0.0.1",)
    connector = Connector(Options(**options))
    remote = RemoteDeployments(connector.connect_deployment)
    async with running_engine(dsn, [], remote=remote, **options) as engine:
        if engine.registry.service("Speaker") is None:
            registrar = Registrar(engine.database, connector, engine.options)
            await registrar.register(Registration(uri=endpoint.server.uri))
        await until_true(lambda: engine.registry.service("Speaker"))
        await until_true(lambda: engine.served)
        yield engine
