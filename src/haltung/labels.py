"""Label schemes: which tasks there are, and which labels each task has, in order.

Labels are declared in YAML and never inferred from data, so that a model, a report and a service agree on what index 3 means.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from haltung.errors import UserError, listed, nearest

KINDS = ("single", "multi")

# Columns of a corpus and words of the configs that a task may not be called after.
RESERVED = ("id", "text", "context", "target", "article", "date", "source", "genre", "dyads", "split", "probabilities", "default", "mean")

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


@dataclass(frozen=True)
class Label:
    """One label: its id, its German and English names, what it means, and the PLOVER events it corresponds to."""

    id: str
    de: str
    en: str
    definition: str = ""
    plover: tuple[str, ...] = ()

    def name(self, language: str = "en") -> str:
        """Return the label's name in ``de`` or ``en``."""
        return self.de if language == "de" else self.en


@dataclass(frozen=True)
class Task:
    """One question asked of every segment. ``kind`` is ``single`` (exactly one label) or ``multi`` (any number of labels)."""

    name: str
    kind: str
    labels: tuple[Label, ...]
    de: str
    en: str

    @property
    def ids(self) -> tuple[str, ...]:
        """The label ids in order; a label's place is its index in the model's output."""
        return tuple(label.id for label in self.labels)

    def __len__(self) -> int:
        """Return the number of labels, which is the size of the task's head."""
        return len(self.labels)

    def index(self, label: str) -> int:
        """Return the label's place.

        Raises:
            UserError: the task has no such label.
        """
        try:
            return self.ids.index(label)
        except ValueError:
            raise UserError(f"unknown {self.name} '{label}'{nearest(label, self.ids)}; this scheme has {listed(self.ids)}") from None

    def title(self, language: str = "en") -> str:
        """Return the task's name in ``de`` or ``en``."""
        return self.de if language == "de" else self.en


@dataclass(frozen=True)
class Scheme:
    """A label scheme. Tasks are reached by name: ``scheme["stance"].index("warning")``, or ``scheme.stance``."""

    name: str
    tasks: tuple[Task, ...]
    version: int = 1
    description: str = ""
    source: str = field(default="", compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tasks, in order."""
        return tuple(task.name for task in self.tasks)

    def __iter__(self) -> Iterator[Task]:
        """Go through the tasks in order."""
        return iter(self.tasks)

    def __getitem__(self, name: str) -> Task:
        """Return the task called ``name``.

        Raises:
            UserError: the scheme has no such task.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise UserError(f"unknown task '{name}'{nearest(name, self.names)}; the scheme {self.name} has {listed(self.names)}")

    def __getattr__(self, name: str) -> Task:
        """Return the task called ``name``, so that ``scheme.stance`` reads as it is spoken."""
        if name.startswith("_") or name not in (task.name for task in self.__dict__.get("tasks", ())):
            raise AttributeError(name)
        return self[name]

    def only(self, names: Sequence[str]) -> Scheme:
        """Return the scheme with these tasks alone, in its own order.

        Raises:
            UserError: none is named, one of them twice, or one that the scheme has not.
        """
        chosen = {self[name].name for name in names}
        if not names or len(chosen) < len(names):
            raise UserError(f"tasks is {listed(names)}; expected one or more of {listed(self.names)}, each once")
        return replace(self, tasks=tuple(task for task in self.tasks if task.name in chosen))

    def to_dict(self) -> dict[str, Any]:
        """Return the scheme as plain data, the inverse of ``parse``."""
        return {
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "tasks": {
                task.name: {
                    "kind": task.kind,
                    "de": task.de,
                    "en": task.en,
                    "labels": {
                        label.id: {"de": label.de, "en": label.en, "definition": label.definition, "plover": list(label.plover)}
                        for label in task.labels
                    },
                }
                for task in self.tasks
            },
        }

    def digest(self) -> str:
        """Return 16 hex digits over what decides comparability: task names, kinds and label ids in order.

        Names and definitions are left out, so that mending a translation does not make old runs incomparable.
        """
        core = [[task.name, task.kind, list(task.ids)] for task in self.tasks]
        return hashlib.sha256(json.dumps(core).encode()).hexdigest()[:16]


# The largest of our own has 10,000; YAML takes minutes for a file of 50 MB.
_MOST_BYTES = 1_000_000


class _Strict(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake; by itself YAML takes the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping, with each of its keys once."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key.value}' stands twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load(path: Path) -> Scheme:
    """Read a scheme from a YAML file.

    Raises:
        UserError: the file is missing or not YAML, or the scheme is broken; all its faults are told at once.
    """
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise UserError(f"{path} has {size:,} bytes, which no label scheme has; expected a YAML file of at most {_MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such label scheme") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a directory; expected a YAML file with a label scheme") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save the label scheme as UTF-8") from None
    try:
        data = yaml.load(text, _Strict)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not YAML ({getattr(error, 'problem', None) or error})") from None
    return parse(data, source=str(path))


def parse(data: object, source: str = "scheme") -> Scheme:
    """Make a scheme of plain data.

    Expected is ``{"name": …, "tasks": {NAME: {"kind": "single" | "multi", "de": …, "en": …, "labels": {ID: {"de": …, "en": …}}}}}``; a
    label may also be just its id (``labels: [FAVOR, AGAINST]``), and ``kind`` defaults to ``single``.

    Raises:
        UserError: all faults at once.
    """
    faults: list[str] = []
    if not isinstance(data, Mapping):
        raise UserError(f"{source}: a label scheme is a mapping with 'name' and 'tasks', found {_kind(data)}")
    for key in data:
        if key not in ("name", "version", "description", "tasks"):
            faults.append(f"unknown key '{key}'{nearest(str(key), ('name', 'version', 'description', 'tasks'))}")
    name = data.get("name")
    if not isinstance(name, str) or not name:
        faults.append("'name' is missing")
    version = data.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool):
        faults.append(f"'version' is {version!r}, expected a whole number")
    tasks = data.get("tasks")
    parsed: list[Task] = []
    if not isinstance(tasks, Mapping) or not tasks:
        faults.append("'tasks' is missing or empty; expected a mapping from a task's name to its labels")
    else:
        parsed = [_task(str(task), body, faults) for task, body in tasks.items()]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise UserError(f"{source}: the label scheme has {count}: " + "; ".join(faults))
    return Scheme(str(name), tuple(parsed), version, str(data.get("description", "")), source)


