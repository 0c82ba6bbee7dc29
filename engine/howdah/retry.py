"""When to try again: policy and attempt in, delay or stop out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

from howdah.errors import OutOfBounds
from howdah.serde import DefaultSerde, Serde

T = TypeVar("T")

INITIAL_INTERVAL = timedelta(milliseconds=500)
FACTOR = 2.0
MAX_INTERVAL = timedelta(seconds=60)
MAX_ATTEMPTS = 70
RUN_INITIAL_INTERVAL = timedelta(milliseconds=50)
RUN_MAX_INTERVAL = timedelta(seconds=10)
JITTER_MIN = timedelta(milliseconds=3)
JITTER_PART = 0.3


@dataclass(frozen=True, slots=True)
class InvocationRetryPolicy:
    """How often and how fast a failing invocation is tried again.

    Attributes:
        initial_interval: Before the second attempt; default 500 ms.
        exponentiation_factor: How much longer each next one is; default 2, at least 1.
        max_interval: No pause is longer; default 60 s.
        max_attempts: In all, the first included; default 70, at least 1.
        on_max_attempts: 'pause' (default: an operator decides) or 'kill' (it fails for good).
    """

    initial_interval: timedelta | None = None
    exponentiation_factor: float | None = None
    max_interval: timedelta | None = None
    max_attempts: int | None = None
    on_max_attempts: Literal["pause", "kill"] | None = None

    def __post_init__(self) -> None:
        if self.initial_interval is not None and self.initial_interval < timedelta(0):
            raise OutOfBounds(
                name="initial_interval", value=self.initial_interval, bound="zero or more"
            )
        if self.exponentiation_factor is not None and not self.exponentiation_factor >= 1:
            raise OutOfBounds(
                name="exponentiation_factor", value=self.exponentiation_factor, bound="1 or more"
            )
        if self.max_attempts is not None and self.max_attempts < 1:
            raise OutOfBounds(name="max_attempts", value=self.max_attempts, bound="1 or more")
        if self.on_max_attempts not in (None, "pause", "kill"):
            raise OutOfBounds(
                name="on_max_attempts", value=self.on_max_attempts, bound="'pause' or 'kill'"
            )

    @property
    def attempts_max(self) -> int:
        """The limit in force."""
        return self.max_attempts if self.max_attempts is not None else MAX_ATTEMPTS


DEFAULT_POLICY = InvocationRetryPolicy()


@dataclass(frozen=True, slots=True)
class RunOptions(Generic[T]):
    """How a step is executed and retried.

    Attributes:
        serde, type_hint: How its result is stored.
        max_attempts: In all; without any limit a failing step fails the attempt.
        max_duration, max_retry_duration: The same as a limit in time, since the first failure.
        initial_retry_interval, max_retry_interval, retry_interval_factor: Default 50 ms, 10 s, 2.
    """

    serde: Serde[T] = field(default_factory=DefaultSerde)
    type_hint: type[T] | None = None
    max_attempts: int | None = None
    max_duration: timedelta | None = None
    initial_retry_interval: timedelta | None = None
    max_retry_interval: timedelta | None = None
    retry_interval_factor: float | None = None
    max_retry_duration: timedelta | None = None


def _interval(initial: timedelta, factor: float, longest: timedelta, attempt: int) -> timedelta:
    if not initial:
        return initial
    try:
        grown = initial.total_seconds() * factor ** (attempt - 1)
    except OverflowError:
        return longest
    return min(timedelta(seconds=min(grown, longest.total_seconds())), longest)


def delay_after(
    policy: InvocationRetryPolicy | None, attempt: int, jitter: float
) -> timedelta | None:
    """How long to wait after a failed attempt; None: it was the last.

    Args:
        attempt: Which one failed, from 1.
        jitter: In [0, 1): adds 3 ms to 30 % of the delay.
    """
    policy = policy or DEFAULT_POLICY
    if attempt >= policy.attempts_max:
        return None
    initial = policy.initial_interval if policy.initial_interval is not None else INITIAL_INTERVAL
    delay = _interval(
        initial,
        policy.exponentiation_factor or FACTOR,
        policy.max_interval if policy.max_interval is not None else MAX_INTERVAL,
        attempt,
    )
    return delay + JITTER_MIN + delay * (JITTER_PART * jitter)


def run_delay_after(
    options: RunOptions[Any], attempt: int, elapsed: timedelta
) -> timedelta | None:
    """How long to wait after a step failed; None: it failed for good."""
    if options.max_attempts is not None and attempt >= options.max_attempts:
        return None
    for limit in (options.max_duration, options.max_retry_duration):
        if limit is not None and elapsed >= limit:
            return None
    return _interval(
        options.initial_retry_interval or RUN_INITIAL_INTERVAL,
        options.retry_interval_factor or FACTOR,
        options.max_retry_interval or RUN_MAX_INTERVAL,
        attempt,
    )
