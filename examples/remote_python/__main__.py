"""Starts the endpoint and a runtime, and makes the one known to the other. Ctrl-C ends both.

In production each of them is started where it belongs, and registered once for each version:

    hypercorn service:app --bind 0.0.0.0:9080
    howdah serve
    howdah deployments register http://accounts.internal:9080
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

FOLDER = Path(__file__).parent
ENDPOINT = os.environ.get("ENDPOINT", "127.0.0.1:9080")
READY_SECONDS = 60.0
HOWDAH = (sys.executable, "-m", "howdah_api")


def main() -> None:
    """Run both until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with ExitStack() as running:
        serve = (sys.executable, "-m", "hypercorn", "service:app", "--bind", ENDPOINT)
        endpoint = running.enter_context(subprocess.Popen(serve, cwd=FOLDER))
        running.callback(endpoint.terminate)
        runtime = running.enter_context(subprocess.Popen((*HOWDAH, "dev")))
        running.callback(runtime.terminate)
        register(runtime)
        with suppress(KeyboardInterrupt):
            runtime.wait()


def register(runtime: subprocess.Popen[bytes]) -> None:
    """Register the endpoint as soon as there is somebody to register it with."""
    command = (*HOWDAH, "deployments", "register", f"http://{ENDPOINT}", "--force")
    deadline = time.monotonic() + READY_SECONDS
    while True:
        registered = subprocess.run(command, capture_output=True, text=True, check=False)
        if registered.returncode == 0:
            sys.stdout.write(registered.stdout)
            sys.stdout.flush()
            return
        if runtime.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(registered.stderr)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
