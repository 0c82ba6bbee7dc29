"""Runs one Postgres for as long as somebody uses it; a program of its own, not a part of howdah.

It is the server's parent, so that killing the howdah that started it harms nobody who shares the
server, and a server that nobody uses is ended all the same. It imports the standard library only,
and never reads a pid from a file: its one server is its child.

Usage: `python -I -S keeper.py SERVER_LOCK USERS_LOCK UID GID IDLE_SECONDS COMMAND...`, where
SERVER_LOCK is an open, locked descriptor (every process of the server inherits it, so the lock is
free exactly when none is left), USERS_LOCK a path, and UID is -1 for the caller's own account.
"""

import ctypes
import fcntl
import os
import select
import signal
import sys
import time

CHECK_SECONDS = 1.0
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that Postgres sees: no PG* variable, and no locale that may not be installed."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main(arguments: list[str]) -> None:
    """Leave the caller's process tree, start the server, and stay until it ends."""
    if os.fork():
        os._exit(0)
    server_lock, users_lock, uid, gid, idle_seconds, *command = arguments
    # Sent to everyone in a terminal or a service; howdah, which was sent it too, comes first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, _ignore)
    server = os.fork()
    if server == 0:
        _become(command, int(server_lock), int(uid), int(gid))
    os.close(int(server_lock))
    _stay(server, users_lock, float(idle_seconds))


def _become(command: list[str], server_lock: int, uid: int, gid: int) -> None:
    """Turn this child into Postgres, under its account and without a way to more rights."""
    try:
        os.set_inheritable(server_lock, True)
        os.umask(0o077)
        if uid >= 0:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        if sys.platform == "linux":
            libc = ctypes.CDLL(None)
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)  # a killed keeper takes its server along
            libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        os.execve(command[0], command, ENVIRONMENT)
    except BaseException as error:  # whatever it was, this must not go on as a second keeper
        os.write(2, f"{command[0]} cannot be run as uid {uid}: {error!r}\n".encode())
    os._exit(127)


def _stay(server: int, users_lock: str, idle_seconds: float) -> None:
    users = os.open(users_lock, os.O_RDWR)
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)  # by SIGCHLD, when the server ends
    used_at = time.monotonic()
    while os.waitpid(server, os.WNOHANG) == (0, 0):
        if select.select([woken], [], [], CHECK_SECONDS)[0]:
            os.read(woken, 64)
            continue
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            used_at = time.monotonic()
            continue
        if time.monotonic() - used_at >= idle_seconds:
            # The lock is kept meanwhile: whoever comes now waits, and then starts another server.
            os.kill(server, signal.SIGINT)
            os.waitpid(server, 0)
            return
        fcntl.flock(users, fcntl.LOCK_UN)


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing. A handler rather than SIG_IGN, which the server would inherit."""


if __name__ == "__main__":
    main(sys.argv[1:])
