"""The remote deployments that this process drives, as the database knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from howdah.handler import HandlerOptions
from howdah.manifests import read_options
from howdah.remote.attempt import RemoteAttempt
from howdah.remote.exchange import Endpoint
from howdah.retry import InvocationRetryPolicy, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from howdah.store.registry import HandlerRow
    from howdah.store.units import Record
    from howdah.worker.engine import Engine

LOAD: Final = "select * from howdah_core.load_remote_deployments()"


@dataclass(frozen=True, slots=True)
class RemoteHandler:
    """A handler of a remote deployment: what its manifest says of how it is executed."""

    options: HandlerOptions
    retry_policy: RetryPolicy


@dataclass(frozen=True, slots=True)
class Deployment:
    """One remote deployment.

    Attributes:
        no, name: Its number in the database, and the id that people use.
        endpoint: Where it is.
        protocol_type: `BIDI_STREAM` or `REQUEST_RESPONSE`.
        max_protocol_version: The newest version of the protocol that it speaks.
        handlers: By service number and handler name.
    """

    no: int
    name: str
    endpoint: Endpoint
    protocol_type: str
    max_protocol_version: int
    handlers: Mapping[tuple[int, str], RemoteHandler]


class RemoteDeployments:
    """Knows all remote deployments, and makes attempts of their invocations.

    Args:
        connect: Makes the endpoint of a deployment's row.
    """

    def __init__(self, connect: Callable[[Any], Endpoint]) -> None:
        self._connect = connect
        self._deployments: dict[int, Deployment] = {}
        self._seen: dict[int, Any] = {}

    async def refresh(self, engine: Engine) -> None:
        """Read the deployments again; connections to those that did not change are kept."""
        rows = await engine.database.fetch(LOAD)
        found: dict[int, Deployment] = {}
        for row in rows:
            facts = tuple(row)
            no = row["no"]
            if self._seen.get(no) != facts:
                self._seen[no] = facts
                found[no] = self._read(row)
            else:
                found[no] = self._deployments[no]
        for no, deployment in self._deployments.items():
            if found.get(no) is not deployment:
                deployment.endpoint.close()
        self._deployments = found

    def _read(self, row: Any) -> Deployment:
        handlers: dict[tuple[int, str], RemoteHandler] = {}
        for service_no, manifest in msgspec.json.decode(row["services"]):
            for handler in manifest.get("handlers", ()):
                handlers[service_no, handler["name"]] = _handler(manifest, handler)
        return Deployment(
            row["no"], row["name"], self._connect(row), row["protocol_type"],
            row["max_protocol_version"], handlers,
        )  # fmt: skip

    def executes(self, deployment_no: int | None, row: HandlerRow) -> bool:
        """Whether that deployment has this handler."""
        deployment = self._deployments.get(deployment_no or 0)
        return deployment is not None and (row.service_no, row.name) in deployment.handlers

    def attempt(self, engine: Engine, record: Record, row: HandlerRow) -> RemoteAttempt:
        """An attempt of an invocation that its deployment executes."""
        assert record.deployment is not None
        deployment = self._deployments[record.deployment]
        handler = deployment.handlers[row.service_no, row.name]
        return RemoteAttempt(engine, record, row, handler, deployment)

    def close(self) -> None:
        """Close all connections."""
        for deployment in self._deployments.values():
            deployment.endpoint.close()
        self._deployments = {}
        self._seen = {}


def _handler(service: dict[str, Any], handler: dict[str, Any]) -> RemoteHandler:
    options = read_options(handler).over(read_options(service))
    policy = options.invocation_retry_policy or InvocationRetryPolicy()
    return RemoteHandler(options, policy.resolve())
