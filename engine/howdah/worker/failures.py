"""Failures as they are stored: text that Postgres and JSON can hold, whatever an error says of itself.

An error is somebody else's object. Its words may hold what cannot be written (file names with half
surrogate pairs, NUL), or may not be had at all; whoever records it must not fail for that.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from howdah.errors import RemoteFailure, TerminalError
from howdah.store.units import Outcome


def storable(text: object) -> str:
    """The text with a replacement character for whatever cannot be stored: NUL, half surrogates."""
    words = text if type(text) is str else _said_by(text)
    try:
        words.encode()
    except UnicodeEncodeError:
        words = words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return words.replace("\x00", "\ufffd")


def words_of(error: BaseException) -> str:
    """What an error is and says."""
    if isinstance(error, RemoteFailure):
        return storable(error.message)
    return f"{type(error).__name__}: {storable(error)}"


def _said_by(thing: object) -> str:
    try:
        return str(thing)
    except Exception as error:
        return f"(its text raises {type(error).__name__})"


def failure_detail(code: int, message: object, metadata: dict[str, str] | None) -> str:
    """The JSON of a failed notification or output."""
    facts: dict[str, Any] = {"code": code, "message": storable(message)}
    if metadata:
        facts["metadata"] = {storable(key): storable(value) for key, value in metadata.items()}
    return msgspec.json.encode(facts).decode()


def error_of(detail: str) -> TerminalError:
    """The error that a failed notification stands for."""
    facts = msgspec.json.decode(detail)
    return TerminalError(facts["message"], facts["code"], facts.get("metadata"))


def failed_outcome(id_: UUID, handler_no: int, detail: str) -> Outcome:
    """The outcome of an invocation whose output is this failure."""
    facts = msgspec.json.decode(detail)
    return Outcome(
        id_, "failed", b"", facts["code"], facts["message"], facts.get("metadata"), None, handler_no
    )
