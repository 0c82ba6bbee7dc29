"""The figures: what is measured, in which unit, and what is to be reached.

The targets are for a machine of two cores that also runs Postgres and the load generator.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks import claims, extremes, memory, speed
from benchmarks.bench import Bench
from benchmarks.peers import Peer

HTTP_CONNECTIONS = 256
SEAT_CONNECTIONS = 64
AWAKEABLE_CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure once, and what else was seen on the way (with its unit in its name)."""

    value: float
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    `is_more_better` tells which side of the target is good. A figure without `measure_peer` has no
    counterpart in the peers. One that is not `is_repeated` is measured once whatever is asked for:
    it is slow, and hardly varies.
    """

    name: str
    title: str
    unit: str
    target: float
    measure: Callable[[Bench], Awaitable[Measured]]
    measure_peer: Callable[[Bench, Any], Awaitable[Measured]] | None = None
    is_more_better: bool = True
    is_repeated: bool = True

    def is_met_by(self, value: float) -> bool:
        """Tell whether `value` reaches the target."""
        return value >= self.target if self.is_more_better else value <= self.target


async def _queue(bench: Bench) -> Measured:
    return Measured(await speed.queue(bench))


async def _peer_queue(bench: Bench, peer: Peer) -> Measured:
    return Measured(await speed.peer_queue(bench, peer))


async def _http(bench: Bench) -> Measured:
    load = await speed.http_load(bench, HTTP_CONNECTIONS)
    return Measured(load.requests_per_second, {"p50_ms": load.p50_ms, "p99_ms": load.p99_ms})


async def _peer_http(bench: Bench, peer: Peer) -> Measured:
    load = await speed.peer_http_load(bench, peer, HTTP_CONNECTIONS)
    return Measured(load.requests_per_second, {"p50_ms": load.p50_ms, "p99_ms": load.p99_ms})


async def _latency_http(bench: Bench) -> Measured:
    load = await speed.http_load(bench, 1)
    return Measured(load.p50_ms, {"p99_ms": load.p99_ms})


async def _peer_latency_http(bench: Bench, peer: Peer) -> Measured:
    load = await speed.peer_http_load(bench, peer, 1)
    return Measured(load.p50_ms, {"p99_ms": load.p99_ms})


async def _latency_in_process(bench: Bench) -> Measured:
    return Measured(await speed.latency_in_process(bench))


async def _peer_latency_in_process(bench: Bench, peer: Peer) -> Measured:
    return Measured(await speed.peer_latency_in_process(bench, peer))


async def _seats(bench: Bench) -> Measured:
    return Measured(await speed.seats(bench, SEAT_CONNECTIONS))


async def _peer_seats(bench: Bench, peer: Peer) -> Measured:
    return Measured(await speed.peer_seats(bench, peer, SEAT_CONNECTIONS))


async def _memory_idle(bench: Bench) -> Measured:
    return Measured(await memory.idle(bench))


async def _memory_sleeping(bench: Bench) -> Measured:
    return Measured(await memory.sleeping(bench), {"count": bench.sizes.sleeping_count})


async def _claim(bench: Bench) -> Measured:
    few = await claims.claim_ms(bench, bench.sizes.few_rows)
    many = await claims.claim_ms(bench, bench.sizes.many_rows)
    rows = {"few_rows": bench.sizes.few_rows, "many_rows": bench.sizes.many_rows}
    return Measured(many / few, {"few_ms": few, "many_ms": many, **rows})


def _measured(figures: dict[str, float], name: str) -> Measured:
    """One of several figures that were measured together; the others are its details."""
    return Measured(figures.pop(name), figures)


async def _fan_out(bench: Bench) -> Measured:
    return _measured(await extremes.fan(bench), "ms_per_callee")


async def _replay(bench: Bench) -> Measured:
    return _measured(await extremes.replay(bench), "ms")


async def _awakeables(bench: Bench) -> Measured:
    return _measured(await extremes.awakeables(bench), "resolved_per_second")


async def _awakeables_http(bench: Bench) -> Measured:
    found = await extremes.awakeables_http(bench, AWAKEABLE_CONNECTIONS)
    return _measured(found, "resolved_per_second")


async def _state(bench: Bench) -> Measured:
    return _measured(await extremes.state(bench), "p50_ms")


async def _large(bench: Bench) -> Measured:
    return _measured(await extremes.large(bench), "wordy_ms")


FIGURES = (
    Figure("queue", "three steps, from a full queue", "/s", 4000, _queue, _peer_queue),
    Figure("http", "three steps, HTTP, 256 connections", "/s", 1300, _http, _peer_http),
    Figure(
        "latency-http",
        "three steps, HTTP, one client, p50",
        "ms",
        3,
        _latency_http,
        _peer_latency_http,
        is_more_better=False,
    ),
    Figure(
        "latency",
        "three steps, in process, one client, p50",
        "ms",
        3,
        _latency_in_process,
        _peer_latency_in_process,
        is_more_better=False,
    ),
    Figure("seats", "seat reservations, HTTP, 64 connections", "/s", 900, _seats, _peer_seats),
    Figure(
        "memory-idle",
        "memory of an idle server",
        "MB",
        150,
        _memory_idle,
        is_more_better=False,
        is_repeated=False,
    ),
    Figure(
        "memory-sleeping",
        "memory growth per 100,000 asleep",
        "MB",
        10,
        _memory_sleeping,
        is_more_better=False,
        is_repeated=False,
    ),
    Figure(
        "claim",
        "claim among 1,000,000 waiting, to 1,000",
        "x",
        2,
        _claim,
        is_more_better=False,
        is_repeated=False,
    ),
    Figure(
        "fan-out",
        "1,000 callees of one workflow, each",
        "ms",
        1,
        _fan_out,
        is_more_better=False,
    ),
    Figure(
        "replay",
        "1,000 recorded steps, claim to next step",
        "ms",
        150,
        _replay,
        is_more_better=False,
    ),
    Figure("awakeables", "10,000 awakeables pending, resolved", "/s", 2000, _awakeables),
    Figure(
        "awakeables-http",
        "the same over HTTP, 256 connections",
        "/s",
        2000,
        _awakeables_http,
    ),
    Figure(
        "state",
        "an object of 1,000,000 entries: one get, one set, p50",
        "ms",
        3,
        _state,
        is_more_better=False,
    ),
    Figure(
        "large",
        "a step of 10 MB, p50",
        "ms",
        500,
        _large,
        is_more_better=False,
    ),
)
