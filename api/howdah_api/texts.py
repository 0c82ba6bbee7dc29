"""Values as people read them on a terminal: times, durations, payloads."""

from __future__ import annotations

from datetime import datetime, timedelta

CELL_CHARACTERS_MAX = 200
NOTHING = "-"

_STEPS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"))


def shown(value: object, characters_max: int = CELL_CHARACTERS_MAX) -> str:
    """A value in few characters; what could steer the terminal is replaced."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        text = value.decode(errors="replace")
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = str(value)
    text = "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text[: characters_max + 1]
    )
    return text if len(text) <= characters_max else f"{text[: characters_max - 3]}..."


def one_line(value: object, characters_max: int = CELL_CHARACTERS_MAX) -> str:
    """As `shown`, without line breaks."""
    return " ".join(shown(value, characters_max).split())


def lasted(duration: timedelta | None) -> str:
    """A duration in two units at most: `0.4 ms`, `12 ms`, `1.4 s`, `3m 20s`, `2h 5m`, `4d 1h`."""
    if duration is None:
        return ""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds == 0:
        return "0 ms"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for (length, unit), (rest_length, rest_unit) in zip(
        _STEPS, (*_STEPS[1:], (1.0, "s")), strict=True
    ):
        if whole >= length:
            count, rest = divmod(whole, length)
            part = int(rest // rest_length)
            return f"{int(count)}{unit} {part}{rest_unit}" if part else f"{int(count)}{unit}"
    return f"{whole}s"


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: `3s ago`, `5m ago`, `in 2h`."""
    if then is None:
        return ""
    seconds = (now - then).total_seconds()
    amount = abs(seconds)
    for length, unit in _STEPS:
        if amount >= length:
            text = f"{int(amount // length)}{unit}"
            break
    else:
        text = f"{int(amount)}s"
    if int(amount) == 0:
        return "now"
    return f"in {text}" if seconds < 0 else f"{text} ago"


def moment(at: datetime | None) -> str:
    """A time in the reader's time zone, to the millisecond."""
    if at is None:
        return ""
    return at.astimezone().isoformat(sep=" ", timespec="milliseconds")


def counted(count: int, noun: str) -> str:
    """`1 invocation`, `2 invocations`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
