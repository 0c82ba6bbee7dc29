"""The verbs that people call in SQL: in any transaction, for one or many, without locks on what runs."""

import asyncio
import base64
import hashlib
import json
import re
import uuid
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support import histories
from support.engines import assert_healthy, until
from support.histories import (
    ANN,
    ANN_NEXT,
    FAILED,
    JOE,
    PAUSED,
    READY,
    RUNNING,
    SLEEPING,
    UNRESERVE,
    Database,
)

UNKNOWN = UUID(int=99)
_MORE = """[
  {"name": "Checkout", "kind": "workflow", "handlers": [
    {"name": "run", "kind": "workflow", "input_content_type": "application/json",
     "input_required": false, "is_public": true, "idempotency_retention_seconds": 86400,
     "journal_retention_seconds": 86400},
    {"name": "pay", "kind": "shared", "input_content_type": "application/json",
     "input_required": false, "is_public": true, "idempotency_retention_seconds": 86400,
     "journal_retention_seconds": 86400}]}
]"""


@pytest.fixture
async def history(db: Database) -> Database:
    await histories.write_history(db)
    await db.fetchval("select howdah_core.register_deployment('v1', $1)", _MORE)
    await db.execute(
        "insert into howdah_core.handler (service, name, kind, is_public)"
        " select s.no, '~set_state', 'exclusive', false from howdah_core.service s"
        "  where s.name in ('CartObject', 'Checkout') on conflict do nothing"
    )
    return db


async def orders(db: Database) -> list[tuple[Any, ...]]:
    rows = await db.fetch("select id, verb, deployment from howdah_core.nudge order by seq")
    return [tuple(row) for row in rows]


async def live(db: Database, id_: UUID) -> tuple[Any, ...] | None:
    row = await db.fetchrow(
        "select l.status, l.q, l.epoch, i.invoked_by, i.input from howdah_core.live l"
        "  join howdah_core.invocation i on i.id = l.id where l.id = $1",
        id_,
    )
    return None if row is None else tuple(row)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("howdah.cancel(id)", ["accepted"] * 5 + ["completed", "unknown"]),
        ("howdah.kill(id)", ["accepted"] * 5 + ["completed", "unknown"]),
        (
            "howdah.pause(id)",
            ["accepted"] * 3 + ["not running"] * 2 + ["completed", "unknown"],
        ),
        (
            "howdah.resume(id)",
            ["accepted"] * 3 + ["not started"] * 2 + ["completed", "unknown"],
        ),
        (
            "howdah.resume(id, 'v9')",
            ["unknown deployment"] * 3 + ["not started"] * 2 + ["completed", "unknown"],
        ),
        ("howdah.purge(id)", ["not completed"] * 5 + ["done", "unknown"]),
        ("howdah.purge_journal(id)", ["not completed"] * 5 + ["done", "unknown"]),
        (
            "(howdah.restart_as_new(id)).result",
            ["still running"] * 3 + ["not started"] * 2 + ["done", "unknown"],
        ),
    ],
)
async def test_a_verb_answers_with_a_word_for_many(
    history: Database, call: str, words: list[str]
) -> None:
    ids = [RUNNING, SLEEPING, PAUSED, ANN_NEXT, UNRESERVE, JOE, UNKNOWN]

    rows = await history.fetch(
        f"select {call} from unnest($1::uuid[]) with ordinality u(id, o) order by o", ids
    )

    assert [row[0] for row in rows] == words
    if "accepted" in words:
        verb = call.partition(".")[2].partition("(")[0]
        accepted = [id_ for id_, word in zip(ids, words, strict=True) if word == "accepted"]
        assert await orders(history) == [(id_, verb, None) for id_ in accepted]
    await assert_healthy(history)


