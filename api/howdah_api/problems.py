"""Every error that the ingress answers, and the reply that carries it.

A `Problem` is raised wherever a request turns out wrong and becomes a reply in one place
(`ingress/app.py`). The wording is part of the interface: clients in several languages match it.
No reply ever holds a stack trace or a payload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

Source = Literal["ingress", "invocation"]
Header = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")
RETRY_AFTER_SECONDS: Final = 1

_encode = msgspec.json.Encoder().encode


class Reply(NamedTuple):
    """One HTTP response: status, headers without content-length, whole body."""

    status: int
    headers: Sequence[Header]
    body: bytes
    is_cors: bool = True  # False for replies that are given before CORS is looked at


class Problem(Exception):
    """A request that is refused, with its HTTP status and the sentence for the client.

    Attributes:
        status: HTTP status, 400 to 599.
        message: One sentence; part of the interface.
        source: Who failed: "ingress" (the request) or "invocation" (what it asked about).
        headers: Extra response headers, for instance `retry-after`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        source: Source = "ingress",
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.source: Source = source
        self.headers = headers

    def reply(self) -> Reply:
        """The HTTP response for this problem."""
        return error_reply(self.status, self.message, source=self.source, headers=self.headers)


class ClientLeft(Exception):
    """The client closed its connection: there is nobody to answer. Not an error."""


def error_reply(
    status: int,
    message: str,
    *,
    source: Source = "ingress",
    metadata: Mapping[str, str] | None = None,
    headers: Sequence[Header] = (),
) -> Reply:
    """Build an error response: `{"code", "message", "source", "metadata"?}` as JSON.

    Args:
        status: HTTP status; repeated in the body as `code`.
        message: One sentence for the client.
        source: Repeated in the header `x-restate-error-source`.
        metadata: What a handler attached to its failure; left out when empty.
        headers: Extra headers, placed after the common ones.
    """
    body: dict[str, object] = {"code": status, "message": message, "source": source}
    if metadata:
        body["metadata"] = dict(metadata)
    common = [JSON, (b"x-restate-error-source", source.encode())]
    return Reply(status, [*common, *headers], _encode(body))


def json_reply(status: int, body: object, *, headers: Sequence[Header] = ()) -> Reply:
    """Build a response whose body is `body` as JSON."""
    return Reply(status, [JSON, *headers], _encode(body))


def too_large() -> Reply:
    """413 for a body over the limit: plain text, before CORS and JSON, as clients know it."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    return Reply(413, headers, b"length limit exceeded", is_cors=False)


def _retry_after() -> list[Header]:
    return [(b"retry-after", str(RETRY_AFTER_SECONDS).encode())]


def unavailable(message: str, *, headers: Sequence[Header] = ()) -> Problem:
    """503 with `retry-after`: nothing is wrong with the request, it may be sent again."""
    return Problem(503, message, headers=[*_retry_after(), *headers])


def overloaded() -> Problem:
    """429 with `retry-after`: this process already handles as much as it may."""
    message = "too many requests, the ingress is overloaded. Retry later."
    return Problem(429, message, headers=_retry_after())


def not_found() -> Problem:
    """404 for a path that means nothing here."""
    return Problem(404, "not found")


def method_not_allowed(*allowed: str) -> Problem:
    """405, naming the methods that are allowed."""
    return Problem(405, "method not allowed", headers=[(b"allow", ", ".join(allowed).encode())])


def bad_path(path: str) -> Problem:
    """400 for a path with too few or too many segments."""
    return Problem(400, f"bad path: {path}")


def bad_service_path() -> Problem:
    """400 for a path that names a service but not what to call."""
    return Problem(
        400,
        "bad path, expected either /:service-name/:handler or /:object-name/:object-key/:handler",
    )


def unknown_service(name: str) -> Problem:
    """404 for a service that no deployment has registered."""
    return Problem(
        404,
        f"service '{name}' not found, make sure to register the service before calling it.",
    )


def unknown_handler(service: str, handler: str) -> Problem:
    """404 for a handler that its (known) service does not have."""
    return Problem(
        404,
        f"the service '{service}' exists, but the handler '{handler}' was not found,"
        " check that the handler exists in the latest registered service version.",
    )


def private_service() -> Problem:
    """400 for a handler that only other handlers may call."""
    return Problem(400, "the invoked service is not public")


def already_invoked(invocation_id: str) -> Problem:
    """409 for the call of a workflow that has run, or runs: its result is there to attach to."""
    return Problem(
        409,
        "the workflow method was already invoked",
        source="invocation",
        headers=[(b"x-restate-id", invocation_id.encode())],
    )
