"""Packages from the npm registry that tests run, installed by the tests themselves."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

INSTALL_SECONDS: Final = 120.0


def found(program: str) -> str:
    """Where `node` or `npm` is."""
    path = shutil.which(program)
    assert path is not None, f"there is no {program}: these tests need Node and npm"
    return path


def install(folder: Path, package: str, version: str) -> Path:
    """Install one version of a package into a folder, unless it is there; returns `node_modules`.

    Test runs side by side share the folder: one installs, the others wait.
    """
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = folder / "node_modules" / package / "package.json"
        if not installed.exists() or json.loads(installed.read_text())["version"] != version:
            _install(folder, package, version)
    return folder / "node_modules"


def _install(folder: Path, package: str, version: str) -> None:
    described = {"private": True, "type": "module", "dependencies": {package: version}}
    (folder / "package.json").write_text(json.dumps(described))
    command = [found("npm"), "install", "--no-audit", "--no-fund", "--loglevel=error"]
    ran = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
        env={**os.environ, "SCARF_ANALYTICS": "false"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
