"""The HTTP server: Hypercorn's protocols on connections of our own.

Hypercorn does what is hard (HTTP/1.1 through h11, h2c through h2, one port for both). Its own
connection spends two tasks and a lock on the idle timer of each request, and writes header and body
apart; the one here spends a timer and writes once, which takes a quarter off the cost of a request.
It also bounds what peers may hold: connections, and responses that they do not read. And it refuses
heads that two programs may read differently.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from time import time
from typing import Any, Final, cast
from wsgiref.handlers import format_date_time

import h11
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived
from h2.events import Event as H2Event
from h11._receivebuffer import ReceiveBuffer
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.task_group import TaskGroup as ConnectionTasks
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import AsyncioSingleTask, WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2CProtocolRequiredError, H2ProtocolAssumedError
from hypercorn.typing import ASGIFramework, ConnectionState, TaskGroup
from hypercorn.utils import parse_socket_addr
from starlette.types import ASGIApp

from howdah_api.addresses import BACKLOG

if sys.platform != "win32":
    import resource

logger = logging.getLogger(__name__)

# Also the time a client has for its request's headers: the server counts both with one clock.
KEEP_ALIVE_SECONDS: Final = 10.0
H2_STREAMS_MAX: Final = 1000
HEADER_BYTES_MAX: Final = 64 * 1024
CONNECTIONS_MAX: Final = 50_000
FILES_KEPT: Final = 64  # descriptors that connections leave for the database, logs and code
READ_BYTES: Final = 64 * 1024
UNSENT_BYTES_MAX: Final = 64 * 1024  # above this a response waits for its reader
UNREAD_SECONDS_MAX: Final = 60.0  # a peer that takes nothing for this long is cut off
CLOSE_SECONDS: Final = 5.0  # for a closed connection to take the last bytes


class HttpConfig(Config):
    """Hypercorn's settings for both ports."""

    accesslog = None
    backlog = BACKLOG
    errorlog = logger
    h11_max_incomplete_size = HEADER_BYTES_MAX
    h2_max_concurrent_streams = H2_STREAMS_MAX
    include_server_header = False
    keep_alive_max_requests = 2**62
    keep_alive_timeout = KEEP_ALIVE_SECONDS

    _date: list[tuple[bytes, bytes]]
    _date_second = 0

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """The date, worked out once a second."""
        second = int(time())
        if second != self._date_second:
            self._date_second = second
            self._date = [(b"date", format_date_time(second).encode())]
        return self._date


class Connection(TCPServer):
    """One connection; over HTTP/2, with all its streams."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.idle_task = self._timer = IdleTimer(self.context, self.close_idle)
        self._transport = self.writer.transport
        self._unsent: list[bytes] = []

    async def run(self) -> None:
        """Serve until either side closes it. A peer that breaks the rules only loses this."""
        try:
            await self._serve()
        except OSError:
            pass
        except Exception as error:
            logger.info("connection broken", extra={"error": repr(error)})
        finally:
            await self._close()

    async def _serve(self) -> None:
        sock = self._transport.get_extra_info("socket")
        client = parse_socket_addr(sock.family, sock.getpeername())
        server = parse_socket_addr(sock.family, sock.getsockname())
        async with ConnectionTasks(self.loop) as tasks:
            self._task_group = tasks
            self.protocol = Protocols(
                self.app,
                self.config,
                self.context,
                tasks,
                ConnectionState(self.state),
                False,
                client,
                server,
                self.protocol_send,
                "http/1.1",
            )
            await self.protocol.initiate()
            await self.idle_task.restart(tasks, self._idle_timeout)
            await self._read_data()

    def close_idle(self) -> None:
        """Close it unless it is serving a request."""
        if self._timer.is_idle:
            self.loop.create_task(self._initiate_server_close())

    async def protocol_send(self, event: Event) -> None:
        """Send what a protocol has made; header and body of a response leave together."""
        if not isinstance(event, RawData):
            self._flush()
            await super().protocol_send(event)
            return
        if not event.data:
            return
        self._unsent.append(event.data)
        if len(self._unsent) == 1:
            self.loop.call_soon(self._flush)
        if len(event.data) >= UNSENT_BYTES_MAX:
            self._flush()
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            await self._until_read()

    def _flush(self) -> None:
        if self._unsent:
            data = self._unsent[0] if len(self._unsent) == 1 else b"".join(self._unsent)
            self._unsent.clear()
            if not self._transport.is_closing():
                self._transport.write(data)

    async def _until_read(self) -> None:
        async with self.send_lock:
            try:
                while (size := self._transport.get_write_buffer_size()) > UNSENT_BYTES_MAX:
                    try:
                        async with asyncio.timeout(UNREAD_SECONDS_MAX):
                            await self.writer.drain()
                    except TimeoutError:
                        if self._transport.get_write_buffer_size() >= size:
                            self._transport.abort()
            except (ConnectionError, RuntimeError):
                await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        try:
            while data := await self.reader.read(READ_BYTES):
                await self.protocol.handle(RawData(data))
        except OSError:
            pass
        await self.protocol.handle(Closed())

    async def _close(self) -> None:
        self._flush()
        async with asyncio.timeout(CLOSE_SECONDS) as limit:
            await super()._close()
        if limit.expired():  # Hypercorn has swallowed the cancellation
            self._transport.abort()


class Protocols(ProtocolWrapper):
    """Begins with HTTP/1.1, and changes to HTTP/2 when the client asks for it or assumes it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        connection = self.protocol.connection
        assert isinstance(connection, h11.Connection), "it begins with HTTP/1.1"
        connection._receive_buffer = HeadBuffer()

    async def handle(self, event: Event) -> None:
        """Give what came to the protocol."""
        try:
            await self.protocol.handle(event)
        except H2ProtocolAssumedError as error:
            await self._change(error.data)
        except H2CProtocolRequiredError as error:
            await self._change(error.data, error.headers, error.settings)

    async def _change(
        self,
        data: bytes,
        headers: list[tuple[bytes, bytes]] | None = None,
        settings: bytes | None = None,
    ) -> None:
        self.protocol = protocol = Http2(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.state,
            self.ssl,
            self.client,
            self.server,
            self.send,
        )
        await protocol.initiate(headers, settings)
        if data:
            await protocol.handle(RawData(data=data))


