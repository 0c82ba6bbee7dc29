"""HTTP/2 connections to endpoints: the h2 library does the protocol, and this the I/O.

All exchanges of a connection write once per turn of the loop, and each gets its share: a frame at a
time, round and round, as far as the peer's windows allow. One whose window is shut waits aside; if it
stays shut, the exchange is given up. A peer that keeps us busy with frames that carry nothing is
left, and so is one that does not answer pings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error, StreamClosedError
from h2.settings import SettingCodes, Settings

from howdah.remote.connection import (
    HTTP_2,
    LISTEN_SECONDS,
    Connection,
    EndpointError,
    Exchange,
    Limits,
    Owner,
)

if TYPE_CHECKING:
    from hyperframe.frame import Frame, GoAwayFrame

STREAM_WINDOW: Final = 1 << 20
CONNECTION_WINDOW: Final = 16 << 20
BURST_BYTES: Final = 256 << 10
"""How much one connection writes in one turn of the loop."""
SLICE_BYTES: Final = 16 << 10
"""How much is looked at before it is asked whether the peer misbehaves, and whether that took long."""
CRUMBS_BYTES: Final = 2 << 10
"""The same for a peer whose last slice took long."""
SLOW_SECONDS: Final = 0.2e-6
"""What a byte takes in frames that are unusually short."""
REPLY_BYTES_MAX: Final = 1 << 20
"""What may wait in the transport above what we chose to send: replies to a peer that reads nothing."""
_DEFAULT_WINDOW: Final = 65_535
_TICK_SECONDS: Final = (0.01, 5.0)
_H11_ANSWER: Final = b"HTTP/1."
_CONFIG: Final = H2Configuration(client_side=True, header_encoding=None)


class _Protocol(H2Connection):
    """h2's connection, which goes on after GOAWAY: what was begun may end."""

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


