"""A virtual environment with only some packages and their dependencies, made of symlinks."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, files, requires
from pathlib import Path

from packaging.requirements import Requirement


def make(folder: Path, packages: Iterable[str]) -> Path:
    """Make the environment and return its Python.

    ``packages`` are requirements as for pip. The environment links to the versions that are
    installed here, so each requirement has to allow that version.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    here = Path(sysconfig.get_path("platlib"))
    for name in _closure(packages):
        # Top-level folders: packages, their metadata, and namespaces such as google.
        for top in {path.parts[0] for path in files(name) or () if path.parts[0] not in ("..", "__pycache__")}:
            if (here / top).exists() and not (site / top).exists():
                (site / top).symlink_to(here / top)
    return folder / "bin/python"


def _closure(packages: Iterable[str]) -> set[str]:
    """Return the names of packages and of all their dependencies on this machine."""
    names: set[str] = set()
    waiting = [Requirement(package) for package in packages]
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower().replace("_", "-")
        if name in names:
            continue
        try:
            more = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:
            continue  # not installed, so not needed on this machine
        names.add(name)
        waiting += [one for one in more if one.marker is None or one.marker.evaluate({"extra": ""})]
    return names
