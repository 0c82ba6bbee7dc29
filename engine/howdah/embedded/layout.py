"""Where the files of a data directory are, who owns them, and who may enter.

.howdah/
  postgres/        where everything is (or, as root, a link to where the account can reach it)
    data/          the cluster, 0700
    socket/        0700 (or a link to a directory whose path is short and plain)
    postgres.log   0600
    start.lock     held while the server is being started or stopped
    users.lock     shared by all who use the server
    server.lock    held by the server's own processes
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from howdah.embedded import accounts, programs
from howdah.embedded.accounts import Account
from howdah.errors import StoreError

_SOCKET_PATH_BYTES_MAX: Final = 100  # of 107 (Linux) or 103 (macOS)
_SOCKET_NAME: Final = "/.s.PGSQL.5432"
_SOCKET_PATH: Final = re.compile(r"[A-Za-z0-9/._+~@= -]+")
"""What a URL and Postgres's list of directories can hold as it is; a comma ends a name in both."""

_LOG_BYTES_MAX: Final = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one data directory.

    Attributes:
        data_dir: The directory that was asked for.
        home: Where everything is.
        account: Who runs Postgres.
    """

    data_dir: Path
    home: Path
    account: Account

    @property
    def cluster(self) -> Path:
        """The directory that Postgres calls its data directory."""
        return self.home / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.home / "postgres.log"

    @property
    def start_lock(self) -> Path:
        """Held while the server is being started or stopped."""
        return self.home / "start.lock"

    @property
    def users_lock(self) -> Path:
        """Shared by all who use the server."""
        return self.home / "users.lock"

    @property
    def server_lock(self) -> Path:
        """Held by every process of the server."""
        return self.home / "server.lock"

    def socket_dir(self) -> Path:
        """Return a directory, 0700 and the account's, whose path a socket and a URL can hold.

        The same one as before while it is there, so that a server that is started again after a
        crash is found by those who were connected.
        """
        place = self.home / "socket"
        is_short = len(os.fsencode(place)) + len(_SOCKET_NAME) <= _SOCKET_PATH_BYTES_MAX
        fits = is_short and _SOCKET_PATH.fullmatch(str(place)) is not None
        if fits:
            place.mkdir(mode=0o700, exist_ok=True)
        elif not (place.is_symlink() and self._is_private(place.readlink())):
            place.unlink(missing_ok=True)
            place.symlink_to(tempfile.mkdtemp(prefix="howdah-", dir="/tmp"))
        found = place if fits else place.readlink()
        self.account.own(found)
        found.chmod(0o700)
        return found

    def remove_socket_dir(self) -> None:
        """Remove the directory that `socket` links to, once no server uses it."""
        place = self.home / "socket"
        if place.is_symlink() and self._is_private(place.readlink()):
            for file in place.iterdir():
                file.unlink()
            place.readlink().rmdir()
            place.unlink()

    def open_log(self) -> int:
        """Open the log for appending; a large one is put aside first."""
        if self.log.is_file() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.replace(self.home / "postgres.log.1")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.log, flags, 0o600)
        self.account.own(self.log)
        return descriptor

    def log_tail(self, start: int = 0, *, lines: int = 5) -> str:
        """Return the last lines that the server said, from a position on, as one line."""
        try:
            said = self.log.read_bytes()[start:].decode("utf-8", "replace")
        except FileNotFoundError:
            said = ""
        return " | ".join(said.splitlines()[-lines:]) or "it said nothing."

    def _is_private(self, directory: Path) -> bool:
        try:
            found = directory.lstat()
        except FileNotFoundError:
            return False
        is_closed = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700
        return is_closed and found.st_uid == self.account.uid


def lay_out(data_dir: Path) -> Layout:
    """Choose the account and make the directories, opening none that was there before.

    Raises:
        StoreError: A directory cannot be made, or belongs to somebody else.
    """
    data_dir = data_dir.absolute()
    try:
        return _lay_out(data_dir)
    except OSError as error:
        raise StoreError(
            f"The data directory {data_dir} cannot be used: {error.strerror} ({error.filename}).",
            hint="Choose another with HOWDAH_DATA_DIR or --data-dir.",
        ) from error


def _lay_out(data_dir: Path) -> Layout:
    data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    home = data_dir / "postgres"
    account = accounts.choose(home.resolve() / "data")
    if account.is_other and not home.exists() and not account.can_reach(data_dir):
        _settle_elsewhere(home)
    home.mkdir(mode=0o711 if account.is_other else 0o700, exist_ok=True)
    layout = Layout(data_dir, home.resolve(), account)
    if account.is_other and not account.can_reach(layout.home):
        raise StoreError(
            f"The account with uid {account.uid}, which runs Postgres, cannot reach {layout.home}.",
            hint="Choose another place with HOWDAH_DATA_DIR, or allow the way to it.",
        )
    if not account.is_other and layout.home.stat().st_uid != account.uid:
        raise StoreError(
            f"{layout.home} belongs to another account (uid {layout.home.stat().st_uid}).",
            hint="Run howdah under that account, or choose another place with HOWDAH_DATA_DIR.",
        )
    return layout


def _settle_elsewhere(home: Path) -> None:
    """Link `home` to a directory that root keeps for accounts that cannot come here."""
    if home.is_symlink():
        raise StoreError(
            f"{home} points to {home.readlink()}, which is gone.",
            hint="Bring it back, or remove the link to begin with an empty database.",
        )
    programs.make_shared_dir()
    elsewhere = Path(tempfile.mkdtemp(prefix="data-", dir=programs.SHARED_DIR))
    elsewhere.chmod(0o711)
    try:
        home.symlink_to(elsewhere)
    except FileExistsError:  # another process did the same a moment ago
        elsewhere.rmdir()
