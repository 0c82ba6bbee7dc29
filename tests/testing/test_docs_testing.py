"""Every example of docs/testing.md runs: its blocks are the files of a project."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "testing.md"
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", GUIDE.read_text(), re.M | re.S))
INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"


@pytest.mark.timeout(300)
def test_the_examples_pass(tmp_path: Path, server_url: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text(INI)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"),
            *("-p", "howdah_pytest", "-p", "pytest_asyncio.plugin"),
            *("--howdah-database-url", server_url),
        ],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    tests = sum(text.count("async def test_") for text in FILES.values())
    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr
    assert tests == 6


def test_no_example_is_left_out() -> None:
    assert GUIDE.read_text().count("```python") == len(FILES)


def test_a_program_without_pytest_runs(tmp_path: Path, server_url: str) -> None:
    for name in ("shop.py", "without_pytest.py"):
        (tmp_path / name).write_text(FILES[name])
    done = subprocess.run(
        [sys.executable, "without_pytest.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOWDAH_DATABASE_URL": server_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
