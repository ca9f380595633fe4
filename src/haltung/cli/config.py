"""Compose a config from ``key=value`` arguments; each mistake is reported in one sentence."""

import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString, ValueType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from haltung import files, labels
from haltung.errors import UserError, first_line, listed, nearest

_MOST_COMBINATIONS = 200
# Mappings whose keys the user chooses (tasks, columns, labels), so that a new one needs no +.
_OPEN = ("corpus.reads", "corpus.pooling", "corpus.reader.columns", "corpus.reader.labels", "corpus.reader.tasks", "fsdp")
# The references that a third-party config may use. No $, { or \ may be next to one: with its value
# they could form another reference, which would be resolved in turn.
_REFERENCE = r"(?<![$\\])\$\{(?:(\.*)([\w\[-][\w.\[\]-]*)|shipped:[\w./-]*%s)\}(?![$\\{])"
_MOST_CHARACTERS = 1_000_000
_SIGNS = ("separator", "list_separator", "quotechar")  # one character each, which may be syntax in an override
_PLAIN = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def shipped_path(path: str) -> str:
    """Return the folder that ``${shipped:data/diplomacy}`` refers to, in checkout or wheel."""
    top, _, rest = path.partition("/")
    return str(files.shipped(top) / rest)


OmegaConf.register_new_resolver("shipped", shipped_path, replace=True)


class _OwnFolder(FileConfigSource):
    """A folder of configs, perhaps untrusted, whose files may take only little time and memory."""

    @staticmethod
    def scheme() -> str:
        return "own"

    def load_config(self, config_path: str) -> ConfigResult:
        path = Path(self.path, self._normalize_file_name(config_path))
        data = json.dumps(labels.read_yaml(path, "config"), ensure_ascii=False, default=str)
        allowed = _REFERENCE % (r"|oc\.env:[^${}\\]*" if os.environ.get("HALTUNG_CONFIG_ENV") == "1" else "")
        _, sign, rest = re.sub(allowed, " ", data).partition("${")
        if sign:
            found, known = rest.split('"')[0][:60], "${key} and ${shipped:path}, with no $, {, \\, quote or line end next to them"
            raise UserError(f"{path} has '${{{found}'; allowed are {known}, and ${{oc.env:NAME}} if you set HALTUNG_CONFIG_ENV=1")
        return super().load_config(config_path)


def _named(node: Any) -> Any:
    """Return plain data with lists turned into mappings, and all other values into text."""
    pairs = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else None
    return str(node) if pairs is None else {str(key): _named(child) for key, child in pairs}


def _bound(tree: Any, path: Sequence[str], known: dict[tuple[str, ...], int]) -> int:
    """Return an upper bound on the parts and characters of a value after it is resolved."""
    at, node = tuple[str, ...](), tree
    for key in path:  # a path into a text counts all that the text refers to
        at, node = (at, node) if isinstance(node, str) else ((*at, key), node.get(key, ""))
    if at not in known:
        known[at] = 0  # a cycle is reported when it is resolved
        inside = [(*at, key) for key in node if isinstance(node, dict)]
        for dots, name in re.findall(_REFERENCE % "", node) if isinstance(node, str) else ():
            inside.append((*(at[: -len(dots)] if dots else ()), *re.findall(r"[^.\[\]]+", name)))
        known[at] = len(node) + sum(_bound(tree, one, known) for one in inside)
    return known[at]


Plugins.instance().register(_OwnFolder)


@dataclass(frozen=True)
class Request:
    """The plain config of one combination, its overrides, and the command line as it was typed."""

    settings: dict[str, Any]
    overrides: tuple[str, ...]
    command: tuple[str, ...]
    config_dir: Path | None = None


