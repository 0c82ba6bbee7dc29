"""What one call of the database carries: units and requests, as the arrays of `commit_batch` (or `append_batch`, its short path).

One call carries everything; no loop per row reaches the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from howdah.errors import StoreUnavailable
from howdah.store.units import Delivery, Mail, NewInvocation, Unit

_COLUMNS = {
    "u": 3,
    "x": 2,
    "j": 8,
    "m": 2,
    "w": 5,
    "n": 13,
    "t": 7,
    "r": 9,
    "d": 10,
    "s": 10,
    "f": 2,
}
"""How many arrays each group of parameters has, in the order of the SQL signature."""


class Batch(NamedTuple):
    """What one call of the database carries."""

    units: list[Unit]
    accepts: list[NewInvocation]
    deliveries: list[Delivery]

    def __bool__(self) -> bool:
        return bool(self.units or self.accepts or self.deliveries)

    def refuse_requests(self, doing: str) -> None:
        """Tell those who wait for requests and deliveries that it is not known to be written."""
        waiting = [new.accepted for new in self.accepts] + [one.accepted for one in self.deliveries]
        for accepted in waiting:
            if accepted is not None and not accepted.done():
                accepted.set_exception(StoreUnavailable(doing=doing))


def _parameters(first: int, count: int) -> str:
    return ", ".join(f"${number}" for number in range(first, first + count))


_SCOPES = 2
"""After those of new invocations: their scopes and limit keys."""
COMMIT_BATCH = (
    "select * from howdah_core.commit_batch("
    f"{_parameters(1, 8 + sum(_COLUMNS.values()) + _SCOPES)})"
)
APPEND_BATCH = f"select * from howdah_core.append_batch({_parameters(1, 12)})"


def is_append_only(units: Sequence[Unit]) -> bool:
    """Whether the units write journal entries and nothing else."""
    return not any(
        unit.final or unit.calls or unit.writes or unit.mail or unit.consumed or unit.tied
        or unit.clears_all or unit.wants_clock or unit.asks
        for unit in units
    )  # fmt: skip


def append_arguments(units: Sequence[Unit]) -> list[Any]:
    """Arguments 3 to 12 of `append_batch`."""
    rows = [(position, *entry) for position, unit in enumerate(units, 1) for entry in unit.entries]
    return [
        [unit.attempt.id for unit in units],
        [unit.attempt.epoch for unit in units],
        *(zip(*rows, strict=True) if rows else [()] * 8),
    ]


def commit_arguments(
    units: Sequence[Unit], accepts: Sequence[NewInvocation], deliveries: Sequence[Delivery]
) -> tuple[list[Any], list[NewInvocation]]:
    """Arguments 9 and on of `commit_batch`, and the new invocations in the order of `n_*`.

    The deliveries are the first of `t_*`.
    """
    rows: dict[str, list[tuple[Any, ...]]] = {group: [] for group in _COLUMNS}
    news: list[NewInvocation] = []
    positions: dict[int, int] = {}
    rows["t"] = [_mail(0, delivery.mail) for delivery in deliveries]
    for position, unit in enumerate(units, 1):
        attempt = unit.attempt
        final = unit.final
        rows["u"].append((attempt.id, attempt.epoch, final.letter if final else ""))
        if unit.entries:
            rows["j"] += [(position, *entry) for entry in unit.entries]
        if unit.consumed:
            rows["m"] += [(position, seq) for seq in unit.consumed]
        if unit.clears_all or unit.writes:
            service, key = attempt.row.service_no, attempt.key
            if unit.clears_all:
                rows["w"].append((position, service, key, None, None))
            rows["w"] += [
                (position, service, key, name, value) for name, value in unit.writes.items()
            ]
        for new in unit.calls:
            news.append(new)
            rows["n"].append(_new(position, new))
        if unit.mail:
            rows["t"] += [_mail(position, mail) for mail in unit.mail]
        if unit.asks:
            service, key = attempt.row.service_no, attempt.key
            rows["r"] += [
                (position, ask.kind, ask.cid, service, key, ask.name, ask.target, ask.value,
                 ask.detail)
                for ask in unit.asks
            ]  # fmt: skip
        if unit.tied:
            positions[id(unit)] = position
        if final is not None:
            _add_final(rows, position, unit)
    for new in accepts:
        news.append(new)
        rows["n"].append(_new(0, new))
    if positions:
        rows["x"] = [
            (positions[id(unit)], positions[id(other)])
            for unit in units
            for other in unit.tied
            if positions[id(unit)] < positions[id(other)]
        ]
    arguments: list[Any] = []
    for group, count in _COLUMNS.items():
        arguments += zip(*rows[group], strict=True) if rows[group] else [()] * count
        if group == "n":
            arguments += _scopes(news)
    return arguments, news


def _mail(position: int, mail: Mail) -> tuple[Any, ...]:
    return (position, mail.target, mail.kind, mail.cid, mail.name, mail.value, mail.detail)


def _new(position: int, new: NewInvocation) -> tuple[Any, ...]:
    handler = new.handler
    return (
        position,
        new.id,
        handler.service_no,
        handler.no,
        new.key,
        new.is_exclusive,
        new.cid,
        new.input,
        new.headers,
        new.idempotency_key,
        new.delay,
        new.is_granted,
        new.waits,
    )


def _scopes(news: list[NewInvocation]) -> list[Sequence[str | None]]:
    """Scopes and limit keys; usually none has one, and nothing is sent."""
    for new in news:
        if new.scope is not None:
            return [[new.scope for new in news], [new.limit_key for new in news]]
    return [()] * _SCOPES


def int_array(numbers: Sequence[int] | None) -> str | None:
    """Numbers as the text of an `int[]`: an array of arrays must be as wide in each row."""
    return None if numbers is None else "{" + ",".join(map(str, numbers)) + "}"


def _add_final(rows: dict[str, list[tuple[Any, ...]]], position: int, unit: Unit) -> None:
    final = unit.final
    assert final is not None
    if final.failure is not None:
        rows["f"].append((position, final.failure))
    if final.letter == "S":
        rows["s"].append((position, final.status, final.run_at, final.delay,
             int_array(final.wait_ids), final.wait_all, int_array(final.wait_tree), final.wait_note,
             final.queue, final.is_uncounted)
        )  # fmt: skip
        return
    outcome = final.outcome
    assert outcome is not None
    attempt = unit.attempt
    rows["d"].append(
        (
            position,
            outcome.outcome,
            outcome.value,
            outcome.code,
            outcome.message,
            _json(outcome.metadata),
            attempt.row.service_no,
            attempt.key if final.holds_key else None,
            final.retention,
            final.journal_retention,
        )
    )


def _json(value: object) -> str | None:
    import msgspec

    return None if value is None else msgspec.json.encode(value).decode()
