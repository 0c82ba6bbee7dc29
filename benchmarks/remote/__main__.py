"""The command: `python -m benchmarks.remote`."""

import asyncio
from collections.abc import Sequence

import click

from benchmarks.__main__ import run
from benchmarks.bench import QUICK, Sizes
from benchmarks.processes import BenchmarkError
from benchmarks.remote.endpoints import ENDPOINTS
from benchmarks.remote.figures import FIGURES
from benchmarks.remote.runtimes import RestateServer

NAMES = [figure.name for figure in FIGURES]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", multiple=True, type=click.Choice(NAMES), help="Only this figure; repeatable."
)
@click.option("--quick", is_flag=True, help="Shorter loads: a first impression in two minutes.")
@click.option(
    "--repeat", type=click.IntRange(1, 99), default=3, show_default=True, help="Median of N."
)
@click.option("--alone", is_flag=True, help="howdah alone, without restate-server.")
def main(only: Sequence[str], quick: bool, repeat: int, alone: bool) -> None:
    """Measure howdah and restate-server with endpoints of the official SDKs, by turns.

    Uses HOWDAH_DATABASE_URL (its user must be allowed to create databases), or else an embedded
    Postgres in benchmarks/.data. Let nothing else run meanwhile.
    """
    asyncio.run(_run(only, QUICK if quick else Sizes(), repeat, alone))


async def _run(only: Sequence[str], sizes: Sizes, repeat: int, alone: bool) -> None:
    there: list[str] = []
    for endpoint in ENDPOINTS:
        click.echo(f"{endpoint.title}: installing", err=True)
        try:
            await endpoint.install()
        except BenchmarkError as error:
            click.echo(f"{endpoint.title} is left out: {error}", err=True)
        else:
            there.append(endpoint.name)
    figures = [
        figure
        for figure in FIGURES
        if figure.name.rpartition("-")[0] in there and (not only or figure.name in only)
    ]
    await run(figures, [] if alone else [RestateServer()], sizes=sizes, repeat=repeat)


if __name__ == "__main__":
    main()
