"""A unit that is refused leaves no trace, and takes with it whatever is tied to it."""

import uuid
from datetime import timedelta
from uuid import UUID

import pytest

from support.batches import MAILER, SEAT, Connection, accept, commit, connected, letters
from support.engines import assert_healthy

TABLES = (
    "select table_name from information_schema.tables"
    " where table_schema = 'howdah_core' and table_type = 'BASE TABLE'"
)
MAIL = (
    "insert into howdah_core.mailbox (id, kind, cid, value, at)"
    " values ($1, 150, -17, '1', howdah_core.clock()) returning seq"
)


async def snapshot(db: Connection) -> dict[str, list[str]]:
    """All rows of all tables."""
    names = [row[0] for row in await db.fetch(TABLES)]
    return {
        name: [row[0] for row in await db.fetch(f"select t::text from howdah_core.{name} t")]
        for name in names
    }


async def everything(
    connection: Connection, worker: int, id_: UUID, epoch: int, other: UUID, seq: int
) -> list[bytes]:
    """A unit that does all that a unit can do, and gives its lease back."""
    asked = [12, 14, 15, 16, 18, 19]
    n = len(asked)
    rows = await commit(
        connection,
        worker,
        u_id=[id_],
        u_epoch=[epoch],
        u_final=["S"],
        j_u=[1],
        j_idx=[1],
        j_kind=[150],
        j_cid=[-17],
        j_name=[None],
        j_value=[b"1"],
        j_ref=[None],
        j_detail=[None],
        m_u=[1],
        m_seq=[seq],
        w_u=[1],
        w_service=[SEAT],
        w_key=["k"],
        w_name=["by"],
        w_value=[b"1"],
        n_u=[1, 1],
        n_id=[uuid.uuid4(), uuid.uuid4()],
        n_service=[SEAT, MAILER],
        n_handler=[SEAT, MAILER],
        n_key=["another", None],
        n_exclusive=[True, False],
        n_cid=[1, None],
        n_input=[b"", b""],
        n_headers=[None, None],
        n_idem=[None, "once"],
        n_delay=[None, None],
        n_grant=[True, True],
        n_waits=[False, False],
        t_u=[1, 1],
        t_id=[other, other],
        t_kind=[150, 150],
        t_cid=[-17, -1],
        t_name=[None, None],
        t_value=[b"1", None],
        t_detail=[None, None],
        r_u=[1] * n,
        r_kind=asked,
        r_cid=list(range(2, n + 2)),
        r_service=[SEAT] * n,
        r_key=["k"] * n,
        r_name=["name"] * n,
        r_target=[None] * 4 + [other] * 2,
        r_value=[b"1"] * n,
        r_detail=[None] * 4 + ["{}"] * 2,
        s_u=[1],
        s_status=["backing_off"],
        s_run_at=[None],
        s_delay=[timedelta(seconds=60)],
        s_wait_ids=[None],
        s_wait_all=[False],
        s_note=[None],
        s_q=[None],
        s_uncounted=[False],
        f_u=[1],
        f_failure=['{"code": 500, "message": "it failed"}'],
    )
    return letters(rows)


@pytest.mark.parametrize("refusal", ["lost", "busy", "target busy"])
async def test_a_refused_unit_leaves_no_trace(
    dsn: str, db: Connection, worker: int, refusal: str
) -> None:
    id_, other = uuid.uuid4(), uuid.uuid4()
    await accept(db, worker, id_)
    await accept(db, worker, other, service=MAILER, key=None)
    seq = await db.fetchval(MAIL, id_)
    await db.execute("insert into howdah_core.promise (service, key, name) values (1, 'k', 'name')")
    before = await snapshot(db)

    if refusal == "lost":
        assert await everything(db, worker, id_, 2, other, seq) == [b"L"]
    else:
        async with connected(dsn) as holder, holder.transaction():
            locked = other if refusal == "target busy" else id_
            await holder.execute("select from howdah_core.live where id = $1 for update", locked)
            assert await everything(db, worker, id_, 1, other, seq) == [b"B"]

    assert await snapshot(db) == before
    said = await everything(db, worker, id_, 1, other, seq)
    assert not {b"L", b"B"} & set(said)
    after = await snapshot(db)
    changed = {name for name, rows in after.items() if rows != before[name]}
    assert changed >= {
        "failure", "idem", "invocation", "journal", "keylock", "live", "mailbox", "promise",
        "sink", "state",
    }  # fmt: skip


@pytest.mark.parametrize("lost", [1, 2, 3])
@pytest.mark.parametrize("ties", [([1, 2], [2, 3]), ([2, 1], [3, 2])])
async def test_what_is_tied_to_a_refused_unit_by_any_number_of_ties_is_refused(
    db: Connection, worker: int, lost: int, ties: tuple[list[int], list[int]]
) -> None:
    ids = [uuid.uuid4() for _ in range(4)]
    await accept(db, worker, *ids, service=MAILER, key=None)
    n = len(ids)
    rows = await commit(
        db,
        worker,
        u_id=ids,
        u_epoch=[2 if position == lost else 1 for position in range(1, n + 1)],
        u_final=[""] * n,
        x_a=ties[0],
        x_b=ties[1],
        j_u=list(range(1, n + 1)),
        j_idx=[1] * n,
        j_kind=[3] * n,
        j_cid=[1] * n,
        j_name=["step"] * n,
        j_value=[None] * n,
        j_ref=[None] * n,
        j_detail=[None] * n,
    )

    refused = {row["n"]: row["what"] for row in rows}
    assert refused == {place: b"L" if place == lost else b"B" for place in (1, 2, 3)}
    assert [row[0] for row in await db.fetch("select id from howdah_core.journal")] == ids[3:]
    await assert_healthy(db)
