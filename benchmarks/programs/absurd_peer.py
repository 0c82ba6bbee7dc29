"""The peers' work, written for Absurd as its documentation writes it.

    PEER_DATABASE_URL=... python absurd_peer.py prepare | fill N | work N | latency N | serve PORT

The async SDK, its worker with a concurrency of 50, polling every 20 ms instead of every 250 ms
(so that latency is not only the poll's). A client awaits a result with the SDK's own polling, which
begins at 50 ms. Seats are rows; a cart's task spawns the ticket's task in a queue of its own, as
Absurd asks for when a task waits for another.
Runs in its own virtual environment; prints its result as one line of JSON.
"""

# mypy: disable-error-code="import-not-found, untyped-decorator"

import asyncio
import json
import os
import sys
import time
from typing import Any

import psycopg
import uvloop
from absurd_sdk import AsyncAbsurd
from absurdctl import BUNDLED_SCHEMA_SQL
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

URL = os.environ["PEER_DATABASE_URL"]
STEPS, CARTS, TICKETS = "steps", "carts", "tickets"
CONCURRENCY = 50
POLL_SECONDS = 0.02

TABLES = """
create table if not exists ticket (id text primary key, status text not null);
create table if not exists cart (id text primary key, seats text[] not null);
"""
RESERVE = (
    "insert into ticket values (%s, 'reserved') on conflict (id) do update"
    " set status = 'reserved' where ticket.status = 'available' returning id"
)
PUT_INTO_CART = (
    "insert into cart values (%s, array[%s]) on conflict (id) do update"
    " set seats = cart.seats || excluded.seats"
)


async def three(params: Any, ctx: Any) -> Any:
    async def step() -> dict[str, str]:
        return {"result": "ok"}

    await ctx.step("first", step)
    await ctx.step("second", step)
    await ctx.step("third", step)
    return params


class Seats:
    """The two tasks of a reservation; each side's SQL runs on a connection of its own."""

    def __init__(
        self, tickets: AsyncAbsurd, connection: psycopg.AsyncConnection[tuple[Any, ...]]
    ) -> None:
        self._tickets = tickets
        self._connection = connection

    async def reserve(self, params: Any, ctx: Any) -> Any:
        async def mark_reserved() -> bool:
            cursor = await self._connection.execute(RESERVE, (params["ticket"],))
            return await cursor.fetchone() is not None

        return await ctx.step("reserve", mark_reserved)

    async def add_ticket(self, params: Any, ctx: Any) -> Any:
        async def spawn() -> str:
            spawned = await self._tickets.spawn("reserve", {"ticket": params["ticket"]})
            return str(spawned["task_id"])

        async def put_into_cart() -> bool:
            await self._connection.execute(PUT_INTO_CART, (params["cart"], params["ticket"]))
            return True

        child = await ctx.step("spawn", spawn)
        is_reserved = (await ctx.await_task_result(child, queue_name=TICKETS)).result
        if is_reserved:
            await ctx.step("cart", put_into_cart)
        return is_reserved


def worker(queue: str, **tasks: Any) -> AsyncAbsurd:
    app = AsyncAbsurd(URL, queue_name=queue)
    for name, task in tasks.items():
        app.register_task(name)(task)
    return app


def start(app: AsyncAbsurd) -> "asyncio.Task[None]":
    return asyncio.create_task(
        app.start_worker(concurrency=CONCURRENCY, poll_interval=POLL_SECONDS)
    )


async def call(client: AsyncAbsurd, name: str, params: Any, queue: str) -> Any:
    spawned = await client.spawn(name, params, queue=queue)
    return (await client.await_task_result(spawned["task_id"], queue_name=queue)).result


async def prepare(_: int) -> dict[str, float]:
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as connection:
        await connection.execute(BUNDLED_SCHEMA_SQL)
        await connection.execute(TABLES)
    client = AsyncAbsurd(URL)
    for queue in (STEPS, CARTS, TICKETS):
        await client.create_queue(queue)
    return {}


async def fill(count: int) -> dict[str, float]:
    client = AsyncAbsurd(URL)
    for _ in range(count):
        await client.spawn("three", "x", queue=STEPS)
    return {}


async def work(count: int) -> dict[str, float]:
    running = start(worker(STEPS, three=three))
    table = f"from absurd.r_{STEPS} where state = 'completed'"
    async with await psycopg.AsyncConnection.connect(URL, autocommit=True) as connection:
        while await scalar(connection, f"select count(*) {table}") < count and not running.done():
            await asyncio.sleep(0.2)
        took = await scalar(
            connection, f"select extract(epoch from max(completed_at) - min(started_at)) {table}"
        )
    return {"per_second": count / took}


async def scalar(connection: psycopg.AsyncConnection[tuple[Any, ...]], statement: str) -> float:
    row = await (await connection.execute(statement)).fetchone()
    assert row is not None
    return float(row[0])


async def latency(count: int) -> dict[str, float]:
    running = start(worker(STEPS, three=three))
    client = AsyncAbsurd(URL)
    took: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        await call(client, "three", "x", STEPS)
        took.append(time.perf_counter() - begun)
    running.cancel()
    return {"p50_ms": sorted(took)[count // 2] * 1000}


async def serve_http(port: int) -> dict[str, float]:
    connection = await psycopg.AsyncConnection.connect(URL, autocommit=True)
    seats = Seats(AsyncAbsurd(URL, queue_name=TICKETS), connection)
    # A client that spawns a task must know it, or be told the queue.
    seats._tickets.register_task("reserve")(seats.reserve)
    workers = [
        start(worker(STEPS, three=three)),
        start(worker(CARTS, addTicket=seats.add_ticket)),
        start(worker(TICKETS, reserve=seats.reserve)),
    ]
    client = AsyncAbsurd(URL)

    async def post_three(request: Request) -> JSONResponse:
        return JSONResponse(await call(client, "three", await request.json(), STEPS))

    async def post_seat(request: Request) -> JSONResponse:
        params = {"cart": request.path_params["cart"], "ticket": await request.json()}
        return JSONResponse(await call(client, "addTicket", params, CARTS))

    hypercorn = Config()
    hypercorn.bind = [f"127.0.0.1:{port}"]
    routes = [
        Route("/health", lambda _: JSONResponse("ok")),
        Route("/three", post_three, methods=["POST"]),
        Route("/carts/{cart}/seats", post_seat, methods=["POST"]),
    ]
    await serve(Starlette(routes=routes), hypercorn)  # type: ignore[arg-type]
    for task in workers:
        task.cancel()
    return {}


COMMANDS = {
    "prepare": prepare,
    "fill": fill,
    "work": work,
    "latency": latency,
    "serve": serve_http,
}


def main() -> None:
    command, *rest = sys.argv[1:]
    result = uvloop.run(COMMANDS[command](int(rest[0]) if rest else 0))
    print(json.dumps(result), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