async def test_verbs_lock_nothing_that_runs_in_somebodys_transaction(
    history: Database, dsn: str
) -> None:
    other = await asyncpg.connect(dsn)
    try:
        async with history.transaction(isolation="serializable"):
            await history.execute(
                f"select howdah.cancel('{RUNNING}'), howdah.kill('{ANN}'), howdah.pause('{READY}'),"
                f" howdah.resume('{PAUSED}'), howdah.signal('{RUNNING}', 'go', '1'),"
                f" howdah.restart_as_new('{FAILED}'), howdah.purge('{FAILED}'),"
                " howdah.send('CartObject', 'get', key => 'ann'),"
                " howdah.send('CartObject', 'addTicket', '1', key => 'ann'),"
                " howdah.set_state('CartObject', 'ann', '{}')"
            )
            await other.fetch("select from howdah_core.live for update nowait")
            await other.fetch("select from howdah_core.keylock for update nowait")
            assert await other.fetchval("select count(*) from howdah_core.nudge") == 0
    finally:
        await other.close()

    assert await history.fetchval("select count(*) from howdah_core.nudge") == 4
    await assert_healthy(history)


async def test_an_order_that_is_rolled_back_was_never_given(history: Database) -> None:
    await history.execute(f"begin; select howdah.kill('{RUNNING}'); rollback")

    assert await orders(history) == []


async def test_those_concerned_are_told(history: Database, dsn: str) -> None:
    heard: list[tuple[str, object]] = []
    listener = await asyncpg.connect(dsn)
    for channel in ("howdah_order", "howdah_work", "howdah_mail"):
        await listener.add_listener(
            channel, lambda _c, _p, where, what: heard.append((where, what))
        )
    try:
        await history.execute(
            f"select howdah.kill('{RUNNING}'), howdah.signal('{RUNNING}', 'go'),"
            " howdah.send('Mailer', 'send', '1'), howdah.send('CartObject', 'addTicket', '1', 'x'),"
            " howdah.send('Mailer', 'send', '1', delay => '1 h')"
        )
        async with asyncio.timeout(20):
            while len(heard) < 4:
                await asyncio.sleep(0.01)
    finally:
        await listener.close()

    assert heard == [
        ("howdah_order", ""),
        ("howdah_mail", str(RUNNING)),
        ("howdah_work", "3"),
        ("howdah_work", "0"),
    ]


async def test_a_restart_in_sql_gives_the_new_id(history: Database) -> None:
    row = await history.fetchrow("select * from howdah.restart_as_new($1, 1)", FAILED)

    assert row is not None
    assert row["result"] == "done"
    assert await live(history, row["new_id"]) == ("ready", 3, 1, "restart", b'{"to": ""}')


# Signals.


@pytest.mark.parametrize(
    ("id_", "word"),
    [
        (RUNNING, "accepted"),
        (SLEEPING, "accepted"),
        (PAUSED, "accepted"),
        (UNRESERVE, "accepted"),
        (ANN_NEXT, "accepted"),
        (JOE, "completed"),
        (UNKNOWN, "unknown"),
    ],
)
async def test_signals_reach_what_is_not_completed(history: Database, id_: UUID, word: str) -> None:
    assert await history.fetchval("select howdah.signal($1, 'go', '{\"n\": 1}')", id_) == word

    mail = await history.fetch(
        "select kind, cid, name, value, detail from howdah_core.mailbox where id = $1", id_
    )
    number = await history.fetchval("select howdah_core.signal_cid('go')")
    expected = [(150, number, "go", b'{"n": 1}', None)] if word == "accepted" else []
    assert [tuple(row) for row in mail] == expected
    await assert_healthy(history)


async def test_a_rejected_signal_carries_code_and_message(history: Database) -> None:
    await history.execute(
        f"select howdah.reject_signal('{RUNNING}', 'go', 'no'),"
        f" howdah.reject_signal('{RUNNING}', 'go', 'never', 404)"
    )

    rows = await history.fetch("select value, detail from howdah_core.mailbox where kind = 150")
    assert [(row["value"], json.loads(row["detail"])) for row in rows] == [
        (None, {"code": 500, "message": "no"}),
        (None, {"code": 404, "message": "never"}),
    ]


