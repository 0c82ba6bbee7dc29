"""Exchanges over HTTP/1.1, and over TLS with either."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from howdah.remote.connection import Exchange, Limits
from howdah.remote.guard import Guard
from howdah.remote.http import Endpoint
from support.endpoints import Listener, longest_turn, serving_bytes, until

DEV = Guard(is_dev=True)
Connect = Callable[..., Endpoint]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes endpoints, and closes them."""
    made: list[Endpoint] = []

    def make(uri: str, **limits: float) -> Endpoint:
        endpoint = Endpoint(uri, guard=DEV, use_http_11=True, limits=Limits(**limits))  # type: ignore[arg-type]
        made.append(endpoint)
        return endpoint

    yield make
    for endpoint in made:
        endpoint.close()
    await asyncio.sleep(0)


def begin(endpoint: Endpoint, body: bytes = b"", *, end: bool = True) -> tuple[Exchange, Listener]:
    listener = Listener()
    exchange = endpoint.open("/invoke/a/b", [("accept", "x/y")], body, end=end, listener=listener)
    return exchange, listener


async def read_head(reader: asyncio.StreamReader) -> dict[str, str]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    return {"request": lines[0], **dict(line.split(": ", 1) for line in lines[1:] if line)}


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    size = int(await reader.readline(), 16)
    data = await reader.readexactly(size)
    assert await reader.readline() == b"\r\n"
    return data


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Echo:
    """Answers each chunk with a chunk; counts connections, and keeps heads."""

    def __init__(self) -> None:
        self.heads: list[dict[str, str]] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while not reader.at_eof():
            try:
                self.heads.append(await read_head(reader))
            except asyncio.IncompleteReadError:
                return
            writer.write(
                b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            data = b"-"
            while data:
                data = await read_chunk(reader)
                writer.write(chunk(data))


async def test_a_request_and_its_response_are_exchanged(connect: Connect) -> None:
    echo = Echo()
    async with serving_bytes(echo) as uri:
        _, listener = begin(connect(uri + "/mount"), b"hello")
        await listener.wait()

    assert listener.error is None
    assert (listener.status, listener.body) == (200, b"hello")
    assert listener.headers["x-a"] == "1, 2"
    head = echo.heads[0]
    assert head["request"] == "POST /mount/invoke/a/b HTTP/1.1"
    assert head["host"] == uri.removeprefix("http://")
    assert head["transfer-encoding"] == "chunked"
    assert head["accept"] == "x/y"


async def test_both_sides_talk_while_the_exchange_is_open(connect: Connect) -> None:
    async with serving_bytes(Echo()) as uri:
        exchange, listener = begin(connect(uri), b"0", end=False)
        await until(lambda: listener.body == b"0")
        exchange.send(b"1")
        await until(lambda: listener.body == b"01")
        exchange.end()
        await listener.wait()

    assert listener.error is None


async def test_a_held_response_is_not_read(connect: Connect) -> None:
    piece, count = b"x" * (1 << 20), 64
    said: list[int] = []

    async def gush(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(count):
            writer.write(chunk(piece))
            await writer.drain()
            said.append(len(piece))
        writer.write(chunk(b""))

    async with serving_bytes(gush) as uri:
        exchange, listener = begin(connect(uri))
        await until(lambda: listener.body)
        exchange.hold()
        heard = len(listener.body)
        # What the machine keeps for both sides is full before all of it is said.
        with pytest.raises(TimeoutError):
            await until(lambda: len(said) == count, seconds=1)
        assert len(listener.body) <= heard + len(piece)
        exchange.release()
        await listener.wait()

    assert len(listener.body) == len(piece) * count


async def test_a_response_in_crumbs_leaves_the_loop_to_others(connect: Connect) -> None:
    async def crumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(chunk(b"x") * 60_000 + chunk(b""))

    async with serving_bytes(crumble) as uri:
        _, listener = begin(connect(uri))
        took = await longest_turn(listener.over.is_set, seconds=60)

    assert listener.error is None
    assert len(listener.body) == 60_000
    assert took < 0.1


async def test_a_connection_is_used_again_and_more_are_opened_at_need(connect: Connect) -> None:
    echo = Echo()
    async with serving_bytes(echo) as uri:
        endpoint = connect(uri)
        for _ in range(3):
            _, listener = begin(endpoint, b"a")
            await listener.wait()
        assert echo.connections == 1

        started = [begin(endpoint, b"a", end=False) for _ in range(5)]
        await until(lambda: all(listener.body for _, listener in started))
        assert echo.connections == 5
        for exchange, listener in started:
            exchange.end()
            await listener.wait()


async def test_a_connection_that_was_closed_while_idle_is_replaced(connect: Connect) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        if connections == 1:
            # Closes when it sees the next request, as if it had closed just before.
            await reader.readuntil(b"\r\n\r\n")
        else:
            await reader.read()

    async with serving_bytes(talk) as uri:
        endpoint = connect(uri)
        for _ in range(2):
            _, listener = begin(endpoint, b"a")
            await listener.wait()
            assert listener.body == b"ok"

    assert connections == 2


async def test_a_response_that_nobody_asked_for_is_never_taken_for_the_next(
    connect: Connect,
) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(answer + b"%d" % connections + answer + b"x")
        await reader.read()

    async with serving_bytes(talk) as uri:
        endpoint = connect(uri)
        for number in (1, 2):
            _, listener = begin(endpoint, b"a")
            await listener.wait()
            assert listener.body == b"%d" % number


async def test_an_end_that_meets_the_end_of_the_response_keeps_the_connection(
    connect: Connect,
) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_head(reader)
            await read_chunk(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
            assert await read_chunk(reader) == b""

    class Ending(Listener):
        def on_data(self, data: bytes) -> None:
            super().on_data(data)
            assert self.exchange is not None
            self.exchange.end()

    async with serving_bytes(talk) as uri:
        endpoint = connect(uri)
        for _ in range(3):
            listener = Ending()
            listener.exchange = endpoint.open("/a", [], b"x", end=False, listener=listener)
            await listener.wait()
            assert listener.body == b"done"
        endpoint.close()

    assert connections == 1


async def test_a_reset_closes_the_connection(connect: Connect) -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1000):
                pass
        finally:
            closed.set()

    async with serving_bytes(talk) as uri:
        endpoint = connect(uri)
        exchange, listener = begin(endpoint, b"a", end=False)
        await until(lambda: endpoint.connection_count)
        exchange.reset()
        async with asyncio.timeout(10):
            await closed.wait()

    assert not listener.over.is_set()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "protocol"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "protocol"),
        (b"SSH-2.0-x\r\n\r\n", "protocol"),
        (b"\0\0\x12\x04\0\0\0\0\0" * 50, "protocol"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000, "protocol"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, "protocol"),
    ],
)
async def test_a_bad_response_fails_the_exchange(connect: Connect, said: bytes, kind: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with serving_bytes(talk) as uri:
        _, listener = begin(connect(uri), b"a")
        error = await listener.failure()

    assert error.kind == kind


async def test_a_response_may_end_with_its_connection(connect: Connect) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nhello")

    async with serving_bytes(talk) as uri:
        _, listener = begin(connect(uri), b"a")
        await listener.wait()

    assert listener.error is None
    assert listener.body == b"hello"


async def test_a_response_may_come_before_the_request_ends(connect: Connect) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with serving_bytes(talk) as uri:
        endpoint = connect(uri)
        exchange, listener = begin(endpoint, b"a", end=False)
        await listener.wait()
        exchange.send(b"more")
        exchange.end()
        await until(lambda: endpoint.connection_count == 0)

    assert listener.error is None
    assert listener.status == 404


async def test_a_peer_that_takes_nothing_is_given_up(connect: Connect) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with serving_bytes(talk) as uri:
        endpoint = connect(uri, stall_seconds=0.2)
        _, listener = begin(endpoint, b"x" * (32 << 20))
        error = await listener.failure()

    assert error.kind == "timeout"


async def test_an_idle_connection_is_closed(connect: Connect) -> None:
    async with serving_bytes(Echo()) as uri:
        endpoint = connect(uri, idle_seconds=0.1)
        _, listener = begin(endpoint, b"a")
        await listener.wait()
        await until(lambda: endpoint.connection_count == 0)
