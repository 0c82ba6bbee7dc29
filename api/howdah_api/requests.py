"""What commands ask of a running server: one request, and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from howdah.errors import StoreError, UsageError

CONNECT_SECONDS = 5.0
OPERATION_SECONDS = 60.0
_CANNOT = (404, 409)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ingress said."""

    status: int
    body: bytes
    invocation_id: str | None


def invoke(
    ingress: str,
    path: str,
    body: str | None,
    *,
    is_send: bool,
    delay: str | None,
    idempotency_key: str | None,
    scope: str | None = None,
    limit_key: str | None = None,
) -> Answer:
    """Call or send, and wait for the answer for as long as it takes.

    Args:
        ingress: `http://HOST:PORT`, or `HOST:PORT`.
        path: `Service/handler` or `Object/key/handler`; sent as it is, but for characters that no
            URL holds.
        body: Sent as JSON when it is JSON, otherwise as plain bytes; None sends no body.
        is_send: Do not wait for the invocation's result.
        delay: For sends, such as `10s`.
        idempotency_key: Two requests with the same one are one invocation.
        scope: Where it is counted; for services.
        limit_key: Under what it is counted in its scope.

    Raises:
        UsageError: nothing answers there.
    """
    base = ingress if "://" in ingress else f"http://{ingress}"
    target = quote(path.strip("/"), safe="/%:@!$&()*+,;=~.-_")
    url = f"{base.rstrip('/')}/{target}/send" if is_send else f"{base.rstrip('/')}/{target}"
    if scope is not None:
        verb = "send" if is_send else "call"
        url = f"{base.rstrip('/')}/restate/scope/{quote(scope, safe='')}/{verb}/{target}"
    headers = {}
    if limit_key is not None:
        headers["x-restate-limit-key"] = limit_key
    if idempotency_key is not None:
        headers["idempotency-key"] = idempotency_key
    if body is not None:
        headers["content-type"] = _content_type(body)
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
    try:
        response = httpx.post(
            url,
            content=None if body is None else body.encode(),
            headers=headers,
            params={"delay": delay} if delay is not None else None,
            timeout=timeout,
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UsageError(
            f"Nothing answers at {base}: {error}.",
            hint="Is `howdah serve` running? Give its address with --ingress.",
        ) from error
    return Answer(response.status_code, response.content, response.headers.get("x-restate-id"))


def operate(admin: str, method: str, path: str, body: Any) -> httpx.Response:
    """Ask the admin port for something; whoever waits on the other side may take its time.

    Args:
        admin: `http://HOST:PORT`, or `HOST:PORT`.
        method: Of HTTP.
        path: With its query.
        body: Sent as JSON; None: nothing is.

    Raises:
        UsageError: nothing answers there, or it was asked for wrongly.
        StoreError: it could not be done.
    """
    base = (admin if "://" in admin else f"http://{admin}").rstrip("/")
    timeout = httpx.Timeout(OPERATION_SECONDS, connect=CONNECT_SECONDS)
    try:
        answer = httpx.request(method, f"{base}{path}", json=body, timeout=timeout, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UsageError(
            f"Nothing answers at {base}: {error}.",
            hint="Is `howdah serve` running? Give the address of its admin port with --admin.",
        ) from error
    if answer.is_success:
        return answer
    message = _said(answer)
    if answer.is_client_error and answer.status_code not in _CANNOT:
        raise UsageError(message)
    raise StoreError(message)


def _said(answer: httpx.Response) -> str:
    try:
        message = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text or f"status {answer.status_code}"
    return f"{message}" if message.endswith((".", "!", "?")) else f"{message}."


def _content_type(body: str) -> str:
    try:
        msgspec.json.decode(body.encode())
    except (msgspec.MsgspecError, RecursionError):
        return "application/octet-stream"
    return "application/json"
