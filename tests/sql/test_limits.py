"""Rules of concurrency: which one holds, how they are changed, and that nothing slips past them."""

import asyncio
import uuid
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support.batches import MAILER, Connection, commit, connected
from support.engines import assert_healthy, until

RULE = "select howdah.set_limit_rule($1, $2)"
CLAIM = "select what, id from howdah_core.claim_limited($1, 1, '{-2}', '{1}', '{-2}', 0, $2, null)"
SET = "select * from howdah_core.set_limit_rules($1)"


async def hold(db: Connection, worker: int, *paths: str) -> list[UUID]:
    """Invocations that wait for room, one of each path, in this order."""
    ids = [uuid.uuid4() for _ in paths]
    n = len(ids)
    for id_, path in zip(ids, paths, strict=True):
        scope, _, key = path.partition("/")
        await commit(
            db, worker,
            n_u=[0], n_id=[id_], n_service=[MAILER], n_handler=[2], n_key=[None],
            n_exclusive=[False], n_cid=[None], n_input=[b""], n_headers=[None], n_idem=[None],
            n_delay=[None], n_grant=[False], n_waits=[False], n_scope=[scope],
            n_limit_key=[key or None],
        )  # fmt: skip
    assert n == await db.fetchval("select count(*) from howdah.invocations where id = any($1)", ids)
    return ids


async def claimed(connection: Connection, worker: int, limit: int = 100) -> list[UUID]:
    rows = await connection.fetch(CLAIM, worker, limit)
    assert {bytes(row["what"]) for row in rows} <= {b"I", b"S", b"N", b"T"}
    taken = [row["id"] for row in rows if row["what"] == b"I"]
    assert sorted(taken) == sorted(row["id"] for row in rows if row["what"] == b"S")
    return taken


async def finish(db: Connection, worker: int, id_: UUID) -> None:
    rows = await commit(
        db, worker,
        u_id=[id_], u_epoch=[1], u_final=["D"], d_u=[1], d_outcome=["succeeded"], d_value=[b""],
        d_code=[None], d_message=[None], d_metadata=[None], d_service=[MAILER], d_key=[None],
        d_retention=[timedelta(days=1)], d_journal_retention=[timedelta(days=1)],
    )  # fmt: skip
    assert rows == []


async def test_two_claims_at_once_do_not_take_one_slot_twice(
    dsn: str, db: Connection, worker: int
) -> None:
    await db.execute(RULE, "shop", 1)
    await hold(db, worker, "shop", "shop")
    async with connected(dsn) as first, connected(dsn) as second:
        transaction = first.transaction()
        await transaction.start()
        assert len(await claimed(first, 1)) == 1
        waiting = asyncio.create_task(claimed(second, 2))
        await until(
            db,
            "select exists (select from pg_locks where locktype = 'advisory' and not granted"
            " and (classid, objid) = (2, 3))",
        )
        await transaction.commit()
        assert await waiting == []


async def test_a_slot_is_free_once_its_end_is_committed_and_not_before(
    dsn: str, db: Connection, worker: int
) -> None:
    await db.execute(RULE, "shop", 1)
    ids = await hold(db, worker, "shop", "shop")
    assert await claimed(db, worker) == [ids[0]]
    async with connected(dsn) as finishing:
        transaction = finishing.transaction()
        await transaction.start()
        await finish(finishing, worker, ids[0])
        assert await claimed(db, worker) == []
        await transaction.commit()
    assert await claimed(db, worker) == [ids[1]]
    await finish(db, worker, ids[1])
    await assert_healthy(db)


async def test_those_of_one_claim_may_hold_each_other_up_and_the_next_claim_takes_the_rest(
    db: Connection, worker: int
) -> None:
    await db.execute(RULE, "shop", 3)
    await db.execute(RULE, "shop/a", 1)
    ids = await hold(db, worker, "shop/a", "shop/a", "shop/b", "shop/b", "shop/c")

    taken = []
    while now := await claimed(db, worker):
        taken += now

    assert taken == [ids[0], ids[2], ids[3]]


async def test_two_keys_below_a_limited_one_share_its_slots(db: Connection, worker: int) -> None:
    await db.execute(RULE, "shop/a", 2)
    ids = await hold(db, worker, "shop/a/x", "shop/a/y", "shop/a/x", "shop/b/x", "shop/b/x")

    assert await claimed(db, worker) == [ids[0], ids[1], ids[3], ids[4]]


