"""Rules of the project: a fast command line, no traces of a machine, a small package of short
files, tests with docstrings.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
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
    "cleanlab",
    "ray",
}

# Folders of a specific machine, and hosts of package registries: a clone has to work elsewhere.
TRACES = re.compile(
    r"(?:^|[^a-zA-Z0-9.])/(?:work|farm|opt|tmp|home|root|Users)/[a-z.]|https?://[a-z.]*(?:pypi|pythonhosted|npmjs|debian)", re.MULTILINE
)
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "base", "core"}


# Limits of the package's size.
MOST_FILES, MOST_LINES, MOST_LINES_OF_A_FILE = 185, 25_000, 400
# Folders with more Python files are hard to survey; those in FLAT have one file for each format.
MOST_FILES_OF_A_FOLDER = 12
FLAT = {"corpus/readers"}


def _run(*commands: Sequence[str]) -> list[tuple[int, str, set[str]]]:
    """Run commands in one process; return for each its exit code, its errors, and the heavy
    libraries imported so far.
    """
    program = (
        "import contextlib, io, json, sys, haltung.cli\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    errors = io.StringIO()\n"
        "    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):\n"
        "        code = haltung.cli.main(words)\n"
        "    print(json.dumps([code, errors.getvalue(), sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", program, json.dumps(commands)], capture_output=True, text=True, check=True)
    return [(code, errors, HEAVY.intersection(names)) for code, errors, names in map(json.loads, done.stdout.splitlines())]


def test_the_listing_and_all_help_import_nothing_heavy() -> None:
    """So help, listing and completion appear at once."""
    first = [[], ["--help"], ["--version"], ["completion", "bash"], ["__complete", "haltung train corpus="]]
    commands = [*first, *([command, "--help"] for command in COMMANDS)]
    assert dict(zip(map(" ".join, commands), _run(*commands), strict=True)) == {" ".join(words): (0, "", set()) for words in commands}


def test_the_listing_takes_less_than_half_a_second() -> None:
    """Processor time, the best of three, since the machine may be busy."""
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-m", "haltung", "--help"], capture_output=True, check=True)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.5


def test_a_wrong_command_gets_one_sentence_and_imports_nothing_heavy() -> None:
    """The sentence suggests the nearest command."""
    ((code, errors, heavy),) = _run(["trian"])
    assert (code, errors.count("\n"), heavy) == (2, 1, set())
    assert "'trian', did you mean 'train'?" in errors


def _tracked() -> list[Path]:
    """Return the files that Git tracks, and untracked files that it does not ignore."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("this is no git checkout, so it is not known which files belong to the project")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_machine_or_a_registry() -> None:
    """Neither a folder of a specific machine nor the host of a package registry."""
    assert list(_traces()) == []


def _traces() -> Iterator[str]:
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary, such as an image
        for match in TRACES.finditer(text):
            line = text.count("\n", 0, match.end()) + 1
            yield f"{path.relative_to(ROOT)}:{line}: {match[0].strip()}"


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_the_package_stays_small() -> None:
    """In files and in lines."""
    assert len(SOURCES) <= MOST_FILES
    assert sum(map(_lines, SOURCES)) <= MOST_LINES


def test_every_source_file_is_short() -> None:
    """Longer files have to be split."""
    assert {_name(path): _lines(path) for path in SOURCES if _lines(path) > MOST_LINES_OF_A_FILE} == {}


def test_no_folder_holds_more_files_than_one_can_see_through() -> None:
    """Files with a common prefix belong in a folder of their own."""
    counts = Counter(_name(path.parent) for path in SOURCES if path.stem != "__init__")
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES_OF_A_FOLDER and folder not in FLAT} == {}


def test_no_class_name_is_used_twice() -> None:
    """Private classes are included."""
    names = Counter(
        node.name for path in SOURCES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef)
    )
    assert {name: count for name, count in names.items() if count > 1} == {}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT / "src/haltung"))


def test_no_file_has_a_vague_name() -> None:
    """A file's name has to say what it contains."""
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert [path.name for path in files if path.stem in VAGUE or path.parent.name in VAGUE] == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name)
def test_every_test_says_what_it_promises(path: Path) -> None:
    """Each test has a docstring."""
    functions = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in functions if node.name.startswith("test_") and not ast.get_docstring(node)] == []


@pytest.mark.skipif(os.name != "posix", reason="run bits are a matter of POSIX")
def test_the_ci_script_can_be_run() -> None:
    """So that people can run what CI runs."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
