"""Haltung: topics, stances and dyads in German political news.

    import haltung

    model = haltung.load()                     # the model that comes with Haltung
    model.predict("Die USA warnen Russland.")  # a text, a list, a column, a table
    model.read(article)                        # sentences, and who acts towards whom

    run = haltung.train("mine.csv", labels="my_labels.yaml")
    haltung.compare([run, "another-run"], split="dev")

Public names are imported on first use (their types are in ``__init__.pyi``); see
``docs/python.md``.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0.dev0"
__all__ = [
    "ArticleResult", "ComparedRuns", "EvaluatedRun", "LoadedModel", "TextResult", "TrainedRun", "UserError", "compare", "evaluate", "load",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'haltung' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module("haltung.api.runs"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
