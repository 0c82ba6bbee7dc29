"""Where httpx's words become the client's: settings, requests, answers and errors."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

import httpx

from howdah.client.answers import Answer
from howdah.client.delivery import Loss, Timeouts
from howdah.errors import UsageError, WrongContext

ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL)
KEPT_CONNECTIONS_MAX: Final = 100
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_UNSENDABLE: Final = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError)


def arguments_of_own_client(base_url: str) -> dict[str, Any]:
    """Return how a client makes its httpx client, when it is given none.

    Connections are as many as requests wait, with no limit: with one, requests that wait for each
    other (one attached, one that completes what it waits for) could block each other for ever.
    """
    return {
        "headers": {"user-agent": f"howdah/{version('howdah')}"},
        "limits": httpx.Limits(
            max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS_MAX
        ),
        # Reading the certificates takes 50 ms, which plain HTTP need not wait for.
        "verify": base_url.startswith("https:"),
        "trust_env": False,
        "follow_redirects": False,
    }


def timeout_of(timeouts: Timeouts) -> httpx.Timeout:
    """Return the timeouts of one try. Waiting for a free connection has none."""
    return httpx.Timeout(
        connect=timeouts.connect, write=timeouts.write, read=timeouts.read, pool=None
    )


def answer_of(response: httpx.Response) -> Answer:
    """Return a response that was read to its end."""
    return Answer(response.status_code, response.headers, response.content)


def loss_of(error: Exception) -> Loss:
    """Return what an error of httpx means.

    Raises:
        UsageError: there is no way to send such a request. HD1000.
    """
    if isinstance(error, _UNSENDABLE):
        raise UsageError(f"The request cannot be sent: {error}.") from error
    return Loss(
        error=error,
        was_sent=not isinstance(error, _NOT_SENT),
        is_timeout=isinstance(error, httpx.TimeoutException),
    )


def refuse_closed(http: httpx.AsyncClient | httpx.Client) -> None:
    """Raise when the client was closed.

    Raises:
        WrongContext: it was. HD1007.
    """
    if http.is_closed:
        raise WrongContext(verb="A client", problem="it is closed")


def refuse_both(transport: object, http_client: object) -> None:
    """Raise when a transport and a client are given.

    Raises:
        UsageError: they are. HD1000.
    """
    if transport is not None and http_client is not None:
        raise UsageError("http_client has a transport of its own; give one of the two.")
