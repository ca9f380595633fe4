"""Old names that stay valid for one release: keys that users type, and the ``_target_`` of configs.

Stored runs are read silently; what a user types or keeps in a config is answered with one line on
standard error that gives the new name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Old module of a ``_target_`` → the module that holds the class today. Class names stand in ``CLASSES``.
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
    "haltung.evaluation.comparison.Reference": "haltung.evaluation.comparison.PublishedResult",
}

# Old key → new key, in every command; the keys below it move along.
KEYS: dict[str, str] = {}

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
    """Return a config node with today's name for every ``_target_`` in it, at any depth."""
    if isinstance(node, Mapping):
        return {key: target(str(value)) if key == "_target_" else targets(value) for key, value in node.items()}
    return [targets(item) for item in node] if isinstance(node, list | tuple) else node


def key(name: str, command: str = "") -> str:
    """Return today's name of a dotted key."""
    for old, new in {**KEYS, **COMMAND_KEYS.get(command, {})}.items():
        if name == old or name.startswith(f"{old}."):
            return new + name[len(old) :]
    return name


def arguments(command: str, given: Sequence[str]) -> list[str]:
    """Return the arguments of a command with today's keys, and say on standard error which were old."""
    current = []
    for argument in given:
        name, sign, value = argument.partition("=")
        prefix = name[: len(name) - len(name.lstrip("+~"))]
        new = key(name[len(prefix) :], command)
        if new != name[len(prefix) :]:
            _announce(name[len(prefix) :], new)
        current.append(f"{prefix}{new}{sign}{value}")
    return current


def own_config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a composed config with today's ``_target_``, and say on standard error which were old."""
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
