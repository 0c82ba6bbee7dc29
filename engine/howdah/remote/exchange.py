"""What the executor needs of HTTP: exchanges with an endpoint, and nothing of how they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Listener(Protocol):
    """Is told what an endpoint answers, on the loop, in order."""

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        """The response begins."""

    def on_data(self, data: bytes) -> None:
        """A part of its body."""

    def on_end(self) -> None:
        """It is complete."""

    def on_error(self, error: Exception) -> None:
        """The exchange broke; nothing follows."""


class Exchange(Protocol):
    """One request and its response. No call waits."""

    def send(self, data: bytes) -> None:
        """Send a part of the request's body."""

    def end(self) -> None:
        """The request is complete."""

    def hold(self) -> None:
        """Let no more of the response come than is on its way."""

    def release(self) -> None:
        """Let it come again."""

    def reset(self) -> None:
        """Break the exchange off; the listener is told nothing more."""


class Endpoint(Protocol):
    """Where a deployment is."""

    def open(
        self,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        end: bool,
        listener: Listener,
    ) -> Exchange:
        """Begin an exchange: POST, with the first bytes of the body; `end`: that is all of it."""
        ...

    def retire(self) -> None:
        """Begin no more exchanges; those in flight may end."""

    def close(self) -> None:
        """Close its connections; exchanges in flight break."""
