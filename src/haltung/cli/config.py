"""From ``key=value`` words to a composed config (Hydra), with one sentence for every mistake."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from haltung import files
from haltung.errors import UserError, listed, nearest

_SWEPT_LIMIT = 200

# Mappings whose keys are the user's own (tasks, columns, labels), so that a new one is no slip and needs no + before it.
_OPEN = ("corpus.reads", "corpus.pooling", "corpus.reader.columns", "corpus.reader.labels", "corpus.reader.tasks")


@dataclass(frozen=True)
class Words:
    """A command line taken apart: overrides, one list for each combination that a sweep asks for, and the options."""

    combinations: tuple[tuple[str, ...], ...]
    show: bool = False
    config_dir: Path | None = None


def compose(command: str, overrides: Sequence[str] = (), config_dir: Path | None = None, optional: Sequence[str] = ()) -> DictConfig:
    """Return the config of a command with these overrides; keys of the ``optional`` groups may be left without a value.

    Raises:
        UserError: an override is malformed, or names a key or a choice that there is none of.
    """
    register_resolvers()
    words = [f"++{word}" if word.partition("=")[0].rpartition(".")[0] in _OPEN else word for word in overrides]
    if config_dir is not None:
        words.append(f"hydra.searchpath=['file://{config_dir.resolve()}']")
    with initialize_config_dir(config_dir=str(files.shipped("configs").resolve()), version_base="1.3", job_name=command):
        try:
            config = hydra_compose(command, words)
            # Interpolations are resolved now, so that a missing or circular one is told before any work is done.
            OmegaConf.resolve(config)
        except MissingConfigException as error:
            raise UserError(_missing(error)) from None
        except OverrideParseException as error:
            raise UserError(
                f"'{error.override}' is no key=value ({_first(error)}); quote values that hold spaces, commas or brackets"
            ) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_refused(command, error, overrides)) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{mark.name}, line {mark.line + 1}" if mark else "a config file"
            raise UserError(f"{where}: not YAML ({error.problem or _first(error)})") from None
        except (ValueError, yaml.YAMLError) as error:
            # A group that is set to something that is no name, or a file of the user's own that is no text
            raise UserError(f"the config can't be composed: {_first(error)}; choices are given as group=NAME") from None
    missing = sorted(str(key) for key in OmegaConf.missing_keys(config) if str(key).partition(".")[0] not in optional)
    if missing:
        raise UserError(f"{missing[0]} has no value; give it as {missing[0]}=…" + (f" (and {listed(missing[1:])})" if missing[1:] else ""))
    return config


def parse(words: Sequence[str]) -> Words:
    """Take a command line apart; ``seed=1,2,3`` asks for three combinations.

    Raises:
        UserError: an option is unknown or lacks its value, or an override is malformed.
    """
    overrides: list[str] = []
    show, config_dir = False, None
    rest = iter(words)
    for word in rest:
        if word == "--cfg":
            show = True
        elif word in ("--config-dir", "-cd") or word.startswith("--config-dir="):
            value = word.partition("=")[2] or next(rest, "")
            config_dir = Path(value)
            if not value or not config_dir.is_dir():
                raise UserError(f"--config-dir: '{value}' is no folder; name the folder that holds your own corpus/, model/, … configs")
        elif word.startswith("-"):
            raise UserError(f"unknown option '{word}'; the options are --help, --cfg, --config-dir DIR; everything else is key=value")
        else:
            overrides.append(_as_text(word))
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_overrides(overrides)
    except OverrideParseException as error:
        raise UserError(
            f"'{error.override}' is no key=value ({_first(error)}); quote values that hold spaces, commas or brackets"
        ) from None
    combinations = tuple(_combinations(parsed, overrides))
    if len(combinations) > _SWEPT_LIMIT:
        raise UserError(f"these overrides ask for {len(combinations)} runs, at most {_SWEPT_LIMIT} are allowed in one command")
    return Words(combinations, show, config_dir)


def choices(group: str, config_dir: Path | None = None) -> list[str]:
    """Return the names in a config group, such as the corpora."""
    folders = [files.shipped("configs") / group] + ([config_dir / group] if config_dir else [])
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})


def keys(config: DictConfig) -> list[str]:
    """Return all keys of a config in dotted form."""
    return list(_flat(OmegaConf.to_container(config, resolve=False), ""))


def _as_text(word: str) -> str:
    """Put a run's id in quotes: one such as 9e881582 would be read as a number."""
    key, _, value = word.partition("=")
    return f"{key}='{value}'" if key == "run" and re.fullmatch(r"[0-9][0-9A-Za-z.+-]*", value) else word


