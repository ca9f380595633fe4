"""Every config file: each command composes with each choice of each group, and what a ``_target_``
is given is what it takes.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.config_repository import ConfigRepository
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult
from hydra.utils import get_object
from omegaconf import DictConfig

from haltung import labels
from haltung.cli import COMMANDS, config
from haltung.cli.config import combinations, compose, keys, plain
from haltung.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
SCHEMES = sorted((CONFIGS / "labels").glob("*.yaml"))  # read by haltung.labels, never composed

# A command and its overrides.
Case = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Choice:
    """A file of a group, and the part of the config that it goes to."""

    group: str
    package: str
    file: Path

    @property
    def words(self) -> tuple[str, ...]:
        """Return the overrides that choose it, with a value for each key that a user has to
        give.
        """
        name = self.group if self.package == self.group else f"{self.group}@{self.package}"
        return f"{name}={self.file.stem}", *_unset(_read(self.file), self.package)


@cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _groups(path: Path) -> dict[str, str]:
    """Return the groups in a file's defaults list, with the package that each one goes to
    (``/splits@split`` goes to ``split``).
    """
    found = {}
    for item in _read(path).get("defaults", []):
        for key in item if isinstance(item, dict) else []:
            group, _, package = key.removeprefix("/").partition("@")
            if not group.startswith("override "):  # an experiment's word on a group of the command
                found[group] = package or group
    return found


def _unset(node: dict[str, Any], prefix: str) -> Iterator[str]:
    """Return overrides that fill the values which a user has to give (``???``)."""
    for key, value in node.items():
        if value == "???":
            yield f"{prefix}.{key}=given"
        elif isinstance(value, dict):
            yield from _unset(value, f"{prefix}.{key}")


def _choices(path: Path, within: str = "") -> list[list[Choice]]:
    """Return the choices of each group of a file; ``within`` is the package that the file goes
    to.
    """
    groups = [(group, f"{within}.{package}" if within else package) for group, package in _groups(path).items()]
    return [[Choice(group, package, file) for file in sorted((CONFIGS / group).glob("*.yaml"))] for group, package in groups]


def _cases() -> Iterator[tuple[Case, list[Path]]]:
    """Return cases in which each command has each choice of each group once, and the files that
    each case is about.

    Choices of different groups share a case, except for experiments, which change the others. What
    may be chosen inside a corpus (rules, splits) is the same for all commands, which share it out
    among themselves.
    """
    inside: dict[Path, Iterator[tuple[Choice, ...]]] = {}
    for path in sorted(CONFIGS.glob("*.yaml")):
        yield (path.stem, ()), [path]
        groups = _choices(path)
        rows = [*zip_longest(*(group for group in groups if group[0].group != "experiment"))]
        rows += [(choice,) for group in groups if group[0].group == "experiment" for choice in group]
        for row in rows:
            chosen = [choice for choice in row if choice]
            for outer in tuple(chosen):
                rest = inside.setdefault(outer.file, iter([*zip_longest(*_choices(outer.file, outer.package))]))
                chosen += [choice for choice in next(rest, ()) if choice]
            yield (path.stem, tuple(word for choice in chosen for word in choice.words)), [choice.file for choice in chosen]
    assert [file for file, rest in inside.items() if next(rest, None)] == []


CASES = list(_cases())


@cache
def _composed(command: str, words: tuple[str, ...]) -> DictConfig:
    return compose(command, words)


@pytest.fixture(scope="module", autouse=True)
def _read_once() -> Iterator[None]:
    """Let Hydra read each file once for all cases, as it does for all parts of one config."""
    load, results = ConfigRepository.load_config, {}

    def load_config(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        if config_path not in results:
            results[config_path] = load(self, config_path)
        return results[config_path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", load_config)
        yield


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
    """Whatever may be chosen can be made: all keys are known to the class that takes them, and none
    is missing.
    """
    config = plain(_composed(*case))
    assert [fault for key, node in config.items() for fault in _bound(node, key)] == []


@pytest.mark.parametrize("path", SCHEMES, ids=lambda path: path.stem)
def test_each_shipped_label_scheme_is_whole(path: Path) -> None:
    """A scheme is read from its file without a fault and carries the file's name."""
    assert labels.load(path).name == path.stem


