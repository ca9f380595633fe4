"""Old keys and ``_target_`` that stay valid for one release.

They pass silently in stored runs; where a user gives one, a line on standard error names the new.
"""

import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from haltung.errors import UserError
from haltung.files import shipped

# Old module of a ``_target_`` → the module that holds the class today; see also ``CLASSES``.
MODULES = {
    "haltung.corpus.checks": "haltung.corpus.clean",
    "haltung.corpus.prose": "haltung.corpus.quality",
    "haltung.corpus.quality.prose": "haltung.corpus.quality",
    "haltung.corpus.readers.gerntsa": "haltung.corpus.readers.published",
    "haltung.corpus.readers.gnad10": "haltung.corpus.readers.published",
    "haltung.corpus.readers.pairs": "haltung.corpus.readers.articles",
    "haltung.corpus.rules": "haltung.corpus.clean",
    "haltung.corpus.splits": "haltung.corpus.split",
    "haltung.encoders.sources": "haltung.encoders.load",
    "haltung.evaluation.comparison_references": "haltung.evaluation.comparison",
    "haltung.model.spec": "haltung.models.spec",
    "haltung.training.spec": "haltung.training.recipe",
}

# Old class (with today's module) → today's class.
CLASSES: dict[str, str] = {
    "haltung.corpus.clean.Rules": "haltung.corpus.clean.CleaningRules",
    "haltung.corpus.quality.Limits": "haltung.corpus.quality.QualityLimits",
    "haltung.evaluation.comparison.Reference": "haltung.evaluation.comparison.PublishedResult",
    "haltung.corpus.readers.standoff.RealNews": "haltung.corpus.readers.union.Union",
}

# Readers had these arguments when they copied the context of each segment (see ``in_context``).
_CONTEXT = ("before", "lead")

# Old argument of a class (with its name today) → today's argument, "" for none.
ARGUMENTS: dict[str, dict[str, str]] = {
    "haltung.corpus.readers.articles.Articles": {"most": "max_segments", **dict.fromkeys(_CONTEXT, "")},
    "haltung.corpus.readers.standoff.Standoff": dict.fromkeys(_CONTEXT, ""),
    "haltung.corpus.readers.union.Union": dict.fromkeys(_CONTEXT, ""),
}

# RealNews was a reader of the two stand-off corpora of its time; they are parts of a Union today:
# file of the annotations below ``annotations``, file of the texts below ``sources``, kind. What it
# read is the first round of annotation now.
_REAL_NEWS = "haltung.corpus.readers.standoff.RealNews"
_REAL_NEWS_PARTS = (
    ("gnad10_stance/annotations.jsonl", "gnad10/test.csv", "gnad10"),
    ("wikinews_stance/annotations.jsonl", "wikinews/articles.jsonl", "wikinews"),
)

_NO_CONTEXT: dict[str, tuple[str, ...]] = {
    f"corpus.reader.{part}{argument}": () for part in ("", *(f"parts.{number}." for number in range(4))) for argument in _CONTEXT
}

# Old key of one corpus config → new keys; a key may have become several, or none.
CORPUS_KEYS: dict[str, dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("bundestag_stance", "gnad10_stance", "news", "wikinews_stance"), _NO_CONTEXT),
    "diplomacy": {**_NO_CONTEXT, "corpus.reader.most": ("corpus.reader.max_segments",)},
    "real_news": {**_NO_CONTEXT, "corpus.reader.on_error": tuple(f"corpus.reader.parts.{part}.on_error" for part in range(3))},
}
_DEFAULT_CORPUS = "diplomacy"

# Command → old key → new key.
COMMAND_KEYS: dict[str, dict[str, str]] = {
    "evaluate": {"examine": "error_analysis"},
    "events": {"longest": "max_characters"},
    "network": {"least": "min_probability", "fewest": "min_events"},
}

# What the model of dyads needed, which was a bundle of its own: the commands with a key ``dyads``,
# choices as GROUP/NAME, and classes.
_WITH_DYADS = ("dyads", "events", "serve")
_GONE_CHOICES = ("corpus/dyads", "corpus/dyads_diplomacy", "model/dyad", "experiment/dyads")
_GONE_TARGETS = ("haltung.events.view.Dyads", "haltung.events.dyads.dataset.Dyads")


