"""Retry policies: how they are filled in and merged, and the delays they give."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.errors import OutOfBounds
from howdah.retry import (
    DEFAULT_INVOCATION_RETRY,
    DEFAULT_RUN_RETRY,
    JITTER_MIN,
    InvocationRetryPolicy,
    RetryPolicy,
    RunOptions,
    delay_after,
)

MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)

intervals = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=365))
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)
attempts = st.integers(min_value=1, max_value=10**6)


@st.composite
def policies(draw: st.DrawFn, max_attempts: int | None = None) -> RetryPolicy:
    shorter, longer = sorted([draw(intervals), draw(intervals)])
    return RetryPolicy(
        initial_interval=shorter,
        exponentiation_factor=draw(st.floats(min_value=1, max_value=1e300)),
        max_interval=longer,
        max_attempts=max_attempts,
    )


@given(policies(), attempts, jitters)
def test_a_delay_lies_between_the_initial_and_the_longest_interval_and_jitter(
    policy: RetryPolicy, attempt: int, jitter: float
) -> None:
    delay = delay_after(policy, attempt, jitter)

    assert delay is not None
    assert delay >= policy.initial_interval + JITTER_MIN
    assert delay <= policy.max_interval + max(JITTER_MIN, policy.max_interval * 0.3) + MS


@given(policies(), attempts)
def test_without_jitter_delays_never_shrink(policy: RetryPolicy, attempt: int) -> None:
    now = delay_after(policy, attempt, 0.0)
    later = delay_after(policy, attempt + 1, 0.0)

    assert now is not None
    assert later is not None
    assert later >= now


@given(policies(), attempts, jitters, jitters)
def test_more_jitter_never_means_less_delay(
    policy: RetryPolicy, attempt: int, one: float, other: float
) -> None:
    less, more = sorted([one, other])
    shorter = delay_after(policy, attempt, less)
    longer = delay_after(policy, attempt, more)

    assert shorter is not None
    assert longer is not None
    assert shorter <= longer


@given(policies(), st.integers(min_value=1, max_value=200), jitters)
def test_a_policy_ends_exactly_at_its_last_attempt(
    policy: RetryPolicy, max_attempts: int, jitter: float
) -> None:
    bounded = RetryPolicy(
        initial_interval=policy.initial_interval,
        exponentiation_factor=policy.exponentiation_factor,
        max_interval=policy.max_interval,
        max_attempts=max_attempts,
    )

    delays = [delay_after(bounded, attempt, jitter) for attempt in range(1, max_attempts + 2)]
    assert all(delay is not None for delay in delays[: max_attempts - 1])
    assert delays[max_attempts - 1 :] == [None, None]


@given(policies(), intervals, intervals)
def test_no_retry_begins_once_the_duration_has_passed(
    policy: RetryPolicy, max_duration: timedelta, elapsed: timedelta
) -> None:
    bounded = RetryPolicy(
        initial_interval=policy.initial_interval,
        exponentiation_factor=policy.exponentiation_factor,
        max_interval=policy.max_interval,
        max_attempts=None,
        max_duration=max_duration,
    )

    delay = delay_after(bounded, 1, 0.5, elapsed=elapsed)
    assert (delay is None) == (elapsed >= max_duration)


def test_the_default_is_half_a_second_doubled_up_to_a_minute_for_seventy_attempts() -> None:
    policy = InvocationRetryPolicy().resolve()

    delays = [delay_after(policy, attempt, 0.0) for attempt in range(1, 71)]
    assert policy == DEFAULT_INVOCATION_RETRY
    assert policy.on_max_attempts == "pause"
    assert delays[:3] == [503 * MS, 1003 * MS, 2003 * MS]
    assert delays[7:69] == [60 * SECOND + JITTER_MIN] * 62
    assert delays[69] is None


def test_jitter_adds_up_to_three_tenths() -> None:
    policy = InvocationRetryPolicy(initial_interval=10 * SECOND).resolve()

    highest = delay_after(policy, 1, math.nextafter(1.0, 0.0))
    assert highest is not None
    assert 12_999 * MS < highest <= 13 * SECOND


def test_one_attempt_means_never_to_retry() -> None:
    assert delay_after(InvocationRetryPolicy(max_attempts=1).resolve(), 1, 0.0) is None
    assert delay_after(InvocationRetryPolicy(max_attempts=0).resolve(), 1, 0.0) is None


def test_a_long_initial_interval_outgrows_the_default_maximum() -> None:
    policy = InvocationRetryPolicy(initial_interval=120 * SECOND).resolve()

    assert policy.max_interval == 120 * SECOND


def test_a_short_maximum_shortens_the_default_initial_interval() -> None:
    policy = InvocationRetryPolicy(max_interval=100 * MS).resolve()

    assert policy.initial_interval == 100 * MS


def test_a_handlers_policy_goes_first_value_by_value() -> None:
    service = InvocationRetryPolicy(max_attempts=5, on_max_attempts="kill")
    handler = InvocationRetryPolicy(max_attempts=2, initial_interval=SECOND)

    assert handler.over(service) == InvocationRetryPolicy(
        initial_interval=SECOND, max_attempts=2, on_max_attempts="kill"
    )
    assert handler.over(None) is handler


def test_merged_policies_that_contradict_each_other_are_refused() -> None:
    service = InvocationRetryPolicy(max_interval=SECOND)
    handler = InvocationRetryPolicy(initial_interval=10 * SECOND)

    with pytest.raises(OutOfBounds, match="at least initial_interval, which is 10s"):
        handler.over(service)


@pytest.mark.parametrize(
    "values",
    [
        {"initial_interval": -SECOND},
        {"max_interval": timedelta(days=366)},
        {"initial_interval": 2 * SECOND, "max_interval": SECOND},
        {"exponentiation_factor": 0.5},
        {"exponentiation_factor": math.nan},
        {"exponentiation_factor": math.inf},
        {"max_attempts": -1},
        {"on_max_attempts": "stop"},
    ],
    ids=str,
)
def test_values_out_of_bounds_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(OutOfBounds):
        InvocationRetryPolicy(**values)  # type: ignore[arg-type]  # wrong on purpose


def test_a_run_without_retry_values_leaves_it_to_the_invocation() -> None:
    assert RunOptions[int]().retry_policy() is None
    assert RunOptions(type_hint=int).retry_policy() is None


def test_any_retry_value_makes_a_run_retry_by_itself() -> None:
    policy = RunOptions[int](max_attempts=3).retry_policy()

    assert policy is not None
    assert policy.max_attempts == 3
    assert policy.initial_interval == DEFAULT_RUN_RETRY.initial_interval == 50 * MS
    assert policy.max_interval == DEFAULT_RUN_RETRY.max_interval == 10 * SECOND
    assert policy.exponentiation_factor == 2.0
    assert policy.max_duration is None


def test_the_shorter_of_two_durations_counts() -> None:
    policy = RunOptions[int](max_duration=SECOND, max_retry_duration=MS).retry_policy()

    assert policy is not None
    assert policy.max_duration == MS


@pytest.mark.parametrize(
    "values",
    [
        {"max_attempts": 0},
        {"max_duration": -SECOND},
        {"max_retry_duration": -SECOND},
        {"initial_retry_interval": -SECOND},
        {"initial_retry_interval": 2 * SECOND, "max_retry_interval": SECOND},
        {"retry_interval_factor": 0},
    ],
    ids=str,
)
def test_run_values_out_of_bounds_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(OutOfBounds):
        RunOptions(**values)  # type: ignore[arg-type]  # wrong on purpose
