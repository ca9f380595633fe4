"""``@pytest.mark.system("cc")``: a test that needs a program of the system; skipped at home, failed
in CI (``make system``).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def program(name: str) -> str | None:
    """Return the path of a program; Debian has PostgreSQL's own in a folder for each version."""
    return shutil.which(name) or next(iter(sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)), None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the programs that a test names in its marker."""
    for marker in item.iter_markers("system"):
        missing = [name for name in marker.args if program(name) is None]
        if missing:
            reason = f"needs {', '.join(missing)}, which `make system` installs"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
