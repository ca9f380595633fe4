"""``@pytest.mark.system("cc")``: a test needs a program of the system (see ``make system``). If it
is missing, the test fails in CI and is skipped elsewhere.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def program(name: str) -> str | None:
    """Return the path of a program; PostgreSQL's are in a folder for each version on Debian."""
    return shutil.which(name) or next(iter(sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)), None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marker names a missing program; in CI, fail it."""
    for marker in item.iter_markers("system"):
        missing = [name for name in marker.args if program(name) is None]
        if missing:
            reason = f"needs {', '.join(missing)}, which `make system` installs"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