def target(name: str) -> str:
    """Return today's name of a ``_target_``; ``UserError`` if there is none."""
    if name in _GONE_TARGETS:
        raise UserError(_gone(f"_target_: {name}"))
    module, _, cls = name.rpartition(".")
    moved = f"{MODULES.get(module, module)}.{cls}"
    return CLASSES.get(moved, moved)


def targets(node: Any, old: dict[str, str] | None = None) -> Any:
    """Return a node with today's names at any depth; ``old`` gets each old one, with today's."""
    if isinstance(node, list | tuple):
        current = [targets(item, old) for item in node]
        # As a part of a Union, RealNews became two parts.
        parts = (new["parts"] if _is_real_news(item) else [new] for item, new in zip(node, current, strict=True))
        return [*itertools.chain(*parts)]
    if not isinstance(node, Mapping):
        return node
    name = str(node.get("_target_", ""))
    arguments = ARGUMENTS.get(target(name), {})
    if name and old is not None:
        old |= {f"_target_: {name}": f"_target_: {target(name)}"} if target(name) != name else {}
        old |= {f"{key} of {target(name)}": arguments[key] for key in arguments.keys() & node.keys()}
    if _is_real_news(node):
        return {"_target_": target(_REAL_NEWS), "parts": _real_news(node)}
    today = ((arguments.get(key, key), value) for key, value in node.items())
    return {key: target(name) if key == "_target_" else targets(value, old) for key, value in today if key}


def _is_real_news(node: Any) -> bool:
    return isinstance(node, Mapping) and node.get("_target_") == _REAL_NEWS


def _real_news(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    common = {"on_error": node["on_error"]} if "on_error" in node else {}
    annotations = node.get("annotations") or shipped("data")
    reader, folder = {"_target_": "haltung.corpus.readers.standoff.Standoff"}, node.get("sources", ".")
    return [
        {**reader, "annotations": f"{annotations}/{file}", "texts": f"{folder}/{texts}", "kind": kind, "rounds": [1], **common}
        for file, texts, kind in _REAL_NEWS_PARTS
    ]


def arguments(command: str, given: Sequence[str]) -> list[str]:
    """Return arguments with today's keys, announce old ones; ``UserError`` if one is gone."""
    if command in _WITH_DYADS and any(argument.lstrip("+~").startswith("dyads=") for argument in given):
        raise UserError(_gone("dyads="))
    chosen = [value for name, _, value in (argument.partition("=") for argument in given) if name == "corpus"]
    keys = CORPUS_KEYS.get([_DEFAULT_CORPUS, *chosen][-1], {}) | {old: (new,) for old, new in COMMAND_KEYS.get(command, {}).items()}
    current = []
    for argument in given:
        name, sign, value = argument.partition("=")
        prefix = name[: len(name) - len(name.lstrip("+~"))]
        old = name[len(prefix) :]
        new = keys.get(old, (old,))
        if old in keys:
            _announce(old, " and ".join(new))
        current += [f"{prefix}{name}{sign}{value}" for name in new]
    return current


def gone(choice: str) -> str:
    """Return what became of a choice (``corpus/dyads``) that was removed, "" for any other."""
    return _gone(choice.replace("/", "=")) if choice in _GONE_CHOICES else ""


def own_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed config with today's ``_target_``; announce old ones on standard error."""
    old: dict[str, str] = {}
    current = dict(targets(settings, old))
    for name, new in sorted(old.items()):
        _announce(name, new)
    return current


def _gone(what: str) -> str:
    return (
        f"{what} is gone, since dyads are part of model=article now; train with haltung train model=article, and give haltung events, "
        "dyads and serve its bundle alone, as in bundle=DIR"
    )


def _announce(old: str, new: str) -> None:
    said = f"is now {new}; the old name works until the next release" if new else "has no effect any more; the model says what it reads"
    print(f"haltung: {old} {said}", file=sys.stderr)