def _combinations(parsed: Iterable[Override], overrides: Sequence[str]) -> Iterator[tuple[str, ...]]:
    options: list[list[str]] = []
    for override, word in zip(parsed, overrides, strict=True):
        if override.is_sweep_override() and (not override.is_discrete_sweep() or override.value_type == ValueType.GLOB_CHOICE_SWEEP):
            raise UserError(f"'{word}' sweeps over values that are not named; name the values, as in {override.key_or_group}=1,2,3")
        if override.is_sweep_override():
            options.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
        else:
            options.append([word])
    yield from itertools.product(*options)


def register_resolvers() -> None:
    """Make our interpolations known to OmegaConf: ``${shipped:data/diplomacy}`` is a folder that the wheel carries too."""
    if not OmegaConf.has_resolver("shipped"):
        OmegaConf.register_new_resolver("shipped", _shipped)


def _shipped(place: str) -> str:
    top, _, rest = place.partition("/")
    return str(files.shipped(top) / rest)


def _missing(error: MissingConfigException) -> str:
    options = list(error.options or [])
    found = str(error.missing_cfg_file or "")
    group, _, name = found.rpartition("/")
    if not options:
        group_names = [path.name for path in files.shipped("configs").iterdir() if path.is_dir()]
        return f"there is no group '{group or found}'{nearest(group or found, group_names)}; the groups are {listed(sorted(group_names))}"
    return f"there is no {group} '{name}'{nearest(name, options)}; the choices are {listed(options)}"


def _refused(command: str, error: Exception, overrides: Sequence[str]) -> str:
    text = _first(error)
    config = None
    if isinstance(error, ConfigCompositionException) and "Could not override" in text:
        found = text.split("'")[1]
        config = _bare(command, overrides)
        known = keys(config) if config is not None else []
        owner, _, name = found.rpartition(".")
        siblings = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == owner]
        # The same key one room further (corpus.path for corpus.reader.path) is nearer than any other spelling.
        elsewhere = [key for key in known if key.rpartition(".")[2] == name and key.startswith(owner)]
        # And so is the same owner under another roof (corpus.reads.topic for model.reads.topic, which only repeats it).
        twins = sorted({key.rpartition(".")[0] for key in known if key.count(".") > 1 and key.split(".")[-2] == owner.rpartition(".")[2]})
        elsewhere += [f"{twin}.{name}" for twin in twins if twin != owner]
        hint = f", did you mean '{elsewhere[0]}'?" if elsewhere else nearest(found, known)
        where = f"{owner or 'the command'} has {listed(siblings)}" if siblings else f"the keys are told by haltung {command} --help"
        return f"there is no key '{found}'{hint}; {where}"
    if "Could not override" in text or "Multiple values" in text or "not found" in text:
        return f"{text}; the groups and keys are told by haltung {command} --help"
    return f"the config can't be composed: {text}"


def _bare(command: str, overrides: Sequence[str]) -> DictConfig | None:
    """Compose once more with the choices of groups alone, to know which keys there are."""
    groups = {path.name for path in files.shipped("configs").iterdir() if path.is_dir()}
    chosen = [word for word in overrides if word.partition("=")[0] in groups]
    try:
        return hydra_compose(command, chosen)
    except (HydraException, OmegaConfBaseException):
        return None


def _flat(value: Any, prefix: str) -> Iterator[str]:
    for key, child in value.items():
        name = f"{prefix}{key}"
        yield name
        if isinstance(child, dict):
            yield from _flat(child, f"{name}.")


def _first(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__).rstrip(".")
