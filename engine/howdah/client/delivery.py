"""How often and how long a request is tried, and what its answer means. Pure.

Rules, which docs/client.md tells users:

- Only what can be repeated is tried again: requests with an idempotency key, attach, output and the
  completion of awakeables.
- It is tried again when the connection could not be made or was lost, and when the server asks for
  it: 503 or 429 with `Retry-After`, unless an invocation's failure has this status.
- A timeout while waiting for an answer ends it: the caller has said how long is long enough.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from howdah.client.answers import Answer, NotOurs, read_failure, retry_after, shown
from howdah.client.exchanges import Exchange
from howdah.client.texts import checked_headers
from howdah.errors import (
    ClientError,
    InvalidOption,
    InvocationFailed,
    NoAnswer,
    OutOfBounds,
    RequestRefused,
    UnexpectedAnswer,
)
from howdah.options import Options

T = TypeVar("T")

CONNECT_TIMEOUT: Final = timedelta(seconds=5)
REPLY_SECONDS: Final = 30.0
"""How long an answer may take that waits for no invocation, and a body's next part to be sent."""
RETRIES: Final = 6
RETRIES_MAX: Final = 100
PAUSE_SECONDS: Final = 0.25  # before the first repetition; doubled for each one after it
PAUSE_SECONDS_MAX: Final = 5.0
RETRY_AFTER_SECONDS_MAX: Final = 30.0
ADDRESS_VARIABLE: Final = "HOWDAH_INGRESS"
_RETRIED_STATUSES: Final = (429, 503)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a client was told when it was made.

    Raises:
        InvalidOption: the base URL is none. HD1020.
        OutOfBounds: a timeout is not positive, or there are too many retries. HD1004.
        UsageError: a header cannot be sent. HD1000.
    """

    base_url: str
    headers: Mapping[str, str]
    timeout: timedelta | None
    connect_timeout: timedelta
    retries: int
    jitter: Callable[[], float] = field(default=random.random)

    @classmethod
    def of(
        cls,
        base_url: str | None,
        headers: Mapping[str, str] | None,
        timeout: timedelta | None,
        connect_timeout: timedelta,
        retries: int,
    ) -> Settings:
        """Read and check the arguments of a client."""
        if not 0 <= retries <= RETRIES_MAX:
            raise OutOfBounds(name="retries", value=retries, bound=f"0 to {RETRIES_MAX}")
        _check_positive("timeout", timeout)
        _check_positive("connect_timeout", connect_timeout)
        return cls(
            base_url=_read_base_url(base_url),
            headers=checked_headers(headers),
            timeout=timeout,
            connect_timeout=connect_timeout,
            retries=retries,
        )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for one try; None is for ever."""

    connect: float
    write: float
    read: float | None


@dataclass(frozen=True, slots=True)
class Loss:
    """A try without an answer.

    Attributes:
        error: What the HTTP library raised.
        was_sent: Whether the server may have seen the request.
        is_timeout: Whether a timeout passed.
    """

    error: Exception
    was_sent: bool
    is_timeout: bool