def _task(name: str, body: object, faults: list[str]) -> Task:
    if not _NAME.match(name):
        faults.append(f"task '{name}': a task's name has letters, digits and _ only, and begins with no digit")
    if name in RESERVED:
        faults.append(f"task '{name}': this name is taken, as are all of ({listed(RESERVED)})")
    if not isinstance(body, Mapping):
        faults.append(f"task '{name}': expected a mapping with 'labels', found {_kind(body)}")
        return Task(name, "single", (), name, name)
    for key in body:
        if key not in ("kind", "de", "en", "labels"):
            faults.append(f"task '{name}': unknown key '{key}'{nearest(str(key), ('kind', 'de', 'en', 'labels'))}")
    kind = body.get("kind", "single")
    if kind not in KINDS:
        faults.append(f"task '{name}': kind is '{kind}', allowed are {listed(KINDS)}")
    labels = body.get("labels")
    if isinstance(labels, list):
        pairs: list[tuple[object, object]] = [(label, None) for label in labels]
    elif isinstance(labels, Mapping):
        pairs = list(labels.items())
    else:
        faults.append(f"task '{name}': 'labels' is missing; expected a list of ids or a mapping from an id to its names")
        pairs = []
    made = [_label(name, label, value, faults) for label, value in pairs]
    seen: set[str] = set()
    for label in made:
        if label.id in seen:
            faults.append(f"task '{name}': label '{label.id}' stands twice")
        seen.add(label.id)
    least = 2 if kind == "single" else 1
    if isinstance(labels, list | Mapping) and len(made) < least:
        faults.append(f"task '{name}': {len(made)} labels, a {kind}-label task needs at least {least}")
    return Task(name, str(kind), tuple(made), str(body.get("de", name)), str(body.get("en", name)))


def _label(task: str, found: object, body: object, faults: list[str]) -> Label:
    # YAML reads an unquoted `no` as false and `1` as a number; told here, it costs nobody an afternoon.
    if not isinstance(found, str) or not found.strip():
        faults.append(f"task '{task}': label {found!r} is {_kind(found)}; write it in quotes")
    label = str(found)
    if body is None:
        return Label(label, label, label)
    if not isinstance(body, Mapping):
        faults.append(f"task '{task}', label '{label}': expected a mapping with 'de' and 'en', found {_kind(body)}")
        return Label(label, label, label)
    for key in body:
        if key not in ("de", "en", "definition", "plover"):
            faults.append(f"task '{task}', label '{label}': unknown key '{key}'{nearest(str(key), ('de', 'en', 'definition', 'plover'))}")
    plover = body.get("plover") or []
    if not isinstance(plover, list) or not all(isinstance(event, str) for event in plover):
        faults.append(f"task '{task}', label '{label}': 'plover' is {plover!r}, expected a list of event names")
        plover = []
    de, en, definition = (str(body.get(key) or default) for key, default in (("de", label), ("en", label), ("definition", "")))
    return Label(label, de, en, definition, tuple(str(event) for event in plover))


def _kind(found: object) -> str:
    names = {
        dict: "a mapping",
        list: "a list",
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        type(None): "nothing",
    }
    return names.get(type(found), type(found).__name__)