async def test_two_services_share_the_slots_of_a_limit_key(db: Connection, worker: int) -> None:
    await db.execute(RULE, "shop/a/x", 1)
    ids = await hold(db, worker, "shop/a/x", "shop/a/x")
    await db.execute("update howdah_core.live set q = -7 where id = $1", ids[1])
    claim = CLAIM.replace("'{-2}', '{1}', '{-2}'", "'{-2,-7}', '{1,1}', '{-2,-7}'")

    rows = await db.fetch(claim, worker, 100)

    assert [row["id"] for row in rows if row["what"] == b"I"] == [ids[0]]


async def test_a_rule_is_for_places_of_as_many_parts_as_it_has(db: Connection, worker: int) -> None:
    await db.execute(RULE, "*", 1)
    await db.execute(RULE, "shop", None)
    ids = await hold(db, worker, "shop/a", "shop/a", "depot/a", "depot/b")

    assert await claimed(db, worker) == ids[:3]


async def test_a_scope_without_room_holds_up_no_other(db: Connection, worker: int) -> None:
    await db.execute(RULE, "shop", 1)
    await db.execute(RULE, "shut", 0)
    await hold(db, worker, "shop/a")
    await claimed(db, worker)
    full = await hold(db, worker, "shop", "shop/a", "shop/z/z", "shut", "shut/a")

    free = await hold(db, worker, "shop-x", "shop.z/a", "shop0", "shopa/a", "depot/a", "zoo", "shu")

    assert await claimed(db, worker) == free
    assert await claimed(db, worker) == []
    await db.execute(RULE, "shop", 4)
    assert await claimed(db, worker) == full[:3]


async def test_of_many_limit_keys_each_has_its_turn(db: Connection, worker: int) -> None:
    ids = await hold(db, worker, *(f"shop/{n}" for n in range(450)))

    taken: list[UUID] = []
    last, rounds = None, 0
    while rounds == 0 or last is not None:
        rows = await db.fetch(
            CLAIM.replace("what, id", "what, id, name").replace("null)", "$3)"), worker, 1000, last
        )
        taken += [row["id"] for row in rows if row["what"] == b"I"]
        last = next((row["name"] for row in rows if row["what"] == b"L"), None)
        rounds += 1

    assert sorted(taken) == sorted(ids)
    assert rounds == 3


async def test_while_something_is_held_a_claim_is_repeated_soon(
    db: Connection, worker: int
) -> None:
    claim = CLAIM.replace("what, id", "what, at - howdah_core.clock() as left")
    await db.execute(RULE, "shop", 0)
    assert {row["what"]: row["left"] for row in await db.fetch(claim, worker, 1)}[b"N"] is None

    await hold(db, worker, "shop")

    left = {row["what"]: row["left"] for row in await db.fetch(claim, worker, 1)}[b"N"]
    assert timedelta(0) < left <= timedelta(seconds=1)


async def test_the_oldest_goes_first_across_limit_keys(db: Connection, worker: int) -> None:
    ids = await hold(db, worker, "shop/z", "shop/a", "depot", "shop/m")

    assert await claimed(db, worker, 3) == ids[:3]
    assert await claimed(db, worker, 3) == ids[3:]


@pytest.mark.parametrize(
    ("patterns", "place", "holds"),
    [
        (["*", "s"], "s", "s"),
        (["*", "s"], "other", "*"),
        (["s"], "other", None),
        (["*/*", "*/a", "s/*", "s/a"], "s/a", "s/a"),
        (["*/*", "*/a", "s/*"], "s/a", "s/*"),
        (["*/*", "*/a"], "s/a", "*/a"),
        (["*/*/*", "s/*/*", "s/*/b", "*/a/b"], "s/a/b", "s/*/b"),
        (["*/*/*", "s/*/*", "s/a/*"], "s/a/b", "s/a/*"),
        (["s_t"], "sxt", None),
        (["s_t"], "s_t", "s_t"),
        (["s", "s/a"], "s/a/b", None),
    ],
)
async def test_the_most_specific_rule_of_a_place_holds(
    db: Connection, worker: int, patterns: list[str], place: str, holds: str | None
) -> None:
    for n, pattern in enumerate(patterns):
        await db.execute(RULE, pattern, n + 1)
    await hold(db, worker, place)

    row = await db.fetchrow("select pattern, waiting from howdah.limits where place = $1", place)

    assert row is not None
    assert tuple(row) == (holds, 1)


async def test_a_disabled_rule_is_left_aside(db: Connection, worker: int) -> None:
    await db.execute(RULE, "*", 2)
    await db.execute("select howdah.set_limit_rule('shop', 0, is_disabled => true)")
    await hold(db, worker, "shop", "shop", "shop")

    assert len(await claimed(db, worker)) == 2