@pytest.mark.parametrize("name", ["", "go", "ä", "x" * 1000])
async def test_numbers_of_names_are_those_of_the_contract(db: Database, name: str) -> None:
    expected = -(268435456 + int(hashlib.md5(name.encode()).hexdigest()[:7], 16))

    assert await db.fetchval("select howdah_core.signal_cid($1)", name) == expected


@pytest.mark.parametrize("n", [17, 18, 255, 65536, 268435455])
async def test_ids_of_awakeables_are_read_back(db: Database, n: int) -> None:
    id_ = uuid.uuid4()
    expected = "sign_1" + base64.urlsafe_b64encode(
        id_.bytes + n.to_bytes(4, "big")
    ).decode().rstrip("=")

    assert await db.fetchval("select howdah_core.awakeable_id($1, $2)", id_, n) == expected
    row = await db.fetchrow("select * from howdah_core.read_awakeable_id($1)", expected)
    assert row is not None
    assert tuple(row) == (id_, n)


def _text_of(n: int) -> str:
    raw = RUNNING.bytes + n.to_bytes(4, "big", signed=n < 0)
    return "sign_1" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sign_1",
        _text_of(17)[:-1],
        _text_of(17) + "A",
        _text_of(17) + "\n",
        _text_of(17).replace("sign_1", "prom_1"),
        _text_of(17)[:-1] + "B",
        _text_of(1),
        _text_of(16),
        _text_of(268435456),
        _text_of(-17),
    ],
)
async def test_what_is_no_awakeable_is_refused(history: Database, text: str) -> None:
    for call in ("resolve_awakeable($1, '1')", "reject_awakeable($1, 'no')"):
        with pytest.raises(asyncpg.PostgresError, match="not the id of an awakeable") as error:
            await history.fetchval(f"select howdah.{call}", text)
        assert error.value.sqlstate == "WD018"


async def test_awakeables_are_completed(history: Database) -> None:
    words = await history.fetchrow(
        "select howdah.resolve_awakeable($1, '[1]'), howdah.resolve_awakeable($2),"
        " howdah.reject_awakeable($2, 'no')",
        _text_of(17),
        _text_of(18),
    )

    assert words is not None
    assert set(words) == {"accepted"}
    rows = await history.fetch(
        "select cid, name, value, detail->>'message' from howdah_core.mailbox where id = $1"
        " order by seq",
        RUNNING,
    )
    assert [tuple(row) for row in rows] == [
        (-17, None, b"[1]", None),
        (-18, None, b"null", None),
        (-18, None, None, "no"),
    ]


async def test_a_signal_needs_a_name(history: Database) -> None:
    for call in ("signal($1, '')", "signal($1, null)", "reject_signal($1, '', 'no')"):
        with pytest.raises(asyncpg.PostgresError, match="a signal has a name") as error:
            await history.fetchval(f"select howdah.{call}", RUNNING)
        assert error.value.sqlstate == "WD018"


# Sends.


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("'Mailer', 'send', '{\"to\": 1}'", ("ready", 3, 0, "sql", b'{"to": 1}')),
        ("'Mailer', 'send', 'null'", ("ready", 3, 0, "sql", b"null")),
        ("'Mailer', 'send', '1', delay => '1 h'", ("scheduled", 3, 0, "sql", b"1")),
        ("'Mailer', 'send', '1', delay => '-1 h'", ("ready", 3, 0, "sql", b"1")),
        ("'CartObject', 'get', key => 'tom'", ("ready", 1, 0, "sql", b"")),
        ("'CartObject', 'addTicket', '1', 'tom'", ("scheduled", 0, 0, "sql", b"1")),
        ("'CartObject', 'addTicket', '1', 'tom', '1 h'", ("scheduled", 0, 0, "sql", b"1")),
        ("'TicketObject', 'unreserve', key => 'x'", ("scheduled", 0, 0, "sql", b"")),
        ("'Checkout', 'run', key => 'x'", ("scheduled", 0, 0, "sql", b"")),
        ("'Checkout', 'pay', '1', 'x'", ("ready", 4, 0, "sql", b"1")),
    ],
)
async def test_a_send_is_queued(history: Database, call: str, expected: tuple[Any, ...]) -> None:
    id_ = await history.fetchval(f"select howdah.send({call})")

    assert await live(history, id_) == expected
    assert id_.version == 7
    await assert_healthy(history)


