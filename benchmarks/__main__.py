"""The command: `python -m benchmarks`."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import postgres
from benchmarks.bench import QUICK, ROOT, Bench, Sizes
from benchmarks.disk import fsync_us
from benchmarks.figures import FIGURES, Figure, Measured
from benchmarks.peers import PEERS, Rival
from benchmarks.processes import BenchmarkError
from benchmarks.report import Row, Side, store, table

HERE = Path(__file__).parent
NAMES = [figure.name for figure in FIGURES]
PEER_NAMES = [peer.name for peer in PEERS]

Measure = Callable[[], Awaitable[Measured]]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", multiple=True, type=click.Choice(NAMES), help="Only this figure; repeatable."
)
@click.option("--quick", is_flag=True, help="Less work: a first impression in about two minutes.")
@click.option(
    "--repeat", type=click.IntRange(1, 99), default=1, show_default=True, help="Median of N."
)
@click.option(
    "--peer", "peer_names", multiple=True, type=click.Choice([*PEER_NAMES, "none"]),
    help="Only this peer, or none; repeatable.",
)  # fmt: skip
def main(only: Sequence[str], quick: bool, repeat: int, peer_names: Sequence[str]) -> None:
    """Measure howdah and its peers on this machine, and print one table.

    Uses HOWDAH_DATABASE_URL (its user must be allowed to create databases), or else an embedded
    Postgres in benchmarks/.data. Let nothing else run meanwhile.
    """
    figures = [figure for figure in FIGURES if not only or figure.name in only]
    peers = [peer for peer in PEERS if not peer_names or peer.name in peer_names]
    asyncio.run(run(figures, peers, sizes=QUICK if quick else Sizes(), repeat=repeat))


async def run(
    figures: Sequence[Figure], peers: Sequence[Rival], *, sizes: Sizes, repeat: int
) -> None:
    """Measure every figure, print the table, store the JSON."""
    console = Console()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with (
        tempfile.TemporaryDirectory(prefix="howdah-benchmark-") as folder,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task("starting Postgres")
        tell = partial(_describe, progress, task)
        async with postgres.server(HERE / ".data") as server:
            settings = await server.settings()
            fsync = round(fsync_us(HERE))
            bench = Bench(sizes, server, Path(folder), tell)
            installed, absent = await install(peers, figures, tell)
            for peer, reason in absent:
                console.print(f"{peer.title} is left out: {reason}", markup=False)
            plan = [
                (row, list(steps_of(row, bench, installed, repeat))) for row in rows_of(figures)
            ]
            progress.update(task, total=sum(len(steps) for _, steps in plan))
            for row, steps in plan:
                for side, measure in steps:
                    await measure_into(row, side, measure, console)
                    progress.advance(task)
    rows = [row for row, _ in plan]
    console.print(table(rows, installed))
    console.print(f"one fsync of 8 kB took {fsync:,} µs (median) before the run", highlight=False)
    arguments = {"sizes": asdict(sizes), "repeat": repeat, "postgres": server.where}
    arguments["fsync_us"] = fsync
    path = store(HERE / "results", rows, installed, settings=settings, arguments=arguments)
    console.print(f"written to {path.relative_to(ROOT)}", highlight=False)


async def install(
    peers: Sequence[Rival], figures: Sequence[Figure], tell: Callable[[str], None]
) -> tuple[list[Rival], list[tuple[Rival, str]]]:
    """Install the peers that these figures need; return those there, and those not with reasons."""
    installed: list[Rival] = []
    absent: list[tuple[Rival, str]] = []
    if not any(figure.measure_peer for figure in figures):
        return installed, absent
    for peer in peers:
        tell(f"{peer.title}: installing")
        try:
            await peer.install()
        except BenchmarkError as error:
            absent.append((peer, str(error)))
        else:
            installed.append(peer)
    return installed, absent


def rows_of(figures: Sequence[Figure]) -> list[Row]:
    """An empty row for each figure."""
    return [Row(figure, {"howdah": Side()}) for figure in figures]


def steps_of(
    row: Row, bench: Bench, peers: Sequence[Rival], repeat: int
) -> Iterable[tuple[str, Measure]]:
    """What is to be measured for a row, howdah and the peers by turns, round after round."""
    figure = row.figure
    for _ in range(repeat if figure.is_repeated else 1):
        yield "howdah", partial(figure.measure, bench)
        if figure.measure_peer is not None:
            for peer in peers:
                yield peer.name, partial(figure.measure_peer, bench, peer)


async def measure_into(row: Row, name: str, measure: Measure, console: Console) -> None:
    """Measure once; a failure is shown, and ends neither the run nor the other sides."""
    side = row.sides.setdefault(name, Side())
    try:
        side.measurements.append(await measure())
    except BenchmarkError as error:
        side.problem = str(error)
        console.print(f"{row.figure.name}, {name}: {error}", markup=False, highlight=False)
    else:
        value = side.measurements[-1].value
        line = f"{row.figure.title}: {name} {value:,.2f} {row.figure.unit}"
        console.print(line, markup=False, highlight=False)


def _describe(progress: Progress, task: int, text: str) -> None:
    progress.update(task, description=text)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
