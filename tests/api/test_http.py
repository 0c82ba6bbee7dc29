"""The HTTP server on its own, with small applications: what it holds, and for how long."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import h11
import pytest
from starlette.types import Receive, Scope, Send

from howdah_api import http

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
READ_IN_TWO_WAYS = [
    b"GET / HTTP/1.1\r\nhost: a\r\nx-note: b\r\n c\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nx-note: b\r\n\tc\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nx-note:\r\n  \r\n\r\n",
    b"GET / HTTP/1.1\r\n host: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\r\n c\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: b\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\n",
    b"GET / HTTP/1.1\nhost: a\n\n",
    b"GET / HTTP/1.1\r\nhost: a\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\n\n",
    b"GET / HTTP/1.1\r\nhost: a\nx-note: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\rx-note: b\r\n\r\n",
    b"\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def say_hello(_: Scope, __: Receive, send: Send) -> None:
    await answer(send, b"hello")


async def say_it_back(_: Scope, receive: Receive, send: Send) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await answer(send, body)


async def answer(send: Send, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Served:
    """A server that runs, with its end in the test's hands."""

    def __init__(self, app: App) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = sock.getsockname()[1]
        self.stop = asyncio.Event()
        serving = http.serve_http(app, sock, stop=self.stop, grace_seconds=5)
        self.ended = asyncio.ensure_future(serving)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def served(app: App) -> AsyncIterator[Served]:
    server = Served(app)
    try:
        yield server
    finally:
        server.stop.set()
        await asyncio.wait_for(server.ended, 10)