async def test_rules_have_versions_that_a_change_may_ask_for(db: Connection) -> None:
    first = await db.fetch(SET, '[{"pattern": "a", "concurrency": 1}, {"pattern": "b/*"}]')
    assert [tuple(row)[:4] for row in first] == [("a", 1, None, False), ("b/*", None, None, False)]
    version = first[0]["version"]
    assert version == first[1]["version"] > 0

    for refused in (
        '[{"pattern": "c"}, {"pattern": "a", "precondition": "does_not_exist"}]',
        '[{"pattern": "c"}, {"pattern": "a", "precondition": "matches", "expected_version": 0}]',
        '[{"pattern": "c"}, {"pattern": "d", "precondition": "matches", "expected_version": 1}]',
    ):
        with pytest.raises(asyncpg.PostgresError) as raised:
            await db.fetch(SET, refused)
        assert raised.value.sqlstate == "WD026"
    changed = await db.fetch(
        SET,
        '[{"pattern": "a", "concurrency": 2, "description": "few", "precondition": "matches",'
        f' "expected_version": {version}}}]',
    )
    assert changed[0]["version"] > version
    delete = "select howdah_core.delete_limit_rules($1)"
    with pytest.raises(asyncpg.PostgresError, match="not as expected"):
        await db.fetch(
            delete, f'[{{"pattern": "b/*"}}, {{"pattern": "a", "expected_version": {version}}}]'
        )
    removed = await db.fetch(delete, '[{"pattern": "b/*"}, {"pattern": "nothing"}]')
    assert [row[0] for row in removed] == ["b/*"]
    assert [row["pattern"] for row in await db.fetch("select * from howdah.limit_rules")] == ["a"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ('[{"pattern": "ok"}, {"pattern": "a b"}]', "'a b' is no pattern"),
        ('[{"pattern": "a/b/c/d"}]', "'a/b/c/d' is no pattern"),
        ('[{"pattern": "a*"}]', "'a*' is no pattern"),
        ('[{"pattern": ""}]', "'' is no pattern"),
        ('[{"concurrency": 1}]', "'null' is no pattern"),
        ('[{"pattern": "a"}, {"pattern": "a"}]', "two rules for 'a'"),
        ('[{"pattern": "a", "concurrency": -1}]', "concurrency of 'a' is out of bounds"),
        ('[{"pattern": "a", "concurrency": 3000000000}]', "concurrency of 'a' is out of bounds"),
    ],
)
async def test_what_is_no_rule_is_refused_with_all_of_its_request(
    db: Connection, rules: str, message: str
) -> None:
    with pytest.raises(asyncpg.PostgresError) as raised:
        await db.fetch(SET, rules)
    assert raised.value.sqlstate == "WD025"
    assert message in str(raised.value)
    assert await db.fetch("select from howdah.limit_rules") == []


async def test_rules_are_not_without_number(db: Connection) -> None:
    many: list[dict[str, Any]] = [{"pattern": f"s{n}"} for n in range(1001)]
    with pytest.raises(asyncpg.PostgresError) as raised:
        await db.fetch(SET, str(many).replace("'", '"'))
    assert raised.value.sqlstate == "WD027"
    assert await db.fetch("select from howdah.limit_rules") == []


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ("limit_key => 'a'", "a limit key needs a scope"),
        ("scope => 'a/b'", "'a/b' is no scope"),
        ("scope => ''", "'' is no scope"),
        ("scope => 'a', limit_key => 'b/'", "'b/' is no limit key"),
    ],
)
async def test_sends_by_sql_refuse_what_is_no_scope(
    db: Connection, worker: int, facts: str, message: str
) -> None:
    with pytest.raises(asyncpg.PostgresError) as raised:
        await db.fetch(f"select howdah.send('Mailer', 'send', {facts})")
    assert raised.value.sqlstate == "WD024"
    assert message in str(raised.value)
    with pytest.raises(asyncpg.PostgresError, match="called without a scope"):
        await db.fetch("select howdah.send('Seat', 'hold', key => 'k', scope => 'a')")


async def test_a_send_by_sql_is_held(db: Connection, worker: int) -> None:
    await db.execute(RULE, "shop", 0)
    send = "select howdah.send('Mailer', 'send', scope => 'shop', limit_key => 'joe', idempotency_key => 'x')"
    id_ = await db.fetchval(send)
    assert await db.fetchval(send) == id_
    assert await db.fetchval(send.replace("'shop'", "'depot'")) != id_
    row = await db.fetchrow(
        "select status, scope, limit_key from howdah.invocations where id = $1", id_
    )
    assert row is not None
    assert tuple(row) == ("held", "shop", "joe")
    assert len(await claimed(db, worker)) == 1
