"""Build objects from a config as plain data; no layer below sees Hydra or a ``_target_``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, make_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from haltung import labels
from haltung.cli.config import choices, each
from haltung.errors import UserError, first_line, listed, nearest, writing
from haltung.files import atomic_file
from haltung.labels import Scheme
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.training.recipe import place

if TYPE_CHECKING:
    # Modules for corpora and training are not installed where bundles are only served.
    from haltung.corpus.store import Prepared
    from haltung.encoders.load import Encoder
    from haltung.experiments.train import Plan
    from haltung.training.recipe import Training

Language = Literal["en", "de"]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Options = TypeVar("Options")
# The type at the start of the name of pydantic's error, and its description in our message.
_EXPECTED = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "string": "text", "list": "a list", "tuple": "a list",
    "dict": "a mapping of keys to values", "mapping": "a mapping of keys to values", "none": "null", "date": "a date as YYYY-MM-DD",
}  # fmt: skip


@dataclass(frozen=True)
class CorpusOptions:
    """The keys of a corpus config, without those that say how a model reads the corpus."""

    name: str
    labels: str
    reader: Mapping[str, Any]
    rules: Mapping[str, Any]
    split: Mapping[str, Any]
    tasks: tuple[str, ...] | None = None


@dataclass(frozen=True)
class CorpusFolders:
    """The folders of third-party texts and of prepared corpora, and whether to prepare again."""

    sources: str
    prepared: str
    force: bool = False


@dataclass(frozen=True)
class RecipeOptions:
    """The keys of a training outside its config groups."""

    name: str | None
    seed: Seed
    resume: bool
    language: Language
    runs: str
    folds: Annotated[int, Field(ge=1)] | None = None
    final: bool | None = None
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    launcher: Literal["ddp", "fsdp"] | None = None
    processes: Annotated[int, Field(ge=1)] | None = None
    fsdp: Mapping[str, Any] | None = None
    teacher: str | None = None
    seen: Literal["refuse", "allow"] = "refuse"


@dataclass(frozen=True)
class Recipe:
    """The objects that a config describes; ``settings`` is the config as plain data."""

    settings: Mapping[str, Any]
    options: RecipeOptions
    encoder: Encoder
    model: NetworkSpec | LinearSpec
    training: Training

    @property
    def processes(self) -> int:
        """The number of processes that share a batch; ``UserError`` if that many can't."""
        options, (_, started) = self.options, place()
        if options.launcher is None and options.processes in (None, 1) and started == 1:
            return 1
        if not self.model.is_tuned or options.folds not in (None, 1):
            raise UserError("model=linear, few_shot and folds train in one process; leave out launcher=, processes= and torchrun")
        if options.launcher == "fsdp" and self.training.ema_decay:
            raise UserError("training.ema_decay needs all weights in each process; give training.ema_decay=null, or launcher=ddp")
        import torch

        gpus, rows = torch.cuda.device_count(), max(self.training.batch_size, getattr(self.model, "window", 0))
        if options.launcher == "fsdp" and not (gpus and options.fsdp):
            raise UserError(f"launcher=fsdp needs GPUs (found {gpus}) and its settings in fsdp=; leave fsdp= out, or give launcher=ddp")
        count = started if started > 1 else options.processes or gpus
        most = min(rows, gpus) if gpus and started == 1 else rows
        if not 1 < count <= most:
            raise UserError(f"{count} processes can't share a batch; give processes=2 to {most} ({gpus} GPUs, batches of {rows} sentences)")
        return count

    def name(self, corpus: str) -> str:
        """Return the user's name, or one made of corpus and model; a share below 1 is appended."""
        name = self.options.name or f"{corpus}-{self.encoder.name if isinstance(self.model, NetworkSpec) else 'linear'}"
        return name if self.options.share == 1 else f"{name}-{self.options.share:g}"

    def plan(self, corpus: Prepared, command: Sequence[str], name: str = "") -> Plan:
        """Return the plan of the training; ``UserError`` if the recipe does not fit the corpus."""
        from haltung.experiments.train import Plan

        self.training.checked(corpus.scheme)
        described = getattr(self.model, "description", 0) > 0  # so that no label is needed
        for task in corpus.scheme.names if not described else ():
            if not any(corpus.manifest.labels[task]["train"][label] for label in corpus.scheme[task].ids):
                raise UserError(
                    f"no segment of {corpus.name}'s train split has a label for the task '{task}', so there is nothing to learn; "
                    "name its column (corpus.reader.columns), or choose a label scheme without it (corpus.labels)"
                )
        options, model, teacher = self.options, self.model.checked(corpus.scheme), None
        if options.teacher:
            from haltung.experiments.evaluate import teacher_of

            teacher = teacher_of(options.teacher, make(self.settings["tracking"], "tracking"), corpus, options.seen == "allow")
        return Plan(
            name or self.name(corpus.name), corpus, self.encoder, model, self.training, options.seed, self.settings, command,
            Path(options.runs), options.language, options.resume,
            share=options.share, fsdp=options.fsdp if options.launcher == "fsdp" else None, teacher=teacher,
        )  # fmt: skip


