"""One request to an endpoint and its response, both of them streams, whatever carries them.

An exchange never waits: what is sent is kept until its connection can take it, and what arrives is
told to a listener. There is no task and no queue of its own; a connection asks it for bytes when the
peer has room for them. Everything here happens on one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

logger = logging.getLogger(__name__)

Headers = Sequence[tuple[str, str]]
ErrorKind = Literal["connect", "reset", "timeout", "protocol"]

LISTEN_SECONDS: Final = 0.005
"""How long one connection is listened to in one turn of the loop: what is cut into crumbs takes long to
read, and others have their turn, too."""
HTTP_2: Final = "HTTP/2.0"
HTTP_11: Final = "HTTP/1.1"


class EndpointError(Exception):
    """An exchange failed before its response was complete.

    Attributes:
        kind: `connect`: there is no connection, and nothing was sent; `reset`: the endpoint or the
            network ended it; `timeout`: the endpoint took or gave nothing for too long; `protocol`:
            what the endpoint sent is not HTTP as it should be.
        is_http_11: Whether the endpoint answered HTTP/1.1 where HTTP/2 was expected.
        is_refusal: Whether howdah itself does not connect there.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        is_http_11: bool = False,
        is_refusal: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind: Final = kind
        self.is_http_11: Final = is_http_11
        self.is_refusal: Final = is_refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an endpoint may take of time and memory.

    Attributes:
        connect_seconds: To resolve the name, connect, agree on TLS and say the first word.
        wait_seconds: How long an exchange may wait for a connection with room for it.
        idle_seconds: After how long without an exchange a connection is closed.
        ping_seconds: After how long of silence an HTTP/2 peer is asked whether it is there.
        pong_seconds: How long it may take to answer.
        stall_seconds: How long a peer may take nothing of what it should be sent.
        streams_max: Exchanges on one HTTP/2 connection; fewer if the peer says so.
        exchanges_max: Exchanges on one HTTP/2 connection in all, before another takes its place. There
            are servers (Hypercorn, after 1000) that close a connection for its age and break what
            is under way on it.
        connections_max: Connections to one endpoint.
        unsent_bytes_max: What an exchange may keep unsent, beyond the body that it began with.
        header_bytes_max: The head of a response.
        idle_frames_max: Frames in a row that carry nothing and answer nothing.
    """

    connect_seconds: float = 10.0
    wait_seconds: float = 30.0
    idle_seconds: float = 300.0
    ping_seconds: float = 40.0
    pong_seconds: float = 20.0
    stall_seconds: float = 60.0
    streams_max: int = 128
    exchanges_max: int = 900
    connections_max: int = 1024
    unsent_bytes_max: int = 64 << 20
    header_bytes_max: int = 64 << 10
    idle_frames_max: int = 2000


class ExchangeListener(Protocol):
    """Hears of one exchange, on the loop; after `on_end` or `on_error` it hears nothing more."""

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        """The response begins; names are lower case, values of one name are joined by `, `."""

    def on_data(self, data: bytes) -> None:
        """Some bytes of the response's body."""

    def on_end(self) -> None:
        """The response is complete."""

    def on_error(self, error: EndpointError) -> None:
        """The exchange failed."""


class Connection(ABC):
    """What carries exchanges: one connection to an endpoint.

    Attributes:
        http_version: As `HTTP_2` or `HTTP_11`.
        capacity: Exchanges that it can carry at once.
    """

    http_version: str
    capacity: int

    @property
    @abstractmethod
    def room(self) -> int:
        """How many exchanges may be started now; 0 for ever once it is about to close."""

    @abstractmethod
    def start(self, exchange: Exchange) -> None:
        """Send the head, and carry the exchange from now on. There must be room."""

    @abstractmethod
    def wants_write(self, exchange: Exchange) -> None:
        """Note that the exchange has something to send, or that it has sent everything."""

    @abstractmethod
    def on_held(self, exchange: Exchange) -> None:
        """Let no more of a response come that is held, or let it come again."""

    @abstractmethod
    def abandon(self, exchange: Exchange) -> None:
        """Forget the exchange: nobody wants it any more."""

    @abstractmethod
    def retire(self) -> None:
        """Take no more exchanges, and close when the last one has ended."""

    @abstractmethod
    def abort(self, error: EndpointError) -> None:
        """Close now; exchanges fail with the error."""


class Owner(Protocol):
    """What a connection tells the pool that it belongs to."""

    def on_room(self) -> None:
        """There may be room for another exchange."""

    def on_lost(self, connection: Connection) -> None:
        """The connection is gone, or takes no more exchanges."""

    def on_refused(self, exchange: Exchange, error: EndpointError) -> None:
        """The peer did not look at the exchange: it may be started anew."""


