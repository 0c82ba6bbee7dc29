"""Exchanges over HTTP/2, with endpoints that behave, and with some that do not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from howdah.remote.connection import Exchange, Limits
from howdah.remote.guard import Guard
from howdah.remote.http import Endpoint
from howdah.remote.http2 import CONNECTION_WINDOW, STREAM_WINDOW
from support.endpoints import (
    Echo,
    Listener,
    Peer,
    longest_turn,
    serving,
    serving_bytes,
    until,
)

DEV = Guard(is_dev=True)
FRAME_HEADS = {
    "settings": b"\0\0\0\x04\0\0\0\0\0",
    "ping": b"\0\0\x08\x06\0\0\0\0\0" + b"\0" * 8,
    "huge data": b"\xff\xff\xff\0\0\0\0\0\x01",
}

Connect = Callable[..., Endpoint]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes endpoints, and closes them."""
    made: list[Endpoint] = []

    def make(uri: str, *, use_http_11: bool = False, **limits: float) -> Endpoint:
        endpoint = Endpoint(uri, guard=DEV, use_http_11=use_http_11, limits=Limits(**limits))  # type: ignore[arg-type]
        made.append(endpoint)
        return endpoint

    yield make
    for endpoint in made:
        endpoint.close()
    await asyncio.sleep(0)


def begin(
    endpoint: Endpoint, body: bytes = b"", *, end: bool = True, path: str = "/invoke/Greeter/greet"
) -> tuple[Exchange, Listener]:
    listener = Listener()
    exchange = endpoint.open(path, [("accept", "text/plain")], body, end=end, listener=listener)
    listener.exchange = exchange
    return exchange, listener


async def test_a_request_and_its_response_are_exchanged(connect: Connect) -> None:
    async with serving() as server:
        _, listener = begin(connect(server.uri + "/mount/?tenant=a"), b"hello")
        await listener.wait()

    assert listener.error is None
    assert (listener.status, listener.body) == (200, b"hello")
    assert listener.headers == {"content-type": "text/plain"}
    head = server.peers[0].requests[1]
    assert head[":path"] == "/mount/invoke/Greeter/greet?tenant=a"
    assert head[":authority"] == f"127.0.0.1:{server.port}"
    assert head["accept"] == "text/plain"


async def test_both_sides_talk_while_the_exchange_is_open(connect: Connect) -> None:
    async with serving() as server:
        exchange, listener = begin(connect(server.uri), b"0", end=False)
        for number in range(1, 9):
            await until(partial(lambda count: len(listener.body) == count, number))
            exchange.send(b"%d" % number)
        await until(lambda: len(listener.body) == 9)
        assert not listener.over.is_set()
        exchange.end()
        await listener.wait()

    assert listener.body == b"012345678"
    assert listener.error is None


async def test_a_large_body_passes_in_both_directions(connect: Connect) -> None:
    class Reader(Peer):
        def on_request_end(self, stream_id: int) -> None:
            self.answer(stream_id)
            self.h2.end_stream(stream_id)

    body = bytes(range(256)) * (24 << 10)  # 6 MiB: above every window
    async with serving(Reader) as server:
        _, listener = begin(connect(server.uri), body)
        await listener.wait()
        assert listener.error is None
        assert server.peers[0].bodies[1] == body


async def test_a_large_response_passes(connect: Connect) -> None:
    body = b"x" * 100_000

    class Writer(Peer):
        def on_request_end(self, stream_id: int) -> None:
            self.answer(stream_id)
            self.left = 100
            self._go_on(stream_id)

        def _go_on(self, stream_id: int) -> None:
            while self.left and self.h2.local_flow_control_window(stream_id) >= len(body):
                for start in range(0, len(body), 16384):
                    self.h2.send_data(stream_id, body[start : start + 16384])
                self.left -= 1
            if not self.left:
                self.left = -1
                self.h2.end_stream(stream_id)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if getattr(self, "left", 0) > 0:
                self._go_on(1)
                self.flush()

    async with serving(Writer) as server:
        _, listener = begin(connect(server.uri))
        await listener.wait()

    assert listener.error is None
    assert len(listener.body) == 100 * len(body)


