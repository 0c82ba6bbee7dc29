"""How points in time are written in answers."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(at: datetime) -> str:
    """A point in time in UTC with nine fractional digits: `2026-11-24T06:33:37.838000000Z`."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}000Z"