class Http2Client:
    """A client that sends frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        config = h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
        self._connection = h2.connection.H2Connection(config)
        self._reader = reader
        self._writer = writer
        self._connection.initiate_connection()

    def begin(self, path: bytes, *, is_last: bool) -> int:
        stream_id: int = self._connection.get_next_available_stream_id()
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"a"),
            (b":path", path),
        ]
        self._connection.send_headers(stream_id, headers, end_stream=is_last)
        self._flush()
        return stream_id

    def send(self, stream_id: int, data: bytes, *, is_last: bool = False) -> None:
        self._connection.send_data(stream_id, data, end_stream=is_last)
        self._flush()

    async def until(self, kind: type[Any], stream_id: int) -> None:
        """Read until this happens to the stream."""
        while True:
            data = await asyncio.wait_for(self._reader.read(65536), 5)
            assert data, "the connection was closed"
            events = self._connection.receive_data(data)
            self._flush()
            if any(isinstance(e, kind) and e.stream_id == stream_id for e in events):
                return

    def _flush(self) -> None:
        self._writer.write(self._connection.data_to_send())


async def test_header_and_body_arrive_together() -> None:
    async with served(say_hello) as server:
        reader, writer = await server.connect()
        for _ in range(3):
            writer.write(GET)
            arrived = await reader.read(65536)
            assert arrived.startswith(b"HTTP/1.1 200")
            assert arrived.endswith(b"\r\n\r\nhello")
        writer.close()


async def test_requests_sent_ahead_are_answered_in_turn() -> None:
    async with served(say_hello) as server:
        reader, writer = await server.connect()
        writer.write(GET * 3)
        arrived = b""
        while arrived.count(b"hello") < 3:
            arrived += await asyncio.wait_for(reader.read(65536), 5)
        writer.close()


async def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "KEEP_ALIVE_SECONDS", 0.1)
    async with served(say_hello) as server:
        reader, writer = await server.connect()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_headers_that_dribble_in_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "KEEP_ALIVE_SECONDS", 0.1)
    async with served(say_hello) as server:
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nho")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_stopping_closes_idle_connections_and_lets_requests_finish() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: Scope, __: Receive, send: Send) -> None:
        begun.set()
        await go_on.wait()
        await answer(send, b"done")

    async with served(wait) as server:
        idle_reader, idle_writer = await server.connect()
        reader, writer = await server.connect()
        writer.write(GET)
        await begun.wait()

        server.stop.set()

        assert await asyncio.wait_for(idle_reader.read(), 5) == b""
        with pytest.raises(ConnectionRefusedError):
            await server.connect()
        go_on.set()
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"done")
        idle_writer.close()
        writer.close()


async def test_a_peer_that_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "UNREAD_SECONDS_MAX", 0.2)
    ended = asyncio.Event()

    async def flood(_: Scope, __: Receive, send: Send) -> None:
        await answer(send, b"x" * 50_000_000)
        ended.set()

    async with served(flood) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(GET)
            await asyncio.wait_for(ended.wait(), 10)


async def test_a_peer_that_reads_slowly_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "UNREAD_SECONDS_MAX", 0.2)

    async def flood(_: Scope, __: Receive, send: Send) -> None:
        await answer(send, b"x" * 20_000_000)

    async with served(flood) as server:
        reader, writer = await server.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        received = 0
        while received < 20_000_000:
            received += len(await asyncio.wait_for(reader.read(1_000_000), 5))
            await asyncio.sleep(0.001)
        writer.close()


async def test_more_connections_than_there_may_be_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "_connections_max", lambda: 2)
    async with served(say_hello) as server:
        connections = [await server.connect() for _ in range(2)]
        for reader, writer in connections:
            writer.write(GET)
            assert (await reader.read(65536)).startswith(b"HTTP/1.1 200")

        refused, refused_writer = await server.connect()

        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(refused.read(), 5) == b""
        for _, writer in (*connections, (refused, refused_writer)):
            writer.close()


async def test_http_2_goes_on_after_a_body_that_came_too_late() -> None:
    async with served(say_hello) as server:
        reader, writer = await server.connect()
        client = Http2Client(reader, writer)
        stream_id = client.begin(b"/", is_last=False)
        await client.until(h2.events.StreamEnded, stream_id)

        client.send(stream_id, b"x" * 10_000)
        client.send(stream_id, b"x" * 10_000, is_last=True)
        stream_id = client.begin(b"/", is_last=True)

        await client.until(h2.events.StreamEnded, stream_id)
        writer.close()


async def test_http_2_loses_only_the_stream_whose_path_is_not_ascii() -> None:
    async with served(say_hello) as server:
        reader, writer = await server.connect()
        client = Http2Client(reader, writer)
        stream_id = client.begin(b"/\xc3\xa9", is_last=True)
        await client.until(h2.events.StreamReset, stream_id)

        stream_id = client.begin(b"/e", is_last=True)

        await client.until(h2.events.StreamEnded, stream_id)
        writer.close()


async def test_an_upgrade_to_http_2_is_taken() -> None:
    async with served(say_hello) as server:
        reader, writer = await server.connect()
        writer.write(
            b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\n"
            b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.close()


@pytest.mark.parametrize("head", READ_IN_TWO_WAYS)
async def test_a_head_that_can_be_read_in_two_ways_is_refused(head: bytes) -> None:
    async with served(say_it_back) as server:
        reader, writer = await server.connect()
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

        writer.write(head + GET)

        arrived = await asyncio.wait_for(reader.read(), 5)
        assert arrived.startswith(b"HTTP/1.1 400")
        assert arrived.count(b"HTTP/1.1") == 1
        writer.close()


@pytest.mark.parametrize("head", READ_IN_TWO_WAYS)
@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_it_is_refused_in_whatever_pieces_it_comes(head: bytes, step: int) -> None:
    def read_in_pieces() -> None:
        connection = h11.Connection(h11.SERVER)
        connection._receive_buffer = http.HeadBuffer()
        for place in range(0, len(head), step):
            connection.receive_data(head[place : place + step])
            while connection.next_event() not in (h11.NEED_DATA, h11.PAUSED):
                pass

    with pytest.raises(h11.RemoteProtocolError) as caught:
        read_in_pieces()
    assert caught.value.error_status_hint == 400


@pytest.mark.parametrize("is_dribbled", [False, True])
async def test_a_body_may_hold_what_a_head_may_not(is_dribbled: bool) -> None:
    body = b"a\r\n b\n\nc\n \n\td\r\n\r\n\r\n"
    requests = (
        b"POST / HTTP/1.1\r\nhost: a\r\nx-note:  b \t c\r\ncontent-length: %d\r\n\r\n%s"
        % (len(body), body)
        + b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n"
        b"x-trailer: 1\r\n\r\n"
        % (len(body), body)
        + b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
        % (len(body), body)
        + GET
    )
    async with served(say_it_back) as server:
        reader, writer = await server.connect()
        for place in range(0, len(requests), 1 if is_dribbled else len(requests)):
            writer.write(requests[place:] if not is_dribbled else requests[place : place + 1])
            await asyncio.sleep(0)

        for expected in (body, body, body, b""):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(len(expected)) == expected
        writer.close()
