"""One deployment's endpoint: its connections, and the exchanges that they carry.

An exchange is given to a connection that has room, or waits until one has; connections are opened as
they are needed and closed when they are idle. Opening one is the only thing that takes a task.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from howdah.errors import EndpointRefused
from howdah.remote.connection import (
    HTTP_2,
    HTTP_11,
    Connection,
    EndpointError,
    Exchange,
    ExchangeListener,
    Headers,
    Limits,
)
from howdah.remote.guard import Guard, check_headers, read_uri
from howdah.remote.http1 import Http1Connection
from howdah.remote.http2 import Http2Connection
from howdah.remote.identity import Identity

__all__ = [
    "HTTP_2",
    "HTTP_11",
    "Endpoint",
    "EndpointError",
    "Exchange",
    "ExchangeListener",
    "Limits",
    "Response",
]

logger = logging.getLogger(__name__)

FETCH_SECONDS: Final = 30.0
FETCH_BYTES_MAX: Final = 16 << 20
_ALPN_2: Final = "h2"
_ALPN_11: Final = "http/1.1"


@dataclass(frozen=True, slots=True)
class Response:
    """A response as a whole.

    Attributes:
        status, headers, body: What it says; names of headers are lower case.
        http_version: `HTTP/2.0`, `HTTP/1.1` or `HTTP/1.0`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    http_version: str


