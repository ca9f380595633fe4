"""``haltung prepare corpus=NAME``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from haltung.cli.build import make, plain, scheme_of, typed
from haltung.cli.config import compose, parse

if TYPE_CHECKING:
    from haltung.corpus.store import Prepared


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    sources: str
    prepared: str
    force: bool


@dataclass(frozen=True)
class CorpusKeys:
    """What every corpus config holds beside what a model makes of it."""

    name: str
    labels: str
    reader: Mapping[str, Any]
    rules: Mapping[str, Any]
    split: Mapping[str, Any]
    tasks: tuple[str, ...] | None = None


def run(words: Sequence[str]) -> int:
    """Prepare each corpus that is asked for and print its table."""
    parsed = parse(words)
    for overrides in parsed.combinations:
        config = compose("prepare", overrides, parsed.config_dir)
        if parsed.show:
            print(OmegaConf.to_yaml(config))
            continue
        settings = plain(config)
        prepared = corpus_of(settings, parsed.config_dir, force=typed(Keys, settings).force)

        from rich.console import Console

        from haltung.corpus.store import table

        Console().print(table(prepared))
        print(f"written to {prepared.folder}")
    return 0


def corpus_of(settings: Mapping[str, Any], config_dir: Path | None, force: bool = False) -> Prepared:
    """Return the corpus of a config, prepared now if it isn't, or if its config or its files have changed.

    Raises:
        UserError: the source is missing or broken.
    """
    from haltung.corpus.prepare import fingerprint, is_current, prepare
    from haltung.corpus.store import load

    corpus = settings["corpus"]
    keys = typed(CorpusKeys, corpus, "corpus")
    name, out = keys.name, place_of(keys.name, keys.split, Path(settings["prepared"]))
    scheme = scheme_of(keys.labels, config_dir)
    # A corpus is prepared whole, so that its splits are the same whichever of its tasks are learned.
    tasks = scheme.names if keys.tasks is None else scheme.only(keys.tasks).names
    reader = make(keys.reader, "corpus.reader")
    # What a model makes of the corpus (what it reads, how long) is no part of the corpus itself.
    content = {key: value for key, value in corpus.items() if key in ("name", "reader", "rules", "split")}
    print_of = fingerprint({**content, "scheme": scheme.to_dict()}, reader.files() if hasattr(reader, "files") else ())
    if not force and is_current(out / name, print_of):
        return load(out / name).only(tasks)
    rules, split = make(keys.rules, "corpus.rules"), make(keys.split, "corpus.split")
    return prepare(name, reader, scheme, rules, split, out, fingerprint=print_of).only(tasks)


def place_of(name: str, split: Mapping[str, Any], prepared: Path) -> Path:
    """Return the folder in which a corpus lies: ``prepared``, or a folder in there of its fold's own, so that no fold replaces another."""
    if {"folds", "fold"} <= split.keys():
        return prepared / f"{name}-folds" / f"{split['fold']}-of-{split['folds']}"
    return prepared
