"""Installs and starts the endpoint, and a runtime, and makes the one known to the other. Ctrl-C ends both.

In production each of them is started where it belongs, and registered once for each version:

    npm start
    howdah serve
    howdah deployments register http://orders.internal:9080
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
PORT = os.environ.get("PORT", "9080")
READY_SECONDS = 60.0
HOWDAH = (sys.executable, "-m", "howdah_api")


def main() -> None:
    """Run both until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if not (FOLDER / "node_modules").exists():
        subprocess.run(("npm", "install", "--no-audit", "--no-fund"), cwd=FOLDER, check=True)
    with ExitStack() as running:
        serve = (str(FOLDER / "node_modules" / ".bin" / "tsx"), "service.ts")
        environment = {**os.environ, "PORT": PORT}
        endpoint = running.enter_context(subprocess.Popen(serve, cwd=FOLDER, env=environment))
        running.callback(endpoint.terminate)
        runtime = running.enter_context(subprocess.Popen((*HOWDAH, "dev")))
        running.callback(runtime.terminate)
        register(runtime)
        with suppress(KeyboardInterrupt):
            runtime.wait()


def register(runtime: subprocess.Popen[bytes]) -> None:
    """Register the endpoint as soon as there is somebody to register it with."""
    command = (*HOWDAH, "deployments", "register", f"http://127.0.0.1:{PORT}", "--force")
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
