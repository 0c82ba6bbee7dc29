"""Endpoints that are written with the official SDK and served as their users serve them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "remote" / "sdk_program.py"
READY_SECONDS = 30.0
_RUNNING = re.compile(r"Running on http://127\.0\.0\.1:(\d+)")


class SdkEndpoint:
    """A process that serves `sdk_program` with Hypercorn, over HTTP/2 and HTTP/1.1 alike.

    Attributes:
        program: The file that it serves.
        witness: The file with a line for each execution of a step.
    """

    def __init__(self, folder: Path, program: Path = PROGRAM, **environment: str) -> None:
        self.witness = folder / "witness"
        self._folder = folder
        self.program = program
        self._environment = environment
        self._port = 0
        self._starts = 0
        self.start()

    def start(self) -> None:
        """Start it, at the address where it was before."""
        self._starts += 1
        self.output = self._folder / f"endpoint-{self._starts}"
        with self.output.open("wb") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hypercorn", f"{self.program.stem}:app",
                 "--bind", f"127.0.0.1:{self._port}"],
                cwd=self.program.parent, stdout=sink, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "WITNESS": str(self.witness),
                     **self._environment},
            )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        while (found := _RUNNING.search(self.said)) is None:
            assert self._process.poll() is None, f"it ended:\n{self.said}"
            assert time.monotonic() < deadline, f"it does not run:\n{self.said}"
            time.sleep(0.02)
        self._port = int(found[1])

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def executed(self) -> list[str]:
        """What was executed, in order."""
        return self.witness.read_text().splitlines() if self.witness.exists() else []

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        # Hypercorn serves in a child of its own.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