class Endpoint:
    """Where one deployment is.

    Args:
        uri: Such as `http://10.1.2.3:9080` or `https://example.com/mount`; http means HTTP/2 unless
            `use_http_11` says otherwise, and https whatever the endpoint prefers.
        headers: Added to each request.
        use_http_11: Whether it speaks HTTP/1.1 only.
        guard: Decides whether it may be there; asked again for each connection.
        identity: Signs requests, or None.
        limits: What it may take of time and memory.
        tls: For https; the system's certificates are trusted unless given.

    Raises:
        EndpointRefused: the URI or a header cannot be used. HD1011.
    """

    def __init__(
        self,
        uri: str,
        *,
        headers: Mapping[str, str] | None = None,
        use_http_11: bool = False,
        guard: Guard | None = None,
        identity: Identity | None = None,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.uri: Final = uri
        self.target: Final = read_uri(uri)
        self.limits: Final = limits or Limits()
        self._headers = check_headers(headers or {}, uri=uri)
        self._use_http_11 = use_http_11
        self._guard = guard or Guard()
        self._identity = identity
        self._tls = tls
        self._name = f"{self.target.scheme}://{self.target.authority}"
        self._connections: list[Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[float, Exchange]] = deque()
        self._wait_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Endpoint({self._name}{self.target.path})"

    def open(
        self,
        path: str,
        headers: Headers,
        body: bytes,
        *,
        end: bool,
        listener: ExchangeListener,
        method: str = "POST",
    ) -> Exchange:
        """Begin an exchange; never waits.

        Args:
            path: Follows the path of the endpoint's URI, such as `/invoke/Greeter/greet`.
            headers: Names in lower case; those of the endpoint and of its identity are added.
            body: The first bytes, sent together with the head.
            end: Whether these are all.
            listener: Hears of the response, never before this returns.
            method: `POST` unless given.
        """
        target = f"{self.target.path}{path}"
        if self.target.query:
            target = f"{target}?{self.target.query}"
        head = [
            (":method", method),
            (":scheme", self.target.scheme),
            (":authority", self.target.authority),
            (":path", target),
            *headers,
            *self._headers,
        ]
        if self._identity is not None:
            head += self._identity.headers(path)
        exchange = Exchange(
            method,
            target,
            head,
            body,
            end=end,
            listener=listener,
            unsent_bytes_max=self.limits.unsent_bytes_max,
        )
        if self._is_closed:
            exchange.give_up(EndpointError("connect", f"{self._name} is not used any more"))
        else:
            self._place(exchange)
        return exchange

    async def fetch(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes = b"",
        *,
        timeout: float = FETCH_SECONDS,
        body_bytes_max: int = FETCH_BYTES_MAX,
    ) -> Response:
        """Send a request and return the response as a whole; redirects are not followed.

        Raises:
            EndpointError: there is no response in time, or it is too long.
        """
        collector = _Collector(body_bytes_max)
        exchange = self.open(path, headers, body, end=True, listener=collector, method=method)
        collector.exchange = exchange
        try:
            async with asyncio.timeout(timeout):
                return await collector.response
        except TimeoutError as error:
            problem = f"{self._name} did not answer within {timeout:g} s"
            raise EndpointError("timeout", problem) from error
        finally:
            exchange.reset()

    def retire(self) -> None:
        """Take no more exchanges; those under way may end, then connections are closed."""
        self._stop("is not used any more")
        for connection in list(self._connections):
            connection.retire()

    def close(self) -> None:
        """Close all connections now; exchanges under way fail."""
        self._stop("was closed")
        for connection in list(self._connections):
            connection.abort(EndpointError("reset", f"the connection to {self._name} was closed"))
        self._connections.clear()

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    # What connections tell.

    def on_room(self) -> None:
        """Give what waits to connections that have room."""
        while self._waiting:
            connection = self._with_room()
            if connection is None:
                self._grow()
                return
            _, exchange = self._waiting.popleft()
            if not exchange.is_over:
                connection.start(exchange)

    def on_lost(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._grow()

    def on_refused(self, exchange: Exchange, error: EndpointError) -> None:
        """Start an exchange anew that the peer did not look at, if that can be done."""
        if not self._is_closed and exchange.start_over():
            self._place(exchange)
        else:
            exchange.fail(error)

    # Placing.

    def _place(self, exchange: Exchange) -> None:
        connection = None if self._waiting else self._with_room()
        if connection is not None:
            connection.start(exchange)
            return
        self._waiting.append((asyncio.get_running_loop().time(), exchange))
        self._grow()
        self._watch_waiting()

    def _with_room(self) -> Connection | None:
        for connection in self._connections:
            if connection.room:
                return connection
        return None

    def _grow(self) -> None:
        """Open as many connections as what waits can use."""
        if not self._waiting or self._is_closed:
            return
        each = self._connections[-1].capacity if self._connections else self._expected_capacity
        each = max(each, 1)
        free = self.limits.connections_max - len(self._connections)
        wanted = min(-(-len(self._waiting) // each), free)
        for _ in range(wanted - len(self._connecting)):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    @property
    def _expected_capacity(self) -> int:
        return 1 if self._use_http_11 else self.limits.streams_max

    def _watch_waiting(self) -> None:
        if self._wait_timer is None and self._waiting:
            loop = asyncio.get_running_loop()
            due_at = self._waiting[0][0] + self.limits.wait_seconds
            self._wait_timer = loop.call_at(due_at, self._fail_overdue)

    def _fail_overdue(self) -> None:
        self._wait_timer = None
        now = asyncio.get_running_loop().time()
        while self._waiting:
            since, exchange = self._waiting[0]
            if not exchange.is_over and now - since < self.limits.wait_seconds:
                break
            self._waiting.popleft()
            seconds = f"{self.limits.wait_seconds:g} s"
            exchange.fail(
                EndpointError("connect", f"{self._name} had no connection free within {seconds}")
            )
        self._watch_waiting()

    def _fail_waiting(self, error: EndpointError) -> None:
        waiting, self._waiting = self._waiting, deque()
        for _, exchange in waiting:
            exchange.fail(error)

    def _stop(self, reason: str) -> None:
        self._is_closed = True
        for task in self._connecting:
            task.cancel()
        if self._wait_timer is not None:
            self._wait_timer.cancel()
            self._wait_timer = None
        self._fail_waiting(EndpointError("connect", f"{self._name} {reason}"))

    # Connecting.

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                connection = await self._connect_to_any()
        except TimeoutError:
            seconds = f"{self.limits.connect_seconds:g} s"
            self._on_failed(
                EndpointError("connect", f"{self._name} could not be reached within {seconds}")
            )
        except EndpointRefused as error:
            message = f"{error.message.rstrip('.')}. {error.hint or ''}".rstrip(" .")
            self._on_failed(EndpointError("connect", message, is_refusal=True))
        except EndpointError as error:
            self._on_failed(error)
        except (OSError, ssl.SSLError) as error:
            problem = error.strerror or str(error) or type(error).__name__
            self._on_failed(
                EndpointError("connect", f"{self._name} could not be reached: {problem}")
            )
        except Exception as error:
            logger.exception("an endpoint could not be connected to")
            self._on_failed(EndpointError("connect", f"{self._name} could not be reached: {error}"))
        else:
            # Before what waits is served, so that what it makes fail does not count this as under way.
            self._connecting.discard(_current_task())
            if self._is_closed:
                connection.retire()
                return
            if not connection.room:
                # More connections would not help: each allows no exchange at all.
                refused = EndpointError("connect", f"{self._name} takes no requests for now")
                self._on_failed(refused)
                connection.abort(refused)
                return
            self._connections.append(connection)
            self.on_room()

    def _on_failed(self, error: EndpointError) -> None:
        self._connecting.discard(_current_task())
        if not self._connections and not self._connecting:
            self._fail_waiting(error)

    async def _connect_to_any(self) -> Connection:
        addresses = await self._guard.resolve(self.target)
        for number, (family, address) in enumerate(addresses, start=1):
            try:
                return await self._connect_to(family, address)
            except OSError:
                if number == len(addresses):
                    raise
        raise AssertionError("the guard returns at least one address")

    async def _connect_to(self, family: int, address: str) -> Connection:
        loop = asyncio.get_running_loop()
        is_tls = self.target.scheme == "https"
        transport, chosen = await loop.create_connection(
            lambda: _Chooser(self._choose),
            address,
            self.target.port,
            family=family,
            ssl=self._tls_context() if is_tls else None,
            server_hostname=self.target.host if is_tls else None,
        )
        connection = chosen.connection
        try:
            assert connection is not None
            if isinstance(connection, Http2Connection):
                await connection.ready
        except BaseException:
            transport.abort()
            raise
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.set_alpn_protocols([_ALPN_11] if self._use_http_11 else [_ALPN_2, _ALPN_11])
        return self._tls

    def _choose(self, transport: asyncio.Transport) -> Http1Connection | Http2Connection:
        is_http_11 = self._use_http_11
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and not is_http_11:
            is_http_11 = tls.selected_alpn_protocol() != _ALPN_2
        kind = Http1Connection if is_http_11 else Http2Connection
        return kind(self, self.limits, self._name)


class _Chooser(asyncio.Protocol):
    """Stands in until it is known which HTTP is spoken: after the handshake of TLS."""

    def __init__(
        self, choose: Callable[[asyncio.Transport], Http1Connection | Http2Connection]
    ) -> None:
        self._choose = choose
        self.connection: Http1Connection | Http2Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)  # uvloop's have no base class
        self.connection = self._choose(made)
        made.set_protocol(self.connection)
        self.connection.connection_made(transport)


class _Collector:
    """A listener that makes one response of what it hears."""

    def __init__(self, body_bytes_max: int) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.exchange: Exchange | None = None
        self._body_bytes_max = body_bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._http_version = ""

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers = status, headers
        connection = self.exchange.connection if self.exchange is not None else None
        self._http_version = connection.http_version if connection is not None else ""

    def on_data(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._body_bytes_max:
            problem = f"the response is longer than {self._body_bytes_max} bytes"
            self.on_error(EndpointError("protocol", problem))
            if self.exchange is not None:
                self.exchange.reset()
            return
        self._parts.append(data)

    def on_end(self) -> None:
        if not self.response.done():
            body = b"".join(self._parts)
            self.response.set_result(
                Response(self._status, self._headers, body, self._http_version)
            )

    def on_error(self, error: EndpointError) -> None:
        if not self.response.done():
            self.response.set_exception(error)


def _current_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task