class HeadBuffer(ReceiveBuffer):
    """What came over HTTP/1.1; the lines of a head, and of a trailer, end with CR and LF.

    h11 also takes LF alone, and joins a folded line with the one before. A proxy that does neither
    sees other headers in the same bytes, and perhaps another request in them.
    """

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Take the lines up to the first empty one; None when that has not come yet.

        Raises:
            LocalProtocolError: h11 makes it the peer's, which is answered with 400.
        """
        data = self._data
        if data[:2] == b"\r\n":
            self._extract(2)
            return []
        end = data.find(b"\r\n\r\n", self._multiple_lines_search)
        if end < 0:
            # By LF alone the head may have ended already, and nothing more would come.
            _check_line_ends(data, data.count(b"\r\n"))
            self._multiple_lines_search = max(0, len(data) - 3)
            return None
        head = self._extract(end + 4)
        lines = head.split(b"\r\n")
        _check_line_ends(head, len(lines) - 1)
        if b"\n " in head or b"\n\t" in head:
            raise h11.LocalProtocolError("folded header line")
        del lines[-2:]
        return lines


def _check_line_ends(data: bytearray, count: int) -> None:
    if data.count(b"\n") != count:
        raise h11.LocalProtocolError("line that ends with LF alone")


class Http2(H2Protocol):
    """HTTP/2 that loses a stream, not the connection, over what Hypercorn does not expect."""

    async def _handle_events(self, events: list[H2Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                # The rest of a body whose request is answered. It is taken off rather than refused:
                # many clients read the answer only when they have sent everything.
                self.connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            elif isinstance(event, RequestReceived) and not _has_ascii_path(event):
                self.connection.reset_stream(event.stream_id, ErrorCodes.PROTOCOL_ERROR)
            else:
                await super()._handle_events([event])
        await self._flush()


def _has_ascii_path(event: RequestReceived) -> bool:
    return all(value.isascii() for name, value in event.headers if name == b":path")


class IdleTimer(AsyncioSingleTask):
    """Runs out when a connection has served nothing for `KEEP_ALIVE_SECONDS`."""

    def __init__(self, context: WorkerContext, on_idle: Callable[[], None]) -> None:
        super().__init__()
        self._context = context
        self._on_idle = on_idle
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it is running."""
        return self._timer is not None

    async def restart(self, task_group: TaskGroup, action: Callable[..., Any]) -> None:
        """Count from now; the timer calls what it was made with, not `action`."""
        await self.stop()
        seconds = 0.0 if self._context.terminated.is_set() else KEEP_ALIVE_SECONDS
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_idle)

    async def stop(self) -> None:
        """Do not count: a request is being served, or the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def serve_http(
    app: ASGIApp, sock: socket.socket, *, stop: asyncio.Event, grace_seconds: float
) -> None:
    """Serve an application on a listening socket until `stop` is set; closes the socket.

    From then on no connection is accepted, idle ones are closed, and the others have
    `grace_seconds` for the requests that they are serving.
    """
    loop = asyncio.get_running_loop()
    config = HttpConfig()
    context = WorkerContext(None)
    wrapped = ASGIWrapper(cast(ASGIFramework, app))
    open_connections: dict[Connection, asyncio.Task[None] | None] = {}
    connections_max = _connections_max()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(open_connections) >= connections_max:
            writer.transport.abort()
            return
        connection = Connection(wrapped, loop, config, context, {}, reader, writer)
        open_connections[connection] = asyncio.current_task()
        try:
            await connection.run()
        finally:
            del open_connections[connection]

    server = await asyncio.start_server(accept, sock=sock, backlog=BACKLOG)
    try:
        await stop.wait()
    finally:
        server.close()
        await context.terminated.set()
        for connection in list(open_connections):
            connection.close_idle()
        tasks = [task for task in open_connections.values() if task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def _connections_max() -> int:
    """As many as this process may have files open, which is raised to what the system allows."""
    if sys.platform == "win32":
        return CONNECTIONS_MAX
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_KEPT
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(soft, wanted) - FILES_KEPT