def each(
    name: str, arguments: Sequence[str], *, texts: Sequence[str] = (), lists: Sequence[str] = (), numbers: Sequence[str] = (),
    verbatim: Sequence[str] = (), optional: Sequence[str] = (), single: str = "",
) -> Iterator[Request]:  # fmt: skip
    """Yield a request for each combination of values; with ``--cfg`` print the configs instead.

    Keys in ``texts`` have one text, such as a date, which Hydra would read as a number; those in
    ``lists`` and ``numbers`` a list, whose brackets may be omitted; those in ``verbatim`` are used
    literally. Groups in ``optional`` may lack values. ``single`` is the error message for more than
    one combination; "" allows several. ``UserError`` if an option or an override is invalid.
    """
    arguments = with_table(name, arguments)
    literal = {key: value for key, sign, value in (word.partition("=") for word in arguments) if sign and key in verbatim}
    words: list[str] = []
    show, config_dir = False, None
    rest = iter(arguments)
    for word in rest:
        if word == "--cfg":
            show = True
        elif word in ("--config-dir", "-cd") or word.startswith("--config-dir="):
            value = word.partition("=")[2] or next(rest, "")
            config_dir = Path(value)
            if not value or not config_dir.is_dir():
                raise UserError(f"--config-dir: '{value}' is not a folder; name the folder with your corpus/, model/, … configs")
        elif word.startswith("-"):
            raise UserError(f"unknown option '{word}'; the options are --help, --cfg, --config-dir DIR; everything else is key=value")
        elif word.partition("=")[0] not in literal:
            words.append(_as_value(word, texts, lists, numbers))
    found = combinations(words)
    if single and len(found) != 1:
        raise UserError(single)
    for overrides in found:
        config = compose(name, overrides, config_dir, optional)
        if show:
            print(OmegaConf.to_yaml(config))
            continue
        yield Request(plain(config) | literal, overrides, (name, *arguments), config_dir)


def combinations(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each combination (``seed=1,2`` gives two), or raise ``UserError``."""
    overrides = [_with_run_id(word) for word in words]
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except OverrideParseException as error:
        raise UserError(_malformed(error)) from None
    values = [*map(_values, parsed, overrides)]
    if (count := math.prod(map(len, values))) > _MOST_COMBINATIONS:
        raise UserError(f"these overrides request {count} runs, but at most {_MOST_COMBINATIONS} are allowed in one command")
    return list(itertools.product(*values))


def compose(command: str, overrides: Sequence[str] = (), config_dir: Path | None = None, optional: Sequence[str] = ()) -> DictConfig:
    """Return a command's config, whose ``optional`` groups may lack values; or ``UserError``."""
    words = [f"++{word}" if word.partition("=")[0].rpartition(".")[0] in _OPEN else word for word in overrides]
    if config_dir is not None:
        words.append(f"hydra.searchpath=['{_OwnFolder.scheme()}://{config_dir.resolve()}']")
    with initialize_config_dir(config_dir=str(files.shipped("configs").resolve()), version_base="1.3", job_name=command):
        try:
            config = hydra_compose(command, words)
            if config_dir is not None and _bound(_named(OmegaConf.to_container(config)), (), {}) > _MOST_CHARACTERS:
                raise UserError(f"{config_dir}: its ${{…}} make the config longer than {_MOST_CHARACTERS:,} characters, the maximum")
            # Resolved now: a missing or circular interpolation stops the command before any work.
            OmegaConf.resolve(config)
            if config_dir and str(name := OmegaConf.select(config, "corpus.labels")).endswith((".yaml", ".yml")):
                places = (folder / name for folder in (Path(), config_dir / "corpus", config_dir))
                config.corpus.labels = str(next(filter(os.path.exists, places), name))
        except MissingConfigException as error:
            raise UserError(_missing(error)) from None
        except OverrideParseException as error:
            raise UserError(_malformed(error)) from None
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_refused(command, error, overrides)) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{mark.name}, line {mark.line + 1}" if mark else "a config file"
            raise UserError(f"{where}: not YAML ({error.problem or first_line(error)})") from None
        except (AssertionError, OSError, RecursionError, ValueError, yaml.YAMLError) as error:
            # A group's choice is not a name or too long, or a config is not a text file.
            raise UserError(f"the config can't be composed: {first_line(error)}; choices are given as group=NAME") from None
    if missing := sorted(str(key) for key in OmegaConf.missing_keys(config) if str(key).partition(".")[0] not in optional):
        raise UserError(f"{missing[0]} has no value; give it as {missing[0]}=…" + (f" (and {listed(missing[1:])})" if missing[1:] else ""))
    return config