async def test_exchanges_share_a_connection(connect: Connect) -> None:
    async with serving() as server:
        endpoint = connect(server.uri)
        listeners = [begin(endpoint, b"%d" % number)[1] for number in range(100)]
        for listener in listeners:
            await listener.wait()

        assert len(server.peers) == 1
    assert [listener.body for listener in listeners] == [b"%d" % n for n in range(100)]


async def test_another_connection_is_opened_when_the_peer_allows_no_more_streams(
    connect: Connect,
) -> None:
    class Narrow(Peer):
        settings = ((SettingCodes.MAX_CONCURRENT_STREAMS, 10),)

        def on_request(self, stream_id: int) -> None:
            assert self.h2.open_inbound_streams <= 10

    async with serving(Narrow) as server:
        endpoint = connect(server.uri)
        started = [begin(endpoint) for _ in range(25)]
        await until(lambda: sum(len(peer.requests) for peer in server.peers) == 25)

        assert [len(peer.requests) for peer in server.peers] == [10, 10, 5]
        for exchange, _ in started:
            exchange.reset()


async def test_a_connection_is_replaced_before_its_peer_is_tired_of_it(connect: Connect) -> None:
    async with serving() as server:
        endpoint = connect(server.uri, exchanges_max=10)
        long, heard = begin(endpoint, b"a", end=False)
        for _ in range(25):
            await begin(endpoint, b"b")[1].wait()
        long.end()
        await heard.wait()
        await until(lambda: server.peers[0].is_lost and server.peers[1].is_lost)

        assert [len(peer.requests) for peer in server.peers] == [10, 10, 6]
    assert heard.body == b"a"


async def test_what_waits_takes_the_place_of_what_ends(connect: Connect) -> None:
    class Narrow(Echo):
        settings = ((SettingCodes.MAX_CONCURRENT_STREAMS, 1),)

    async with serving(Narrow) as server:
        endpoint = connect(server.uri, connections_max=1)
        listeners = [begin(endpoint, b"%d" % number)[1] for number in range(20)]
        for listener in listeners:
            await listener.wait()

        assert len(server.peers) == 1
    assert [listener.body for listener in listeners] == [b"%d" % n for n in range(20)]
    assert endpoint.connection_count <= 1


async def test_an_exchange_waits_for_a_place_only_so_long(connect: Connect) -> None:
    class Busy(Peer):
        settings = ((SettingCodes.MAX_CONCURRENT_STREAMS, 1),)

    async with serving(Busy) as server:
        endpoint = connect(server.uri, connections_max=1, wait_seconds=0.1)
        begin(endpoint)
        await until(lambda: server.peers and server.peers[0].requests)
        _, listener = begin(endpoint)
        error = await listener.failure()

    assert error.kind == "connect"
    assert "no connection free within 0.1 s" in str(error)


async def test_a_reset_exchange_tells_the_peer_and_hears_nothing_more(connect: Connect) -> None:
    async with serving() as server:
        exchange, listener = begin(connect(server.uri), b"a", end=False)
        await until(lambda: listener.body)
        exchange.reset()
        await until(lambda: server.peers[0].was_reset)
        exchange.send(b"b")
        exchange.end()
        exchange.reset()

    assert not listener.over.is_set()
    assert listener.error is None


async def test_a_response_may_end_before_the_request(connect: Connect) -> None:
    class Brief(Peer):
        def on_request(self, stream_id: int) -> None:
            self.answer(stream_id, status=404)
            self.h2.end_stream(stream_id)

    async with serving(Brief) as server:
        endpoint = connect(server.uri)
        exchange, listener = begin(endpoint, b"a", end=False)
        await listener.wait()
        exchange.send(b"more")
        exchange.end()
        await until(lambda: server.peers[0].ended or server.peers[0].was_reset)
        assert listener.status == 404

        _, second = begin(endpoint)
        await second.wait()
        assert len(server.peers) == 1