def typed(cls: type[Options], settings: Mapping[str, Any], key: str = "") -> Options:
    """Return an instance of the dataclass ``cls``, made of the config's keys that are its fields.

    ``key`` is the path of ``settings`` in the config, for messages. Raises ``UserError`` if a key
    is missing, or of the wrong type or range.
    """
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass
    try:
        return TypeAdapter(cls).validate_python({name: settings[name] for name in names if name in settings})
    except ValidationError as error:
        raise UserError(_invalid(error, key, names)) from None


def command(name: str, **reading: Any) -> Callable[[Callable[..., int | None]], Callable[[Sequence[str]], int]]:
    """Turn a function whose parameters are keys of a command's config into that command.

    Values are checked as by ``typed``; ``request`` is the ``Request``; ``each`` gets ``reading``.
    """

    def decorated(run: Callable[..., int | None]) -> Callable[[Sequence[str]], int]:
        hints = get_type_hints(run, include_extras=True)
        keys = make_dataclass(name, [(key, hint) for key, hint in hints.items() if key != "return"])

        def main(arguments: Sequence[str]) -> int:
            requests = each(name, arguments, **reading)
            return max([run(**vars(typed(keys, {**request.settings, "request": request}))) or 0 for request in requests], default=0)

        return main

    return decorated


def make(node: Mapping[str, Any], key: str) -> Any:
    """Return the object that a plain config node with ``_target_`` describes, its values checked.

    ``key`` is the path of the node in the config, for messages. Raises ``UserError`` if the class
    is not allowed, a key is unknown or missing, or a value is of the wrong type or range.
    """
    if not (target := str(node.get("_target_", ""))):
        raise UserError(f"{key} has no _target_, the class to create; choose one of the shipped configs of this group")
    if target.partition(".")[0] not in ("haltung", *re.findall(r"\w+", os.environ.get("HALTUNG_CLASSES", ""))):
        raise UserError(f"{key}._target_ names {target}; allowed are haltung's own classes, and those of HALTUNG_CLASSES=package")
    module, _, name = target.rpartition(".")
    try:
        cls = getattr(import_module(module), name)
    except Exception as error:  # noqa: BLE001 -- whatever an import raises means: no such class
        again = ", or name the corpus again: corpus=NAME or table=FILE" if key.startswith("corpus") else ""
        remedy = f"release 0.1.0 is the last that reads the names in older configs and runs{again}"
        raise UserError(f"{key}._target_ names {target}, which can't be imported: {first_line(error)}; {remedy}") from None
    if not isinstance(cls, type) or not is_dataclass(cls):
        raise UserError(f"{key}._target_ names {target}, which is not a dataclass")
    names = [field.name for field in fields(cls) if field.init]
    values = {name: _value(value, f"{key}.{name}") for name, value in node.items() if name != "_target_"}
    # Configs of older runs list keys that have been removed; null means that they were not set.
    if unknown := [name for name, value in values.items() if name not in names and value is not None]:
        raise UserError(f"there is no key '{key}.{unknown[0]}'{nearest(unknown[0], names)}; {key} has {listed(names)}")
    return typed(cls, values, key)


def scheme_of(name: str, config_dir: Path | None = None) -> Scheme:
    """Return a scheme by its name in ``configs/labels`` or path; ``UserError`` if there is none."""
    known = choices("labels", config_dir)
    if path := Path(name) if name.endswith((".yaml", ".yml")) else known.get(name):
        return labels.load(path)
    raise UserError(
        f"there is no label scheme '{name}'{nearest(name, known)}; the schemes are {listed(known)}, "
        "or give the path of a YAML file or --config-dir FOLDER"
    )


def scheme_for(reader: Any, options: CorpusOptions, config_dir: Path | None, drafts: bool = True) -> Scheme:
    """Return a corpus's scheme, first drafting a sheet's if ``drafts``; errors as ``scheme_of``."""
    from haltung.corpus.readers.sheet import Sheet

    if isinstance(reader, Sheet) and drafts:
        with writing(Path(options.labels)):
            reader.draft(options.labels, options.name)
    return scheme_of(options.labels, config_dir)


