"""How fast: from a queue, over HTTP, one client alone, and seat reservations."""

import asyncio
from time import monotonic

import asyncpg

from benchmarks import wrk
from benchmarks.bench import STEPS, TICKETS, Bench
from benchmarks.peers import Peer
from benchmarks.processes import BenchmarkError, Running

BODY = '"x"'
DONE = """
select count(*) filter (where outcome = 'succeeded') as succeeded, count(*) as completed,
       extract(epoch from max(completed_at) - min(started_at))::float8 as seconds
  from howdah_core.outcome
"""
POLL_SECONDS = 0.1
QUEUE_SECONDS = 300.0


async def queue(bench: Bench) -> float:
    """Three-step invocations/s of one worker process, from a queue that was filled before.

    From the first claim to the last outcome, by the database's clock.
    """
    count = bench.sizes.queue_count
    async with bench.postgres.database("queue", is_howdah=True) as dsn:
        bench.tell(f"filling a queue with {count:,}")
        await bench.in_process(dsn, "register")
        await bench.in_process(dsn, "fill", str(count))
        bench.tell("emptying the queue with one worker process")
        async with bench.howdah(dsn, STEPS, "--roles", "worker") as (started, _):
            seconds = await _emptied(started, dsn, count)
        return count / seconds


async def _emptied(started: Running, dsn: str, count: int) -> float:
    """Wait until `count` invocations succeeded; return how long that took, by the database."""
    deadline = monotonic() + QUEUE_SECONDS
    connection = await asyncpg.connect(dsn)
    try:
        while True:
            rows = await connection.fetch(DONE)
            succeeded, completed, seconds = rows[0]
            if completed == count:
                break
            if started.process.returncode is not None or monotonic() > deadline:
                raise started.complain(f"{completed} of {count} after {QUEUE_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await connection.close()
    if succeeded != count:
        raise BenchmarkError(f"{count - succeeded} of {count} did not succeed")
    return float(seconds)


async def peer_queue(bench: Bench, peer: Peer) -> float:
    """The same of a peer, from a shorter queue."""
    count = str(bench.sizes.peer_queue_count)
    async with bench.postgres.database(peer.name) as dsn:
        await peer.run(dsn, "prepare")
        bench.tell(f"{peer.title}: filling a queue with {count}")
        await peer.run(dsn, "fill", count)
        bench.tell(f"{peer.title}: emptying the queue with one worker process")
        return (await peer.run(dsn, "work", count))["per_second"]


async def http_load(bench: Bench, connections: int) -> wrk.Load:
    """Three-step invocations over HTTP."""
    async with (
        bench.postgres.database("http", is_howdah=True) as dsn,
        bench.howdah(dsn, STEPS) as (_, url),
    ):
        bench.tell(f"three steps over HTTP, {connections} connections")
        return await wrk.post(
            url, "/Steps/three", BODY, connections=connections, seconds=bench.sizes.load_seconds
        )


async def peer_http_load(bench: Bench, peer: Peer, connections: int) -> wrk.Load:
    """The same of a peer, behind the same HTTP server."""
    async with bench.postgres.database(peer.name) as dsn:
        await peer.run(dsn, "prepare")
        async with peer.serving(dsn, bench.folder / f"{peer.name}.log") as url:
            bench.tell(f"{peer.title}: three steps over HTTP, {connections} connections")
            return await wrk.post(
                url,
                "/three",
                BODY,
                connections=connections,
                seconds=bench.sizes.peer_load_seconds,
                warm_up_connections=1,
            )


async def latency_in_process(bench: Bench) -> float:
    """The median of a three-step invocation in ms, one at a time, without HTTP."""
    async with bench.postgres.database("latency", is_howdah=True) as dsn:
        bench.tell("three steps in sequence, in process")
        return (await bench.in_process(dsn, "latency", str(bench.sizes.latency_count)))["p50_ms"]


async def peer_latency_in_process(bench: Bench, peer: Peer) -> float:
    """The same of a peer."""
    async with bench.postgres.database(peer.name) as dsn:
        await peer.run(dsn, "prepare")
        bench.tell(f"{peer.title}: three steps in sequence, in process")
        return (await peer.run(dsn, "latency", str(bench.sizes.peer_latency_count)))["p50_ms"]


async def seats(bench: Bench, connections: int) -> float:
    """Seat reservations/s over HTTP: every request a fresh seat into a fresh cart."""
    async with (
        bench.postgres.database("seats", is_howdah=True) as dsn,
        bench.howdah(dsn, TICKETS) as (_, url),
    ):
        bench.tell(f"seat reservations over HTTP, {connections} connections")
        load = await wrk.post(
            url,
            "/CartObject/cart-{n}/addTicket",
            '"seat-{n}"',
            connections=connections,
            seconds=bench.sizes.load_seconds,
        )
        return load.requests_per_second


async def peer_seats(bench: Bench, peer: Peer, connections: int) -> float:
    """The same of a peer: a workflow for the cart, a child workflow for the seat."""
    async with bench.postgres.database(peer.name) as dsn:
        await peer.run(dsn, "prepare")
        async with peer.serving(dsn, bench.folder / f"{peer.name}.log") as url:
            bench.tell(f"{peer.title}: seat reservations over HTTP, {connections} connections")
            load = await wrk.post(
                url,
                "/carts/cart-{n}/seats",
                '"seat-{n}"',
                connections=connections,
                seconds=bench.sizes.peer_load_seconds,
                warm_up_connections=1,
            )
            return load.requests_per_second
