"""The records that cross the boundaries between rooms: ``Segment``, ``Dyad``, ``Prediction``, and a corpus's ``Features``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from haltung.labels import Scheme

if TYPE_CHECKING:
    from datasets import Features

# What a task's label is: one id, several ids (multi-label), or None where the row was not labelled for the task.
Answer = str | tuple[str, ...] | None

# The columns of every corpus, beside one column for each task of its scheme.
TEXT_COLUMNS = ("id", "text", "context", "target", "article", "date", "source", "genre")


# A label of a multi-label task is predicted from this probability on.
MULTI_THRESHOLD = 0.5


@dataclass(frozen=True)
class Dyad:
    """Who (``source``) takes which ``stance`` towards whom (``target``); codes as in the label standard, "" where there is none."""

    source: str
    target: str
    stance: str

    def to_dict(self) -> dict[str, str]:
        """Return the dyad as plain data."""
        return {"source": self.source, "target": self.target, "stance": self.stance}


@dataclass(frozen=True)
class Segment:
    """One labelled (or unlabelled) unit of text.

    ``context`` is what stands before it in its article (the headline first), ``target`` the question or entity that the stance is
    towards, ``article`` the group that a split must not tear apart, ``date`` an ISO date or "", ``source`` the corpus or medium it is
    from, ``genre`` the kind of text. ``labels`` maps a task's name to its answer. ``split`` is the split that the source itself
    gives, "" where it gives none. ``where`` names file and line, for messages.
    """

    id: str
    text: str
    labels: Mapping[str, Answer] = field(default_factory=dict)
    context: str = ""
    target: str = ""
    article: str = ""
    date: str = ""
    source: str = ""
    genre: str = ""
    dyads: tuple[Dyad, ...] = ()
    split: str = ""
    where: str = field(default="", compare=False)

    def to_row(self, scheme: Scheme) -> dict[str, Any]:
        """Return the segment as a row of a corpus with the scheme's task columns (see ``features``)."""
        row: dict[str, Any] = {name: getattr(self, name) for name in TEXT_COLUMNS}
        for task in scheme:
            answer = self.labels.get(task.name)
            row[task.name] = list(answer) if isinstance(answer, tuple) else answer
        row["dyads"] = [dyad.to_dict() for dyad in self.dyads]
        return row


@dataclass(frozen=True)
class Prediction:
    """What a classifier says of one segment: a label (or labels) per task, and every label's probability."""

    id: str
    labels: Mapping[str, str | tuple[str, ...]]
    probabilities: Mapping[str, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"id": …, "topic": …, "stance": …, "probabilities": {"topic": {…}, "stance": {…}}}``."""
        labels = {task: list(label) if isinstance(label, tuple) else label for task, label in self.labels.items()}
        return {"id": self.id, **labels, "probabilities": {task: dict(values) for task, values in self.probabilities.items()}}


def features(scheme: Scheme) -> Features:
    """Return the columns of a corpus with this scheme, as declared to ``datasets`` and written to Parquet.

    Text columns are strings, never null; a single-label task is a string or null, a multi-label task a list of strings or null.
    """
    from datasets import Features, List, Value

    columns: dict[str, Any] = {name: Value("string") for name in TEXT_COLUMNS}
    for task in scheme:
        columns[task.name] = Value("string") if task.kind == "single" else List(Value("string"))
    columns["dyads"] = List({"source": Value("string"), "target": Value("string"), "stance": Value("string")})
    return Features(columns)
