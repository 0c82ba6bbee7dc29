"""HTTP/1.1 connections to endpoints: the h11 library does the protocol, and this the I/O.

A connection carries one exchange at a time. The request's body is chunked, and the response may
begin before it ends.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final, cast

import h11

from howdah.remote.connection import (
    HTTP_11,
    LISTEN_SECONDS,
    Connection,
    EndpointError,
    Exchange,
    Limits,
    Owner,
)

BURST_BYTES: Final = 256 << 10
_PSEUDO: Final = ":"
_TICK_SECONDS: Final = (0.01, 5.0)


class Http1Connection(asyncio.Protocol, Connection):
    """One connection, for one exchange after the other."""

    http_version = HTTP_11
    capacity = 1

    def __init__(self, owner: Owner, limits: Limits, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = owner
        self._limits = limits
        self._name = name
        self._transport: asyncio.Transport | None = None
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.header_bytes_max)
        self._exchange: Exchange | None = None
        self._out: list[bytes] = []
        self._is_scheduled = False
        self._is_paused = False
        self._is_behind = False
        self._is_retired = False
        self._is_closed = False
        self._is_used = False
        self._has_received = False
        self._informational = 0
        self._used_at = self._loop.time()
        self._ticker: asyncio.TimerHandle | None = None

    # What the pool asks.

    @property
    def room(self) -> int:
        """1 if an exchange may be started now."""
        return 0 if self._is_retired or self._exchange is not None else 1

    def start(self, exchange: Exchange) -> None:
        """Send the head, and carry the exchange from now on."""
        exchange.connection = self
        self._exchange = exchange
        self._has_received = False
        self._informational = 0
        headers = [(name, value) for name, value in exchange.headers if name[0] != _PSEUDO]
        authority = next(value for name, value in exchange.headers if name == ":authority")
        headers.insert(0, ("host", authority))
        if exchange.method != "GET":
            headers.append(("transfer-encoding", "chunked"))
        try:
            request = h11.Request(method=exchange.method, target=exchange.target, headers=headers)
            self._write(request)
        except h11.LocalProtocolError as error:
            self._exchange = None
            exchange.give_up(EndpointError("protocol", f"the request cannot be sent: {error}"))
            self.retire()
            return
        self._schedule()

    def wants_write(self, exchange: Exchange) -> None:
        """Note that the exchange has something to send, or that it has sent everything."""
        self._schedule()

    def on_held(self, exchange: Exchange) -> None:
        """Read no more, or read again: all that comes is of this response."""
        if exchange is self._exchange:
            self._read_or_not()

    def _read_or_not(self) -> None:
        transport, exchange = self._transport, self._exchange
        if transport is None or self._is_closed:
            return
        if self._is_behind or (exchange is not None and exchange.is_held):
            transport.pause_reading()
        else:
            transport.resume_reading()

    def abandon(self, exchange: Exchange) -> None:
        """Close: there is no other way to end an exchange."""
        if self._exchange is exchange:
            self._exchange = None
            self.abort(EndpointError("reset", "the exchange was given up"))

    def retire(self) -> None:
        """Take no more exchanges, and close when this one has ended."""
        if not self._is_retired:
            self._is_retired = True
            self._owner.on_lost(self)
        if self._exchange is None:
            self._close()

    def abort(self, error: EndpointError) -> None:
        """Close now; the exchange fails with the error."""
        self._is_closed = True
        if self._transport is not None:
            self._transport.abort()
        self._lose(error)

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        made = cast(asyncio.Transport, transport)  # uvloop's have no base class
        self._transport = made
        made.set_write_buffer_limits(high=BURST_BYTES)
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Take in what the peer sent."""
        if self._is_closed:
            return
        self._has_received = True
        if self._exchange is None:
            self.abort(EndpointError("protocol", f"{self._name} answers what was not asked"))
            return
        self._receive(data)

    def eof_received(self) -> None:
        """It may be how a response ends."""
        if self._exchange is not None and self._has_received and not self._is_closed:
            self._receive(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        reason = f": {exc}" if exc else ""
        self._is_closed = True
        self._lose(EndpointError("reset", f"{self._name} closed the connection{reason}"))

    def pause_writing(self) -> None:
        """The peer's machine takes no more for now."""
        self._is_paused = True
        if self._exchange is not None:
            self._exchange.since = self._loop.time()

    def resume_writing(self) -> None:
        """It does again."""
        self._is_paused = False
        if self._exchange is not None:
            self._exchange.since = self._loop.time()
        self._schedule()

    # Receiving.

    def _receive(self, data: bytes) -> None:
        try:
            self._h11.receive_data(data)
        except h11.RemoteProtocolError as error:
            self._abort_for(error)
            return
        if not self._is_behind:
            self._hear()

    def _hear(self) -> None:
        """Take in what arrived, or a part of it if that takes long; the rest has another turn."""
        connection, end = self._h11, monotonic() + LISTEN_SECONDS
        is_behind = False
        try:
            while self._exchange is not None and not is_behind:
                event = connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._on_event(event)
                is_behind = monotonic() >= end
        except h11.RemoteProtocolError as error:
            self._abort_for(error)
            return
        if is_behind and not self._is_closed:
            self._loop.call_soon(self._hear)
        if is_behind is not self._is_behind:
            self._is_behind = is_behind
            self._read_or_not()

    def _abort_for(self, error: h11.RemoteProtocolError) -> None:
        problem = f"what it sent is not HTTP/1.1: {error}"
        self.abort(EndpointError("protocol", f"{self._name}: {problem}"))

    def _on_event(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> None:
        exchange = self._exchange
        assert exchange is not None
        if isinstance(event, h11.Data):
            exchange.data(bytes(event.data))
        elif isinstance(event, h11.Response):
            headers: dict[str, str] = {}
            for raw_name, raw_value in event.headers:
                name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
            self._note_version(event)
            exchange.head(event.status_code, headers)
        elif isinstance(event, h11.EndOfMessage):
            self._finish(exchange)
        elif isinstance(event, h11.InformationalResponse):
            self._informational += 1
            if self._informational > self._limits.idle_frames_max:
                problem = "it announces a response without end"
                self.abort(EndpointError("protocol", f"{self._name}: {problem}"))
        elif isinstance(event, h11.ConnectionClosed):
            self.abort(EndpointError("reset", f"{self._name} closed the connection"))

    def _note_version(self, event: h11.Response) -> None:
        self.http_version = f"HTTP/{event.http_version.decode('ascii')}"

    def _finish(self, exchange: Exchange) -> None:
        exchange.release()
        self._exchange = None
        self._is_used = True
        self._used_at = self._loop.time()
        if exchange.is_wholly_sent and self._h11.our_state is h11.SEND_BODY:
            self._write(h11.EndOfMessage())
            self._schedule()
        is_reusable = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        # What follows a response without a request is nobody's response.
        if is_reusable and not self._h11.trailing_data[0] and not self._is_retired:
            self._h11.start_next_cycle()
            exchange.finish()
            self._owner.on_room()
        else:
            self.retire()
            exchange.finish()

    # Sending.

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        exchange, transport = self._exchange, self._transport
        if self._is_closed or transport is None:
            return
        if exchange is not None and not self._is_paused:
            if exchange.unsent:
                self._write(h11.Data(data=exchange.take(BURST_BYTES)))
            if exchange.is_wholly_sent and self._h11.our_state is h11.SEND_BODY:
                self._write(h11.EndOfMessage())
        if self._out:
            transport.write(b"".join(self._out))
            self._out.clear()
        if exchange is not None and exchange.unsent and not self._is_paused:
            self._schedule()

    def _write(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            self._out.append(data)

    # Life.

    def _tick(self) -> None:
        limits, now = self._limits, self._loop.time()
        stall = limits.stall_seconds
        exchange = self._exchange
        if exchange is None and now - self._used_at >= limits.idle_seconds:
            self.retire()
        elif exchange is not None and self._is_paused and now - exchange.since >= stall:
            seconds = f"{stall:g} s"
            problem = f"{self._name} took nothing of the request for {seconds}"
            self.abort(EndpointError("timeout", problem))
        if self._is_closed:
            return
        low, high = _TICK_SECONDS
        shortest = min(limits.idle_seconds, stall)
        self._ticker = self._loop.call_later(max(low, min(high, shortest / 4)), self._tick)

    def _close(self) -> None:
        self._is_closed = True
        self._is_retired = True
        self._stop_ticking()
        if self._transport is not None:
            self._transport.close()

    def _lose(self, error: EndpointError) -> None:
        self._is_retired = True
        self._stop_ticking()
        exchange, self._exchange = self._exchange, None
        self._owner.on_lost(self)
        if exchange is None:
            return
        if self._is_used and not self._has_received:
            # It closed a connection that it found idle: it has not seen the request.
            self._owner.on_refused(exchange, error)
        else:
            exchange.fail(error)

    def _stop_ticking(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
