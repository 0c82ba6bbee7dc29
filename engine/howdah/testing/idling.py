"""Whether anything is left to do, what it is, and when the next thing is due.

What is in the database is asked there. What an attempt in memory does, only the engine knows: one
that waits for a timer or for somebody else is as idle as one that is suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from howdah.worker.engine import Engine

SOON: Final = timedelta(milliseconds=10)
"""What is due within this is due: the engine's idea of the database's clock is a little late."""
NOBODY: Final = UUID(int=0)
SHOWN_MAX: Final = 10
"""Invocations that an error names."""

# $1: invocations that are in memory and at rest; $2: `SOON`.
_BUSY: Final = """
select l.id, case l.status when 'scheduled' then 'is due' when 'suspended' then 'is due'
                           when 'backing_off' then 'is due for its next attempt'
                           else 'is ' || l.status end as what
  from howdah_core.live l
 where l.status = 'running' and l.id <> all ($1::uuid[])
    or (l.status = 'ready' or l.status in ('scheduled', 'held', 'suspended', 'backing_off')
                              and l.run_at <= howdah_core.now() + $2::interval)
       and not exists (
         select from howdah.limits x
          where x.available = 0
            and (x.place = l.limit_path or starts_with(l.limit_path, x.place || '/')))
union all
select m.id, 'has unread mail'
  from (select distinct m.id from howdah_core.mailbox m) m
  join howdah_core.live l on l.id = m.id
 where l.status = 'running' and l.id = any ($1::uuid[])
    or l.status = 'suspended'
       and howdah_core.is_satisfied(l.id, l.wait_ids, l.wait_all, l.wait_tree)
union all
select n.id, 'is to ' || n.verb from howdah_core.nudge n
union all
select s.waiter_id, 'is to be told of an outcome'
  from howdah_core.sink s join howdah_core.outcome o on o.id = s.target_id
 where s.waiter_id is not null
"""

_NEXT: Final = """
select howdah_core.clock() as now,
       (select min(l.run_at) from howdah_core.live l
         where l.status in ('scheduled', 'suspended', 'backing_off')) as due
"""

_UNFINISHED: Final = """
select i.id, i.target, i.status, i.waiting_for, i.last_failure, i.attempts,
       (select string_agg('step ' || j.name, ', ' order by j.index) from howdah.journal j
         where j.invocation_id = i.id and j.type = 'run' and j.completed_by is null) as steps
  from howdah.invocations i
 where i.status <> 'completed'
 order by i.created_at
"""


async def busy(
    engine: Engine, db: asyncpg.Connection[Any], calls: Callable[[], int]
) -> dict[UUID, str]:
    """What is not idle, with a word on why; empty: nothing will happen but by time or by others.

    Args:
        engine: Whose attempts are looked at.
        db: A connection to its database.
        calls: How many statements the engine has sent by now.
    """
    sent = calls()
    at_rest = [id_ for id_, why in _residents(engine).items() if why is None]
    rows = await db.fetch(_BUSY, at_rest, SOON)
    found = {row["id"]: row["what"] for row in rows}
    found |= {id_: why for id_, why in _residents(engine).items() if why is not None}
    if not found and not (engine.lane.is_settled and sent == calls()):
        # What the rows say may be of before, what is in memory of after.
        found[NOBODY] = "is on its way to the database"
    return found


def _residents(engine: Engine) -> dict[UUID, str | None]:
    soon = engine.database_now() + SOON
    found: dict[UUID, str | None] = {}
    for id_, attempt in engine.residents.items():
        due_at = attempt.next_due_at()
        if not attempt.is_at_rest:
            found[id_] = "is running"
        elif due_at is not None and due_at <= soon:
            found[id_] = "is due"
        else:
            found[id_] = None
    return found


async def next_due(engine: Engine, db: asyncpg.Connection[Any]) -> tuple[datetime, datetime | None]:
    """The database's clock, and when the next thing is due by it; None: nothing waits for time."""
    # One that is suspended meanwhile may be in none of the rows, and not in memory any more after them.
    resident = _timers(engine)
    row = await db.fetchrow(_NEXT)
    assert row is not None
    now: datetime = row["now"]
    times = [row["due"], *resident, *_timers(engine)]
    pauses = [until - engine.skipping.seconds() for until in engine.skipping.paused.values()]
    if pauses:
        times.append(now + timedelta(seconds=max(min(pauses), 0)))
    return now, min((time for time in times if time is not None), default=None)


def _timers(engine: Engine) -> list[datetime | None]:
    return [attempt.next_due_at() for attempt in engine.residents.values()]


async def describe(db: asyncpg.Connection[Any], reasons: Mapping[UUID, str]) -> str:
    """The invocations that are not completed, a line each: those with a reason first."""
    rows = await db.fetch(_UNFINISHED)
    lines = []
    for row in sorted(rows, key=lambda row: row["id"] not in reasons)[:SHOWN_MAX]:
        what = reasons.get(row["id"]) or f"is {row['status'].replace('_', ' ')}"
        details = [
            f"waits for {row['waiting_for']}" if row["waiting_for"] else None,
            f"in {row['steps']}" if row["steps"] and row["status"] == "running" else None,
            f"last failure: {row['last_failure']}" if row["last_failure"] else None,
        ]
        said = "; ".join(detail for detail in details if detail)
        lines.append(f"  {row['target']} ({row['id']}) {what}" + (f": {said}" if said else ""))
    if len(rows) > SHOWN_MAX:
        lines.append(f"  … and {len(rows) - SHOWN_MAX} more")
    return "\n".join(lines)
