"""How often and how long a request is tried. No I/O, and a clock that the test sets."""

from datetime import timedelta

import pytest

from howdah.client.answers import Answer
from howdah.client.delivery import Delivery, Loss, Settings, Timeouts
from howdah.client.exchanges import Exchange, generic_call, health
from howdah.errors import NoAnswer

BROKEN = Loss(OSError("broken"), was_sent=True, is_timeout=False)
UNREACHED = Loss(OSError("refused"), was_sent=False, is_timeout=False)
LATE = Loss(OSError("late"), was_sent=True, is_timeout=True)
NO_CONNECTION = Loss(OSError("late"), was_sent=False, is_timeout=True)


def settings(timeout: timedelta | None = None, retries: int = 6, jitter: float = 0.0) -> Settings:
    return Settings(
        base_url="http://shop.test",
        headers={},
        timeout=timeout,
        connect_timeout=timedelta(seconds=5),
        retries=retries,
        jitter=lambda: jitter,
    )


def call(idempotency_key: str | None = "monday") -> Exchange[bytes]:
    return generic_call("Shop", "double", b"1", None, idempotency_key=idempotency_key)


def pauses(delivery: Delivery[bytes], loss: Loss) -> list[float]:
    found = []
    while True:
        delivery.next_timeouts(0.0)
        try:
            found.append(delivery.pause_after_loss(loss, 0.0))
        except NoAnswer:
            return found


def answer(status: int, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def test_pauses_double_up_to_a_bound() -> None:
    delivery = Delivery(call(), settings(retries=7), 0.0)
    assert pauses(delivery, BROKEN) == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_pauses_are_stretched_by_up_to_a_half() -> None:
    assert pauses(Delivery(call(), settings(retries=1, jitter=1.0), 0.0), BROKEN) == [0.375]


@pytest.mark.parametrize(
    ("loss", "tries"), [(BROKEN, 3), (UNREACHED, 3), (NO_CONNECTION, 3), (LATE, 1)]
)
def test_a_lost_connection_is_tried_again_and_a_late_answer_is_not(loss: Loss, tries: int) -> None:
    assert len(pauses(Delivery(call(), settings(retries=2), 0.0), loss)) == tries - 1


def test_without_an_idempotency_key_there_is_one_try() -> None:
    assert pauses(Delivery(call(None), settings(), 0.0), UNREACHED) == []


def test_what_was_sent_once_may_have_been_accepted() -> None:
    delivery = Delivery(call(), settings(retries=1), 0.0)
    delivery.next_timeouts(0.0)
    delivery.pause_after_loss(BROKEN, 0.0)
    delivery.next_timeouts(0.0)
    with pytest.raises(NoAnswer) as lost:
        delivery.pause_after_loss(UNREACHED, 0.0)
    assert lost.value.may_have_been_accepted


def test_a_timeout_bounds_all_tries_together() -> None:
    delivery = Delivery(call(), settings(timeout=timedelta(seconds=10)), 100.0)
    assert delivery.next_timeouts(100.0) == Timeouts(connect=5.0, write=10.0, read=10.0)
    assert delivery.pause_after_loss(BROKEN, 108.0) == 0.25
    assert delivery.next_timeouts(108.0) == Timeouts(connect=2.0, write=2.0, read=2.0)
    with pytest.raises(NoAnswer):
        delivery.pause_after_loss(BROKEN, 109.8)


def test_what_waits_for_an_invocation_waits_for_ever_and_the_rest_does_not() -> None:
    assert Delivery(call(), settings(), 0.0).next_timeouts(0.0).read is None
    assert Delivery(health(), settings(), 0.0).next_timeouts(0.0).read == 30.0


@pytest.mark.parametrize(
    ("given", "pause"),
    [
        (answer(503, retry_after="2"), 2.0),
        (answer(429, retry_after="0"), 0.25),
        (answer(503, retry_after="86400"), 30.0),
        (answer(503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), None),
        (answer(503), None),
        (answer(500, retry_after="2"), None),
        (answer(503, retry_after="2", x_restate_error_source="invocation"), None),
        (answer(200), None),
    ],
)
def test_a_server_that_asks_for_patience_is_asked_again(given: Answer, pause: float | None) -> None:
    delivery = Delivery(call(), settings(), 0.0)
    delivery.next_timeouts(0.0)
    assert delivery.pause_after_answer(given, 0.0) == pause
    once = Delivery(call(None), settings(), 0.0)
    once.next_timeouts(0.0)
    assert once.pause_after_answer(given, 0.0) is None
