"""The provenance of a run: command, code and machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from haltung import tracking
from haltung.tracking.write import git_state


def test_provenance_names_command_libraries_and_machine() -> None:
    """It has what is needed to repeat a run."""
    found = tracking.provenance(["train", "corpus=diplomacy", "name=zwei Wörter"])
    assert found["haltung.command"] == "haltung train corpus=diplomacy 'name=zwei Wörter'"
    versions = {"haltung.version.torch", "haltung.version.mlflow", "haltung.version.haltung"}
    assert versions | {"haltung.hardware.cpu", "haltung.hardware.cores"} <= found.keys()
    assert int(found["haltung.hardware.cores"]) >= 1


def test_the_commit_is_the_codes_own_and_says_whether_it_is_dirty(tmp_path: Path) -> None:
    """A file that its repository does not track, as in a virtual environment, has no commit."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "code.py").write_text("a = 1\n")
    (tmp_path / ".gitignore").write_text("installed.py\n")
    (tmp_path / "installed.py").write_text("a = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    clean = {"haltung.git.commit": head, "haltung.git.dirty": "false", "mlflow.source.git.commit": head}
    assert git_state(tmp_path / "code.py") == clean
    (tmp_path / "code.py").write_text("a = 2\n")
    assert git_state(tmp_path / "code.py") == clean | {"haltung.git.dirty": "true"}
    assert git_state(tmp_path / "installed.py") == {}