class Http2Connection(asyncio.Protocol, Connection):
    """One connection, for many exchanges at once.

    Attributes:
        ready: Done when the peer has said its first word, and with an EndpointError if it never did.
    """

    http_version = HTTP_2

    def __init__(self, owner: Owner, limits: Limits, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._limits = limits
        self._name = name
        self._transport: asyncio.Transport | None = None
        self._h2 = _Protocol(_CONFIG)
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_bytes_max,
            },
        )
        self.capacity = limits.streams_max
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._exchanges: dict[int, Exchange] = {}
        self._dirty: dict[Exchange, None] = {}
        self._blocked: dict[Exchange, None] = {}
        self._is_scheduled = False
        self._is_paused = False
        self._is_deaf = False
        self._is_retired = False
        self._is_closed = False
        self._received_at = self._loop.time()
        self._used_at = self._received_at
        self._ping_at: float | None = None
        self._idle_frames = 0
        self._unacknowledged = 0
        self._has_received = False
        self._unheard = b""
        self._slice_bytes = SLICE_BYTES
        self._ticker: asyncio.TimerHandle | None = None
        self._handlers: Mapping[type[Event], Callable[[Any], None]] = {
            DataReceived: self._on_data,
            ResponseReceived: self._on_response,
            StreamEnded: self._on_stream_ended,
            StreamReset: self._on_stream_reset,
            WindowUpdated: self._on_window_updated,
            RemoteSettingsChanged: self._on_settings,
            ConnectionTerminated: self._on_goaway,
            PingAckReceived: self._on_pong,
        }

    # What the pool asks.

    @property
    def room(self) -> int:
        """How many exchanges may be started now."""
        return 0 if self._is_retired else max(self.capacity - len(self._exchanges), 0)

    def start(self, exchange: Exchange) -> None:
        """Send the head, and carry the exchange from now on."""
        stream_id = self._h2.get_next_available_stream_id()
        exchange.stream_id = stream_id
        exchange.connection = self
        self._exchanges[stream_id] = exchange
        self._used_at = self._loop.time()
        exchange.is_end_sent = exchange.is_wholly_sent
        try:
            self._h2.send_headers(stream_id, exchange.headers, end_stream=exchange.is_end_sent)
        except H2Error as error:
            del self._exchanges[stream_id]
            exchange.give_up(EndpointError("protocol", f"the request cannot be sent: {error}"))
            return
        if stream_id >= 2 * self._limits.exchanges_max - 1:
            self.retire()
        if exchange.unsent:
            self.wants_write(exchange)
        else:
            self._schedule()

    def wants_write(self, exchange: Exchange) -> None:
        """Note that the exchange has something to send, or that it has sent everything."""
        if exchange not in self._blocked:
            self._dirty[exchange] = None
            if not self._is_scheduled:
                self._is_scheduled = True
                self._loop.call_soon(self._flush)

    def on_held(self, exchange: Exchange) -> None:
        """Tell the peer of no more room for this response, or of what came to be meanwhile."""
        if not exchange.is_held and self._exchanges.get(exchange.stream_id) is exchange:
            self._make_room(exchange)
            self._schedule()

    def _make_room(self, exchange: Exchange) -> None:
        if exchange.unacknowledged >= STREAM_WINDOW // 2 and not exchange.is_held:
            size, exchange.unacknowledged = exchange.unacknowledged, 0
            try:
                self._h2.increment_flow_control_window(size, exchange.stream_id)
            except StreamClosedError:
                pass  # its end came together with this; the event that tells of it is next

    def abandon(self, exchange: Exchange) -> None:
        """Reset the stream."""
        if self._forget(exchange.stream_id) is None:
            return
        self._reset(exchange.stream_id, ErrorCodes.CANCEL)
        self._after_exchange()

    def retire(self) -> None:
        """Take no more exchanges, and close when the last one has ended."""
        if not self._is_retired:
            self._is_retired = True
            self._owner.on_lost(self)
        if not self._exchanges:
            self._close()

    def abort(self, error: EndpointError) -> None:
        """Close now; exchanges fail with the error."""
        self._close()
        if self._transport is not None:
            self._transport.abort()
        self._lose(error)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface."""
        made = cast(asyncio.Transport, transport)  # uvloop's have no base class
        self._transport = made
        made.set_write_buffer_limits(high=BURST_BYTES)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - _DEFAULT_WINDOW)
        made.write(self._h2.data_to_send())
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Take in what the peer sent."""
        if self._is_closed:
            return
        self._received_at = self._loop.time()
        if not self._has_received:
            self._has_received = True
            if data.startswith(_H11_ANSWER):
                self._abort_for("it answers HTTP/1.1, and HTTP/2 was expected", is_http_11=True)
                return
        if self._unheard:
            self._unheard += data
        else:
            self._hear(data)

    def eof_received(self) -> None:
        """Close: half a connection is of no use."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        reason = f": {exc}" if exc else ""
        self._is_closed = True
        self._lose(EndpointError("reset", f"{self._name} closed the connection{reason}"))

    def pause_writing(self) -> None:
        """The peer's machine takes no more for now."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self._is_paused = False
        if self._dirty:
            self._schedule()

    # Receiving.

    def _hear(self, data: bytes) -> None:
        """Take in what arrived, or a part of it if that takes long; the rest has another turn."""
        # What is to be sent because of it goes at the end of this call, not in a turn of its own.
        self._is_scheduled = True
        start, since = 0, monotonic()
        end = since + LISTEN_SECONDS
        while start < len(data):
            self._receive(data[start : start + self._slice_bytes])
            if self._has_closed():
                return
            start += self._slice_bytes
            now = monotonic()
            is_slow = now - since > self._slice_bytes * SLOW_SECONDS
            self._slice_bytes = CRUMBS_BYTES if is_slow else SLICE_BYTES
            since = now
            if now >= end:
                break
        self._listen_later(data[start:])
        self._flush()

    def _listen_later(self, rest: bytes) -> None:
        """Read no more until the rest is heard."""
        transport = self._transport
        assert transport is not None
        if rest:
            if not self._is_deaf:
                self._is_deaf = True
                transport.pause_reading()
            self._unheard = rest
            self._loop.call_soon(self._hear_rest)
        elif self._is_deaf:
            self._is_deaf = False
            transport.resume_reading()

    def _hear_rest(self) -> None:
        rest, self._unheard = self._unheard, b""
        if not self._is_closed:
            self._received_at = self._loop.time()
            self._hear(rest)

    def _receive(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except Exception as error:  # h2 lets some errors of its parts through
            self._abort_for(f"what it sent is not HTTP/2: {str(error) or type(error).__name__}")
            return
        # h2 looks at the length of a frame only when all of it is there.
        rest = self._h2.incoming_buffer._data
        if len(rest) >= 3 and int.from_bytes(rest[:3], "big") > self._h2.max_inbound_frame_size:
            self._abort_for("it announced a frame above the limit, or does not speak HTTP/2")
            return
        handlers = self._handlers
        for event in events:
            handle = handlers.get(event.__class__)
            if handle is None:
                self._idle_frames += 1
            else:
                handle(event)
            if self._has_closed():
                return
        if self._idle_frames > self._limits.idle_frames_max:
            self._abort_for("it sends frames without end that carry nothing")
            return
        transport = self._transport
        assert transport is not None
        if transport.get_write_buffer_size() > BURST_BYTES * 2 + REPLY_BYTES_MAX:
            self._abort_for("it sends, but does not read")

    def _on_data(self, event: DataReceived) -> None:
        size = event.flow_controlled_length or 0
        self._unacknowledged += size
        if self._unacknowledged >= CONNECTION_WINDOW // 2:
            self._h2.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0
        data = event.data
        if not data:
            self._idle_frames += 1
            return
        self._idle_frames = 0
        assert event.stream_id is not None
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None:
            return
        exchange.unacknowledged += size
        if event.stream_ended is None:
            self._make_room(exchange)
        exchange.data(data)

    def _on_response(self, event: ResponseReceived) -> None:
        self._idle_frames = 0
        assert event.stream_id is not None
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None:
            return
        status, headers = 0, dict[str, str]()
        for raw_name, raw_value in event.headers or ():
            name, value = _text(raw_name), _text(raw_value)
            if name == ":status":
                status = int(value) if value.isascii() and value.isdigit() else 0
            else:
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        exchange.head(status, headers)

    def _on_stream_ended(self, event: StreamEnded) -> None:
        self._idle_frames = 0
        assert event.stream_id is not None
        exchange = self._forget(event.stream_id)
        if exchange is None:
            return
        if not exchange.is_end_sent:
            # It has heard enough: what we did not send is not needed any more.
            self._end_stream(exchange)
        exchange.finish()
        self._after_exchange()

    def _on_stream_reset(self, event: StreamReset) -> None:
        self._idle_frames += 1
        assert event.stream_id is not None
        exchange = self._forget(event.stream_id)
        if exchange is None:
            return
        code = _name_of(event.error_code)
        error = EndpointError("reset", f"{self._name} reset the stream ({code})")
        if event.error_code == ErrorCodes.REFUSED_STREAM:
            self._owner.on_refused(exchange, error)
        else:
            exchange.fail(error)
        self._after_exchange()

    def _on_window_updated(self, event: WindowUpdated) -> None:
        self._idle_frames += 1
        if not self._blocked:
            return
        if event.stream_id:
            exchange = self._exchanges.get(event.stream_id)
            if exchange is not None and exchange in self._blocked:
                del self._blocked[exchange]
                self._dirty[exchange] = None
        else:
            self._unblock()

    def _on_settings(self, event: RemoteSettingsChanged) -> None:
        self._idle_frames += 1
        streams = self._h2.remote_settings.max_concurrent_streams
        self.capacity = min(self._limits.streams_max, streams)
        self._unblock()
        if not self.ready.done():
            self.ready.set_result(None)
        elif self.room:
            self._owner.on_room()

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        last = event.last_stream_id or 0
        error = EndpointError(
            "reset", f"{self._name} ends the connection ({_name_of(event.error_code)})"
        )
        if not self.ready.done():
            self.ready.set_exception(error)
        if not self._is_retired:
            self._is_retired = True
            self._owner.on_lost(self)
        for stream_id in [number for number in self._exchanges if number > last]:
            exchange = self._forget(stream_id)
            assert exchange is not None
            self._owner.on_refused(exchange, error)
        self._after_exchange()

    def _on_pong(self, event: PingAckReceived) -> None:
        self._idle_frames += 1

    # Sending.

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        transport = self._transport
        if transport is None or self._is_closed:
            return
        budget, dirty = BURST_BYTES, self._dirty
        while dirty and budget > 0 and not self._is_paused:
            exchange = next(iter(dirty))
            del dirty[exchange]
            budget -= self._pump(exchange)
        data = self._h2.data_to_send()
        if data:
            transport.write(data)
        if dirty and not self._is_paused:
            self._schedule()

    def _pump(self, exchange: Exchange) -> int:
        """Make one frame of what the exchange has to send; return its size."""
        stream_id = exchange.stream_id
        if exchange.connection is not self or stream_id not in self._exchanges:
            return 0
        try:
            if not exchange.unsent:
                if exchange.is_ending and not exchange.is_end_sent:
                    exchange.is_end_sent = True
                    self._h2.end_stream(stream_id)
                return 0
            window = self._h2.local_flow_control_window(stream_id)
            if window <= 0:
                exchange.since = exchange.since or self._loop.time()
                self._blocked[exchange] = None
                return 0
            exchange.since = 0.0
            data = exchange.take(min(window, self._h2.max_outbound_frame_size))
            exchange.is_end_sent = exchange.is_wholly_sent
            self._h2.send_data(stream_id, data, end_stream=exchange.is_end_sent)
        except StreamClosedError:
            return 0  # the event that tells of it is on its way
        self._idle_frames = 0
        if exchange.unsent:
            self._dirty[exchange] = None
        return len(data)

    def _end_stream(self, exchange: Exchange) -> None:
        if exchange.unsent:
            self._reset(exchange.stream_id, ErrorCodes.CANCEL)
            return
        try:
            self._h2.end_stream(exchange.stream_id)
        except H2Error:
            pass
        self._schedule()

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        try:
            self._h2.reset_stream(stream_id, code)
        except H2Error:
            pass
        self._schedule()

    def _unblock(self) -> None:
        self._dirty.update(self._blocked)
        self._blocked.clear()

    # Life.

    def _forget(self, stream_id: int) -> Exchange | None:
        exchange = self._exchanges.pop(stream_id, None)
        if exchange is not None:
            self._dirty.pop(exchange, None)
            self._blocked.pop(exchange, None)
            self._used_at = self._loop.time()
        return exchange

    def _after_exchange(self) -> None:
        if not self._is_retired:
            self._owner.on_room()
        elif not self._exchanges:
            # What is scheduled goes first.
            self._loop.call_soon(self._close)

    def _tick(self) -> None:
        limits, now = self._limits, self._loop.time()
        self._idle_frames = 0
        if not self._exchanges and now - self._used_at >= limits.idle_seconds:
            self.retire()
        if self._has_closed():
            return
        self._check_silence(now)
        for exchange in [one for one in self._blocked if now - one.since >= limits.stall_seconds]:
            seconds = f"{limits.stall_seconds:g} s"
            exchange.give_up(
                EndpointError("timeout", f"{self._name} took nothing of the request for {seconds}")
            )
        if self._has_closed():
            return
        shortest = min(
            limits.idle_seconds, limits.ping_seconds, limits.pong_seconds, limits.stall_seconds
        )
        low, high = _TICK_SECONDS
        self._ticker = self._loop.call_later(max(low, min(high, shortest / 4)), self._tick)

    def _check_silence(self, now: float) -> None:
        limits = self._limits
        if self._ping_at is not None and self._received_at >= self._ping_at:
            self._ping_at = None
        if self._ping_at is not None:
            if now - self._ping_at >= limits.pong_seconds:
                seconds = f"{limits.pong_seconds:g} s"
                self.abort(
                    EndpointError("timeout", f"{self._name} did not answer a ping for {seconds}")
                )
        elif now - self._received_at >= limits.ping_seconds:
            self._ping_at = now
            self._h2.ping(b"\0" * 8)
            self._schedule()

    def _abort_for(self, problem: str, *, is_http_11: bool = False) -> None:
        self.abort(EndpointError("protocol", f"{self._name}: {problem}", is_http_11=is_http_11))

    def _has_closed(self) -> bool:
        return self._is_closed

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._is_retired = True
        transport = self._transport
        if transport is not None and not transport.is_closing():
            try:
                self._h2.close_connection()
            except H2Error:
                pass
            transport.write(self._h2.data_to_send())
            transport.close()
        self._stop_ticking()

    def _lose(self, error: EndpointError) -> None:
        self._is_retired = True
        self._stop_ticking()
        self._dirty.clear()
        self._blocked.clear()
        exchanges, self._exchanges = self._exchanges, {}
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # whoever waited may have left
        self._owner.on_lost(self)
        for exchange in exchanges.values():
            exchange.fail(error)

    def _stop_ticking(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _name_of(code: ErrorCodes | int | None) -> str:
    try:
        return ErrorCodes(code or 0).name
    except ValueError:
        return f"error {code:#x}"
