"""Texts that go into a request: checked for what HTTP and the server can take, and encoded. Pure.

What is refused here would be refused by the server, or would mean something else on its way there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import quote

from howdah.errors import OutOfBounds, UsageError
from howdah.limits import LIMIT_KEY_BOUND, SCOPE_BOUND, is_limit_key, is_scope
from howdah.options import format_duration

TEXT_BYTES_MAX: Final = 1024
"""Bytes of a key, a name, an id or an idempotency key at most."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[\t -~]*[!-~])?)?")


def segment(name: str, text: str) -> str:
    """Return a text as one segment of a path.

    Raises:
        OutOfBounds: as `checked_name`. HD1004.
    """
    encoded = quote(checked_name(name, text), safe="")
    # Dots alone would be taken for a folder and removed on the way.
    return encoded.replace(".", "%2E") if text in (".", "..") else encoded


def checked_name(name: str, text: object) -> bytes:
    """Return the bytes of what names something: a service, a key, an id.

    Raises:
        OutOfBounds: it is empty, has more than `TEXT_BYTES_MAX` bytes, or holds NUL. HD1004.
    """
    encoded = checked_text(name, text)
    if not 1 <= len(encoded) <= TEXT_BYTES_MAX or b"\0" in encoded:
        bound = f"1 to {TEXT_BYTES_MAX} bytes without NUL"
        raise OutOfBounds(name=name, value=repr(text)[:80], bound=bound)
    return encoded


def checked_text(name: str, text: object) -> bytes:
    """Return a text as UTF-8.

    Raises:
        OutOfBounds: it is no text, or holds half of a surrogate pair. HD1004.
    """
    if not isinstance(text, str):
        raise OutOfBounds(name=name, value=repr(text)[:80], bound="a string")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        bound = "text that UTF-8 can hold"
        raise OutOfBounds(name=name, value=ascii(text)[:80], bound=bound) from error


def checked_scope(scope: object, key: str | None) -> str:
    """Return a scope, which only services without keys have.

    Raises:
        OutOfBounds: it is none, or there is a key. HD1004.
    """
    if key is not None:
        raise OutOfBounds(name="scope", value=scope, bound="None for objects and workflows")
    if not isinstance(scope, str) or not is_scope(scope):
        raise OutOfBounds(name="scope", value=repr(scope)[:80], bound=SCOPE_BOUND)
    return scope


def checked_limit_key(limit_key: object, scope: str | None) -> str:
    """Return a limit key, which is within a scope.

    Raises:
        OutOfBounds: it is none, or there is no scope. HD1004.
    """
    if scope is None:
        raise OutOfBounds(name="limit_key", value=limit_key, bound="None without a scope")
    if not isinstance(limit_key, str) or not is_limit_key(limit_key):
        raise OutOfBounds(name="limit_key", value=repr(limit_key)[:80], bound=LIMIT_KEY_BOUND)
    return limit_key


def delay_query(delay: timedelta | None) -> str:
    """Return the query of a delayed send; nothing without a delay.

    Raises:
        OutOfBounds: it is negative. HD1004.
    """
    if not delay:
        return ""
    if delay < timedelta(0):
        raise OutOfBounds(name="send_delay", value=delay, bound="zero or more")
    return f"?delay={quote(format_duration(delay))}"


def request_headers(
    headers: Mapping[str, str] | None, idempotency_key: str | None, content_type: str | None
) -> dict[str, str]:
    """Return the headers of one request, names in lower case; `headers` may set another type.

    Raises:
        OutOfBounds: the idempotency key cannot stand in a header, or is too long. HD1004.
        UsageError: as `checked_headers`. HD1000.
    """
    given = {} if content_type is None else {"content-type": content_type}
    given.update(checked_headers(headers))
    if idempotency_key is not None:
        given["idempotency-key"] = idempotency_key
    key = given.get("idempotency-key")
    if key is not None and not (_fits(_HEADER_VALUE, key) and 1 <= len(key) <= TEXT_BYTES_MAX):
        bound = f"1 to {TEXT_BYTES_MAX} visible ASCII characters, with no space at either end"
        raise OutOfBounds(name="idempotency_key", value=repr(key)[:80], bound=bound)
    return given


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers with their names in lower case.

    Raises:
        UsageError: a name or a value cannot stand in a header. Values are not shown. HD1000.
    """
    checked = {}
    for name, value in (headers or {}).items():
        if not _fits(_HEADER_NAME, name):
            raise UsageError(f"{name!r} cannot be the name of a header.")
        if not _fits(_HEADER_VALUE, value):
            raise UsageError(
                f"The value of the header {name} is not visible ASCII.",
                hint="Encode it, and let it neither begin nor end with a space.",
            )
        checked[name.lower()] = value
    return checked


def _fits(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
