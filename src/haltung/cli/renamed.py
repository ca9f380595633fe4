"""Old names that stay valid for one release: keys that users type, and the ``_target_`` of configs.

Old names in stored runs pass silently; for those that a user types, or has in a config, one line on
standard error gives the new name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Old module of a ``_target_`` → the module that holds the class today; see also ``CLASSES``.
MODULES = {
    "haltung.corpus.checks": "haltung.corpus.clean",
    "haltung.corpus.prose": "haltung.corpus.quality",
    "haltung.corpus.quality.prose": "haltung.corpus.quality",
    "haltung.corpus.rules": "haltung.corpus.clean",
    "haltung.corpus.splits": "haltung.corpus.split",
    "haltung.encoders.sources": "haltung.encoders.load",
    "haltung.evaluation.comparison_references": "haltung.evaluation.comparison",
    "haltung.events.view": "haltung.events.dyads.dataset",
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

# Old argument of a class (with its name today) → today's argument.
ARGUMENTS: dict[str, dict[str, str]] = {
    "haltung.corpus.readers.articles.Articles": {"most": "max_segments"},
}

# RealNews was a reader of both stand-off corpora; they are two parts of a Union today: file of the
# annotations below ``annotations``, file of the texts below ``sources``, kind.
_REAL_NEWS = "haltung.corpus.readers.standoff.RealNews"
_REAL_NEWS_PARTS = (
    ("gnad10_stance/annotations.jsonl", "gnad10/test.csv", "gnad10"),
    ("wikinews_stance/annotations.jsonl", "wikinews/articles.jsonl", "wikinews"),
)

# Old key → new key, in every command; the keys below it move along.
KEYS: dict[str, str] = {}

# The same for keys of one corpus config; a key may have become several.
CORPUS_KEYS: dict[str, dict[str, tuple[str, ...]]] = {
    "diplomacy": {"corpus.reader.most": ("corpus.reader.max_segments",)},
    "real_news": {
        f"corpus.reader.{name}": tuple(f"corpus.reader.parts.{part}.{name}" for part in range(len(_REAL_NEWS_PARTS)))
        for name in ("before", "lead", "on_error")
    },
}
_DEFAULT_CORPUS = "diplomacy"

# The same for keys of single commands.
COMMAND_KEYS: dict[str, dict[str, str]] = {
    "evaluate": {"examine": "error_analysis"},
    "events": {"longest": "max_characters"},
    "network": {"least": "min_probability", "fewest": "min_events"},
}


def target(name: str) -> str:
    """Return today's name of a ``_target_``; a name that was never changed comes back as it is."""
    module, _, cls = name.rpartition(".")
    moved = f"{MODULES.get(module, module)}.{cls}"
    return CLASSES.get(moved, moved)


def targets(node: Any) -> Any:
    """Return a config node with today's name and arguments for every ``_target_``, at any depth."""
    if isinstance(node, Mapping):
        if node.get("_target_") == _REAL_NEWS:
            return {"_target_": target(_REAL_NEWS), "parts": _real_news(node)}
        current = {key: target(str(value)) if key == "_target_" else targets(value) for key, value in node.items()}
        arguments = ARGUMENTS.get(str(current.get("_target_")), {})
        return {arguments.get(key, key): value for key, value in current.items()}
    if isinstance(node, list | tuple):
        # As a part of a Union, RealNews became two parts.
        return [
            child
            for item in node
            for child in (_real_news(item) if isinstance(item, Mapping) and item.get("_target_") == _REAL_NEWS else [targets(item)])
        ]
    return node


def _real_news(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    from haltung.files import shipped

    common = {key: node[key] for key in ("before", "lead", "on_error") if key in node}
    annotations = node.get("annotations") or shipped("data")
    return [
        {
            "_target_": "haltung.corpus.readers.standoff.Standoff",
            "annotations": f"{annotations}/{file}",
            "texts": f"{node.get('sources', '.')}/{texts}",
            "kind": kind,
            **common,
        }
        for file, texts, kind in _REAL_NEWS_PARTS
    ]


def key(name: str, command: str = "") -> str:
    """Return today's name of a dotted key."""
    for old, new in {**KEYS, **COMMAND_KEYS.get(command, {})}.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return name


def arguments(command: str, given: Sequence[str]) -> list[str]:
    """Return the arguments of a command with today's keys; announce old ones on standard error."""
    chosen = [value for name, _, value in (argument.partition("=") for argument in given) if name == "corpus"]
    by_corpus = CORPUS_KEYS.get(chosen[-1] if chosen else _DEFAULT_CORPUS, {})
    current = []
    for argument in given:
        name, sign, value = argument.partition("=")
        prefix = name[: len(name) - len(name.lstrip("+~"))]
        old = name[len(prefix) :]
        new = by_corpus.get(old, (key(old, command),))
        if new != (old,):
            _announce(old, " and ".join(new))
        current += [f"{prefix}{name}{sign}{value}" for name in new]
    return current


def own_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed config with today's ``_target_``; announce old ones on standard error."""
    for old in dict.fromkeys(_targets_in(settings)):
        if target(old) != old:
            _announce(f"_target_: {old}", f"_target_: {target(old)}")
    return dict(targets(settings))


def stored_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a stored run with today's keys and ``_target_``."""
    settings = dict(targets(config))
    for old, new in KEYS.items():
        *parents, last = old.split(".")
        *new_parents, new_last = new.split(".")
        source, goal = _node(settings, parents), _node(settings, new_parents)
        if source is not None and goal is not None and last in source and new_last not in goal:
            goal[new_last] = source.pop(last)
    return settings


def _node(settings: dict[str, Any], path: Sequence[str]) -> dict[str, Any] | None:
    node: Any = settings
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def _targets_in(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, child in node.items():
            if name == "_target_":
                yield str(child)
            else:
                yield from _targets_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from _targets_in(child)


def _announce(old: str, new: str) -> None:
    print(f"haltung: {old} is now {new}; the old name works until the next release", file=sys.stderr)
