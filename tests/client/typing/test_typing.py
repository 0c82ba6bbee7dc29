"""What a user's type checker accepts and refuses of the clients: see `accepted/`, `refused/`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent
MYPY_TIMEOUT_SECONDS = 240


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[int]]:
    """The lines that mypy complains about, by file."""
    found: dict[str, set[int]] = {path.name: set() for path in _programs()}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-pretty"),
            *("--cache-dir", str(tmp_path_factory.mktemp("mypy"))),
            *(str(path) for path in _programs()),
        ],
        capture_output=True,
        text=True,
        timeout=MYPY_TIMEOUT_SECONDS,
        cwd=PROGRAMS,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    for line in done.stdout.splitlines():
        path, number, severity, *_ = [*line.split(":", 3), "", "", ""]
        if severity.strip() == "error":
            found[Path(path).name].add(int(number))
    return found


def _programs() -> Iterator[Path]:
    yield from sorted(PROGRAMS.glob("accepted/*.py"))
    yield from sorted(PROGRAMS.glob("refused/*.py"))


@pytest.mark.timeout(MYPY_TIMEOUT_SECONDS + 60)
@pytest.mark.parametrize(
    "program", list(_programs()), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_a_type_checker_finds_exactly_the_marked_lines(
    program: Path, complaints: dict[str, set[int]]
) -> None:
    lines = program.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, start=1) if "  # error" in line}
    assert complaints[program.name] == marked
    assert bool(marked) == (program.parent.name == "refused")
