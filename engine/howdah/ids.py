"""Ids: invocations are UUIDs of version 7; awakeables name one and a number in it; deployments dp_1….

Tools for Restate write and read other texts: `inv_1` and 33 digits of base 62, the first 11 of which
may be 2^64 - 1 and the others 2^128 - 1 at most; for deployments `dp_1` and 22. `restate_id` is a UUID
in that form: its 32 hexadecimal digits are digits of base 62 too, and one 0 keeps them small enough.

The first 48 bits are the milliseconds since 1970, so ids made later sort later and new rows land
at the end of an index. The time in an id is never used as durable time: the database's clock is.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import md5
from os import urandom
from time import time_ns
from uuid import UUID, SafeUUID

from howdah.errors import InvalidId

_RESTATE_TEXT = re.compile(r"inv_1[0-9a-f]{11}0[0-9a-f]{21}")
_DEPLOYMENT_TEXT = re.compile(r"dp_1[0-7][0-9a-zA-Z]{21}")
_SHORT_NAME = re.compile(r"[1-9a-zA-Z][0-9a-zA-Z]{0,20}")
_UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_LOW_62_BITS = (1 << 62) - 1


def uuid7() -> UUID:
    """Return a new UUID of version 7, with 74 random bits from the operating system.

    Takes about 1.5 µs. Two ids of one millisecond are in no particular order.
    """
    random = int.from_bytes(urandom(10), "big")
    # UUID(int=...) checks what is true by construction here and takes twice as long.
    made = object.__new__(UUID)
    object.__setattr__(
        made,
        "int",
        (time_ns() // 1_000_000 << 80)
        | _VERSION_AND_VARIANT
        | (random >> 68 << 64)
        | (random & _LOW_62_BITS),
    )
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made


def parse_id(text: str) -> UUID:
    """Read an invocation id: as ids are printed, in either case of letters, or as `restate_id` writes it.

    Raises:
        InvalidId: the text is anything else, such as a UUID in braces or without hyphens. HD1006.
    """
    if _UUID_TEXT.fullmatch(text) is not None:
        return UUID(text)
    if _RESTATE_TEXT.fullmatch(text) is not None:
        return UUID(text[5:16] + text[17:])
    raise InvalidId(text=text)


def restate_id(invocation_id: UUID) -> str:
    """An invocation's id as tools for Restate take it: 38 characters, in the order of the ids.

    Source: sql/functions/04_restate_ids.sql writes the same.
    """
    digits = invocation_id.hex
    return f"inv_1{digits[:11]}0{digits[11:]}"


def restate_deployment_id(name: str) -> str:
    """A deployment's id as tools for Restate take it: 26 characters.

    That of a remote deployment is its name. A version that workers serve has a name of letters and
    digits filled up with zeros (`v2` is `dp_1…00v2`), or a digest of any other.

    Source: sql/functions/04_restate_ids.sql writes the same.
    """
    if _DEPLOYMENT_TEXT.fullmatch(name) is not None:
        return name
    if _SHORT_NAME.fullmatch(name) is not None:
        return f"dp_1{name:0>22}"
    digest = md5(name.encode(), usedforsecurity=False).hexdigest()
    return f"dp_11{digest[:21]}"


AWAKEABLE_MIN = 17
AWAKEABLE_MAX = 2**28 - 1
_AWAKEABLE_TEXT = re.compile(r"sign_1[A-Za-z0-9_-]{27}")


def awakeable_id(invocation_id: UUID, number: int) -> str:
    """The text that names an awakeable: 33 characters, safe in paths.

    Source: sql/functions/84_signals.sql reads the same.
    """
    packed = invocation_id.bytes + number.to_bytes(4, "big")
    return "sign_1" + urlsafe_b64encode(packed).decode().rstrip("=")


def parse_awakeable_id(text: str) -> tuple[UUID, int]:
    """Read an awakeable's id: the invocation that waits, and the awakeable's number in it.

    Raises:
        InvalidId: the text is no such id: other numbers are those of cancellation and of named
            signals. HD1006.

    Source: sql/functions/84_signals.sql reads the same.
    """
    if _AWAKEABLE_TEXT.fullmatch(text) is None:
        raise InvalidId(text=text, is_awakeable=True)
    packed = urlsafe_b64decode(text[len("sign_1") :] + "=")
    invocation_id, number = UUID(bytes=packed[:16]), int.from_bytes(packed[16:], "big")
    if not AWAKEABLE_MIN <= number <= AWAKEABLE_MAX or awakeable_id(invocation_id, number) != text:
        raise InvalidId(text=text)
    return invocation_id, number


_BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def new_deployment_id() -> str:
    """An id for a remote deployment: `dp_1…`, 26 characters, in no order of time."""
    number, text = int.from_bytes(uuid7().bytes, "little"), ""
    for _ in range(22):
        number, digit = divmod(number, 62)
        text = _BASE62[digit] + text
    return f"dp_1{text}"