def with_table(command: str, arguments: Sequence[str]) -> list[str]:
    """Return the arguments with ``table=FILE`` and its short keys (table_keys.tsv) in full.

    For ``predict`` and ``events`` it is a sheet to label; for ``events input=…`` it is an output.
    """
    given = dict(word.partition("=")[::2] for word in arguments if "=" in word)
    own = {"predict": "table", "events": "input"}.get(command)
    is_read = own or command in ("prepare", "annotate", "agree", "suggest", "train", "sweep", "evaluate")
    if "table" not in given or not is_read or (own == "input" and "input" in given):
        return list(arguments)
    task = f" {given.get('label', '')}" if "coders" in given else ""  # each task has a scheme of its own
    name = re.sub(r"\W+", "_", Path(given["table"]).stem + task, flags=re.ASCII).strip("_") or "table"
    corpus = ["splits@corpus.split=test_only"] if command == "evaluate" else [f"corpus.labels={quote(f'{name}.labels.yaml')}"]
    words = [] if own else ["corpus=table", f"corpus.name={quote(name)}", *corpus]
    for short, key, *lacking in files.table("haltung.cli", "table_keys.tsv"):
        if command not in lacking and (value := given.pop(short, "")):
            inside = value[1:-1] if value.startswith("[") and value.endswith("]") else value
            full = key if own is None else own if short == "table" else key.removeprefix("corpus.")
            words.append(f"{full}={quote([part.strip() for part in inside.split(',')] if short in ('label', 'coders') else value)}")
    return [*words, *(word for word in arguments if "=" not in word or word.partition("=")[0] in given)]


def candidates(command: str, line: str) -> list[str]:
    """Return the completions of the last argument of a command."""
    with initialize_config_dir(config_dir=str(files.shipped("configs").resolve()), version_base="1.3"):
        return list(BashCompletion(GlobalHydra.instance().config_loader())._query(config_name=command, line=line))


def plain(config: DictConfig) -> dict[str, Any]:
    """Return the resolved config as plain data, with strings for keys."""
    return dict(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]  # a mapping


def quote(value: Any) -> str:
    """Return a value as it is written in an override, in quotes if Hydra needs them."""
    value = str(value) if isinstance(value, Path) else value.item() if hasattr(value, "item") else value
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list | tuple):
        return f"[{','.join(map(quote, value))}]"
    if not isinstance(value, str):
        return repr(value)
    return value if _PLAIN.fullmatch(value) and value.lower() not in ("true", "false", "null", "inf", "nan") else _quoted(value)


def overrides_of(values: Mapping[str, Any]) -> list[str]:
    """Return the keys and values as ``key=value`` overrides."""
    return [f"{key}={quote(value)}" for key, value in values.items()]


def choices(group: str, config_dir: Path | None = None) -> dict[str, Path]:
    """Return the file of each choice of a config group; the user's replaces a shipped one."""
    folders = [files.shipped("configs") / group] + ([config_dir / group] if config_dir else [])
    found = ((path.relative_to(folder).with_suffix("").as_posix(), path) for folder in folders for path in folder.rglob("*.yaml"))
    return dict(sorted(dict(found).items()))


def keys(node: Any, prefix: str = "") -> list[str]:
    """Return all keys of a config in dotted form."""
    node = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else node
    pairs = node.items() if isinstance(node, dict) else ()
    return [name for key, child in pairs for name in (f"{prefix}{key}", *keys(child, f"{prefix}{key}."))]


