"""Label schemes, declared and never inferred, so that all agree on the meaning of index 3."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import yaml

from haltung.errors import UserError, first_line, kind, listed, nearest, short

KINDS = ("single", "multi")
STANCE, NEUTRAL = "stance", "neutral"  # the task whose labels are the dyads' stances, and its label for no stance
# Columns of a corpus and words of the configs, not allowed as names of tasks.
RESERVED = (
    "id", "text", "context", "target", "article", "date", "source", "genre", "dyads", "soft", "split", "probabilities", "default", "mean",
)  # fmt: skip
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_MAX_BYTES = 1_000_000  # our largest has 10,000; parsing 50 MB takes minutes
_MAX_LABELS, _MAX_DEPTH = 10_000, 20  # labels per task; nesting of lists and mappings


@dataclass(frozen=True)
class Label:
    """One label: id, German and English names, definition, and corresponding PLOVER events."""

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
    """One question about every segment, of kind ``single`` (exactly one label) or ``multi``."""

    name: str
    kind: str
    labels: tuple[Label, ...]
    de: str
    en: str

    @property
    def ids(self) -> tuple[str, ...]:
        """The label ids; their order is that of the model's output."""
        return tuple(label.id for label in self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, label: str) -> int:
        """Return the index of a label, or raise ``UserError`` if the task has no such label."""
        if label not in self.ids:
            raise UserError(f"unknown {self.name} '{short(label)}'{nearest(label, self.ids)}; this scheme has {listed(self.ids)}")
        return self.ids.index(label)

    def title(self, language: str = "en") -> str:
        """Return the task's name in ``de`` or ``en``."""
        return self.de if language == "de" else self.en


@dataclass(frozen=True)
class Scheme:
    """A label scheme, with tasks by name: ``scheme["stance"]`` or ``scheme.stance``."""

    name: str
    tasks: tuple[Task, ...]
    version: int = 1
    description: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tasks, in order."""
        return tuple(task.name for task in self.tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(self.tasks)

    def __getitem__(self, name: str) -> Task:
        """Return the task called ``name``, or raise ``UserError`` if there is none."""
        if name not in self.names:
            raise UserError(f"unknown task '{name}'{nearest(name, self.names)}; the scheme {self.name} has {listed(self.names)}")
        return self.tasks[self.names.index(name)]

    def __getattr__(self, name: str) -> Task:
        """Return the task called ``name``, as in ``scheme.stance``."""
        if name.startswith("_") or name not in (task.name for task in self.__dict__.get("tasks", ())):
            raise AttributeError(name)
        return self[name]

    def only(self, names: Sequence[str]) -> Self:
        """Return the scheme with only these tasks, in its order; ``UserError`` if it lacks one."""
        chosen = {self[name].name for name in names}
        if not names or len(chosen) < len(names):
            raise UserError(f"tasks is {listed(names)}; expected one or more of {listed(self.names)}, each once")
        return replace(self, tasks=tuple(task for task in self.tasks if task.name in chosen))

    def to_dict(self) -> dict[str, Any]:
        """Return the scheme as plain data, the inverse of ``parse``."""
        tasks = {}
        for task in self.tasks:
            labels = {one.id: {"de": one.de, "en": one.en, "definition": one.definition, "plover": list(one.plover)} for one in task.labels}
            tasks[task.name] = {"kind": task.kind, "de": task.de, "en": task.en, "labels": labels}
        return {"name": self.name, "version": self.version, "description": self.description, "tasks": tasks}

    def digest(self) -> str:
        """Return 16 hex digits of what decides comparability: task names, kinds and label ids.

        Translated names and definitions are excluded: correcting one keeps old runs comparable.
        """
        core = [[task.name, task.kind, list(task.ids)] for task in self.tasks]
        return hashlib.sha256(json.dumps(core).encode()).hexdigest()[:16]


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # that of C, if there is one, is faster
    """YAML loader that refuses repeated keys, of which PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key.value}' occurs twice", key.start_mark)
            seen.add(str(key.value))
        return dict(super().construct_mapping(node, deep))


def load(path: Path) -> Scheme:
    """Read a scheme from a YAML file; ``UserError`` if it can't be read, or with all its faults."""
    return parse(read_yaml(path, "label scheme"), source=str(path))


def read_yaml(path: Path, what: str) -> object:
    """Return a YAML file's data; ``UserError`` if it can't be read or takes too long to parse."""
    try:
        if (size := path.stat().st_size) > _MAX_BYTES:
            raise UserError(f"{path} has {size:,} bytes, too large for a {what}; expected a YAML file of at most {_MAX_BYTES:,}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot read this {what} ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save the {what} as UTF-8") from None
    try:
        _check_form(text)
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, ValueError) as error:  # the latter for an invalid date or number
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not YAML ({getattr(error, 'problem', None) or first_line(error)})") from None


