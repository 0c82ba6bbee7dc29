"""The benchmark's figures can be measured: short runs of what is otherwise run by hand."""

import sys
from pathlib import Path

import httpx
import pytest
from benchmarks.bench import Bench, Sizes
from benchmarks.figures import FIGURES
from benchmarks.postgres import Postgres
from benchmarks.remote.endpoints import PythonEndpoint
from benchmarks.remote.figures import FIGURES as REMOTE_FIGURES
from benchmarks.remote.runtimes import howdah

from support import postgres

TINY = Sizes(
    queue_count=50,
    latency_count=20,
    callee_count=30,
    step_count=30,
    awakeable_count=60,
    entry_count=3_000,
    large_bytes=300_000,
    beside_ms=100,
)
IN_PROCESS = (
    "queue",
    "latency",
    "fan-out",
    "replay",
    "awakeables",
    "awakeables-http",
    "state",
    "large",
)
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.mark.parametrize("name", IN_PROCESS)
async def test_a_figure_is_measured(
    name: str, postgres_server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOWDAH_ALLOW_UNSAFE_POSTGRES", "yes")
    figure = next(figure for figure in FIGURES if figure.name == name)
    told: list[str] = []
    url = postgres_server.dsn(postgres_server.maintenance_dbname)
    server = Postgres(url, url, "the tests' own")

    measured = await figure.measure(Bench(TINY, server, tmp_path, told.append))

    assert measured.value > 0
    assert all(value >= 0 for value in measured.details.values())
    assert told


def test_every_figure_is_explained() -> None:
    lines = PAGE.read_text().splitlines()

    explained = {line.split("`")[1] for line in lines if line.startswith("| `")}

    assert {figure.name for figure in (*FIGURES, *REMOTE_FIGURES)} <= explained


async def test_howdah_is_measured_as_the_runtime_of_an_sdk(
    postgres_server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOWDAH_ALLOW_UNSAFE_POSTGRES", "yes")
    url = postgres_server.dsn(postgres_server.maintenance_dbname)
    bench = Bench(TINY, Postgres(url, url, "the tests' own"), tmp_path, lambda _: None)

    class Installed(PythonEndpoint):
        """The SDK of the tests' own environment."""

        def command(self, port: int) -> list[str]:
            bind = f"127.0.0.1:{port}"
            return [sys.executable, "-m", "hypercorn", "--bind", bind, "steps_sdk:app"]

    async with (
        Installed().serving(tmp_path / "sdk.log") as uri,
        howdah(bench, uri) as ingress,
        httpx.AsyncClient(timeout=30) as client,
    ):
        answer = await client.post(f"{ingress}/Steps/three", json="x")

    assert (answer.status_code, answer.json()) == (200, "x")
