"""Every config file: each command composes with each choice of each group, and what a ``_target_`` is given is what it takes."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

from haltung import labels
from haltung.cli import COMMANDS
from haltung.cli.config import compose, parse, plain

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
SCHEMES = sorted((CONFIGS / "labels").glob("*.yaml"))  # read by haltung.labels, never composed

# A command and its overrides.
Case = tuple[str, tuple[str, ...]]


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _groups(path: Path) -> dict[str, str]:
    """Return the groups in a file's defaults list, with the package that each one goes to (``/splits@split`` goes to ``split``)."""
    found = {}
    for item in _read(path).get("defaults", []):
        for key in item if isinstance(item, dict) else []:
            group, _, package = key.removeprefix("override ").removeprefix("/").partition("@")
            found[group] = package or group
    return found


def _unset(node: dict[str, Any], prefix: str) -> Iterator[str]:
    """Return overrides that fill the values which a user has to give (``???``)."""
    for key, value in node.items():
        if value == "???":
            yield f"{prefix}.{key}=given"
        elif isinstance(value, dict):
            yield from _unset(value, f"{prefix}.{key}")


def _cases() -> Iterator[tuple[Case, Path]]:
    """Return every command with every choice of its groups, each choice with every choice inside it, and the file that it is about."""
    within: set[Path] = set()
    for path in sorted(CONFIGS.glob("*.yaml")):
        yield (path.stem, ()), path
        for group, package in _groups(path).items():
            for choice in sorted((CONFIGS / group).glob("*.yaml")):
                words = (f"{group}={choice.stem}", *_unset(_read(choice), package))
                yield (path.stem, words), choice
                # A corpus has its splits inside, whatever the command: one command is enough for those.
                if choice not in within:
                    within.add(choice)
                    yield from (((path.stem, (*words, *more)), file) for more, file in _inner(choice, package))


def _inner(path: Path, package: str) -> Iterator[tuple[tuple[str, ...], Path]]:
    for group, inside in _groups(path).items():
        place = f"{package}.{inside}"
        for choice in sorted((CONFIGS / group).glob("*.yaml")):
            yield (f"{group}@{place}={choice.stem}", *_unset(_read(choice), place)), choice


CASES = list(_cases())


def _bound(node: Any, place: str) -> Iterator[str]:
    """Return the faults of all objects that a composed config describes."""
    if isinstance(node, list):
        for number, child in enumerate(node):
            yield from _bound(child, f"{place}[{number}]")
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        try:
            signature = inspect.signature(get_object(node["_target_"]))
            signature.bind(**{key: value for key, value in node.items() if not (key.startswith("_") and key.endswith("_"))})
        except Exception as error:  # noqa: BLE001 -- an import can raise anything, and every fault is named
            yield f"{place}: {node['_target_']}: {error}"
    for key, child in node.items():
        yield from _bound(child, f"{place}.{key}")


@pytest.mark.parametrize("case", [case for case, _ in CASES], ids=lambda case: " ".join([case[0], *case[1]]))
def test_each_choice_composes_and_fits_the_objects_it_describes(case: Case) -> None:
    """Whatever may be chosen can be made: all keys are known to the class that takes them, and none is missing."""
    command, words = case
    config = plain(compose(command, list(words)))
    assert [fault for key, node in config.items() for fault in _bound(node, key)] == []


@pytest.mark.parametrize("path", SCHEMES, ids=lambda path: path.stem)
def test_each_shipped_label_scheme_is_whole(path: Path) -> None:
    """A scheme is read from its file without a fault and carries the file's name."""
    assert labels.load(path).name == path.stem


def test_no_config_file_is_left_out() -> None:
    """Each file is a command, a choice that some command offers, or a label scheme; none lies there unused."""
    used = {path for _, path in CASES} | set(SCHEMES)
    assert [str(path.relative_to(CONFIGS)) for path in FILES if path not in used] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_each_file_begins_with_a_command_that_works(path: Path) -> None:
    """The first line is a comment with a command of `haltung`, and its words compose."""
    first = _first(path)
    found = re.search(r"`haltung (\w+)([^`]*)`", first) or re.match(r"# haltung (\w+)(.*?)(?:: |$)", first)
    assert found, f"the first line is {first!r}; expected a comment such as '# haltung train encoder=NAME: what it is'"
    command, words = found[1], shlex.split(found[2])
    assert command in COMMANDS
    for overrides in parse(words).combinations:
        given = {word.partition("=")[0] for word in overrides}
        # What the comment leaves out (the path of a user's file) is given here.
        chosen = [CONFIGS / group / f"{name}.yaml" for group, _, name in (word.partition("=") for word in overrides)]
        rest = [word for file in chosen if file.is_file() for word in _unset(_read(file), file.parent.name)]
        assert compose(command, [*overrides, *(word for word in rest if word.partition("=")[0] not in given)])


def _first(path: Path) -> str:
    """The first line that is not Hydra's header, which has to stand above all else."""
    return next(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package"))


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != CONFIGS], ids=lambda path: str(path.relative_to(CONFIGS)))
def test_the_first_comment_of_a_choice_names_the_choice(path: Path) -> None:
    """Whoever copies the line gets this file and no other; label schemes and rules are chosen by way of a corpus."""
    first = _first(path)
    group, name = path.parent.name, path.stem
    ways = {"labels": r"corpus=\w+", "rules": r"corpus\.rules\.\w+="}
    assert re.search(ways.get(group, rf"\b{group}(@[\w.]+)?={name}\b"), first), first


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "experiment"], ids=lambda path: path.stem)
def test_an_experiment_changes_the_config(path: Path) -> None:
    """Without its header an experiment would compose, and change nothing."""
    assert compose("train", [f"experiment={path.stem}"]) != compose("train", [])
