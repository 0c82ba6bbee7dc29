"""Posts once to each of many paths, over many connections: what wrk can't do without waiting on."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter
from urllib.parse import urlsplit

from benchmarks.processes import BenchmarkError

SECONDS_MAX = 120.0
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of it; `took` has a value in seconds for each request."""

    seconds: float
    took: list[float]

    @property
    def per_second(self) -> float:
        """Requests that were answered in a second."""
        return len(self.took) / self.seconds

    def percentile_ms(self, percent: int) -> float:
        """How long `percent` of the requests took at most, in ms."""
        return sorted(self.took)[len(self.took) * percent // 100] * 1000


class _Connection(asyncio.Protocol):
    """One connection: a request at a time, the next when the one before is answered."""

    def __init__(self, requests: Iterator[bytes], took: list[float]) -> None:
        self._requests = requests
        self._took = took
        self._begun = 0.0
        self._received = b""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            self.over.set_result(None)
            return
        self._begun = perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(END_OF_HEAD):
            return
        if not self._received.startswith(b"HTTP/1.1 202"):
            self._fail(f"an answer that is not 202 without a body: {self._received[:200]!r}")
            return
        self._received = b""
        self._took.append(perf_counter() - self._begun)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"a connection broke: {exc}")

    def _fail(self, why: str) -> None:
        if not self.over.done():
            self.over.set_exception(BenchmarkError(why))
            self._transport.close()


async def post_each(url: str, paths: Iterable[str], body: str, *, connections: int) -> Answers:
    """POST `body` to every path once; each answer must be 202 without a body."""
    where = urlsplit(url)
    host, port = where.hostname, where.port
    assert host is not None
    assert port is not None
    tail = f" HTTP/1.1\r\nhost: {where.netloc}\r\ncontent-type: application/json\r\n"
    tail += f"content-length: {len(body.encode())}\r\n\r\n{body}"
    requests = iter([f"POST {path}{tail}".encode() for path in paths])
    took: list[float] = []
    loop = asyncio.get_running_loop()
    begun = perf_counter()
    async with asyncio.timeout(SECONDS_MAX):
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda: _Connection(requests, took), host, port)
                for _ in range(connections)
            )
        )
        await asyncio.gather(*(protocol.over for _, protocol in made))
    return Answers(perf_counter() - begun, took)