def corpus_of(settings: Mapping[str, Any], config_dir: Path | None, drafts: bool = True, unlabelled: bool = False) -> Prepared:
    """Return a config's corpus, prepared if it is new or its config or files have changed. If
    ``drafts``, a sheet's scheme is drafted. Raises ``UserError`` if the source is missing, broken
    or without labels, unless ``unlabelled`` is set or the model learns from descriptions.
    """
    from haltung.corpus.parsing.rows import source_files
    from haltung.corpus.prepare import fingerprint, is_current, prepare
    from haltung.corpus.store import load
    from haltung.evaluation.metrics.agreement import recorded

    corpus, folders = settings["corpus"], typed(CorpusFolders, settings)
    options = typed(CorpusOptions, corpus, "corpus")
    name, out, split = options.name, Path(folders.prepared), options.split
    if {"folds", "fold"} <= split.keys():
        out = out / f"{name}-folds" / f"{split['fold']}-of-{split['folds']}"  # each fold has a folder of its own
    reader = make(options.reader, "corpus.reader")
    scheme = scheme_for(reader, options, config_dir, drafts)
    # A corpus is prepared whole: its splits don't depend on which of its tasks are learned.
    tasks = scheme.names if options.tasks is None else scheme.only(options.tasks).names
    # How a model reads the corpus (which fields, how many tokens) is no part of the corpus.
    content = {key: value for key, value in corpus.items() if key in ("name", "reader", "rules", "split")}
    mark = fingerprint({**content, "scheme": scheme.to_dict()}, source_files(reader))
    if not folders.force and is_current(out / name, mark):
        return load(out / name).only(tasks)
    rules, splitter = make(options.rules, "corpus.rules"), make(split, "corpus.split")
    unlabelled = unlabelled or settings.get("model", {}).get("description", 0) > 0
    return prepare(name, reader, scheme, rules, splitter, out, mark, unlabelled, lambda: recorded(reader, scheme)).only(tasks)


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a config; ``UserError`` for any invalid value, before any work."""
    from haltung.encoders.load import locate
    from haltung.models import compact

    options, model = typed(RecipeOptions, settings), make(settings["model"], "model")
    encoder, training = make(settings["encoder"], "encoder"), make(settings["training"], "training")
    if options.teacher and (options.folds not in (None, 1) or not model.is_tuned):
        given = f"teacher={options.teacher} can't be combined with model=linear or few_shot, nor with folds="
        raise UserError(f"{given}: a teacher is for a single training of a network; leave one of the two out")
    if encoder.origin == "folder" and isinstance(model, NetworkSpec):
        encoder = replace(encoder, path=str(compact.find(encoder.path)))
        locate(encoder)
    return Recipe(settings, options, encoder, model, training)


def output_file(given: str | None, inputs: Iterable[Path] = ()) -> Path | None:
    """Return a path to write to; ``UserError``, before any work, if it is an input or unfit."""
    if given is None:
        return None
    path = Path(given).expanduser()
    if path.is_dir() or not path.name:
        raise UserError(f"{path} is a directory; name a file to write to")
    if given == "-" or (path.exists() and not path.is_file()):
        raise UserError(f"{path} is not a file; leave the key out to get the result in the terminal, or name a file to write to")
    if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
        raise UserError(f"{path} is an input, which would be replaced; name another file for the output")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; make it, or name a file in one that exists")
    return path


def write(path: Path, text: str) -> None:
    """Write a file atomically; ``UserError`` as ``writing``."""
    # File names may contain bytes that are not UTF-8; JSON decodes their escapes unchanged.
    with writing(path), atomic_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="", errors="backslashreplace")


def _invalid(error: ValidationError, key: str, names: Sequence[str]) -> str:
    faults = error.errors()
    first = faults[0]
    # A location has the field, then the union member that was tried; all go into one sentence.
    name = next((str(part) for part in first["loc"] if part in names), "")
    where = ".".join(part for part in (key, name) if part)
    if first["type"] in ("missing", "missing_argument"):
        return f"{where} has no value; give it as {where}=…"
    kinds = [fault["type"].partition("_")[0] for fault in faults if name in fault["loc"]]
    if kinds and all(kind in _EXPECTED for kind in kinds) and "pattern" not in first["type"]:
        return f"{where} is {first['input']!r}, expected {' or '.join(dict.fromkeys(_EXPECTED[kind] for kind in kinds))}"
    if first["type"] == "literal_error":
        allowed = re.findall("'(.*?)'", first["ctx"]["expected"])
        return f"{where} is {first['input']!r}{nearest(str(first['input']), allowed)}; choose from {listed(allowed)}"
    return f"{where} is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _value(value: Any, key: str) -> Any:
    if isinstance(value, Mapping) and "_target_" in value:
        return make(value, key)
    return [_value(item, f"{key}.{position}") for position, item in enumerate(value)] if isinstance(value, list) else value
