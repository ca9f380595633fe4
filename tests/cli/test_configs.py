"""Every config file: each command composes with each choice of each group, and each ``_target_``
accepts its arguments.
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
    """A file of a group, and the package of the config that it goes to."""

    group: str
    package: str
    file: Path

    @property
    def words(self) -> tuple[str, ...]:
        """Return the overrides that select it, with a value for each key that the user
        has to give.
        """
        name = self.group if self.package == self.group else f"{self.group}@{self.package}"
        return f"{name}={self.file.stem}", *_unset(_read(self.file), self.package)


@cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _groups(path: Path) -> dict[str, str]:
    """Return the groups in a file's defaults list, each with its package (``/splits@split`` has the
    package ``split``).
    """
    found = {}
    for item in _read(path).get("defaults", []):
        for key in item if isinstance(item, dict) else []:
            group, _, package = key.removeprefix("/").partition("@")
            if not group.startswith("override "):  # an experiment's override of a group of the command
                found[group] = package or group
    return found


def _unset(node: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yield overrides for the values that a user has to give (``???``)."""
    for key, value in node.items():
        if value == "???":
            yield f"{prefix}.{key}=given"
        elif isinstance(value, dict):
            yield from _unset(value, f"{prefix}.{key}")


def _choices(path: Path, within: str = "") -> list[list[Choice]]:
    """Return the choices of each group of a file, which itself goes to the package ``within``."""
    groups = [(group, f"{within}.{package}" if within else package) for group, package in _groups(path).items()]
    return [[Choice(group, package, file) for file in sorted((CONFIGS / group).glob("*.yaml"))] for group, package in groups]


def _cases() -> Iterator[tuple[Case, list[Path]]]:
    """Yield cases in which each command has each choice of each group once, and the files that each
    case tests.

    Choices of different groups share a case, except for experiments, which change the others. The
    choices inside a corpus (rules, splits) are the same for all commands, and are distributed among
    them.
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
    """Let Hydra read each file once for all cases."""
    load, results = ConfigRepository.load_config, {}

    def load_config(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        if config_path not in results:
            results[config_path] = load(self, config_path)
        return results[config_path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", load_config)
        yield


def _bound(node: Any, place: str) -> Iterator[str]:
    """Yield the faults of all objects that a composed config describes."""
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
    """All keys are parameters of the class that receives them, and none is missing."""
    config = plain(_composed(*case))
    assert [fault for key, node in config.items() for fault in _bound(node, key)] == []


@pytest.mark.parametrize("path", SCHEMES, ids=lambda path: path.stem)
def test_each_shipped_label_scheme_is_whole(path: Path) -> None:
    """It is read without error, and its name is that of the file."""
    assert labels.load(path).name == path.stem


def test_no_config_file_is_left_out() -> None:
    """Each is a command, a choice of some command, or a label scheme."""
    used = {path for _, paths in CASES for path in paths} | set(SCHEMES)
    assert [str(path.relative_to(CONFIGS)) for path in FILES if path not in used] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_each_file_begins_with_a_command_that_works(path: Path) -> None:
    """The first line is a comment with a command of `haltung` that composes."""
    first = _first(path)
    found = re.search(r"`haltung (\w+)([^`]*)`", first) or re.match(r"# haltung (\w+)(.*?)(?:: |$)", first)
    assert found, f"the first line is {first!r}; expected a comment such as '# haltung train encoder=NAME: what it is'"
    command, words = found[1], shlex.split(found[2])
    assert command in COMMANDS
    for overrides in combinations(words):
        given = {word.partition("=")[0] for word in overrides}
        # Add values that the comment omits (the path of a user's file).
        chosen = [CONFIGS / group / f"{name}.yaml" for group, _, name in (word.partition("=") for word in overrides)]
        rest = [word for file in chosen if file.is_file() for word in _unset(_read(file), file.parent.name)]
        every = (*overrides, *(word for word in rest if word.partition("=")[0] not in given))
        # Most of these commands are part of a case above, which composes them.
        assert any(command == case[0] and {*every} <= {*case[1]} for case, _ in CASES) or _composed(command, every)


def _first(path: Path) -> str:
    """Return the first line after Hydra's header, which has to come first."""
    return next(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package"))


@pytest.mark.parametrize("path", [path for path in FILES if path.parent != CONFIGS], ids=lambda path: str(path.relative_to(CONFIGS)))
def test_the_first_comment_of_a_choice_names_the_choice(path: Path) -> None:
    """A copied line selects exactly this file; label schemes and rules are selected by a corpus."""
    first = _first(path)
    group, name = path.parent.name, path.stem
    ways = {"labels": r"corpus=\w+", "rules": r"corpus\.rules\.\w+="}
    assert re.search(ways.get(group, rf"\b{group}(@[\w.]+)?={name}\b"), first), first


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "experiment"], ids=lambda path: path.stem)
def test_an_experiment_changes_the_config(path: Path) -> None:
    """Without its header, an experiment would compose but change nothing."""
    assert _composed("train", (f"experiment={path.stem}",)) != _composed("train", ())


@pytest.mark.parametrize("command", [name for name in COMMANDS if (CONFIGS / f"{name}.yaml").is_file()])
def test_a_key_that_is_misspelled_by_a_letter_is_answered_with_the_right_one(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every key of the command with a letter missing, doubled or replaced."""
    known = keys(compose(command, optional=("corpus", "encoder", "model")))
    with pytest.raises(UserError, match="there is no key 'langage'"):
        compose(command, ("langage=de",))
    # Composed once instead of for each misspelling.
    monkeypatch.setattr(config, "_known_keys", lambda *_: known)
    wrong = []
    for key in known:
        owner, name = key[: key.rfind(".") + 1], key.rpartition(".")[2]
        at = len(name) // 2
        for slip in (name[:at] + name[at + 1 :], name[: at + 1] + name[at:], f"{name[:at]}x{name[at + 1 :]}"):
            if len(name) > 3 and owner + slip not in known:
                # This is Hydra's message, as the first lines of this test have shown.
                said = config._refused(command, ConfigCompositionException(f"Could not override '{owner}{slip}'."), ())
                wrong += [] if f"did you mean '{key}'?" in said else [said]
    assert wrong == []