def test_no_config_file_is_left_out() -> None:
    """Each file is a command, a choice that some command offers, or a label scheme; none lies there
    unused.
    """
    used = {path for _, paths in CASES for path in paths} | set(SCHEMES)
    assert [str(path.relative_to(CONFIGS)) for path in FILES if path not in used] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_each_file_begins_with_a_command_that_works(path: Path) -> None:
    """The first line is a comment with a command of `haltung`, and its words compose."""
    first = _first(path)
    found = re.search(r"`haltung (\w+)([^`]*)`", first) or re.match(r"# haltung (\w+)(.*?)(?:: |$)", first)
    assert found, f"the first line is {first!r}; expected a comment such as '# haltung train encoder=NAME: what it is'"
    command, words = found[1], shlex.split(found[2])
    assert command in COMMANDS
    for overrides in combinations(words):
        given = {word.partition("=")[0] for word in overrides}
        # What the comment leaves out (the path of a user's file) is given here.
        chosen = [CONFIGS / group / f"{name}.yaml" for group, _, name in (word.partition("=") for word in overrides)]
        rest = [word for file in chosen if file.is_file() for word in _unset(_read(file), file.parent.name)]
        every = (*overrides, *(word for word in rest if word.partition("=")[0] not in given))
        # Most are part of a case above, which composes them.
        assert any(command == case[0] and {*every} <= {*case[1]} for case, _ in CASES) or _composed(command, every)


def _first(path: Path) -> str:
    """The first line that is not Hydra's header, which has to stand above all else."""
    return next(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package"))


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != CONFIGS], ids=lambda path: str(path.relative_to(CONFIGS)))
def test_the_first_comment_of_a_choice_names_the_choice(path: Path) -> None:
    """Whoever copies the line gets this file and no other; label schemes and rules are chosen by
    way of a corpus.
    """
    first = _first(path)
    group, name = path.parent.name, path.stem
    ways = {"labels": r"corpus=\w+", "rules": r"corpus\.rules\.\w+="}
    assert re.search(ways.get(group, rf"\b{group}(@[\w.]+)?={name}\b"), first), first


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "experiment"], ids=lambda path: path.stem)
def test_an_experiment_changes_the_config(path: Path) -> None:
    """Without its header an experiment would compose, and change nothing."""
    assert _composed("train", (f"experiment={path.stem}",)) != _composed("train", ())


@pytest.mark.parametrize("command", [name for name in COMMANDS if (CONFIGS / f"{name}.yaml").is_file()])
def test_a_key_that_is_misspelled_by_a_letter_is_answered_with_the_right_one(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key of the command: with a letter lost, doubled, or another one."""
    known = keys(compose(command, optional=("corpus", "encoder", "model")))
    with pytest.raises(UserError, match="there is no key 'langage'"):
        compose(command, ("langage=de",))
    # Composed once, and not for each slip anew.
    monkeypatch.setattr(config, "_known_keys", lambda *_: known)
    wrong = []
    for key in known:
        owner, name = key[: key.rfind(".") + 1], key.rpartition(".")[2]
        at = len(name) // 2
        for slip in (name[:at] + name[at + 1 :], name[: at + 1] + name[at:], f"{name[:at]}x{name[at + 1 :]}"):
            if len(name) > 3 and owner + slip not in known:
                # As Hydra says it, which the first lines here have tried.
                said = config._refused(command, ConfigCompositionException(f"Could not override '{owner}{slip}'."), ())
                wrong += [] if f"did you mean '{key}'?" in said else [said]
    assert wrong == []
