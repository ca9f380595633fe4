"""The rules of the house: a light command line, no trace of a machine, small files with telling names, tests that promise something."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from haltung.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "mlflow",
    "pandas",
    "sklearn",
    "matplotlib",
    "accelerate",
    "peft",
    "scipy",
    "pyarrow",
    "optuna",
    "captum",
    "cleanlab",
}

# Folders of somebody's machine, and hosts of package registries: a clone has to work elsewhere.
TRACES = re.compile(
    r"(?:^|[^a-zA-Z0-9.])/(?:work|farm|opt|tmp|home|root|Users)/[a-z.]|https?://[a-z.]*(?:pypi|pythonhosted|npmjs|debian)", re.MULTILINE
)
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "base", "core"}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``haltung`` in a process of its own, which ends by printing the libraries that it has imported."""
    program = (
        "import sys, haltung.cli\n"
        "code = haltung.cli.main(sys.argv[1:])\n"
        "print('imported:', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
        "sys.exit(code)"
    )
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def _heavy(output: str) -> set[str]:
    return HEAVY.intersection(output.splitlines()[-1].removeprefix("imported: ").split())


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--version"], ["completion", "bash"], ["__complete", "haltung train corpus="]], ids=" ".join
)
def test_the_listing_imports_nothing_heavy(arguments: list[str]) -> None:
    """What a person sees before a command runs comes at once."""
    done = _run(*arguments)
    assert (done.returncode, done.stderr, _heavy(done.stdout)) == (0, "", set())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_imports_nothing_heavy(command: str) -> None:
    """Neither does the help of a command."""
    done = _run(command, "--help")
    assert (done.returncode, done.stderr, _heavy(done.stdout)) == (0, "", set())


def test_a_wrong_command_gets_one_sentence_and_imports_nothing_heavy() -> None:
    """A slip of the fingers is told with the nearest command, at once."""
    done = _run("trian")
    assert (done.returncode, done.stderr.count("\n"), _heavy(done.stdout)) == (2, 1, set())
    assert "'trian', did you mean 'train'?" in done.stderr


def _tracked() -> list[Path]:
    """Return the files that are, or are about to be, part of the project."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("this is no git checkout, so it is not known which files belong to the project")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry() -> None:
    """Nothing in the project points to a folder of one machine or to the host of a package registry."""
    assert list(_traces()) == []


def _traces() -> Iterator[str]:
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        for match in TRACES.finditer(text):
            line = text.count("\n", 0, match.end()) + 1
            yield f"{path.relative_to(ROOT)}:{line}: {match[0].strip()}"


def test_every_source_file_is_short() -> None:
    """Past 400 lines there is a second room inside."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_file_has_a_vague_name() -> None:
    """A name says what is in a file."""
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert [path.name for path in files if path.stem in VAGUE or path.parent.name in VAGUE] == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name)
def test_every_test_says_what_it_promises(path: Path) -> None:
    """Each test has a docstring."""
    functions = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if node.name.startswith("test_") and not ast.get_docstring(node)] == []


@pytest.mark.skipif(os.name != "posix", reason="run bits are a matter of POSIX")
def test_the_ci_script_can_be_run() -> None:
    """What CI runs, a person can run too."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
