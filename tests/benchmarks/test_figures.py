"""The benchmark's figures can be measured: short runs of what is otherwise run by hand."""

from pathlib import Path

import pytest
from benchmarks.bench import Bench, Sizes
from benchmarks.figures import FIGURES
from benchmarks.postgres import Postgres

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

    assert {figure.name for figure in FIGURES} <= explained