async def test_sends_to_a_key_are_promoted_in_their_order(history: Database) -> None:
    ids = [
        await history.fetchval("select howdah.send('CartObject', 'addTicket', '1', key => 'ann')")
        for _ in range(3)
    ]

    await history.execute("select howdah_core.promote(1, 1, 10)")

    rows = await history.fetch("select id from howdah_core.inbox where key = 'ann' order by seq")
    assert [row["id"] for row in rows] == [ANN_NEXT, *ids]
    await assert_healthy(history)


async def test_an_idempotency_key_gives_the_first_ones_id(history: Database) -> None:
    send = "select howdah.send('CartObject', 'addTicket', '1', 'joe', idempotency_key => $1)"

    assert await history.fetchval(send, "joe-1") == JOE
    first = await history.fetchval(send, "joe-2")
    assert await history.fetchval(send, "joe-2") == first
    assert await history.fetchval(send, None) not in {first, JOE}
    await assert_healthy(history)


async def test_an_idempotency_key_that_is_being_taken_is_waited_for(
    history: Database, dsn: str
) -> None:
    send = "select howdah.send('Mailer', 'send', '1', idempotency_key => 'x')"
    late = await asyncpg.connect(dsn)
    try:
        async with history.transaction():
            first = await history.fetchval(send)
            waiting = asyncio.create_task(late.fetchval(send))
            other = await asyncpg.connect(dsn)
            await until(
                other, "select cardinality(pg_blocking_pids($1)) > 0", late.get_server_pid()
            )
            await other.close()
        assert await waiting == first
    finally:
        await late.close()


async def test_a_workflow_runs_once_for_each_key(history: Database) -> None:
    run = "select howdah.send('Checkout', 'run', '1', key => $1)"

    first = await history.fetchval(run, "a")

    assert await history.fetchval(run, "a") == first
    assert await history.fetchval(run, "b") != first
    assert (
        await history.fetchval(
            "select idempotency_key from howdah_core.invocation where id = $1", first
        )
        is None
    )
    await assert_healthy(history)


@pytest.mark.parametrize(
    ("call", "sqlstate", "message", "hint"),
    [
        ("send('Mailr', 'send')", "WD012", "there is no service 'Mailr'", "There is: Mailer, "),
        ("send(null, 'send')", "WD012", "there is no service NULL", "There is: "),
        (
            "send('Mailer', 'snd')",
            "WD013",
            "service 'Mailer' has no handler 'snd'",
            "It has: send.",
        ),
        ("send('Mailer', '~x')", "WD013", "has no handler '~x'", "It has: send."),
        (
            "send('CartObject', '~set_state', '{}', 'joe')",
            "WD013",
            "object 'CartObject' has no handler '~set_state'",
            "It has: ",
        ),
        ("send('Mailer', 'send', '1', 'k')", "WD019", "has no keys", "Leave the key out"),
        ("send('CartObject', 'get')", "WD019", "is called by key", "Name one"),
        ("send('CartObject', 'get', key => '')", "WD019", "is called by key", "Name one"),
        ("send('Mailer', 'send')", "WD015", "needs an argument", "JSON null is one"),
        ("send('CartObject', 'get', '1', 'k')", "WD015", "takes no argument", "Leave it out"),
        (
            "send('Mailer', 'send', '1', idempotency_key => '')",
            "WD016",
            "is not empty",
            "Leave it out",
        ),
        (
            "send('Checkout', 'run', '1', 'k', idempotency_key => 'x')",
            "WD016",
            "runs once for each key",
            "Leave it out",
        ),
        ("set_state('Mailer', 'k', '{}')", "WD017", "has no state", "Objects and workflows"),
        ("set_state('CartObject', 'k', '[1]')", "WD017", "is a JSON object", "For example"),
        ("set_state('CartObject', null, '{}')", "WD019", "is called by key", "Name one"),
        ("set_state('Nobody', 'k', '{}')", "WD012", "there is no service", "There is"),
    ],
)
async def test_what_cannot_be_sent_is_explained(
    history: Database, call: str, sqlstate: str, message: str, hint: str
) -> None:
    with pytest.raises(asyncpg.PostgresError) as error:
        await history.fetchval(f"select howdah.{call}")

    assert error.value.sqlstate == sqlstate
    assert message in str(error.value)
    assert hint in str(error.value.as_dict()["hint"])


