"""`app([...])`: services that `howdah serve` accepts, and that an ASGI server runs as they are."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal

from howdah.restate.entry_codec import (
    JournalValueCodec,
    JournalValueCodecProvider,
    refuse_codec,
)
from howdah.service import AnyService, Bundle

__all__ = ["App", "app"]

_ASGI = "howdah_api.asgi"
"""What serves an app. It is named here and not imported: the engine knows nothing of the api."""


class App(Bundle):
    """Services that are served together: their ingress and their worker in one ASGI application.

    The server's lifespan starts an engine, on the database of HOWDAH_DATABASE_URL or on an embedded
    Postgres, as `howdah serve` would.

    Attributes:
        services: In the order given.
        identity_keys: Whose requests were to be accepted; with any, it is not served over ASGI.
    """

    def __init__(self, services: Iterable[AnyService], identity_keys: Iterable[str] = ()) -> None:
        super().__init__(services)
        self.identity_keys = tuple(identity_keys)
        self._served: Any = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve one exchange of HTTP, or the server's lifespan."""
        if self._served is None:
            self._served = importlib.import_module(_ASGI).AsgiApp(self)
        await self._served(scope, receive, send)


def app(
    services: Iterable[AnyService],
    protocol: Literal["bidi", "request_response"] | None = None,
    identity_keys: list[str] | None = None,
    journal_value_codec: JournalValueCodec | JournalValueCodecProvider | None = None,
) -> App:
    """Put services together, to be served.

    Args:
        services: Of this package or of `howdah`.
        protocol: Without meaning: handlers run in the process that serves them.
        identity_keys: Nobody signs requests to howdah. With any, the app is for `howdah serve`
            only: an ASGI server could open to everybody what was meant for a signer.
        journal_value_codec: Refused.

    Raises:
        UsageError: a codec is given. HD1000.
    """
    refuse_codec(journal_value_codec)
    return App(services, identity_keys or ())
