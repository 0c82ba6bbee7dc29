"""Installs and starts the endpoint, and a runtime, and makes the one known to the other. Ctrl-C ends both.

In production each of them is started where it belongs, and registered once for each version:

    npm start
    howdah serve
    howdah deployments register http://orders.internal:9080
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

FOLDER = Path(__file__).parent
PORT = os.environ.get("PORT", "9080")
READY_SECONDS = 60.0
STOP_SECONDS = 20.0
HOWDAH = (sys.executable, "-m", "howdah_api")
NEXT = """
Both are ready, and Ctrl-C ends them. In another terminal, in this folder:
  howdah invoke Stock/pen/restock 100
  howdah invoke Orders/place '{"article": "pen", "count": 30}'
  howdah sql "select target, status, outcome from howdah.invocations"
"""


def main() -> None:
    """Run both until told to stop, or until one of them ends."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit())
    with suppress(KeyboardInterrupt), ExitStack() as running:
        endpoint = start(running, install(), "service.ts", folder=FOLDER)
        runtime = start(running, *HOWDAH, "dev")
        register(endpoint, runtime)
        sys.stdout.write(NEXT)
        sys.stdout.flush()
        while True:
            check(endpoint, runtime)
            time.sleep(0.2)


def install() -> str:
    """Install what package.json names, unless it is there; the program that runs TypeScript."""
    program = FOLDER / "node_modules" / ".bin" / "tsx"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit(
                "There is no npm on the PATH. Install Node 18 or newer: https://nodejs.org"
            )
        command = (npm, "install", "--no-audit", "--no-fund")
        if subprocess.run(command, cwd=FOLDER, check=False).returncode:
            raise SystemExit("npm could not install what package.json names, see above.")
    return str(program)


def start(running: ExitStack, *command: str, folder: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a program that ends with this one; Ctrl-C reaches it by this one only."""
    environment = {**os.environ, "PORT": PORT}
    started = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    running.callback(stop, started)
    return started


def stop(process: subprocess.Popen[bytes]) -> None:
    """Let a program, and what it started, end in good order."""
    send(process, "SIGTERM")
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    send(process, "SIGKILL")
    process.wait()


def send(process: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal to a program and to what it started, where there are such groups."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, getattr(signal, name))
    else:
        process.terminate()


def check(endpoint: subprocess.Popen[bytes], runtime: subprocess.Popen[bytes]) -> None:
    """End everything if one of them has ended."""
    if endpoint.poll() is not None:
        hint = f"If port {PORT} is taken, choose another one: PORT=9081"
        raise SystemExit(f"The endpoint has ended, see above. {hint}")
    if runtime.poll() is not None:
        raise SystemExit("howdah has ended, see above.")


def register(endpoint: subprocess.Popen[bytes], runtime: subprocess.Popen[bytes]) -> None:
    """Register the endpoint as soon as there is somebody to register it with."""
    command = (*HOWDAH, "deployments", "register", f"http://127.0.0.1:{PORT}", "--force")
    deadline = time.monotonic() + READY_SECONDS
    while True:
        check(endpoint, runtime)
        registered = subprocess.run(command, capture_output=True, text=True, check=False)
        if registered.returncode == 0:
            sys.stdout.write(registered.stdout)
            return
        if time.monotonic() > deadline:
            raise SystemExit(registered.stderr)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