async def test_an_end_that_meets_the_end_of_the_response_leaves_no_stream_open(
    connect: Connect,
) -> None:
    class Brief(Peer):
        def on_body(self, stream_id: int, data: bytes) -> None:
            if data:
                self.answer(stream_id)
                self.h2.send_data(stream_id, b"done", end_stream=True)

    class Ending(Listener):
        def on_data(self, data: bytes) -> None:
            super().on_data(data)
            assert self.exchange is not None
            self.exchange.end()

    async with serving(Brief) as server:
        endpoint = connect(server.uri)
        for _ in range(300):
            listener = Ending()
            listener.exchange = endpoint.open("/a", [], b"x", end=False, listener=listener)
            await listener.wait()
            assert listener.error is None

        peer = server.peers[0]
        await until(lambda: len(peer.ended) == 300)
        assert len(server.peers) == 1


async def test_a_peer_that_allows_no_streams_is_not_flooded_with_connections(
    connect: Connect,
) -> None:
    class Full(Peer):
        settings = ((SettingCodes.MAX_CONCURRENT_STREAMS, 0),)

    async with serving(Full) as server:
        endpoint = connect(server.uri)
        listeners = [begin(endpoint)[1] for _ in range(200)]
        errors = [await listener.failure() for listener in listeners]

        assert len(server.peers) == 2
    assert {error.kind for error in errors} == {"connect"}


async def test_a_listener_that_fails_ends_only_its_own_exchange(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Listener):
        def on_data(self, data: bytes) -> None:
            raise ZeroDivisionError

    async with serving() as server:
        endpoint = connect(server.uri)
        broken = Broken()
        endpoint.open("/a", [], b"x", end=True, listener=broken)
        _, listener = begin(endpoint, b"y")
        await listener.wait()
        error = await broken.failure()

        assert len(server.peers) == 1
    assert listener.body == b"y"
    assert error.kind == "protocol"
    assert "exchange was given up" in caplog.text


# Connections end.


async def test_a_closed_port_is_a_connect_error(connect: Connect) -> None:
    async with serving() as server:
        pass
    _, listener = begin(connect(server.uri))

    assert (await listener.failure()).kind == "connect"


async def test_a_peer_that_says_nothing_is_a_connect_error(connect: Connect) -> None:
    class Silent(Peer):
        def begin(self) -> None: ...

        def data_received(self, data: bytes) -> None: ...

    async with serving(Silent) as server:
        _, listener = begin(connect(server.uri, connect_seconds=0.1))
        error = await listener.failure()

    assert error.kind == "connect"
    assert "within 0.1 s" in str(error)


async def test_a_server_of_http_11_is_told_apart(connect: Connect) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with serving_bytes(talk) as uri:
        _, listener = begin(connect(uri))
        error = await listener.failure()

    assert error.kind == "protocol"
    assert error.is_http_11


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n" * 10, b"\0" * 100, FRAME_HEADS["huge data"]])
async def test_a_peer_of_another_protocol_is_left(connect: Connect, said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        while await reader.read(1000):
            pass

    async with serving_bytes(talk) as uri:
        _, listener = begin(connect(uri))

        assert (await listener.failure()).kind == "protocol"


async def test_a_dropped_connection_fails_what_it_carries_and_a_new_one_is_opened(
    connect: Connect,
) -> None:
    async with serving() as server:
        endpoint = connect(server.uri)
        listeners = [begin(endpoint, b"a", end=False)[1] for _ in range(3)]
        await until(lambda: all(listener.body for listener in listeners))
        server.peers[0].transport.abort()
        for listener in listeners:
            assert (await listener.failure()).kind == "reset"

        _, after = begin(endpoint, b"b")
        await after.wait()
        assert after.body == b"b"
        assert len(server.peers) == 2


async def test_a_reset_stream_fails_only_its_exchange(connect: Connect) -> None:
    class Moody(Echo):
        def on_body(self, stream_id: int, data: bytes) -> None:
            if data == b"bad":
                self.h2.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            else:
                super().on_body(stream_id, data)

        def on_request_end(self, stream_id: int) -> None:
            if stream_id not in self.was_reset and self.bodies[stream_id] != b"bad":
                super().on_request_end(stream_id)

    async with serving(Moody) as server:
        endpoint = connect(server.uri)
        bad = begin(endpoint, b"bad", end=False)[1]
        good = begin(endpoint, b"good")[1]
        error = await bad.failure()
        await good.wait()

        assert len(server.peers) == 1
    assert error.kind == "reset"
    assert "INTERNAL_ERROR" in str(error)
    assert good.body == b"good"


async def test_a_stream_that_was_refused_is_started_anew(connect: Connect) -> None:
    class Refusing(Echo):
        def on_request(self, stream_id: int) -> None:
            if stream_id == 1:
                self.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            else:
                super().on_request(stream_id)

        def on_body(self, stream_id: int, data: bytes) -> None:
            if stream_id != 1:
                super().on_body(stream_id, data)

        def on_request_end(self, stream_id: int) -> None:
            if stream_id != 1:
                super().on_request_end(stream_id)

    async with serving(Refusing) as server:
        _, listener = begin(connect(server.uri), b"hello")
        await listener.wait()

        assert list(server.peers[0].requests) == [1, 3]
    assert listener.error is None
    assert listener.body == b"hello"


async def test_a_stream_that_is_refused_again_and_again_fails(connect: Connect) -> None:
    class Refusing(Peer):
        def on_request(self, stream_id: int) -> None:
            self.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)

    async with serving(Refusing) as server:
        _, listener = begin(connect(server.uri), b"hello")
        error = await listener.failure()

        assert len(server.peers[0].requests) == 4
    assert error.kind == "reset"


