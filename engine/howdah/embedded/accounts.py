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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from howdah.errors import InvalidOption, StoreError

_NAMES: Final = ("howdah", "postgres")


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
    else `howdah` or `postgres`, else a new system account `howdah`.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), is_other=False)
    if cluster.exists() and cluster.stat().st_uid != 0:
        owner = cluster.stat()
        return Account(owner.st_uid, owner.st_gid, is_other=True)
    entry = _configured() or _by_name() or _created()
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


def _by_name() -> pwd.struct_passwd | None:
    for name in _NAMES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _created() -> pwd.struct_passwd | None:
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return None
    subprocess.run(
        [program, "--system", "--user-group", "--no-create-home", _NAMES[0]],
        check=False,  # another process may have been faster; what counts is that it exists now
        capture_output=True,
    )
    return _by_name()
