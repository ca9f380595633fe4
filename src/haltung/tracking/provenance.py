"""Where a run comes from: the command, the code's commit, the libraries, the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from haltung import __version__

# The packages that a run's metrics depend on.
PACKAGES = ("torch", "transformers", "datasets", "scikit-learn", "mlflow", "numpy", "peft")

_HERE = Path(__file__).resolve()


def provenance(command: Sequence[str]) -> dict[str, str]:
    """Return the tags with a run's provenance; what is unknown is absent.

    Args:
        command: the words of the command line, as in ``["train", "corpus=diplomacy"]``.
    """
    return {
        "haltung.command": shlex.join(["haltung", *command]),
        **git_state(_HERE),
        **_versions(),
        **_hardware(),
    }


def git_state(file: Path) -> dict[str, str]:
    """Return the commit of the checkout that tracks ``file``, and whether that checkout is dirty.

    Empty if no checkout tracks it: a wheel installed inside another repository must not get the
    commit of that one.
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return {}
    commit = _git(file.parent, "rev-parse", "HEAD")
    changes = _git(file.parent, "status", "--porcelain")
    if not commit or changes is None:
        return {}
    return {"haltung.git.commit": commit, "haltung.git.dirty": "true" if changes else "false", "mlflow.source.git.commit": commit}


def _git(folder: Path, *words: str) -> str | None:
    """Return what git prints, None if it fails or is not installed."""
    # In a container the checkout often belongs to another user, and git would refuse to read it.
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    versions = {"haltung": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {f"haltung.version.{name}": value for name, value in versions.items()}


def _hardware() -> dict[str, str]:
    hardware = {"cpu": _cpu(), "cores": str(_cores()), "system": platform.platform()}
    with contextlib.suppress(ValueError, OSError, AttributeError):
        hardware["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    # A training on a GPU has loaded torch; loading it only for this would take seconds.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        hardware["gpu"] = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return {f"haltung.hardware.{name}": value for name, value in hardware.items() if value}


def _cores() -> int:
    """Return how many cores this process may use, in a container often fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
