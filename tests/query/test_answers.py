"""Answers to queries over HTTP: JSON, Arrow, errors, and how much may be asked at once."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow
import pytest

from howdah_api.admin.query import PARALLEL, WAITING_MAX
from support.proxies import door_to
from support.servers import HowdahProcess, Servers

ARROW = "application/vnd.apache.arrow.stream"
JSON = {"accept": "application/json"}
SLOW = "select count(*) from " + ", ".join(f"information_schema.columns {name}" for name in "abcd")
RUNNING = """
select count(*) from pg_stat_activity
 where datname = current_database() and application_name = 'howdah query'
"""


def arrow(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == ARROW
    return pyarrow.ipc.open_stream(io.BytesIO(answer.content)).read_all()


@pytest.fixture(scope="module", autouse=True)
def filled(server: HowdahProcess) -> str:
    """What the queries find: one completed call of an object, one that failed; returns its id."""
    with httpx.Client(base_url=server.ingress, timeout=20, trust_env=False) as http:
        assert http.post("/Counter/k/add", json=3).status_code == 200
        assert http.post("/Echo/fail", json=418).status_code == 418
        sent = http.post("/Echo/pause/send", json=3600)
    invocation_id: str = sent.json()["invocationId"]
    return invocation_id


def test_rows_are_json_without_what_is_null(ask: Any) -> None:
    answer = ask.post("select key, value, scope, key_length from state", accept="application/json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"rows": [{"key": "total", "value": "33", "key_length": 5}]}


def test_no_rows_are_an_empty_list(ask: Any) -> None:
    assert ask.rows("select * from sys_rules") == []


def test_values_of_every_kind(ask: Any) -> None:
    (row,) = ask.rows(
        """
        select created_at at_, completion_retention kept, journal_size, completed_at is not null done,
               cast('2026-11-24T05:33:36.265987Z' as timestamp) as exact, interval '1500 milliseconds' short,
               1.5 fraction, 2 whole, avg(journal_size) over () mean, 'a' || 'b' text, cast(null as int) none,
               suspended_waiting_for_completions waits
          from sys_invocation where target_service_name = 'Counter'"""
    )

    assert row["exact"] == "2026-11-24T05:33:36.265Z"
    assert (row["kept"], row["short"]) == ("PT86400S", "PT1.5S")
    assert (row["journal_size"], row["done"]) == (4, True)
    assert (row["fraction"], row["whole"], row["mean"], row["text"]) == (1.5, 2, 4.0, "ab")
    assert len(row["at_"]) == len("2026-11-24T05:33:36.265Z")
    assert "none" not in row
    assert "waits" not in row


def test_lists_are_lists(ask: Any, filled: str) -> None:
    def waits() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = ask.rows(
            "select suspended_waiting_for_completions a, suspended_waiting_for_signals b,"
            f" suspended_waiting_for_signals[1] c from sys_invocation where id = '{filled}'"
        )
        return rows

    deadline = time.monotonic() + 20
    while waits() == [{}]:
        assert time.monotonic() < deadline
    assert waits() == [{"a": [1], "b": [1], "c": 1}]


@pytest.mark.parametrize("accept", [None, "*/*", ARROW, "application/json, */*", "text/html"])
def test_whoever_does_not_ask_for_json_gets_arrow(ask: Any, accept: str | None) -> None:
    headers = {} if accept is None else {"accept": accept}

    table = arrow(ask.post("select count(*), max(key) k from state", **headers))

    assert table.schema.names == ["count(*)", "k"]
    assert table.schema.types == [pyarrow.int64(), pyarrow.large_utf8()]
    assert table.to_pylist() == [{"count(*)": 1, "k": "total"}]


def test_arrow_has_the_types_of_the_columns(ask: Any) -> None:
    table = arrow(ask.post("select * from sys_invocation"))
    types = dict(zip(table.schema.names, table.schema.types, strict=True))

    assert table.num_rows == 3
    assert types["journal_size"] == pyarrow.uint32()
    assert types["retry_count"] == pyarrow.uint64()
    assert types["created_at"] == pyarrow.timestamp("ms", tz="+00:00")
    assert types["completion_retention"] == pyarrow.duration("ms")
    assert types["in_flight"] == pyarrow.bool_()
    assert types["suspended_waiting_for_signals"] == pyarrow.list_(pyarrow.uint32())
    journal = arrow(ask.post("select raw from sys_journal where index = 0 order by raw"))
    assert journal.column("raw").to_pylist() == [b"3", b"3600", b"418"]


def test_arrow_without_rows_has_a_schema(ask: Any) -> None:
    table = arrow(ask.post("select * from sys_rules"))

    assert (table.num_rows, table.num_columns) == (0, 6)


def test_arrow_cannot_hold_a_count_below_0(ask: Any) -> None:
    answer = ask.post("select cast(-1 as bigint unsigned)")

    assert answer.status_code == 500
    assert answer.json()["message"].startswith("Datafusion error: Execution error: ")


@pytest.mark.parametrize(
    ("status", "query", "message"),
    [
        (400, "selec", "SQL error: ParserError"),
        (400, "drop table state", "Error during planning: DDL not supported"),
        (400, "select x from state", "Schema error: No field named x"),
        (400, "select key + now() from state", "Error during planning: operator does not exist"),
        (400, "select key, count(*) from state", "Error during planning: column "),
        (500, "select * from x", "Error during planning: table 'restate.public.x' not found"),
        (500, "select 1 / 0", "Execution error: division by zero"),
        (500, "select cast(key as int) from state", "Execution error: invalid input syntax"),
    ],
)
def test_errors(ask: Any, status: int, query: str, message: str) -> None:
    found = ask.refusal(query)

    assert (found[0], found[1][: len(message)]) == (status, message)
    answer = ask.post(query)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (415, "text/plain", b'{"query": "select 1"}'),
        (400, "application/json", b"{"),
        (422, "application/json", b"{}"),
        (422, "application/json", b'{"query": 1}'),
        (413, "application/json", b'{"query": "' + b" " * 2_000_000 + b'"}'),
    ],
)
def test_bodies_that_are_no_query(ask: Any, status: int, content_type: str, body: bytes) -> None:
    answer = ask.client.post("/query", content=body, headers={"content-type": content_type})

    assert answer.status_code == status


def test_many_rows_come_in_pieces(ask: Any) -> None:
    rows = ask.rows(
        "with j as (select c.column_name name from information_schema.columns c)"
        " select a.name, b.name other from j a, j b limit 50000"
    )

    assert len(rows) == 50_000
    table = arrow(
        ask.post(
            "with j as (select c.column_name name from information_schema.columns c)"
            " select a.name from j a, j b limit 50000"
        )
    )
    assert table.num_rows == 50_000


def test_too_many_rows_break_off(ask: Any) -> None:
    query = (
        "with j as (select 1 as one from information_schema.columns)"
        " select a.one from j a, j b, j c"
    )

    with pytest.raises(httpx.RemoteProtocolError):
        ask.post(query, accept="application/json")


@pytest.mark.parametrize("size", [100_000, 10_000])
def test_too_many_bytes_are_refused_or_break_off(ask: Any, size: int) -> None:
    wide = "'" + "x" * size + "'"
    query = f"select {wide} a from information_schema.columns, information_schema.tables"

    if size == 100_000:  # too much in the first portion of rows
        message = "Execution error: the result is larger than 32 MiB"
        assert ask.refusal(query) == (500, f"{message}. Ask for fewer columns or rows.")
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            ask.post(query, accept="application/json")


async def test_a_query_of_a_client_that_leaves_is_ended(server: HowdahProcess, db_of: Any) -> None:
    async with httpx.AsyncClient(base_url=server.admin, trust_env=False) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/query", json={"query": SLOW}, timeout=1.0)

    async with asyncio.timeout(20):
        while await db_of.fetchval(RUNNING):
            await asyncio.sleep(0.02)


async def test_what_a_query_may_take_is_bounded(server: HowdahProcess, db_of: Any) -> None:
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=server.admin, timeout=60, trust_env=False) as client:
        asked = [
            asyncio.ensure_future(client.post("/query", json={"query": SLOW}))
            for _ in range(PARALLEL + WAITING_MAX + 2)
        ]
        async with asyncio.timeout(20):
            while await db_of.fetchval(RUNNING) < PARALLEL:
                await asyncio.sleep(0.02)
        assert (await client.get("/health")).status_code == 200
        answers = await asyncio.gather(*asked)
        after = await client.post("/query", json={"query": "select 1"})
    statuses = [answer.status_code for answer in answers]

    assert (statuses.count(500), statuses.count(429)) == (PARALLEL, WAITING_MAX + 2)
    for answer in answers:
        message = answer.json()["message"]
        if answer.status_code == 429:
            assert message == "Too many queries run at once. Try again"
            assert answer.headers["retry-after"] == "1"
        else:
            assert message == "Datafusion error: Execution error: the query took more than 10 s"
    assert after.status_code == 200
    assert time.monotonic() - began < 40


async def test_a_database_that_is_away_is_said_to_be(servers: Servers, dsn: str) -> None:
    with door_to(dsn) as (door, through):
        served = servers.serve(through)
        async with httpx.AsyncClient(base_url=served.admin, timeout=60, trust_env=False) as client:
            door.close()
            away = await client.post("/query", json={"query": "select 1"}, headers=JSON)
            door.open()
            back = await client.post("/query", json={"query": "select 1"}, headers=JSON)

    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert back.status_code == 200


def test_without_pyarrow_only_json_is_answered(servers: Servers, dsn: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = None\n")
    served = servers.serve(dsn, PYTHONPATH=str(tmp_path))

    with httpx.Client(base_url=served.admin, timeout=60, trust_env=False) as client:
        refused = client.post("/query", json={"query": "select 1"})
        answered = client.post("/query", json={"query": "select 1 one"}, headers=JSON)

    assert refused.status_code == 406
    assert "pip install howdah[arrow]" in refused.json()["message"]
    assert answered.json() == {"rows": [{"one": 1}]}
