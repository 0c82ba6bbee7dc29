import pytest

from howdah.errors import NonDeterminism
from howdah.machine.entries import Entry, Kind
from howdah.machine.machine import Machine


def entry(idx: int, kind: int, cid: int | None = None, **facts: object) -> Entry:
    values = {"name": None, "value": None, "ref": None, "detail": None, **facts}
    return Entry(idx, kind, cid, **values)  # type: ignore[arg-type]


def test_new_commands_get_dense_indexes_and_completion_ids() -> None:
    machine = Machine("S/h")

    first = machine.command(Kind.RUN, "a", cids=1)
    second = machine.command(Kind.GET_STATE, "b")
    third = machine.command(Kind.CALL, "S/h", b"", cids=2)

    assert [first.idx, second.idx, third.idx] == [1, 2, 3]
    assert [first.cid, second.cid, third.cid] == [1, None, 2]
    assert machine.next_cid == 4


def test_replay_returns_what_is_recorded_and_then_goes_on() -> None:
    machine = Machine("S/h", [entry(1, Kind.GET_STATE, name="cart", value=b"[1]")])

    replayed = machine.command(Kind.GET_STATE, "cart", b"[]")
    new = machine.command(Kind.SET_STATE, "cart", b"[2]")

    assert replayed.value == b"[1]"
    assert new.idx == 2


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (Kind.SLEEP, None, None),
        (Kind.SET_STATE, "other", b"1"),
        (Kind.SET_STATE, "cart", b"2"),
    ],
)
def test_another_command_than_recorded_is_refused(
    kind: Kind, name: str | None, value: bytes | None
) -> None:
    machine = Machine("S/h", [entry(1, Kind.SET_STATE, name="cart", value=b"1")])

    with pytest.raises(NonDeterminism) as caught:
        machine.command(kind, name, value)

    assert caught.value.entry_index == 1
    assert "set state 'cart' with 1" in str(caught.value)


def test_a_handler_that_ends_before_its_journal_is_refused() -> None:
    machine = Machine("S/h", [entry(1, Kind.RUN, 1, name="charge")])

    with pytest.raises(NonDeterminism, match="charge"):
        machine.finish()


def test_notifications_are_revealed_in_journal_order_and_only_as_needed() -> None:
    machine = Machine(
        "S/h",
        [
            entry(1, Kind.RUN, 1, name="a"),
            entry(2, Kind.RUN, 2, name="b"),
            entry(3, Kind.RUN_COMPLETED, 2, value=b"b"),
            entry(4, Kind.RUN_COMPLETED, 1, value=b"a"),
        ],
    )

    assert machine.reveal_any((1, 2))
    assert list(machine.completed) == [2]
    assert machine.reveal_all((1, 2))
    assert list(machine.completed) == [2, 1]


def test_a_wait_is_not_satisfied_by_what_has_not_arrived() -> None:
    machine = Machine("S/h")
    command = machine.command(Kind.RUN, "a", cids=1)
    assert command.cid is not None

    assert not machine.reveal_any((command.cid,))
    machine.arrived(machine.notification(Kind.RUN_COMPLETED, command.cid, b"1"))

    assert machine.reveal_any((command.cid,))


def test_a_closed_machine_raises_at_every_verb() -> None:
    machine = Machine("S/h")
    machine.closed = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        machine.command(Kind.RUN, "a", cids=1)


@pytest.mark.parametrize("kind", [Kind.CALL, Kind.SEND])
def test_a_call_under_another_idempotency_key_than_recorded_is_refused(kind: Kind) -> None:
    recorded = entry(1, kind, 1, name="S/h", value=b"", detail='{"idempotency_key": "a"}')
    machine = Machine("S/h", [recorded])

    with pytest.raises(NonDeterminism) as caught:
        machine.command(kind, "S/h", b"", cids=1)

    assert "idempotency key 'a'" in str(caught.value)
    assert machine.next_cid == 1
    machine.command(kind, "S/h", b"", detail='{"idempotency_key":"a"}', cids=2)
    assert machine.next_cid == 3