async def test_without_any_service_the_hint_says_so(db: Database) -> None:
    with pytest.raises(asyncpg.PostgresError) as error:
        await db.fetchval("select howdah.send('Mailer', 'send')")

    assert error.value.as_dict()["hint"] == "No worker has registered any yet."


async def test_an_object_of_an_older_release_has_no_way_to_set_state(history: Database) -> None:
    await history.execute("update howdah_core.handler set retired_at = now() where name ~ '^~'")

    with pytest.raises(asyncpg.PostgresError, match="has no handler '~set_state'") as error:
        await history.fetchval("select howdah.set_state('CartObject', 'k', '{}')")
    assert "older release" in str(error.value.as_dict()["hint"])


@pytest.mark.parametrize("state", ['{"cart": ["seat2B", 1.5], "n": null}', "{}", None])
async def test_state_is_set_through_the_keys_own_queue(
    history: Database, state: str | None
) -> None:
    id_ = await history.fetchval("select howdah.set_state('CartObject', 'ann', $1)", state)

    found = await live(history, id_)
    assert found is not None
    assert found[:4] == ("scheduled", 0, 0, "sql")
    sent = json.loads(found[4])
    values = {name: json.loads(base64.b64decode(value)) for name, value in sent["state"].items()}
    assert (values, sent["version"]) == (json.loads(state or "{}"), None)
    await history.execute("select howdah_core.promote(1, 1, 10)")
    assert await history.fetchval("select max(seq) from howdah_core.inbox where id = $1", id_) == 3
    await assert_healthy(history)


async def test_every_example_of_the_page_runs(history: Database) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
    blocks = re.findall(r"^```postgresql\n(.*?)^```$", page, re.M | re.S)
    await history.execute("create schema shop; create table shop.orders (id int, state text)")

    for block in blocks:
        await history.execute(block.replace(":'id'", f"'{RUNNING}'"))

    words = set(re.findall(r"howdah\.(\w+)\(", "".join(blocks)))
    assert words == {
        "cancel", "kill", "resume", "restart_as_new", "signal", "send", "set_state",
        "set_limit_rule",
    }  # fmt: skip
    await assert_healthy(history)


async def test_the_page_names_every_verb(db: Database) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
    rows = await db.fetch(
        "select proname from pg_proc where pronamespace = 'howdah'::regnamespace"
        " and provolatile = 'v'"
    )
    table = "".join(re.findall(r"^\| (`\w+\(.*)$", page, re.M))

    assert set(re.findall(r"`(\w+)\(", table)) == {row["proname"] for row in rows}


async def test_every_function_for_people_may_be_called_by_the_names_of_its_arguments(
    history: Database,
) -> None:
    await history.fetchval(
        "select howdah.send(service => 'Mailer', handler => 'send', argument => '1',"
        " delay => '1 s', idempotency_key => 'n')"
    )
    await history.fetchval(
        "select howdah.set_state(service => 'CartObject', key => 'ann', state => '{\"a\": 1}')"
    )
    await history.fetchval("select howdah.resume(id => $1, deployment => 'keep')", PAUSED)
    await history.fetchval("select howdah.signal(id => $1, name => 'x', value => '1')", RUNNING)
