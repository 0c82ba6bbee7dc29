"""Credentials that come with a request are used by whoever stands in front, and are kept nowhere."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import asyncpg
import httpx
import pytest

from howdah.options import CREDENTIAL_HEADERS
from support.servers import HowdahProcess, Servers, exchange_raw

ALLOWED = "x-api-key"
WITHHELD = [name for name in CREDENTIAL_HEADERS if name != ALLOWED]

TABLES = """
    select format('%I.%I', n.nspname, c.relname)
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'm')
       and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
"""


@pytest.fixture(scope="module")
def server(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HowdahProcess]:
    """A server that allows one header, logs everything, and hands its options to processes."""
    started = Servers(tmp_path_factory.mktemp("server"))
    served = started.serve(
        module_dsn,
        HOWDAH_HEADER_ALLOW=ALLOWED.title(),
        HOWDAH_LOG_LEVEL="debug",
        HOWDAH_PROCESSES="2",
    )
    served.wait_until_said("Try next")
    yield served
    started.end()


async def tables_that_hold(dsn: str, text: str) -> list[str]:
    """The tables with a row in which the text stands, as it is or within bytes."""
    connection = await asyncpg.connect(dsn)
    try:
        tables = [row[0] for row in await connection.fetch(TABLES)]
        assert "howdah_core.invocation" in tables
        return [
            table
            for table in tables
            if await connection.fetchval(
                f"select exists (select from {table} t where strpos(t::text, $1) > 0"
                " or strpos(t::text, encode(convert_to($1, 'UTF8'), 'hex')) > 0)",
                text,
            )
        ]
    finally:
        await connection.close()


@pytest.mark.parametrize("is_http_2", [False, True])
async def test_a_credential_is_found_nowhere(
    server: HowdahProcess, module_dsn: str, is_http_2: bool
) -> None:
    secret, note = f"secret-{uuid4().hex}", f"note-{uuid4().hex}"
    headers = [(name.title() if not is_http_2 else name, secret) for name in WITHHELD]
    headers += [("cookie", f"a={secret}"), ("x-note", note)]
    with httpx.Client(
        base_url=server.ingress,
        headers=headers,
        timeout=20,
        trust_env=False,
        http1=not is_http_2,
        http2=is_http_2,
    ) as http:
        seen = http.get("/Echo/headers")
        sent = http.post("/Echo/headers/send?delay=1h", headers={"idempotency-key": note})
        answers = [
            seen,
            sent,
            http.post(f"/Counter/{note}/add", json=1),
            http.post("/Echo/fail", json=418),
            http.post("/Echo/double", json="no number"),
            http.post("/Echo/double", content=b"{", headers={"content-type": "application/json"}),
            http.post("/Nobody/double"),
            http.get("/Echo/headers", headers={"x-restate-limit-key": "a"}),
            http.options("/Echo/double", headers={"origin": "https://shop.example"}),
            http.get(f"/restate/output/{sent.json()['invocationId']}"),
            http.get(f"{server.admin}/version"),
            http.get(f"{server.admin}/nothing"),
        ]

    assert seen.json()["x-note"] == note
    assert not set(seen.json()) & set(WITHHELD)
    assert {200, 202, 400, 404, 418, 470} <= {answer.status_code for answer in answers}
    for answer in answers:
        assert secret not in answer.text
        assert secret not in str(answer.headers)
    assert "howdah_core.invocation" in await tables_that_hold(module_dsn, note)
    assert await tables_that_hold(module_dsn, secret) == []
    assert secret not in server.said


async def test_a_request_that_cannot_be_read_leaves_no_credential(
    server: HowdahProcess, module_dsn: str
) -> None:
    secret = f"secret-{uuid4().hex}".encode()
    head = b"GET /Echo/headers HTTP/1.1\r\nhost: a\r\n"

    answers = [
        exchange_raw(server.ingress, head + line + b"\r\n\r\n", seconds=1)
        for line in (
            b"authorization : " + secret,
            b"authorization: " + secret + b"\0",
            b"authorization: " + secret + b"\xff",
            b"authorization: a\r\n " + secret,
            b"authorization: " + secret * 3000,
            b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: " + secret,
        )
    ]

    for answer in answers:
        assert secret not in answer
    assert await tables_that_hold(module_dsn, secret.decode()) == []
    assert secret.decode() not in server.said


async def test_an_allowed_header_reaches_the_handler(
    server: HowdahProcess, module_dsn: str
) -> None:
    secret = f"secret-{uuid4().hex}"

    def ask() -> str:
        answer = httpx.get(
            f"{server.ingress}/Echo/headers", headers={"X-API-Key": secret}, trust_env=False
        )
        found: str = answer.json()["x-api-key"]
        return found

    seen = await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(10)))  # by both processes

    assert seen == [secret] * 10
    assert "howdah_core.invocation" in await tables_that_hold(module_dsn, secret)
