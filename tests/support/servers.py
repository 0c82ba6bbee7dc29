"""howdah as users run it: a command in a process of its own, asked over HTTP or with raw bytes."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "api" / "program.py"
READY_SECONDS = 40.0
ON_TEST_SERVER = {"HOWDAH_ALLOW_UNSAFE_POSTGRES": "yes", "PYTHONUNBUFFERED": "1"}
"""The session's server runs without fsync; what is about durability has one of its own."""


class HowdahProcess:
    """One `howdah` command that runs until it is told to stop."""

    def __init__(self, output: Path, *arguments: str, **environment: str) -> None:
        self.output = output
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HOWDAH_")}
        with output.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "howdah_api", *arguments],
                stdout=sink,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**inherited, **ON_TEST_SERVER, **environment},
            )

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until_said(self, text: str, *, seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.said:
            assert self.process.poll() is None, f"it ended:\n{self.said}"
            assert time.monotonic() < deadline, f"it never said {text!r}:\n{self.said}"
            time.sleep(0.02)

    def url(self, what: str) -> str:
        """The URL in the banner's line `what`."""
        self.wait_until_said("Try next")
        line = next(line for line in self.said.splitlines() if line.strip().startswith(what))
        return line.split()[1]

    @property
    def ingress(self) -> str:
        return self.url("ingress")

    @property
    def admin(self) -> str:
        return self.url("admin")

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 40.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


class Servers:
    """Starts servers, and ends those that are left over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[HowdahProcess] = []

    def run(self, *arguments: str, **environment: str) -> HowdahProcess:
        output = self._folder / f"output-{len(self._started)}"
        started = HowdahProcess(output, *arguments, **environment)
        self._started.append(started)
        return started

    def serve(self, dsn: str, *arguments: str, **environment: str) -> HowdahProcess:
        """Serve the tests' program on free ports."""
        return self.run(
            "serve",
            *(arguments or (str(PROGRAM),)),
            HOWDAH_DATABASE_URL=dsn,
            **{"HOWDAH_INGRESS": "127.0.0.1:0", "HOWDAH_ADMIN": "127.0.0.1:0", **environment},
        )

    def end(self) -> None:
        for server in self._started:
            server.end()


def exchange_raw(url: str, request: bytes, *, seconds: float = 20.0) -> bytes:
    """Send bytes to a server and return all it answers until it closes or falls silent."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while received := connection.recv(65536):
                answer += received
        except TimeoutError:
            pass
        return answer
