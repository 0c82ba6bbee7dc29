"""When to try again: pure arithmetic over policies; no clock, no random numbers, no waiting.

Two kinds of retry share it. An attempt that fails is retried by its invocation's policy
(`InvocationRetryPolicy`); a `ctx.run` that fails may be retried inside the attempt (`RunOptions`).
Both are resolved to a `RetryPolicy`, which has every value filled in, and `delay_after` answers for
it. Who waits, and by which clock, is the caller's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

from howdah.errors import OutOfBounds
from howdah.options import format_duration
from howdah.serde import DefaultSerde, Serde

T = TypeVar("T")

OnMaxAttempts = Literal["pause", "kill"]

JITTER_MIN = timedelta(milliseconds=3)
JITTER_RATIO_MAX = 0.3
INTERVAL_MAX = timedelta(days=365)

_BY_TYPE: Serde[Any] = DefaultSerde()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A complete policy: exponential intervals between two bounds, for so many attempts.

    Attributes:
        initial_interval: The delay after the first failure.
        exponentiation_factor: Each further delay is this many times the one before; 1 or more.
        max_interval: No delay is longer, jitter aside.
        max_attempts: How many attempts there are, the first included; None for no end.
        max_duration: No retry begins when this much has passed since the first attempt; None for
            no end.
        on_max_attempts: What becomes of an invocation when its attempts are used up.
    """

    initial_interval: timedelta
    exponentiation_factor: float
    max_interval: timedelta
    max_attempts: int | None
    max_duration: timedelta | None = None
    on_max_attempts: OnMaxAttempts = "pause"


DEFAULT_INVOCATION_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    exponentiation_factor=2.0,
    max_interval=timedelta(seconds=60),
    max_attempts=70,
)
"""How an invocation is retried when its handler and service say nothing."""

DEFAULT_RUN_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=50),
    exponentiation_factor=2.0,
    max_interval=timedelta(seconds=10),
    max_attempts=None,
)
"""What fills in a `RunOptions` that says something about retries, but not everything."""


@dataclass(frozen=True, slots=True)
class InvocationRetryPolicy:
    """How the attempts of an invocation are retried; what is None is inherited.

    A handler inherits from its service, and that from howdah's defaults: 500 ms, doubled each time
    up to 60 s, 70 attempts, then pause.

    Args:
        initial_interval: The delay after the first failure; zero to 365 days.
        exponentiation_factor: 1 or more.
        max_interval: Not below `initial_interval`; zero to 365 days.
        max_attempts: The first included, so 1 means never to retry; 0 is taken as 1.
        on_max_attempts: `pause` leaves the invocation for an operator to resume; `kill` ends it
            with the last failure.

    Raises:
        OutOfBounds: a value lies outside these bounds. HD1004.
    """

    initial_interval: timedelta | None = None
    exponentiation_factor: float | None = None
    max_interval: timedelta | None = None
    max_attempts: int | None = None
    on_max_attempts: OnMaxAttempts | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        _check_intervals(self.initial_interval, self.max_interval, self.exponentiation_factor)
        if self.max_attempts is not None and self.max_attempts < 0:
            raise OutOfBounds(name="max_attempts", value=self.max_attempts, bound="1 or more")
        if self.on_max_attempts not in (None, "pause", "kill"):
            raise OutOfBounds(
                name="on_max_attempts", value=repr(self.on_max_attempts), bound="'pause' or 'kill'"
            )

    def over(self, inherited: InvocationRetryPolicy | None) -> InvocationRetryPolicy:
        """Return this policy with what it leaves open taken from `inherited`."""
        if inherited is None:
            return self
        return InvocationRetryPolicy(
            **{
                field.name: _first_given(getattr(self, field.name), getattr(inherited, field.name))
                for field in fields(self)
            }
        )

    def resolve(self) -> RetryPolicy:
        """Return the complete policy, with what is left open taken from the defaults."""
        default = DEFAULT_INVOCATION_RETRY
        initial_interval, max_interval = _resolve_intervals(
            self.initial_interval, self.max_interval, default
        )
        factor = self.exponentiation_factor
        attempts = self.max_attempts
        return RetryPolicy(
            initial_interval=initial_interval,
            exponentiation_factor=default.exponentiation_factor if factor is None else factor,
            max_interval=max_interval,
            max_attempts=default.max_attempts if attempts is None else max(1, attempts),
            on_max_attempts=self.on_max_attempts or default.on_max_attempts,
        )


