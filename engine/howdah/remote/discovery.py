"""Asks a deployment what it serves, and decides whether howdah can drive it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from howdah.remote.http import HTTP_2, HTTP_11, Endpoint, EndpointError, Response
from howdah.remote.manifest import Manifest, ManifestError, read_manifest
from howdah.remote.versions import NEWEST, OLDEST

PATH: Final = "/discover"
MEDIA_TYPES: Final = tuple(
    f"application/vnd.restate.endpointmanifest.v{version}+json" for version in (1, 2, 3, 4)
)
TRIES_MAX: Final = 4
RETRY_SECONDS: Final = 0.1
"""Before the second try; twice as long before each further one."""
TIMEOUT_SECONDS: Final = 30.0
MANIFEST_BYTES_MAX: Final = 16 << 20
_RETRIED_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
_SHOWN_CHARACTERS: Final = 200


class DiscoveryError(Exception):
    """A deployment cannot be used.

    Attributes:
        code: The condition by the name that the service protocol has for it, `META…`.
        message: What happened and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"[{code}] {message}")
        self.code: Final = code
        self.message: Final = message


@dataclass(frozen=True, slots=True)
class Discovered:
    """What is known of a deployment.

    Attributes:
        manifest: What it serves; checked.
        documents: Each of the manifest's services, in order, as JSON.
        http_version: How it answered: `HTTP/2.0` or `HTTP/1.1`. So it is spoken to from now on.
        sdk_version: The name and version of its SDK, or None.
    """

    manifest: Manifest
    documents: tuple[str, ...]
    http_version: str
    sdk_version: str | None


async def discover(endpoint: Endpoint, *, newest: int = NEWEST) -> Discovered:
    """Ask a deployment what it serves.

    Conditions that may pass (it cannot be reached, or says that it is busy) are tried again, four
    times in about a second.

    Args:
        endpoint: Where it is.
        newest: The newest version of the protocol with which invocations may begin.

    Raises:
        DiscoveryError: META0003: it cannot be reached, or answers with an error; META0005: a name is
            reserved; META0012: it speaks no version of the protocol that howdah speaks; META0013:
            what it says of itself cannot be read or cannot be; META0014: it seems to speak HTTP/1.1
            only; META0015: it wants to talk both ways over what does not allow that.
    """
    response = await _ask(endpoint)
    _check_content_type(response)
    try:
        manifest, documents = read_manifest(response.body)
    except ManifestError as error:
        code = "META0005" if error.is_reserved_name else "META0013"
        raise DiscoveryError(
            code, f"The manifest of {endpoint.uri} is refused: {error}."
        ) from error
    _check_protocol(manifest, response, newest)
    return Discovered(
        manifest,
        tuple(documents),
        response.http_version,
        response.headers.get("x-restate-server"),
    )


async def _ask(endpoint: Endpoint) -> Response:
    headers = [("accept", ", ".join(MEDIA_TYPES))]
    for number in range(TRIES_MAX):
        if number:
            await asyncio.sleep(RETRY_SECONDS * 2 ** (number - 1))
        is_last = number == TRIES_MAX - 1
        try:
            response = await endpoint.fetch(
                "GET",
                PATH,
                headers,
                timeout=TIMEOUT_SECONDS,
                body_bytes_max=MANIFEST_BYTES_MAX,
            )
        except EndpointError as error:
            if error.is_http_11:
                raise DiscoveryError(
                    "META0014",
                    f"{endpoint.uri} answers HTTP/1.1 where HTTP/2 was expected. Register it with"
                    " use_http_11, or serve it over HTTP/2.",
                ) from error
            if is_last or error.kind != "connect" or error.is_refusal:
                raise DiscoveryError(
                    "META0003", f"{endpoint.uri} gave no answer: {error}."
                ) from error
            continue
        if 200 <= response.status < 300:
            return response
        if is_last or response.status not in _RETRIED_STATUSES:
            raise DiscoveryError("META0003", _problem_of(response, endpoint))
    raise AssertionError("the last try returns or raises")


def _problem_of(response: Response, endpoint: Endpoint) -> str:
    status = response.status
    if 300 <= status < 400:
        return f"{endpoint.uri} redirects (status {status}), which is not followed: give the address itself."
    said = response.body[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
    hint = " Does it expect signed requests, with another key?" if status == 401 else ""
    return f"{endpoint.uri}{PATH} answered with status {status}: {said!r}.{hint}"


def _check_content_type(response: Response) -> None:
    content_type = response.headers.get("content-type")
    if content_type not in MEDIA_TYPES:
        raise DiscoveryError(
            "META0013",
            f"The answer has content-type {(content_type or '')[:_SHOWN_CHARACTERS]!r}, and that of a"
            " manifest in version 1 to 4 was expected. Is this the address of an SDK's endpoint?",
        )


def _check_protocol(manifest: Manifest, response: Response, newest: int) -> None:
    low, high = manifest.min_protocol_version, manifest.max_protocol_version
    if low > high or low > newest or high < OLDEST:
        hint = "Use another version of its SDK."
        if newest < low <= min(high, NEWEST):
            hint = "Raise HOWDAH_REMOTE_PROTOCOL_MAX."
        raise DiscoveryError(
            "META0012",
            f"The endpoint speaks versions {low} to {high} of the service protocol, and howdah"
            f" {OLDEST} to {newest}. {hint}",
        )
    can_stream = response.http_version in (HTTP_2, HTTP_11)
    if manifest.protocol_mode == "BIDI_STREAM" and not can_stream:
        raise DiscoveryError(
            "META0015",
            f"The endpoint wants to talk both ways at once, which {response.http_version} does not"
            " allow. Serve it over HTTP/2, or in the mode REQUEST_RESPONSE.",
        )
