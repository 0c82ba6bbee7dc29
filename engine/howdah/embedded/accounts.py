"""Which account runs Postgres: the caller's own, or an unprivileged one if the caller is root.

Postgres refuses to run as root, and rightly so. Nothing here opens a directory to others to make
that work: what the account cannot reach is put somewhere else instead.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from howdah.errors import InvalidOption, StoreError

_NAME: Final = "howdah"
_NAME_OF_SERVERS: Final = "postgres"  # what Debian and others run a system-wide Postgres under
_CREATE_TRIES: Final = 20
_CREATE_RETRY_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs Postgres.

    Attributes:
        uid: The user.
        gid: The user's group.
        is_other: True if the user is not the one who runs this process, which is then root.
    """

    uid: int
    gid: int
    is_other: bool

    def popen_options(self) -> dict[str, Any]:
        """Return the arguments that make `subprocess` run a program under this account."""
        if not self.is_other:
            return {"umask": 0o077}
        return {"user": self.uid, "group": self.gid, "extra_groups": [], "umask": 0o077}

    def own(self, path: Path) -> None:
        """Give a file or directory to this account."""
        if self.is_other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_reach(self, path: Path) -> bool:
        """Tell whether this account may enter every directory on the way to `path`, and it."""
        path = path.resolve()
        return all(self._may_enter(directory) for directory in (path, *path.parents))

    def _may_enter(self, directory: Path) -> bool:
        found = directory.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        if found.st_gid == self.gid:
            return bool(found.st_mode & stat.S_IXGRP)
        return bool(found.st_mode & stat.S_IXOTH)


def choose(cluster: Path) -> Account:
    """Return the account for a cluster.

    As root: the owner of the cluster if there is one, else the account named by `HOWDAH_PG_UID`,
    else the system account `howdah`, which is made if need be, else `postgres`.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), is_other=False)
    if cluster.exists() and cluster.stat().st_uid != 0:
        owner = cluster.stat()
        return Account(owner.st_uid, owner.st_gid, is_other=True)
    entry = _configured() or _named(_NAME) or _created() or _named(_NAME_OF_SERVERS)
    if entry is None:
        raise StoreError(
            "The embedded Postgres must not run as root, and there is no account to run it under.",
            hint="Create one (useradd --system howdah), name one in HOWDAH_PG_UID, "
            "or start howdah as a user.",
        )
    return Account(entry.pw_uid, entry.pw_gid, is_other=True)


def _configured() -> pwd.struct_passwd | None:
    wanted = os.environ.get("HOWDAH_PG_UID")
    if not wanted:
        return None
    try:
        entry = pwd.getpwuid(int(wanted)) if wanted.isdigit() else pwd.getpwnam(wanted)
    except KeyError:
        entry = None
    if entry is None or entry.pw_uid == 0:
        raise InvalidOption(
            name="HOWDAH_PG_UID",
            problem=f"is {wanted!r}, which is not an unprivileged account of this machine",
            hint="initdb needs an account with an entry in /etc/passwd.",
        )
    return entry


def _named(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _created() -> pwd.struct_passwd | None:
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    for _ in range(_CREATE_TRIES if program else 0):
        made = subprocess.run(
            [str(program), "--system", "--user-group", "--no-create-home", _NAME],
            check=False,
            capture_output=True,
        )
        if made.returncode == 0 or _named(_NAME) is not None:
            return _named(_NAME)
        time.sleep(_CREATE_RETRY_S)  # another process may be making it just now
    return None