class Exchange:
    """One request and its response; made by `Endpoint.open`.

    Attributes:
        method, target, headers: The request's head.
        stream_id: Its number on its HTTP/2 connection; 0 where it has none.
        is_end_sent: Whether its connection has sent the end of the request.
        is_held: Whether its listener wants no more of the response for now.
        is_over: Whether the listener has heard the last of it.
    """

    __slots__ = (
        "_allowance",
        "_body",
        "_chunks",
        "_has_head",
        "_is_ending",
        "_listener",
        "_offset",
        "_tries",
        "connection",
        "headers",
        "is_end_sent",
        "is_held",
        "is_over",
        "method",
        "since",
        "stream_id",
        "target",
        "unacknowledged",
        "unsent",
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes,
        *,
        end: bool,
        listener: ExchangeListener,
        unsent_bytes_max: int,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.connection: Connection | None = None
        self.stream_id = 0
        self.since = 0.0
        self.unacknowledged = 0
        self.is_end_sent = False
        self.is_held = False
        self.is_over = False
        self._listener = listener
        # Kept until the response begins, unless more was sent: to start anew if it is refused.
        self._body: bytes | None = body
        self._chunks: deque[bytes] = deque((body,) if body else ())
        self._offset = 0
        self.unsent = len(body)
        self._allowance = unsent_bytes_max + len(body)
        self._is_ending = end
        self._has_head = False
        self._tries = 0

    # For whoever opened it.

    def send(self, data: bytes) -> None:
        """Send bytes after those sent before, as soon as the endpoint takes them.

        Never waits and never raises; when more is kept unsent than is allowed, the exchange is given
        up, and the listener hears of it. After `end`, and when the exchange is over, it does nothing.
        """
        if self.is_over or self._is_ending or not data:
            return
        self._body = None
        self._chunks.append(data)
        self.unsent += len(data)
        if self.unsent > self._allowance:
            self.give_up(
                EndpointError("timeout", f"the endpoint leaves {self.unsent} bytes unread")
            )
        elif self.connection is not None:
            self.connection.wants_write(self)

    def end(self) -> None:
        """Say that nothing more will be sent."""
        if self.is_over or self._is_ending:
            return
        self._body = None
        self._is_ending = True
        if self.connection is not None:
            self.connection.wants_write(self)

    def hold(self) -> None:
        """Let no more of the response come than is on its way, until `release`."""
        self._set_held(True)

    def release(self) -> None:
        """Let the response come again."""
        self._set_held(False)

    def _set_held(self, is_held: bool) -> None:
        if is_held is not self.is_held and not self.is_over:
            self.is_held = is_held
            if self.connection is not None:
                self.connection.on_held(self)

    def reset(self) -> None:
        """End it here and now; the listener hears nothing more."""
        if not self.is_over:
            self.is_over = True
            self._let_go()

    # For its connection.

    @property
    def is_ending(self) -> bool:
        """Whether nothing follows what is kept unsent."""
        return self._is_ending

    @property
    def is_wholly_sent(self) -> bool:
        """Whether nothing is unsent, and nothing will follow."""
        return self._is_ending and not self.unsent

    def take(self, limit: int) -> bytes:
        """Take the next bytes to be sent, `limit` at most."""
        chunks = self._chunks
        first = chunks[0]
        if len(chunks) == 1 and not self._offset and len(first) <= limit:
            chunks.clear()
            self.unsent = 0
            return first
        parts: list[bytes | memoryview] = []
        wanted = limit
        while chunks and wanted:
            first, start = chunks[0], self._offset
            stop = min(len(first), start + wanted)
            parts.append(memoryview(first)[start:stop])
            wanted -= stop - start
            if stop == len(first):
                chunks.popleft()
                self._offset = 0
            else:
                self._offset = stop
        self.unsent -= limit - wanted
        return b"".join(parts)

    def give_up(self, error: EndpointError) -> None:
        """Abandon it, and tell the listener soon: never while it is calling."""
        self._let_go()
        asyncio.get_running_loop().call_soon(self.fail, error)

    def start_over(self, *, tries_max: int = 3) -> bool:
        """Make it as it was before it was started; False: that cannot be done."""
        body = self._body
        if self.is_over or self._has_head or body is None or self._tries >= tries_max:
            return False
        self._tries += 1
        self._chunks = deque((body,) if body else ())
        self._offset, self.unsent, self.stream_id, self.unacknowledged = 0, len(body), 0, 0
        self.connection = None
        self.is_end_sent = False
        return True

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Tell that the response begins."""
        if self.is_over:
            return
        self._has_head = True
        self._body = None
        try:
            self._listener.on_head(status, headers)
        except Exception:
            self._on_broken_listener()

    def data(self, data: bytes) -> None:
        """Tell of bytes of the body."""
        if self.is_over:
            return
        try:
            self._listener.on_data(data)
        except Exception:
            self._on_broken_listener()

    def finish(self) -> None:
        """Tell that the response is complete."""
        if self.is_over:
            return
        self._close()
        try:
            self._listener.on_end()
        except Exception:
            logger.exception("a listener failed at the end of its exchange")

    def fail(self, error: EndpointError) -> None:
        """Tell that it failed."""
        if self.is_over:
            return
        self._close()
        try:
            self._listener.on_error(error)
        except Exception:
            logger.exception("a listener failed at the end of its exchange")

    def _on_broken_listener(self) -> None:
        # What one attempt does wrong must not end the others on the same connection.
        logger.exception("a listener failed, and its exchange was given up")
        self._let_go()
        self.fail(EndpointError("protocol", "the response could not be handled"))

    def _let_go(self) -> None:
        connection, self.connection = self.connection, None
        self._chunks.clear()
        self._body, self.unsent = None, 0
        if connection is not None:
            connection.abandon(self)

    def _close(self) -> None:
        self.is_over = True
        self.connection = None
        self._chunks.clear()
        self._body, self.unsent = None, 0
