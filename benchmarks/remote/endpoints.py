"""The endpoints: the same three steps, written with the official SDKs, each one process."""

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.peers import Peer
from benchmarks.processes import free_port, program, running, until_listening
from benchmarks.remote import packages

PROGRAMS = Path(__file__).parent.parent / "programs"


class Endpoint(ABC):
    """One program with services of an SDK."""

    name: str
    title: str

    @abstractmethod
    async def install(self) -> None:
        """Install what it needs; raise BenchmarkError where that cannot be."""

    @abstractmethod
    def command(self, port: int) -> Sequence[str]:
        """How it is started."""

    @asynccontextmanager
    async def serving(self, log: Path) -> AsyncIterator[str]:
        """Serve while the context is open; yields the endpoint's URI."""
        port = free_port()
        env = {**os.environ, "PYTHONPATH": str(PROGRAMS), "NODE_ENV": "production"}
        async with running(self.command(port), env=env, log=log) as started:
            await until_listening(started, port)
            yield f"http://127.0.0.1:{port}"


class PythonEndpoint(Endpoint):
    """The Python SDK behind Hypercorn, with uvloop, in one process."""

    name = "python"
    title = "Python SDK"
    environment = Peer("sdk-python", "Python SDK", ("restate-sdk==1.3.0",), "Hypercorn with uvloop")

    async def install(self) -> None:
        """Make its virtual environment."""
        await self.environment.install()

    def command(self, port: int) -> Sequence[str]:
        """Hypercorn's own command line."""
        serve = [str(self.environment.python), "-m", "hypercorn", "--worker-class", "uvloop"]
        return [*serve, "--bind", f"127.0.0.1:{port}", "steps_sdk:app"]


class TypeScriptEndpoint(Endpoint):
    """The TypeScript SDK's own server, in one process."""

    name = "typescript"
    title = "TypeScript SDK"

    async def install(self) -> None:
        """Install the SDK."""
        await packages.install()

    def command(self, port: int) -> Sequence[str]:
        """Node with the program."""
        node = program("node", "Node 20 or newer (https://nodejs.org)")
        return [node, str(PROGRAMS / "steps_sdk.mjs"), str(packages.FOLDER), str(port)]


ENDPOINTS: tuple[Endpoint, ...] = (PythonEndpoint(), TypeScriptEndpoint())