def _check_form(text: str) -> None:
    """Raise ``YAMLError`` for nesting, lists or aliases that would take too long to parse."""
    inside = [0]  # how many parts each open list or mapping has so far
    for event in yaml.parse(text, _StrictLoader):
        if isinstance(event, yaml.AliasEvent) or len(inside) > _MAX_DEPTH or inside[-1] > 2 * _MAX_LABELS:
            fault = f"expected no '*', lists nested at most {_MAX_DEPTH} deep and at most {_MAX_LABELS:,} labels or other parts in each"
            raise yaml.MarkedYAMLError(None, None, fault, event.start_mark)  # type: ignore[arg-type]  # libyaml's has a class of its own
        inside[-1] += 1
        inside = inside[:-1] if isinstance(event, yaml.CollectionEndEvent) else inside + [0] * isinstance(event, yaml.CollectionStartEvent)


def parse(data: object, source: str = "scheme") -> Scheme:
    """Make a scheme from plain data.

    ``data`` is ``{"name": …, "tasks": {NAME: {"kind": "single" | "multi", "de": …, "en": …,
    "labels": {ID: {"de": …, "en": …}}}}}``. A label may also be just its id (``labels: [FAVOR,
    AGAINST]``); ``kind`` defaults to ``single``. ``UserError`` lists all faults at once.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{source}: a label scheme must be a mapping with 'name' and 'tasks', found {kind(data)}")
    faults = _unknown_keys(data, ("name", "version", "description", "tasks"))
    name, version, tasks = data.get("name"), data.get("version", 1), data.get("tasks")
    if not isinstance(name, str) or not name:
        faults.append("'name' is missing")
    if not isinstance(version, int) or isinstance(version, bool):
        faults.append(f"'version' is {version!r}, expected a whole number")
    if not isinstance(tasks, Mapping) or not tasks:
        faults.append("'tasks' is missing or empty; expected a mapping from a task's name to its labels")
        tasks = {}
    parsed = tuple(_task(str(task), body, faults) for task, body in tasks.items())
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise UserError(f"{source}: the label scheme has {count}: " + "; ".join(faults))
    return Scheme(str(name), parsed, version, str(data.get("description", "")))


def _unknown_keys(body: Mapping[Any, Any], allowed: Sequence[str], where: str = "") -> list[str]:
    return [f"{where}unknown key '{key}'{nearest(str(key), allowed)}" for key in body if key not in allowed]


def _task(name: str, body: object, faults: list[str]) -> Task:
    """Make a task; its faults are appended to ``faults``."""
    where = f"task '{name}': "
    if not _NAME.match(name):
        faults.append(f"{where}a task's name must have only letters, digits and _, and must not begin with a digit")
    if name in RESERVED:
        faults.append(f"{where}this name is reserved (reserved names: {listed(RESERVED)})")
    if not isinstance(body, Mapping):
        faults.append(f"{where}expected a mapping with 'labels', found {kind(body)}")
        return Task(name, "single", (), name, name)
    faults += _unknown_keys(body, ("kind", "de", "en", "labels"), where)
    task_kind, labels = body.get("kind", "single"), body.get("labels")
    if task_kind not in KINDS:
        faults.append(f"{where}kind is '{task_kind}', expected one of {listed(KINDS)}")
    made: list[Label] = []
    if isinstance(labels, list | Mapping) and len(labels) > _MAX_LABELS:
        faults.append(f"{where}it has {len(labels):,} labels, at most {_MAX_LABELS:,} are allowed")
    elif isinstance(labels, list | Mapping):
        pairs = labels.items() if isinstance(labels, Mapping) else [(label, None) for label in labels]
        made = [_label(name, label, value, faults) for label, value in pairs]
        faults += [f"{where}label '{short(id)}' occurs twice" for id, count in Counter(label.id for label in made).items() if count > 1]
        least = 2 if task_kind == "single" else 1
        if len(made) < least:
            faults.append(f"{where}{len(made)} labels, a {task_kind}-label task needs at least {least}")
    else:
        faults.append(f"{where}'labels' is missing; expected a list of ids or a mapping from an id to its names")
    return Task(name, str(task_kind), tuple(made), str(body.get("de", name)), str(body.get("en", name)))


def _label(task: str, id: object, body: object, faults: list[str]) -> Label:
    # YAML reads an unquoted `no` as false and `1` as a number.
    if not isinstance(id, str) or not id.strip():
        faults.append(f"task '{task}': label {short(repr(id))} is {kind(id)}; write it in quotes")
    name = str(id)
    where = f"task '{task}', label '{short(name)}': "
    body = {} if body is None else body
    if not isinstance(body, Mapping):
        faults.append(f"{where}expected a mapping with 'de' and 'en', found {kind(body)}")
        return Label(name, name, name)
    faults += _unknown_keys(body, ("de", "en", "definition", "plover"), where)
    plover = body.get("plover") or []
    if not isinstance(plover, list) or not all(isinstance(event, str) for event in plover):
        faults.append(f"{where}'plover' is {plover!r}, expected a list of event names")
        plover = []
    return Label(name, str(body.get("de") or name), str(body.get("en") or name), str(body.get("definition") or ""), tuple(plover))
