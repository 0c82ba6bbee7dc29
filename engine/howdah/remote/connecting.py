"""How this process reaches deployments: where they may be, who signs, what goes with each request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from howdah.options import Options
from howdah.remote.guard import Guard
from howdah.remote.http import HTTP_11, Endpoint
from howdah.remote.identity import Identity

CLUSTER_HEADER: Final = "x-restate-cluster-name"
CLUSTER: Final = "howdah"


class Connector:
    """Makes endpoints.

    Args:
        options: Of this process: `endpoint_allow`, `identity_key_file`.
        own_ports: Ports of this machine that are no endpoints.

    Raises:
        EndpointRefused: `endpoint_allow` lists what is neither a network nor a host. HD1011.
        InvalidOption: the key cannot be read. HD1020.
    """

    def __init__(self, options: Options, *, own_ports: Collection[int] = ()) -> None:
        key_file = options.identity_key_file
        self._guard = Guard(options.endpoint_allow, own_ports=own_ports)
        self._identity = None if key_file is None else Identity.from_file(key_file)

    def connect(
        self, uri: str, headers: Mapping[str, str] | None = None, *, use_http_11: bool = False
    ) -> Endpoint:
        """An endpoint; nothing is connected yet.

        Raises:
            EndpointRefused: the URI or a header cannot be used. HD1011.
        """
        return Endpoint(
            uri,
            headers={CLUSTER_HEADER: CLUSTER, **(headers or {})},
            use_http_11=use_http_11,
            guard=self._guard,
            identity=self._identity,
        )

    def connect_deployment(self, row: Any) -> Endpoint:
        """The endpoint of a row of `load_remote_deployments`, spoken to as it was discovered.

        Raises:
            EndpointRefused: as above.
        """
        headers = msgspec.json.decode(row["headers"]) if row["headers"] else None
        use_http_11 = row["use_http_11"] or row["http_version"] == HTTP_11
        return self.connect(row["uri"], headers, use_http_11=use_http_11)
