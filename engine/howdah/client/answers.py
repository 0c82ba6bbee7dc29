"""What the ingress answers, and how it is read. Pure.

An answer is howdah's when it has its form: the expected status, or an error as JSON with a source.
Anything else came from something in between and is an `UnexpectedAnswer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

NOT_READY: Final = 470
TOO_LARGE: Final = 413
SHOWN_CHARACTERS_MAX: Final = 200
"""How much of an unexpected answer an error shows."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response: status, headers with names in lower case, whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ClientSendHandle(Generic[T]):
    """An invocation that was sent; `attach` and `output` take it and know the type of its result.

    Attributes:
        invocation_id: The text of a UUID; with an idempotency key, that of the first such request.
        status: "Accepted", or "PreviouslyAccepted" when the invocation was there already: by its
            idempotency key, or because the workflow has a run for this key. After a repeated try it
            may be the first try of the same request that was accepted.
        status_code: The answer's HTTP status.
        execution_time: For delayed sends, when it starts.
    """

    invocation_id: str
    status: Literal["Accepted", "PreviouslyAccepted"] = "Accepted"
    status_code: int = 202
    execution_time: datetime | None = None
    read_result: Callable[[bytes], Any] = field(default=bytes, repr=False, compare=False)

    @property
    def is_new(self) -> bool:
        """Whether this request made the invocation."""
        return self.status == "Accepted"


class SendBody(msgspec.Struct):
    """`{"invocationId", "executionTime"?, "status"}`."""

    invocation_id: str = msgspec.field(name="invocationId")
    status: Literal["Accepted", "PreviouslyAccepted"]
    execution_time: str | None = msgspec.field(name="executionTime", default=None)


class HealthBody(msgspec.Struct):
    """`{"services"}`."""

    services: list[str]


class FailureBody(msgspec.Struct):
    """`{"code", "message", "source", "metadata"?}`."""

    message: str
    source: Literal["ingress", "invocation"]
    metadata: dict[str, str] | None = None


_decode_send = msgspec.json.Decoder(SendBody).decode
_decode_health = msgspec.json.Decoder(HealthBody).decode
_decode_failure = msgspec.json.Decoder(FailureBody).decode


class NotOurs(Exception):
    """The body has not the form that howdah gives it."""


def read_handle(answer: Answer, read_result: Callable[[bytes], Any]) -> ClientSendHandle[Any]:
    """Read the answer of a send.

    Raises:
        NotOurs: it is something else.
    """
    try:
        body = _decode_send(answer.body)
        starts_at = body.execution_time
        return ClientSendHandle(
            invocation_id=body.invocation_id,
            status=body.status,
            status_code=answer.status,
            execution_time=datetime.fromisoformat(starts_at) if starts_at else None,
            read_result=read_result,
        )
    except ValueError as error:  # msgspec's errors are ValueErrors
        raise NotOurs from error


def read_health(answer: Answer) -> list[str]:
    """Read the names of the services.

    Raises:
        NotOurs: it is something else.
    """
    try:
        return _decode_health(answer.body).services
    except ValueError as error:
        raise NotOurs from error


def read_failure(answer: Answer) -> FailureBody | None:
    """Read an error of howdah's; None when something else has answered."""
    if answer.status == TOO_LARGE and not answer.headers.get("x-restate-error-source"):
        return FailureBody(message=shown(answer.body), source="ingress")  # its one text answer
    try:
        return _decode_failure(answer.body)
    except ValueError:
        return None


def retry_after(answer: Answer) -> timedelta | None:
    """Read how long the server asks to wait; None when it does not ask."""
    text = answer.headers.get("retry-after", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        return None
    return timedelta(seconds=int(text))


def shown(body: bytes) -> str:
    """Return the beginning of a body as text."""
    text = body[: 4 * SHOWN_CHARACTERS_MAX].decode("utf-8", "replace").strip()
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
