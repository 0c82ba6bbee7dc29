"""The `delay` parameter of a send, read from the query string."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl

from howdah.errors import UsageError
from howdah.options import format_duration, parse_duration
from howdah_api.problems import Problem


def query_parameter(query_string: bytes, name: str) -> str | None:
    """The first value of a query parameter, its name compared without case; None when absent."""
    if not query_string:
        return None
    for given, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        if given.lower() == name:
            return value
    return None


def refuse_delay(query_string: bytes) -> None:
    """Raise when a call asks for a delay, which only sends have.

    Raises:
        Problem: 400.
    """
    if query_parameter(query_string, "delay") is not None:
        raise Problem(
            400,
            "cannot use the delay query parameter with calls."
            " The delay is supported only with sends",
        )


def parse_delay(query_string: bytes, delay_max: timedelta) -> timedelta | None:
    """The delay of a send: `10s`, `1m 30s`, `100ms` or ISO 8601 (`PT60S`); None when absent.

    Raises:
        Problem: 400 when it cannot be read, or is longer than `delay_max`.
    """
    text = query_parameter(query_string, "delay")
    if text is None:
        return None
    try:
        delay = parse_duration(text)
    except UsageError as error:
        raise _bad_delay(error.message) from error
    if delay > delay_max:
        raise _bad_delay(f"'{text}' is longer than {format_duration(delay_max)}")
    return delay


def _bad_delay(reason: str) -> Problem:
    return Problem(400, f"bad delay query parameter, must be a ISO8601 duration: {reason}")
