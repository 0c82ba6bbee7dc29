"""Turns the rows of `load_attempts` (claim, reconcile) into records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from howdah.machine.entries import Entry, Kind
from howdah.store.units import Record


@dataclass(slots=True)
class Loaded:
    """What a claim or a reconciliation brought.

    Attributes:
        records: Invocations to execute, in order.
        lost: Resident attempts whose lease is gone.
        next_at: When the next row of the queues is due.
        now: The database's clock.
        is_fenced: The worker is fenced or the generation is old.
        last_path: Of what has a scope: where the next claim goes on; None: from the beginning.
    """

    records: list[Record] = field(default_factory=list)
    lost: list[UUID] = field(default_factory=list)
    next_at: datetime | None = None
    now: datetime | None = None
    is_fenced: bool = False
    last_path: str | None = None


def load(rows: Sequence[Any]) -> Loaded:
    """Read the rows; columns as in sql/functions/40_load_attempts.sql."""
    loaded = Loaded()
    by_id: dict[UUID, Record] = {}
    for row in rows:
        what = row[0]
        if what == b"I":
            record = Record(
                row["id"], row["handler"], row["key"], row["epoch"], row["attempts"],
                row["value"] or b"", row["detail"], row["parent_id"], row["parent_cid"],
                row["origin"], row["idempotency_key"], seed=row["ref"], deployment=row["idx"],
            )  # fmt: skip
            if row["cid"]:
                record.failures = row["cid"]
                record.failing_ms = max(int(row["name"]), 0)
            by_id[record.id] = record
            loaded.records.append(record)
        elif what == b"J":
            record = by_id[row[1]]
            entry = Entry(row[2], row[3], row[4], row[5], row[6], row[7], row[8])
            record.journal.append(entry)
            if entry.kind == Kind.SLEEP:
                assert entry.cid is not None
                assert entry.detail is not None
                delay = msgspec.json.decode(entry.detail)["delay_ms"]
                record.sleeps[entry.cid] = row[9] + timedelta(milliseconds=delay)
        elif what == b"V":
            if row[6] is None:
                by_id[row[1]].is_partial = True
            else:
                by_id[row[1]].state[row[5]] = row[6]
        elif what == b"S":
            record = by_id[row[1]]
            record.scope, record.limit_key = row["name"], row["key"]
        elif what == b"X":
            loaded.lost.append(row[1])
        elif what == b"L":
            loaded.last_path = row["name"]
        elif what == b"N":
            loaded.next_at = row[9]
        elif what == b"T":
            loaded.now = row[9]
        elif what == b"F":
            loaded.is_fenced = True
    return loaded
