"""Runs wrk, the load generator, and reads what it measured."""

import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkError, output_of, program

SCRIPT = Path(__file__).with_name("requests.lua")
INSTALL_HINT = "it is Debian's package wrk (apt-get install wrk), or Homebrew's (brew install wrk)"
APT_SECONDS = 180.0
WARM_UP_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk measured."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    request_count: int


async def find_wrk() -> str:
    """Return the path of wrk, installing Debian's package first where we are root and may."""
    apt = shutil.which("apt-get")
    if shutil.which("wrk") is None and apt is not None and os.geteuid() == 0:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        await output_of([apt, "update", "-qq"], env=env, timeout=APT_SECONDS)
        await output_of([apt, "install", "-y", "-qq", "wrk"], env=env, timeout=APT_SECONDS)
    return program("wrk", INSTALL_HINT)


async def post(
    base_url: str,
    path: str,
    body: str,
    *,
    connections: int,
    seconds: int,
    warm_up_connections: int | None = None,
) -> Load:
    """POST `body` to `path` over `connections` for `seconds`, after a warm-up that is not counted.

    The warm-up leaves what it had in flight behind: where that would take long to finish, it should
    use few connections.

    `{n}` in the path or the body becomes a value that no other request has. Any answer that is not
    2xx or 3xx, and any broken or timed-out connection, raises BenchmarkError: a figure with errors
    in it says nothing.
    """
    wrk = await find_wrk()
    await _run(
        wrk,
        base_url,
        path,
        body,
        connections=warm_up_connections or connections,
        seconds=WARM_UP_SECONDS,
    )
    return await _run(wrk, base_url, path, body, connections=connections, seconds=seconds)


async def _run(
    wrk: str, base_url: str, path: str, body: str, *, connections: int, seconds: int
) -> Load:
    command = [wrk, "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "30s", "--script", str(SCRIPT), base_url]
    command += ["--", path, body, f"{uuid.uuid4().hex[:8]}-"]
    printed = await output_of(command, env=os.environ, timeout=seconds + 60)
    line = next((row for row in printed.splitlines() if row.startswith("REPORT ")), None)
    if line is None:
        raise BenchmarkError(f"wrk printed no report:\n{printed}")
    report: dict[str, int] = json.loads(line.removeprefix("REPORT "))
    errors = {name: count for name, count in report.items() if count and _is_error(name)}
    if errors or not report["requests"]:
        raise BenchmarkError(f"{path}: {report['requests']} requests, errors: {errors or 'none'}")
    return Load(
        requests_per_second=report["requests"] / report["duration_us"] * 1e6,
        p50_ms=report["p50_us"] / 1e3,
        p99_ms=report["p99_us"] / 1e3,
        request_count=report["requests"],
    )


def _is_error(name: str) -> bool:
    return name.endswith("errors") or name == "timeouts"
