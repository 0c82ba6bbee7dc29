"""The plugin as a user's project has it: pytest in a process and a directory of its own."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PLUGINS = ("howdah_pytest", "pytest_asyncio.plugin", "anyio.pytest_plugin")
SERVICES = """
import random
from datetime import timedelta
from howdah import Context, NonDeterminism, Service, TerminalError

greeter = Service("Greeter")

@greeter.handler()
async def greet(ctx: Context, name: str) -> str:
    return await ctx.run("greet", lambda: f"Hello {name}")

@greeter.handler()
async def toss(ctx: Context) -> str:
    return await ctx.run(f"toss {random.random()}", lambda: "heads")
"""


class Project:
    """A directory with tests; `run` runs them."""

    def __init__(self, path: Path, url: str) -> None:
        self._path = path
        self._url = url
        self.write("services.py", SERVICES)
        self.write("pytest.ini", "[pytest]\nasyncio_default_fixture_loop_scope = function\n")

    def write(self, name: str, text: str) -> None:
        (self._path / name).write_text(text)

    def run(self, *arguments: str, url: bool = True) -> "subprocess.CompletedProcess[str]":
        plugins = [word for name in PLUGINS for word in ("-p", name)]
        where = ["--howdah-database-url", self._url] if url else []
        return subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-ra", "--strict-markers"),
                *("-p", "no:cacheprovider", "-W", "error", *plugins, *where, *arguments),
            ],
            cwd=self._path,
            env={"PATH": "/usr/bin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def project(tmp_path: Path, server_url: str) -> Project:
    return Project(tmp_path, server_url)


def test_it_works_with_every_way_to_run_a_coroutine(project: Project) -> None:
    project.write(
        "test_greetings.py",
        """
import asyncio
import pytest
from services import greet, greeter

async def says_hello(howdah_environment):
    async with howdah_environment([greeter]) as env:
        assert await env.call(greet, "Ada") == "Hello Ada"

@pytest.mark.asyncio
async def test_with_pytest_asyncio(howdah_environment):
    await says_hello(howdah_environment)

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_anyio(howdah_environment, anyio_backend):
    await says_hello(howdah_environment)

def test_with_asyncio_alone(howdah_environment):
    asyncio.run(says_hello(howdah_environment))

@pytest.fixture
async def env(howdah_environment):
    async with howdah_environment([greeter]) as env:
        yield env

async def test_with_a_fixture_of_the_user(env):
    assert await env.call(greet, "Ada") == "Hello Ada"
""",
    )
    done = project.run("--asyncio-mode=auto")
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_options_and_markers_reach_the_environment(project: Project) -> None:
    project.write(
        "test_options.py",
        """
from datetime import timedelta
import pytest
from howdah import NonDeterminism
from services import greet, greeter, toss

async def test_toss(howdah_environment):
    async with howdah_environment([greeter]) as env:
        assert await env.call(toss) == "heads"

@pytest.mark.howdah(always_replay=True)
async def test_replayed(howdah_environment):
    async with howdah_environment([greeter]) as env:
        with pytest.raises(NonDeterminism):
            await env.call(toss)

@pytest.mark.howdah(inactivity_timeout=timedelta(0), timeout=timedelta(seconds=3))
class TestSuspended:
    @pytest.mark.howdah(timeout=timedelta(seconds=4))
    async def test_marks_add_up(self, howdah_environment):
        async with howdah_environment([greeter]) as env:
            assert env.engine.options.inactivity_timeout == timedelta(0)
            assert env.timeout == timedelta(seconds=4)
            assert not env.engine.always_replay
""",
    )
    done = project.run("--asyncio-mode=auto")
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    replayed = project.run("--asyncio-mode=auto", "--howdah-always-replay", "-k", "toss or marks")
    assert "2 failed" in replayed.stdout, replayed.stdout + replayed.stderr
    assert "took another path than its journal" in replayed.stdout

    project.write(
        "test_options.py",
        """
import pytest

@pytest.mark.howdah(patience=3)
def test_wrong(howdah_environment):
    pass
""",
    )
    done = project.run()
    assert "the marker howdah takes always_replay, inactivity_timeout, options, timeout" in (
        done.stdout
    )


def test_what_a_test_sees_when_a_handler_is_wrong(project: Project) -> None:
    project.write(
        "test_wrong.py",
        """
from datetime import timedelta
from howdah import Context, Service

wrong = Service("Wrong")

@wrong.handler()
async def divide(ctx: Context, by: int) -> float:
    return 1 / by

async def test_divide(howdah_environment):
    async with howdah_environment([wrong], timeout=timedelta(seconds=1)) as env:
        await env.call(divide, 0)
""",
    )
    said = project.run("--asyncio-mode=auto").stdout
    # The handler's own line, its error, and what became of the invocation.
    assert "return 1 / by" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "There is no result after 0:00:01." in said
    assert "Wrong/divide (" in said


def test_it_costs_nothing_when_unused(project: Project) -> None:
    project.write(
        "test_nothing.py",
        """
import sys

def test_nothing_of_howdah_is_imported():
    assert "howdah_pytest" in sys.modules
    assert "howdah" not in sys.modules
    assert "asyncpg" not in sys.modules
""",
    )
    done = project.run(url=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "howdah_environment" in project.run("--fixtures", url=False).stdout


def test_a_server_is_started_and_leaves_nothing_behind(project: Project) -> None:
    project.write(
        "test_embedded.py",
        """
import os
from pathlib import Path
from services import greet, greeter

async def test_embedded(howdah_environment):
    async with howdah_environment([greeter]) as env:
        assert await env.call(greet, "Ada") == "Hello Ada"
        home = (await env.sql("show data_directory"))[0][0]
        Path("home.txt").write_text(home)
""",
    )
    done = project.run("--asyncio-mode=auto", url=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    home = (project._path / "home.txt").read_text()
    assert "howdah-testing-" in home
    assert not Path(home).exists()
    assert not Path(home).parents[1].exists()


def test_a_program_without_pytest_leaves_nothing_behind(project: Project) -> None:
    project.write(
        "program.py",
        """
import asyncio
from howdah.testing import environment
from services import greet, greeter

async def main():
    async with environment([greeter]) as env:
        print(await env.call(greet, "Ada"))
        print((await env.sql("show data_directory"))[0][0])

asyncio.run(main())
""",
    )
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=project._path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    greeting, home = done.stdout.split("\n")[:2]
    assert greeting == "Hello Ada"
    assert not Path(home).exists()
    assert done.stderr == ""


def test_the_plugin_is_declared() -> None:
    declared = [point.value for point in entry_points(group="pytest11") if point.name == "howdah"]
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'howdah = "howdah_pytest"' in pyproject
    assert declared in ([], ["howdah_pytest"])
