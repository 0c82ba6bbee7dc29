"""What an ingress path means, worked out from its raw bytes.

Paths are split before they are percent-decoded, so a key may hold a slash. Only keys are decoded,
and once; services and handlers are plain names, and an idempotency key in a path is taken as it
stands. Everything here is pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from howdah_api.problems import Problem, bad_path, bad_service_path

SEGMENTS_MIN: Final = 2
SEGMENTS_MAX: Final = 7
# A key is part of several b-tree indexes, whose rows must stay under about 2,700 bytes.
KEY_BYTES_MAX: Final = 1024
_VERB: Final = 3  # restate/scope/{scope}/call


class Target(NamedTuple):
    """The part of a call path that follows the service name."""

    key: str | None
    handler: str
    is_send: bool


def split_path(raw_path: bytes) -> list[str]:
    """Split a raw path into its 2 to 7 segments, without the empty one before the first slash.

    Trailing slashes are dropped. An absolute-form request target (`http://host/path`) is reduced
    to its path.

    Raises:
        Problem: 400 `bad path` when there are fewer or more segments.
    """
    text = raw_path.decode("latin-1")
    if not text.startswith("/"):
        text = _without_authority(text)
    segments = text.rstrip("/").split("/")
    if not SEGMENTS_MIN < len(segments) <= SEGMENTS_MAX + 1:
        raise bad_path(text)
    del segments[0]
    return segments


def is_scoped(segments: Sequence[str]) -> bool:
    """Whether a path is `/restate/scope/{scope}/call/...` or `.../send/...`."""
    return len(segments) > _VERB and segments[1] == "scope" and segments[_VERB] in ("call", "send")


def _without_authority(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        raise bad_path(text)
    return "/" + rest.partition("/")[2]


def parse_target(segments: Sequence[str], *, is_keyed: bool, is_send: bool | None = None) -> Target:
    """Read `[key/]handler[/send]` from the segments after the service name.

    Args:
        segments: What follows the service name.
        is_keyed: True for virtual objects and workflows, whose paths carry a key.
        is_send: Given by paths that say so themselves (`/restate/send/...`), where a last segment
            `send` has no meaning. None to read it off the path.

    Raises:
        Problem: 400 when a segment is missing, empty or left over, or the key cannot be decoded.
    """
    count = len(segments)
    plain = 2 if is_keyed else 1
    if is_send is None:
        is_send = count == plain + 1 and segments[plain] == "send"
        if is_send:
            count -= 1
    if count != plain:
        raise bad_service_path()
    handler = segments[plain - 1]
    if not handler:
        raise bad_service_path()
    return Target(decode_key(segments[0]) if is_keyed else None, handler, is_send)


def decode_key(segment: str) -> str:
    """Percent-decode an object key, once.

    Raises:
        Problem: 400 when the key is empty, is not UTF-8, holds NUL, or has more than
            `KEY_BYTES_MAX` bytes.
    """
    if not segment:
        raise bad_service_path()
    if segment.isascii() and "%" not in segment:
        raw = None
        key = segment
    else:
        raw = unquote_to_bytes(segment.encode("latin-1"))
        try:
            key = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _undecodable(f"not valid UTF-8 at byte {error.start}") from error
    if (len(key) if raw is None else len(raw)) > KEY_BYTES_MAX:
        raise _undecodable(f"longer than {KEY_BYTES_MAX} bytes")
    if "\0" in key:
        raise _undecodable("it holds a NUL character")
    return key


def _undecodable(reason: str) -> Problem:
    return Problem(400, f"bad path, cannot decode key: {reason}")
