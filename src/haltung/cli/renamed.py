"""Names that configs may still use for one release: the ``_target_`` of stored runs and of users' own configs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Old module of a ``_target_`` → the module that holds the class today. Class names stand in ``CLASSES``.
MODULES = {
    "haltung.corpus.checks": "haltung.corpus.clean",
    "haltung.corpus.prose": "haltung.corpus.quality.prose",
    "haltung.corpus.splits": "haltung.corpus.split",
    "haltung.encoders.sources": "haltung.encoders.load",
    "haltung.evaluation.comparison_references": "haltung.evaluation.comparison.published",
    "haltung.events.view": "haltung.events.dyads.dataset",
    "haltung.model.spec": "haltung.models.spec",
    "haltung.training.spec": "haltung.training.recipe",
}

# Old class (with today's module) → today's class.
CLASSES: dict[str, str] = {}


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
