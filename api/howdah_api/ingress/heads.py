"""Request headers: what the ingress itself needs, and what the handler will see.

One pass over the headers does both. The handler's list starts with `x-restate-ingress-path` and
holds every header but the connection's own ones, the idempotency pair, and credentials: what is in
the list is stored with the invocation, and is read by whoever reads the database.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from howdah.options import CREDENTIAL_HEADERS
from howdah_api.problems import Problem

INGRESS_PATH: Final = "x-restate-ingress-path"
IDEMPOTENCY_KEY_BYTES_MAX: Final = 1024

_OWN: Final = frozenset({"connection", "host", "idempotency-key", "idempotency-expires"})
# Read here as well as (mostly) passed on. A look-up is cheaper than a chain of comparisons.
_NOTED: Final = frozenset(
    {
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "origin",
        "transfer-encoding",
        "x-restate-limit-key",
    }
)
# A registered name or an address, then perhaps a port: what RFC 9110 allows, and nothing else.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")


class Head:
    """The headers of one request, as far as the ingress looks at them."""

    __slots__ = (
        "bad_header",
        "content_length",
        "content_type",
        "headers",
        "idempotency_key",
        "is_ambiguous",
        "limit_key",
        "origin",
    )

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []  # for the handler; the path is put first later
        self.content_type: str | None = None
        self.content_length: int | None = None
        self.idempotency_key: str | None = None
        self.limit_key: str | None = None
        self.origin: bytes | None = None
        self.is_ambiguous = False  # both content-length and transfer-encoding
        self.bad_header: Problem | None = None  # raised once the target is known


def withheld_headers(allowed: Collection[str] = ()) -> frozenset[str]:
    """The names of the headers that are kept from handlers and from the database.

    Args:
        allowed: Credential headers that are passed on nevertheless.
    """
    return _OWN.union(name for name in CREDENTIAL_HEADERS if name not in allowed)


WITHHELD: Final = withheld_headers()


def read_head(headers: Iterable[tuple[bytes, bytes]], withheld: frozenset[str] = WITHHELD) -> Head:
    """Read a request's headers, names in lower case.

    Nothing is raised here, because a header that cannot be read must not hide that the path is
    wrong: the first such header is kept in `Head.bad_header`.
    """
    head = Head()
    given = head.headers
    is_chunked = False
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1")
        value = raw_value.decode("latin-1")
        if not (value.isascii() and value.isprintable()) and not _is_text(value):
            _note_bad(head, name, "it is not visible ASCII")
            continue
        if name in _NOTED:
            if name == "content-type":
                head.content_type = value
            elif name == "content-length":
                head.content_length = int(value) if value.isdigit() else None
            elif name == "host":
                if not _HOST.match(value):
                    _note_bad(head, name, "it is not a host name")
            elif name == "idempotency-key":
                head.idempotency_key = value
                if not value:
                    _note_bad(head, name, "it is empty")
                elif len(value) > IDEMPOTENCY_KEY_BYTES_MAX:
                    _note_bad(head, name, f"longer than {IDEMPOTENCY_KEY_BYTES_MAX} bytes")
            elif name == "origin":
                head.origin = raw_value
            elif name == "transfer-encoding":
                is_chunked = True
            else:
                head.limit_key = value
        if name not in withheld:
            given.append((name, value))
    head.is_ambiguous = is_chunked and head.content_length is not None
    return head


def _is_text(value: str) -> bool:
    return value.isascii() and value.replace("\t", " ").isprintable()


def _note_bad(head: Head, name: str, reason: str) -> None:
    if head.bad_header is None:
        head.bad_header = Problem(400, f"bad header {name}: {reason}")
