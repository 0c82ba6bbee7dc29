"""The figures of the comparison: for each SDK, how much with many clients, how long for one."""

from functools import partial

from benchmarks import wrk
from benchmarks.bench import Bench
from benchmarks.figures import HTTP_CONNECTIONS, Figure, Measured
from benchmarks.remote.endpoints import ENDPOINTS, Endpoint
from benchmarks.remote.runtimes import RestateServer, howdah

TARGETS = {"python": (425.0, 8.0), "typescript": (930.0, 6.0)}
"""Invocations/s and ms: what restate-server 1.7 reached on a machine of two cores, and what that takes."""


async def _howdah(endpoint: Endpoint, connections: int, bench: Bench) -> Measured:
    async with (
        endpoint.serving(bench.folder / f"{endpoint.name}.log") as uri,
        howdah(bench, uri) as url,
    ):
        return await _load(bench, f"howdah, {endpoint.title}", url, connections)


async def _restate(
    endpoint: Endpoint, connections: int, bench: Bench, peer: RestateServer
) -> Measured:
    async with (
        endpoint.serving(bench.folder / f"{endpoint.name}.log") as uri,
        peer.running(bench, uri) as url,
    ):
        return await _load(bench, f"{peer.title}, {endpoint.title}", url, connections)


async def _load(bench: Bench, who: str, url: str, connections: int) -> Measured:
    bench.tell(f"{who}: three steps, {connections} connections")
    load = await wrk.post(
        url,
        "/Steps/three",
        '"x"',
        connections=connections,
        seconds=bench.sizes.load_seconds,
        warm_up_connections=min(connections, 16),
    )
    details = {"p50_ms": load.p50_ms, "p99_ms": load.p99_ms}
    if connections > 1:
        return Measured(load.requests_per_second, details)
    return Measured(load.p50_ms, {"p99_ms": load.p99_ms})


def _figures(endpoint: Endpoint) -> tuple[Figure, Figure]:
    per_second, p50_ms = TARGETS[endpoint.name]
    many = Figure(
        f"{endpoint.name}-http",
        f"{endpoint.title}, {HTTP_CONNECTIONS} connections",
        "/s",
        per_second,
        partial(_howdah, endpoint, HTTP_CONNECTIONS),
        partial(_restate, endpoint, HTTP_CONNECTIONS),
    )
    one = Figure(
        f"{endpoint.name}-latency",
        f"{endpoint.title}, one client, p50",
        "ms",
        p50_ms,
        partial(_howdah, endpoint, 1),
        partial(_restate, endpoint, 1),
        is_more_better=False,
    )
    return many, one


FIGURES = tuple(figure for endpoint in ENDPOINTS for figure in _figures(endpoint))
