"""What the admin port answers when it refuses, and how it reads what it is sent.

Every error has the body `{"message", "restate_code"}`; clients of this interface know both. The code is
null but for what is wrong with a deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from howdah_api.ingress.bodies import Intake
from howdah_api.ingress.content import matches
from howdah_api.problems import RETRY_AFTER_SECONDS

T = TypeVar("T")

INTAKE: Final = "howdah.intake"
"""Where the scope of a request has its body."""
TEXT_BYTES_MAX: Final = 1024
"""Bytes of a key or a name at most, as in the ingress."""
_JSON: Final = "application/json"
_encode = msgspec.json.Encoder().encode


class Refusal(Exception):
    """A request that is not carried out, with its status and the sentence for the client."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers
        self.code = code

    def response(self) -> Response:
        """The HTTP response for it."""
        return error(self.status, self.message, headers=self.headers, code=self.code)


def error(
    status: int,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    code: str | None = None,
) -> Response:
    """An error with its body."""
    return json(status, {"message": message, "restate_code": code}, headers=headers)


def unavailable(message: str) -> Response:
    """503: nothing is wrong with the request, it may be sent again."""
    return busy(message).response()


def busy(message: str) -> Refusal:
    """503 to be raised, with `retry-after`."""
    return Refusal(503, message, headers={"retry-after": str(RETRY_AFTER_SECONDS)})


def invalid(field: str, reason: str) -> Refusal:
    """400 for a part of the request that cannot be meant."""
    return Refusal(400, f"The request field '{field}' is invalid. Reason: {reason}")


def json(status: int, body: Any, *, headers: Mapping[str, str] | None = None) -> Response:
    """An answer with a JSON body."""
    return Response(_encode(body), status, headers, media_type=_JSON)


async def read_json(request: Request, kind: type[T], *, bytes_max: int) -> T:
    """Read a request's body as JSON of one type.

    Raises:
        Refusal: 415 it is not said to be JSON, 400 it is none, 422 it is JSON of another shape.
        BodyTooLarge, ClientLeft, Problem: as `Intake.read`.
    """
    content_type = request.headers.get("content-type")
    if content_type is None or not matches(content_type, _JSON):
        raise Refusal(415, f"Expected a body with `Content-Type: {_JSON}`")
    intake: Intake = request.scope[INTAKE]
    body = await intake.read(bytes_max)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as failure:
        raise Refusal(422, f"The body is JSON of another shape: {failure}") from None
    except msgspec.DecodeError as failure:
        raise Refusal(400, f"The body is not valid JSON: {failure}") from None
    except UnicodeDecodeError:
        raise Refusal(400, "The body is not valid JSON: it is not UTF-8") from None
    except RecursionError:
        raise Refusal(400, "The body is not valid JSON: it is nested too deeply") from None


def checked_text(field: str, text: str) -> str:
    """Return a key or a name if the database can hold it.

    Raises:
        Refusal: 400 it is empty, too long, or holds NUL.
    """
    size = len(text.encode())
    if not 1 <= size <= TEXT_BYTES_MAX or "\0" in text:
        raise invalid(field, f"expected 1 to {TEXT_BYTES_MAX} bytes without NUL")
    return text
