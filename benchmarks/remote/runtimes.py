"""What drives the endpoints: howdah on Postgres, and restate-server with its own storage."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from benchmarks.bench import Bench
from benchmarks.processes import BenchmarkError, free_port, running, until_healthy
from benchmarks.remote import packages

DATA = Path(__file__).parent.parent / ".restate-data"
"""Beside the embedded Postgres: the same disk."""
REGISTER_SECONDS = 30.0


@asynccontextmanager
async def howdah(bench: Bench, endpoint: str) -> AsyncIterator[str]:
    """Run howdah without services of its own, with the endpoint; yields the ingress URL."""
    async with (
        bench.postgres.database("remote", is_howdah=True) as dsn,
        bench.howdah_runtime(dsn, HOWDAH_ENDPOINT_ALLOW="127.0.0.0/8") as runtime,
    ):
        await _register(runtime.admin, endpoint)
        yield runtime.ingress


class RestateServer:
    """The real server, as one node, with its default options."""

    name = "restate"
    title = "restate-server"
    packages = tuple(f"{name}=={version}" for name, version in packages.PACKAGES.items())
    settings = "one node, as by default; telemetry off, TCP only"

    async def install(self) -> None:
        """Install the server's package for this platform."""
        await packages.install()

    @asynccontextmanager
    async def running(self, bench: Bench, endpoint: str) -> AsyncIterator[str]:
        """Run it with the endpoint; yields the ingress URL."""
        ingress, admin, fabric = (f"127.0.0.1:{free_port()}" for _ in range(3))
        env = {
            **{name: value for name, value in os.environ.items() if "RESTATE_" not in name},
            "RESTATE_INGRESS__BIND_ADDRESS": ingress,
            "RESTATE_ADMIN__BIND_ADDRESS": admin,
            "RESTATE_BIND_ADDRESS": fabric,
            "RESTATE_ADVERTISED_ADDRESS": f"http://{fabric}/",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_DISABLE_TELEMETRY": "true",
        }
        server = packages.FOLDER / "node_modules" / ".bin" / "restate-server"
        command = [str(server), "--no-logo", "--node-name", "benchmark", "--base-dir", str(DATA)]
        shutil.rmtree(DATA, ignore_errors=True)
        try:
            async with running(command, env=env, log=bench.folder / "restate.log") as started:
                await until_healthy(started, f"http://{admin}/health")
                await until_healthy(started, f"http://{ingress}/restate/health")
                await _register(f"http://{admin}", endpoint)
                yield f"http://{ingress}"
        finally:
            shutil.rmtree(DATA, ignore_errors=True)


async def _register(admin: str, endpoint: str) -> None:
    async with httpx.AsyncClient(timeout=REGISTER_SECONDS) as client:
        answer = await client.post(f"{admin}/deployments", json={"uri": endpoint})
    if answer.status_code != httpx.codes.CREATED:
        raise BenchmarkError(f"registering: {answer.status_code} {answer.text}")
