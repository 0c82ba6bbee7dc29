"""The peers' work, written for DBOS as its documentation writes it.

    PEER_DATABASE_URL=... python dbos_peer.py prepare | fill N | work N | latency N | serve PORT

Async workflows and steps; a queue with `worker_concurrency` 50 (its documentation advises a limit
per worker for large queues) polled every 100 ms instead of every second; logging at ERROR. Seats
are rows, updated in transactions of a datasource, in a workflow and its child workflow.
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
from dbos import DBOS, AsyncSQLAlchemyDatasource, DBOSConfig
from hypercorn.asyncio import serve
from hypercorn.config import Config
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

URL = os.environ["PEER_DATABASE_URL"]
QUEUE = "steps"
WORKER_CONCURRENCY = 50
POLLING_SECONDS = 0.1

TABLES = """
create table if not exists ticket (id text primary key, status text not null);
create table if not exists cart (id text primary key, seats text[] not null);
"""

config: DBOSConfig = {"name": "benchmark", "system_database_url": URL, "log_level": "ERROR"}
DBOS(config=config)


class Seats:
    """Where the datasource is kept once a loop runs."""

    database: Any = None


@DBOS.step()
async def step() -> dict[str, str]:
    return {"result": "ok"}


@DBOS.workflow()
async def three(argument: str) -> str:
    await step()
    await step()
    await step()
    return argument


async def mark_reserved(ticket_id: str) -> bool:
    statement = text(
        "insert into ticket values (:id, 'reserved') on conflict (id) do update"
        " set status = 'reserved' where ticket.status = 'available' returning id"
    )
    result = await Seats.database.sql_session().execute(statement, {"id": ticket_id})
    return result.first() is not None


async def put_into_cart(cart_id: str, ticket_id: str) -> None:
    statement = text(
        "insert into cart values (:id, array[:ticket]) on conflict (id) do update"
        " set seats = cart.seats || excluded.seats"
    )
    await Seats.database.sql_session().execute(statement, {"id": cart_id, "ticket": ticket_id})


@DBOS.workflow()
async def reserve(ticket_id: str) -> bool:
    done: bool = await Seats.database.run_tx_step_async(
        {"name": "reserve"}, mark_reserved, ticket_id
    )
    return done


@DBOS.workflow()
async def add_ticket(cart_id: str, ticket_id: str) -> bool:
    is_reserved: bool = await reserve(ticket_id)
    if is_reserved:
        await Seats.database.run_tx_step_async({"name": "cart"}, put_into_cart, cart_id, ticket_id)
    return is_reserved


async def post_three(request: Request) -> JSONResponse:
    return JSONResponse(await three(await request.json()))


async def post_seat(request: Request) -> JSONResponse:
    return JSONResponse(await add_ticket(request.path_params["cart"], await request.json()))


def prepare() -> dict[str, float]:
    DBOS.launch()
    DBOS.register_queue(
        QUEUE, worker_concurrency=WORKER_CONCURRENCY, polling_interval_sec=POLLING_SECONDS
    )
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(TABLES)
    return {}


def fill(count: int) -> dict[str, float]:
    DBOS.listen_queues(["none"])
    DBOS.launch()
    for _ in range(count):
        DBOS.enqueue_workflow(QUEUE, three, "x")
    return {}


def work(count: int) -> dict[str, float]:
    DBOS.listen_queues([QUEUE])
    DBOS.launch()
    where = f"from dbos.workflow_status where queue_name = '{QUEUE}' and status = 'SUCCESS'"
    with psycopg.connect(URL, autocommit=True) as connection:
        while scalar(connection, f"select count(*) {where}") < count:
            time.sleep(0.2)
        took_ms = scalar(connection, f"select max(completed_at) - min(started_at_epoch_ms) {where}")
    return {"per_second": count / took_ms * 1000}


def scalar(connection: psycopg.Connection[tuple[Any, ...]], statement: str) -> float:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return float(row[0])


async def latency(count: int) -> dict[str, float]:
    DBOS.launch()
    took: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        await three("x")
        took.append(time.perf_counter() - begun)
    return {"p50_ms": sorted(took)[count // 2] * 1000}


async def serve_http(port: int) -> dict[str, float]:
    Seats.database = await AsyncSQLAlchemyDatasource.create(URL)
    DBOS.launch()
    hypercorn = Config()
    hypercorn.bind = [f"127.0.0.1:{port}"]
    routes = [
        Route("/health", lambda _: JSONResponse("ok")),
        Route("/three", post_three, methods=["POST"]),
        Route("/carts/{cart}/seats", post_seat, methods=["POST"]),
    ]
    await serve(Starlette(routes=routes), hypercorn)  # type: ignore[arg-type]
    return {}


def main() -> None:
    command, *rest = sys.argv[1:]
    number = int(rest[0]) if rest else 0
    result: dict[str, float] = {}
    if command == "prepare":
        result = prepare()
    elif command == "fill":
        result = fill(number)
    elif command == "work":
        result = work(number)
    elif command == "latency":
        result = asyncio.run(latency(number))
    elif command == "serve":
        result = uvloop.run(serve_http(number))
    print(json.dumps(result), flush=True)
    os._exit(0)  # DBOS keeps threads that outlive main


if __name__ == "__main__":
    main()
