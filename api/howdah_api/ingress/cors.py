"""Cross-origin requests: whoever asks is allowed, as the loopback default of the port implies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from howdah_api.problems import Header, Reply

_ALWAYS: Final[tuple[Header, ...]] = (
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
    (b"access-control-allow-credentials", b"true"),
)


def cors_headers(origin: bytes | None) -> tuple[Header, ...]:
    """The headers of every answer; they mirror the origin when the request names one."""
    if origin is None:
        return _ALWAYS
    return (*_ALWAYS, (b"access-control-allow-origin", origin))


def preflight(headers: Iterable[tuple[bytes, bytes]]) -> Reply:
    """The answer to OPTIONS: whatever was asked for is allowed."""
    allowed: list[Header] = []
    for name, value in headers:
        if name == b"access-control-request-method":
            allowed.append((b"access-control-allow-methods", value))
        elif name == b"access-control-request-headers":
            allowed.append((b"access-control-allow-headers", value))
    return Reply(200, allowed, b"")