class Delivery(Generic[T]):
    """One exchange from its first try to its result.

    Args:
        exchange: The request, and how its answer is read.
        settings: The client's.
        now: Seconds on a monotonic clock, as in all methods here.
    """

    def __init__(self, exchange: Exchange[T], settings: Settings, now: float) -> None:
        timeout = settings.timeout if exchange.timeout is ... else exchange.timeout
        _check_positive("timeout", timeout)
        self._exchange = exchange
        self._settings = settings
        self._tries = 0
        self._was_sent = False
        self._deadline = (
            now + timeout.total_seconds() if exchange.waits and timeout is not None else None
        )
        self.url = settings.base_url + exchange.path
        self.headers = {**settings.headers, **exchange.headers}

    def next_timeouts(self, now: float) -> Timeouts:
        """Count one more try, and return how long its parts may take."""
        self._tries += 1
        connect = self._settings.connect_timeout.total_seconds()
        if self._deadline is not None:
            left = max(self._deadline - now, 0.001)
            return Timeouts(min(connect, left), min(REPLY_SECONDS, left), left)
        return Timeouts(connect, REPLY_SECONDS, None if self._exchange.waits else REPLY_SECONDS)

    def pause_after_loss(self, loss: Loss, now: float) -> float:
        """Return how many seconds to wait before the next try.

        Raises:
            NoAnswer: there is no next try. HD5003.
        """
        self._was_sent = self._was_sent or loss.was_sent
        is_over = loss.is_timeout and loss.was_sent
        pause = None if is_over else self._pause(0.0, now)
        if pause is not None:
            return pause
        raise NoAnswer(
            what=self._exchange.what,
            base_url=self._settings.base_url,
            reason=_reason_of(loss),
            is_timeout=loss.is_timeout,
            was_sent=self._was_sent,
            takes_effect=self._exchange.takes_effect,
            is_repeatable=self._exchange.is_repeatable,
            tries=self._tries,
        ) from loss.error

    def pause_after_answer(self, answer: Answer, now: float) -> float | None:
        """Return how many seconds to wait before the next try; None when the answer is final."""
        wanted = retry_after(answer)
        if wanted is None or answer.status not in _RETRIED_STATUSES:
            return None
        if answer.headers.get("x-restate-error-source") == "invocation":
            return None
        self._was_sent = True
        return self._pause(min(wanted.total_seconds(), RETRY_AFTER_SECONDS_MAX), now)

    def result(self, answer: Answer) -> T:
        """Return the value of the final answer.

        Raises:
            ClientError: it is a failure, a refusal, or none of howdah's answers. HD5000.
            SerdeError: the result is not of the expected type. HD1010.
        """
        exchange = self._exchange
        is_absent = answer.status == exchange.absent_status and _source_of(answer) == "ingress"
        if answer.status != exchange.expected and not is_absent:
            raise self._failure(answer)
        try:
            return exchange.read(answer)
        except NotOurs as error:
            raise self._unexpected(answer) from error

    def _failure(self, answer: Answer) -> ClientError:
        exchange = self._exchange
        failure = read_failure(answer)
        if failure is None or answer.status < 400:
            return self._unexpected(answer)
        invocation_id = answer.headers.get("x-restate-id")
        # A stored failure says how long it is kept; that there is no such invocation does not.
        is_unknown = (
            exchange.is_attach
            and answer.status == 404
            and "idempotency-expires" not in answer.headers
        )
        if failure.source == "invocation" and not is_unknown:
            return InvocationFailed(
                message=failure.message,
                status_code=answer.status,
                invocation_id=invocation_id,
                metadata=failure.metadata,
            )
        return RequestRefused(
            what=exchange.what,
            status_code=answer.status,
            reason=failure.message,
            retry_after=retry_after(answer),
            invocation_id=invocation_id,
            takes_effect=exchange.takes_effect,
            is_repeatable=exchange.is_repeatable,
        )

    def _unexpected(self, answer: Answer) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            what=self._exchange.what,
            base_url=self._settings.base_url,
            status_code=answer.status,
            body=shown(answer.body),
            takes_effect=self._exchange.takes_effect,
            is_repeatable=self._exchange.is_repeatable,
        )

    def _pause(self, seconds_min: float, now: float) -> float | None:
        """Return a jittered pause; None when tries or time are used up."""
        if not self._exchange.is_repeatable or self._tries > self._settings.retries:
            return None
        doubled = PAUSE_SECONDS * 2.0 ** min(self._tries - 1, 10)
        seconds: float = max(min(doubled, PAUSE_SECONDS_MAX), seconds_min)
        seconds *= 1 + self._settings.jitter() / 2
        if self._deadline is not None and now + seconds >= self._deadline:
            return None
        return seconds


def _source_of(answer: Answer) -> str | None:
    failure = read_failure(answer)
    return None if failure is None else failure.source


def _reason_of(loss: Loss) -> str:
    if loss.is_timeout:
        return "no answer in time" if loss.was_sent else "no connection in time"
    return str(loss.error).rstrip(".") or type(loss.error).__name__


def _check_positive(name: str, duration: timedelta | None) -> None:
    if duration is not None and duration <= timedelta(0):
        raise OutOfBounds(name=name, value=duration, bound="above zero")


def _read_base_url(text: str | None) -> str:
    name = "base_url" if text is not None else ADDRESS_VARIABLE
    given = text if text is not None else os.environ.get(ADDRESS_VARIABLE) or Options().ingress
    url = given.strip()
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or parts.query or parts.fragment:
        raise InvalidOption(
            name=name,
            problem=f"is not the address of an ingress: {given[:60]!r}",
            hint="Give one like http://127.0.0.1:8080.",
        )
    return url.rstrip("/")