# Without slots: Python 3.11 cannot make a `RunOptions[int](...)` that has them.
@dataclass(frozen=True)
class RunOptions(Generic[T]):
    """How one `ctx.run_typed` is stored and retried.

    With none of the retry values given, a failure fails the attempt and the invocation's policy
    applies. With any of them, the function is tried again inside the attempt; what is not given is
    50 ms, doubled each time up to 10 s, without end. When the tries are used up, the last failure
    is recorded as the step's result, a TerminalError.

    Args:
        serde: How the result becomes bytes; by its type unless given.
        type_hint: The type of the result; by the function's annotation unless given.
        max_attempts: The first included; 1 or more.
        max_duration: No retry begins when this much has passed since the first try.
        initial_retry_interval: The delay after the first failure; zero to 365 days.
        max_retry_interval: Not below `initial_retry_interval`; zero to 365 days.
        retry_interval_factor: 1 or more.
        max_retry_duration: Another name of `max_duration`; the shorter counts when both are given.

    Raises:
        OutOfBounds: a value lies outside these bounds. HD1004.
    """

    serde: Serde[T] = _BY_TYPE
    type_hint: type[T] | None = None
    max_attempts: int | None = None
    max_duration: timedelta | None = None
    initial_retry_interval: timedelta | None = None
    max_retry_interval: timedelta | None = None
    retry_interval_factor: float | None = None
    max_retry_duration: timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        _check_intervals(
            self.initial_retry_interval,
            self.max_retry_interval,
            self.retry_interval_factor,
            prefix="retry_",
        )
        if self.max_attempts is not None and self.max_attempts < 1:
            raise OutOfBounds(name="max_attempts", value=self.max_attempts, bound="1 or more")
        for name in ("max_duration", "max_retry_duration"):
            duration: timedelta | None = getattr(self, name)
            if duration is not None and duration < timedelta(0):
                raise OutOfBounds(name=name, value=duration, bound="zero or more")

    def retry_policy(self) -> RetryPolicy | None:
        """Return how to retry inside the attempt, or None when the invocation's policy applies."""
        durations = [
            duration
            for duration in (self.max_duration, self.max_retry_duration)
            if duration is not None
        ]
        given = (
            self.max_attempts,
            self.initial_retry_interval,
            self.max_retry_interval,
            self.retry_interval_factor,
        )
        if not durations and all(value is None for value in given):
            return None
        default = DEFAULT_RUN_RETRY
        initial_interval, max_interval = _resolve_intervals(
            self.initial_retry_interval, self.max_retry_interval, default
        )
        factor = self.retry_interval_factor
        return RetryPolicy(
            initial_interval=initial_interval,
            exponentiation_factor=default.exponentiation_factor if factor is None else factor,
            max_interval=max_interval,
            max_attempts=self.max_attempts,
            max_duration=min(durations, default=None),
        )


def delay_after(
    policy: RetryPolicy, attempt: int, jitter: float, *, elapsed: timedelta = timedelta(0)
) -> timedelta | None:
    """Return how long to wait after a failed attempt, or None when no attempt is left.

    The delay is `initial_interval * factor ** (attempt - 1)`, at most `max_interval`, plus a jitter
    between 3 ms and 30 % of it, so that many invocations that failed together do not come back
    together.

    Args:
        policy: The policy that applies.
        attempt: The number of the attempt that failed; 1 for the first.
        jitter: From 0 up to 1: where between 3 ms and 30 % the jitter lies.
        elapsed: What has passed since the first attempt began; compared with `max_duration`.
    """
    if policy.max_attempts is not None and attempt >= policy.max_attempts:
        return None
    if policy.max_duration is not None and elapsed >= policy.max_duration:
        return None
    interval = _interval_after(policy, attempt)
    jitter_max = max(JITTER_MIN, interval * JITTER_RATIO_MAX)
    return interval + JITTER_MIN + (jitter_max - JITTER_MIN) * jitter


def _interval_after(policy: RetryPolicy, attempt: int) -> timedelta:
    if policy.initial_interval >= policy.max_interval or not policy.initial_interval:
        return policy.initial_interval
    # Compared as logarithms, since the power itself overflows after some hundred attempts.
    growth_max = policy.max_interval / policy.initial_interval
    exponent = attempt - 1
    if exponent * math.log(policy.exponentiation_factor) >= math.log(growth_max):
        return policy.max_interval
    return min(
        policy.max_interval,
        policy.initial_interval * policy.exponentiation_factor**exponent,
    )


def _resolve_intervals(
    initial: timedelta | None, longest: timedelta | None, default: RetryPolicy
) -> tuple[timedelta, timedelta]:
    """Fill in what is not given: a default gives way to the value that was given."""
    if initial is None:
        initial = default.initial_interval
        return (
            (initial, default.max_interval) if longest is None else (min(initial, longest), longest)
        )
    return initial, max(initial, default.max_interval) if longest is None else longest


def _first_given(value: T | None, inherited: T | None) -> T | None:
    return inherited if value is None else value


def _check_intervals(
    initial: timedelta | None,
    longest: timedelta | None,
    factor: float | None,
    *,
    prefix: str = "",
) -> None:
    names = {f"initial_{prefix}interval": initial, f"max_{prefix}interval": longest}
    for name, interval in names.items():
        if interval is not None and not timedelta(0) <= interval <= INTERVAL_MAX:
            raise OutOfBounds(name=name, value=interval, bound="0s to 365d")
    if initial is not None and longest is not None and longest < initial:
        raise OutOfBounds(
            name=f"max_{prefix}interval",
            value=format_duration(longest),
            bound=f"at least initial_{prefix}interval, which is {format_duration(initial)}",
        )
    if factor is not None and not 1 <= factor < math.inf:
        name = "retry_interval_factor" if prefix else "exponentiation_factor"
        raise OutOfBounds(name=name, value=factor, bound="1 or more")
