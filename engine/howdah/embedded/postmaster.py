"""What `postmaster.pid` says, and whether to believe it.

The file outlives a killed server, its pid may since belong to another process, and a crash of the
machine can leave it truncated. So a server counts as running only if the process's working
directory, which a postmaster sets to its cluster, says so.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A server that runs on a cluster."""

    pid: int
    socket_dir: Path | None


def find(cluster: Path) -> Postmaster | None:
    """Return the server that runs on `cluster`, or None if there is none."""
    try:
        lines = (cluster / "postmaster.pid").read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return None
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    if not is_postmaster(pid, cluster):
        return None
    socket_dir = lines[4].strip() if len(lines) > 4 else ""
    return Postmaster(pid, Path(socket_dir) if socket_dir else None)


def remove_remains(cluster: Path, socket_dir: Path) -> None:
    """Remove the files that would stop the next server, when it is known that none runs.

    A dead pid in `postmaster.pid` is left to Postgres, which then also looks for processes that
    still hold the cluster's shared memory. It gives up on the two others: an unreadable file, and a
    pid that has been given to another process. The socket's files protect nothing more.
    """
    for file in socket_dir.glob(".s.PGSQL.*"):
        file.unlink(missing_ok=True)
    file = cluster / "postmaster.pid"
    if not file.exists():
        return
    lines = file.read_text("utf-8", "replace").splitlines()
    first = lines[0].strip() if lines else ""
    if not first.isdigit() or len(lines) < 7 or _exists(int(first)):
        file.unlink()


def is_postmaster(pid: int, cluster: Path) -> bool:
    """Tell whether a process is a Postgres that runs on `cluster`: not a zombie, not another."""
    if not Path("/proc/self").exists():
        told = subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], check=False, capture_output=True, text=True
        ).stdout
        return "postgres" in told and str(cluster) in told
    proc = Path(f"/proc/{pid}")
    try:
        return (proc / "cwd").samefile(cluster)
    except PermissionError:
        # Root in a container may not look at other users' processes, but may read how they were
        # started. A zombie has no arguments any more.
        return os.fsencode(cluster) in _arguments(proc)
    except OSError:
        return False


def _arguments(proc: Path) -> list[bytes]:
    try:
        return (proc / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
