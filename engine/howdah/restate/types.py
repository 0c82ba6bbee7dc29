"""Types that are shared."""

from __future__ import annotations

from dataclasses import dataclass

from howdah.restate.client_types import RestateClient

__all__ = ["HarnessEnvironment"]


@dataclass
class HarnessEnvironment:
    """What a test works with.

    Attributes:
        ingress_url: Where requests are accepted.
        admin_api_url: Where operators inspect and steer.
        client: Calls handlers through the ingress.
    """

    ingress_url: str
    admin_api_url: str
    client: RestateClient
