"""``@pytest.mark.system("cc")``: a test that needs a program of the system; skipped at home, failed
in CI (``make system``).
"""

from __future__ import annotations

import os
import shutil

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for the programs that a test names in its marker."""
    for marker in item.iter_markers("system"):
        missing = [program for program in marker.args if shutil.which(program) is None]
        if missing:
            reason = f"needs {', '.join(missing)}, which `make system` installs"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