async def test_after_goaway_what_was_begun_ends_and_new_exchanges_go_elsewhere(
    connect: Connect,
) -> None:
    async with serving() as server:
        endpoint = connect(server.uri)
        exchange, begun = begin(endpoint, b"a", end=False)
        await until(lambda: begun.body)
        first = server.peers[0]
        # What h2 would not send: a last stream, and no end of the connection.
        first.transport.write(b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\x01" + b"\0\0\0\0")
        await until(lambda: endpoint.connection_count == 0)
        _, new = begin(endpoint, b"b")
        await new.wait()
        exchange.send(b"c")
        exchange.end()
        await begun.wait()
        await until(lambda: first.is_lost)

        assert len(server.peers) == 2
    assert begun.error is None
    assert begun.body == b"ac"
    assert new.body == b"b"


async def test_what_a_goaway_leaves_out_is_started_anew(connect: Connect) -> None:
    class Leaving(Echo):
        def on_request(self, stream_id: int) -> None:
            if self is server.peers[0]:
                self.transport.write(b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\0\0")
            else:
                super().on_request(stream_id)

        def on_body(self, stream_id: int, data: bytes) -> None:
            if self is not server.peers[0]:
                super().on_body(stream_id, data)

        def on_request_end(self, stream_id: int) -> None:
            if self is not server.peers[0]:
                super().on_request_end(stream_id)

    async with serving(Leaving) as server:
        _, listener = begin(connect(server.uri), b"hello")
        await listener.wait()

        assert len(server.peers) == 2
    assert listener.error is None
    assert listener.body == b"hello"


async def test_an_idle_connection_is_closed(connect: Connect) -> None:
    async with serving() as server:
        endpoint = connect(server.uri, idle_seconds=0.1)
        _, listener = begin(endpoint, b"a")
        await listener.wait()
        await until(lambda: server.peers[0].is_lost)

        assert server.peers[0].was_told_to_go
    assert endpoint.connection_count == 0


async def test_a_peer_that_does_not_answer_pings_is_left(connect: Connect) -> None:
    class Dead(Echo):
        def data_received(self, data: bytes) -> None:
            if not self.requests:
                super().data_received(data)

    async with serving(Dead) as server:
        endpoint = connect(server.uri, ping_seconds=0.1, pong_seconds=0.1)
        _, listener = begin(endpoint, b"a", end=False)
        error = await listener.failure()

    assert error.kind == "timeout"
    assert "did not answer a ping" in str(error)


async def test_a_quiet_peer_that_answers_pings_is_kept(connect: Connect) -> None:
    async with serving() as server:
        endpoint = connect(server.uri, ping_seconds=0.05, pong_seconds=5)
        exchange, listener = begin(endpoint, b"a", end=False)
        await until(lambda: server.peers and server.peers[0].ping_count >= 3)
        assert listener.error is None
        exchange.end()
        await listener.wait()

        assert len(server.peers) == 1


async def test_a_retired_endpoint_lets_exchanges_end(connect: Connect) -> None:
    async with serving() as server:
        endpoint = connect(server.uri)
        exchange, listener = begin(endpoint, b"a", end=False)
        await until(lambda: listener.body)
        endpoint.retire()
        _, late = begin(endpoint)
        assert (await late.failure()).kind == "connect"
        exchange.end()
        await listener.wait()
        await until(lambda: server.peers[0].is_lost)

    assert listener.error is None


async def test_a_closed_endpoint_fails_exchanges(connect: Connect) -> None:
    async with serving() as server:
        endpoint = connect(server.uri)
        _, listener = begin(endpoint, b"a", end=False)
        await until(lambda: listener.body)
        waiting = begin(connect(server.uri))[1]
        endpoint.close()

        assert (await listener.failure()).kind == "reset"
        await until(lambda: server.peers[0].is_lost)
        waiting.exchange.reset() if waiting.exchange else None


# Flow control, and peers that abuse us.


async def test_a_peer_whose_window_stays_shut_is_given_up(connect: Connect) -> None:
    class Shut(Peer):
        settings = ((SettingCodes.INITIAL_WINDOW_SIZE, 0),)

    async with serving(Shut) as server:
        endpoint = connect(server.uri, stall_seconds=0.1)
        _, listener = begin(endpoint, b"hello", end=False)
        error = await listener.failure()
        await until(lambda: server.peers[0].was_reset)

        assert not server.peers[0].is_lost
    assert error.kind == "timeout"
    assert "took nothing of the request" in str(error)


async def test_what_is_kept_unsent_is_bounded(connect: Connect) -> None:
    class Shut(Peer):
        settings = ((SettingCodes.INITIAL_WINDOW_SIZE, 0),)

    async with serving(Shut) as server:
        endpoint = connect(server.uri, unsent_bytes_max=1000)
        exchange, listener = begin(endpoint, b"x" * 5000, end=False)
        exchange.send(b"y" * 1000)
        exchange.send(b"z")
        assert listener.error is None, "a listener hears nothing while it sends"
        error = await listener.failure()

    assert error.kind == "timeout"
    assert "unread" in str(error)


async def test_a_window_that_opens_lets_the_rest_pass(connect: Connect) -> None:
    class Slow(Peer):
        settings = ((SettingCodes.INITIAL_WINDOW_SIZE, 3),)
        acknowledges = False

        def on_body(self, stream_id: int, data: bytes) -> None:
            if data:
                self.h2.increment_flow_control_window(len(data), stream_id)
                self.h2.increment_flow_control_window(len(data))

        def on_request_end(self, stream_id: int) -> None:
            self.answer(stream_id)
            self.h2.end_stream(stream_id)

    async with serving(Slow) as server:
        _, listener = begin(connect(server.uri), b"hello world")
        await listener.wait()

        assert server.peers[0].bodies[1] == b"hello world"
    assert listener.error is None


async def test_a_shut_stream_does_not_hold_up_others(connect: Connect) -> None:
    class Partial(Echo):
        acknowledges = False

        def on_body(self, stream_id: int, data: bytes) -> None:
            if stream_id != 1:
                self.h2.acknowledge_received_data(len(data), stream_id)
                super().on_body(stream_id, data)
            elif data:
                self.h2.increment_flow_control_window(len(data))

    async with serving(Partial) as server:
        endpoint = connect(server.uri)
        stuck, _ = begin(endpoint, b"x" * (1 << 20))
        _, listener = begin(endpoint, b"y" * 1000)
        await listener.wait()

        assert len(server.peers) == 1
        assert listener.body == b"y" * 1000
        stuck.reset()


async def test_a_held_response_is_slowed_and_others_of_the_connection_are_not(
    connect: Connect,
) -> None:
    length = 2 * CONNECTION_WINDOW
    piece = b"x" * 16384

    class Gusher(Peer):
        def begin(self) -> None:
            super().begin()
            self.left: dict[int, int] = {}

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            for stream_id in self.left:
                self._go_on(stream_id)
            self.flush()

        def on_request(self, stream_id: int) -> None:
            self.answer(stream_id)
            self.left[stream_id] = length

        def _go_on(self, stream_id: int) -> None:
            window = self.h2.local_flow_control_window
            while self.left[stream_id] and window(stream_id) >= len(piece):
                self.h2.send_data(stream_id, piece)
                self.left[stream_id] -= len(piece)
            if not self.left[stream_id]:
                self.left[stream_id] = -1
                self.h2.end_stream(stream_id)

    async with serving(Gusher) as server:
        endpoint = connect(server.uri)
        held, slowed = begin(endpoint)
        held.hold()
        _, other = begin(endpoint)
        await other.wait()

        assert len(server.peers) == 1
        assert len(other.body) == length
        assert len(slowed.body) <= STREAM_WINDOW
        held.release()
        await slowed.wait()
        assert len(slowed.body) == length


async def test_a_response_in_crumbs_leaves_the_loop_to_others(connect: Connect) -> None:
    class Crumbs(Peer):
        def on_request(self, stream_id: int) -> None:
            self.answer(stream_id)
            self.flush()
            head = b"\0\0\x01\0\0" + stream_id.to_bytes(4, "big")
            self.transport.write((head + b"x") * 60_000)

    async with serving(Crumbs) as server:
        _, listener = begin(connect(server.uri))
        took = await longest_turn(lambda: len(listener.pieces) == 60_000, seconds=60)

    assert took < 0.1


@pytest.mark.parametrize("kind", ["settings", "ping"])
async def test_a_flood_of_frames_ends_the_connection(connect: Connect, kind: str) -> None:
    class Flood(Peer):
        def on_request(self, stream_id: int) -> None:
            self.flush()
            self.transport.write(FRAME_HEADS[kind] * 100_000)

    async with serving(Flood) as server:
        _, listener = begin(connect(server.uri))
        error = await listener.failure()

    assert error.kind == "protocol"
    assert "frames without end" in str(error)


async def test_a_head_without_end_ends_the_connection(connect: Connect) -> None:
    class Endless(Peer):
        def on_request(self, stream_id: int) -> None:
            self.flush()
            begin_head = b"\x00\x00\x01\x01\0\0\0\0\x01\x88"
            more = b"\x00\x40\x00\x09\0\0\0\0\x01" + b"\x00\x01a\x01b" * 3276 + b"\x00\x01a\x00"
            self.transport.write(begin_head + more * 100)

    async with serving(Endless) as server:
        _, listener = begin(connect(server.uri))

        assert (await listener.failure()).kind == "protocol"


async def test_one_byte_at_a_time_is_a_response_too(connect: Connect) -> None:
    async def drip(peer: Peer) -> None:
        data = peer.h2.data_to_send()
        for byte in data:
            peer.transport.write(bytes((byte,)))
            await asyncio.sleep(0)

    class Slow(Echo):
        def flush(self) -> None:
            if self.requests:
                self.task = asyncio.get_running_loop().create_task(drip(self))
            else:
                super().flush()

    async with serving(Slow) as server:
        _, listener = begin(connect(server.uri), b"hello")
        await listener.wait()

    assert listener.body == b"hello"


async def test_a_reset_after_each_frame_is_survived(connect: Connect) -> None:
    class Resetting(Echo):
        count = 0

        def on_body(self, stream_id: int, data: bytes) -> None:
            super().on_body(stream_id, data)
            self.h2.reset_stream(stream_id, ErrorCodes.CANCEL)

        def on_request_end(self, stream_id: int) -> None: ...

    async with serving(Resetting) as server:
        endpoint = connect(server.uri)
        for _ in range(50):
            _, listener = begin(endpoint, b"a", end=False)
            assert (await listener.failure()).kind == "reset"

        assert len(server.peers) == 1
