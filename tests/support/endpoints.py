"""Endpoints for tests: a small HTTP/2 server that behaves as badly as a test wants, and listeners."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from time import thread_time
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from howdah.remote.connection import EndpointError, Exchange

SECONDS = 10.0
Headers = dict[str, str]


class Peer(asyncio.Protocol):
    """One connection of the test's server; a subclass says what it does.

    Attributes:
        requests: Heads by stream.
        bodies: What arrived, by stream.
        ended, was_reset: Streams that the client ended, or reset.
    """

    settings: Sequence[tuple[SettingCodes, int]] = ()
    acknowledges = True

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        if self.settings:
            self.h2.local_settings = Settings(client=False, initial_values=dict(self.settings))
        self.requests: dict[int, Headers] = {}
        self.bodies: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.was_reset: set[int] = set()
        self.on_arrival: Callable[[Peer], None] = lambda peer: None
        self.was_told_to_go = False
        self.is_lost = False
        self.ping_count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's have no base class
        self.on_arrival(self)
        self.begin()

    def begin(self) -> None:
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self.h2.receive_data(data)
        except H2Error as error:
            raise AssertionError(f"the client broke the protocol: {error!r}") from error
        for event in events:
            self._on_event(event)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            assert event.stream_id is not None
            self.requests[event.stream_id] = {str(n): str(v) for n, v in event.headers or ()}
            self.bodies[event.stream_id] = bytearray()
            self.on_request(event.stream_id)
        elif isinstance(event, DataReceived):
            assert event.stream_id is not None
            self.bodies[event.stream_id] += event.data or b""
            if self.acknowledges and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.on_body(event.stream_id, event.data or b"")
        elif isinstance(event, StreamEnded):
            assert event.stream_id is not None
            self.ended.add(event.stream_id)
            self.on_request_end(event.stream_id)
        elif isinstance(event, StreamReset):
            assert event.stream_id is not None
            self.was_reset.add(event.stream_id)
        elif isinstance(event, PingReceived):
            self.ping_count += 1
        elif isinstance(event, ConnectionTerminated):
            self.was_told_to_go = True

    # What a test overrides.

    def on_request(self, stream_id: int) -> None:
        """A head arrived."""

    def on_body(self, stream_id: int, data: bytes) -> None:
        """Bytes of a body arrived."""

    def on_request_end(self, stream_id: int) -> None:
        """A request is complete."""

    def answer(self, stream_id: int, *, status: int = 200, **headers: str) -> None:
        """Send the head of a response."""
        head = [(":status", str(status))]
        head += [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.h2.send_headers(stream_id, head)


class Echo(Peer):
    """Answers with what it is sent, piece by piece, and ends when the request ends."""

    def on_request(self, stream_id: int) -> None:
        self.answer(stream_id, content_type="text/plain")

    def on_body(self, stream_id: int, data: bytes) -> None:
        for start in range(0, len(data), 16384):
            self.h2.send_data(stream_id, data[start : start + 16384])

    def on_request_end(self, stream_id: int) -> None:
        self.h2.end_stream(stream_id)


class Server:
    """A running server.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        peers: Its connections, in the order in which they came.
    """

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[Peer] = []

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(
    make: Callable[[], Peer] = Echo, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server that makes a peer for each connection."""
    server = Server()

    def factory() -> Peer:
        peer = make()
        peer.on_arrival = server.peers.append
        return peer

    listening = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for peer in server.peers:
            peer.transport.abort()
        await listening.wait_closed()


@asynccontextmanager
async def serving_bytes(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """A server that says whatever it wants; yields its URI."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(run, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await listening.wait_closed()


class Listener:
    """Keeps what it hears of an exchange.

    Attributes:
        status, headers, body: The response so far.
        pieces: The body's pieces as they came.
        error: Why it failed, or None.
        over: Set at the end.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.pieces: list[bytes] = []
        self.error: EndpointError | None = None
        self.over = asyncio.Event()
        self.changed = asyncio.Event()
        self.exchange: Exchange | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        assert not self.over.is_set()
        self.status, self.headers = status, headers
        self.changed.set()

    def on_data(self, data: bytes) -> None:
        assert self.status, "data before the head"
        assert not self.over.is_set()
        self.pieces.append(data)
        self.changed.set()

    def on_end(self) -> None:
        assert not self.over.is_set()
        self.over.set()
        self.changed.set()

    def on_error(self, error: EndpointError) -> None:
        assert not self.over.is_set()
        self.error = error
        self.over.set()
        self.changed.set()

    async def wait(self) -> None:
        """Wait until it is over."""
        async with asyncio.timeout(SECONDS):
            await self.over.wait()

    async def failure(self) -> EndpointError:
        """Wait until it has failed."""
        await self.wait()
        assert self.error is not None, f"it did not fail, but answered {self.status}"
        return self.error


async def longest_turn(condition: Callable[[], object], *, seconds: float = SECONDS) -> float:
    """Wait until something holds; how much of the processor the longest turn of the loop took."""
    longest, last = 0.0, thread_time()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0)
            now = thread_time()
            longest, last = max(longest, now - last), now
    return longest


async def until(condition: Callable[[], object], *, seconds: float = SECONDS) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