def _as_value(word: str, texts: Sequence[str], lists: Sequence[str], numbers: Sequence[str]) -> str:
    key, sign, value = word.partition("=")
    if key.rpartition(".")[2] in _SIGNS and len(value) == 1:
        return f"{key}={_quoted(value)}"
    if key in numbers and re.fullmatch(r"[0-9,]+", value):
        return f"{key}=[{value}]"
    if not sign or key not in (*texts, *lists):
        return word
    if key in lists:
        items = [item.strip().strip("'\"") for item in re.sub(r"^\[|\]$", "", value.strip()).split(",")]
        return f"{key}=[{','.join(_quoted(item) for item in items if item)}]"
    as_given = "'" in value or '"' in value or value in ("null", "") or value.startswith(("[", "${"))
    return word if as_given else f"{key}={_quoted(value)}"


def _quoted(text: str) -> str:
    """Return a text in quotes, even if it seems to need none: ``true`` may be a run's name."""
    return str(QuotedString(text, Quote.single).with_quotes())


def _with_run_id(word: str) -> str:
    """Quote the ids of runs: one such as 9e881582 would be read as a number."""
    key, _, value = word.partition("=")
    ids = value.split(",")
    if key != "run" or not all(re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.+_-]*", id) for id in ids):
        return word
    return f"run={','.join(_quoted(id) if id[0].isdigit() else id for id in ids)}"


def _values(override: Override, word: str) -> list[str]:
    if not override.is_sweep_override():
        return [word]
    if not override.is_discrete_sweep() or override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        raise UserError(f"'{word}' sweeps over values that are not listed; list the values, as in {override.key_or_group}=1,2,3")
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _malformed(error: OverrideParseException) -> str:
    key, sign, value = str(error.override).partition("=")
    typed = f', as here: "{key}={_quoted(value)}"' if sign else ""
    return f"'{error.override}' is not key=value; quote values with spaces, commas, brackets or other symbols, twice in a shell{typed}"


def _missing(error: MissingConfigException) -> str:
    options = list(error.options or [])
    missing = str(error.missing_cfg_file or "")
    group, _, name = missing.rpartition("/")
    if not options:
        return f"there is no group '{group or missing}'{nearest(group or missing, _groups())}; the groups are {listed(_groups())}"
    return f"there is no {group} '{name}'{nearest(name, options)}; the choices are {listed(options)}"


def _refused(command: str, error: Exception, overrides: Sequence[str]) -> str:
    text = first_line(error)
    if isinstance(error, ConfigCompositionException) and "Could not override" in text:
        unknown = text.split("'")[1]
        known = _known_keys(command, overrides)
        owner, _, name = unknown.rpartition(".")
        siblings = [key.rpartition(".")[2] for key in known if key.rpartition(".")[0] == owner]
        # The best hint is the same key one level deeper (corpus.path for corpus.reader.path),
        elsewhere = [key for key in known if key.rpartition(".")[2] == name and key.startswith(owner)]
        # then, unless a typo, the same owner elsewhere (corpus.reads.topic for model.reads.topic).
        twins = sorted({key.rpartition(".")[0] for key in known if key.count(".") > 1 and key.split(".")[-2] == owner.rpartition(".")[2]})
        elsewhere += [f"{twin}.{name}" for twin in twins if twin != owner and not nearest(name, siblings)]
        hint = f", did you mean '{elsewhere[0]}'?" if elsewhere else nearest(unknown, known)
        where = f"{owner or 'the command'} has {listed(siblings)}" if siblings else f"haltung {command} --help lists the keys"
        return f"there is no key '{unknown}'{hint}; {where}"
    if "Could not override" in text or "Multiple values" in text or "not found" in text:
        return f"{text}; haltung {command} --help lists groups and keys"
    return f"the config can't be composed: {text}"


def _known_keys(command: str, overrides: Sequence[str]) -> list[str]:
    """Return the keys of a command with the chosen groups, [] if these don't compose."""
    try:
        return keys(hydra_compose(command, [word for word in overrides if word.partition("=")[0] in _groups()]))
    except (HydraException, OmegaConfBaseException):
        return []


def _groups() -> list[str]:
    return sorted(path.name for path in files.shipped("configs").iterdir() if path.is_dir())
