"""``POST /events``: an article's sentences with labels and dyads, and the PLOVER events that these make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from haltung.actors.finder import Actors
from haltung.errors import UserError, listed
from haltung.events import pipeline as article
from haltung.events import plover as crosswalk
from haltung.events.dyads import model as dyad_model
from haltung.events.dyads.rules import WordOrder
from haltung.events.records import DyadFinder
from haltung.events.text import read as reading
from haltung.models import bundle
from haltung.records import Prediction
from haltung.serving.answers import Refused
from haltung.serving.requests import Article


@dataclass(frozen=True)
class Finder:
    """Finds who takes which stance towards whom; ``tasks`` are the served model's, with their labels."""

    tasks: Mapping[str, Sequence[str]]
    dyads: DyadFinder

    @property
    def strange(self) -> str:
        """What the model has in place of the stances that events are made of; "" where nothing is amiss."""
        known = crosswalk.load().rules
        unknown = [label for label in self.tasks.get("stance", ()) if label not in known]
        if "stance" not in self.tasks:
            return f"the tasks {listed(self.tasks)}"
        return f"the stances {listed(unknown)}" if unknown else ""

    @property
    def able(self) -> bool:
        """Whether the model has the stances, and the libraries are here."""
        return not self.strange and all(find_spec(name) for name in ("ahocorasick", "py3langid", "somajo"))

    def prepare(self, asked: Article) -> article.PreparedArticle:
        """Return the article's sentences and actors, to be labelled.

        Raises:
            Refused: 501 where the model has other stances than events are made of, or a library is missing.
        """
        if self.strange:
            raise Refused(501, f"this model has {self.strange}, of which no events are made; ask POST /article for the sentences' labels")
        try:
            return article.prepare(reading.Article("a", asked.text, asked.headline.strip(), asked.date), Actors.load())
        except UserError as error:
            raise Refused(501, str(error)) from None

    def finish(self, prepared: article.PreparedArticle, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the answer: ``segments`` as ``POST /article`` has them with ``actors`` and ``dyads``, ``events``, what was ``removed``.

        Args:
            prepared: the article.
            rows: the predictions of its segments, as the client gives them.
        """
        predictions = [
            Prediction(segment.id, {task: row[task] for task in self.tasks}, row["probabilities"])
            for segment, row in zip(prepared.segments, rows, strict=True)
        ]
        found = article.finish(prepared, predictions, self.dyads).to_dict()
        segments = [
            {**segment, "context": own.context, **({"abstained": row["abstained"]} if "abstained" in row else {})}
            for segment, own, row in zip(found["segments"], prepared.segments, rows, strict=True)
        ]
        return {"segments": segments, **{name: found[name] for name in ("events", "removed", "language", "notes")}}


def finder(tasks: Mapping[str, Sequence[str]], folder: Path | None) -> Finder:
    """Return what finds dyads: the model of dyads in ``folder``, or rules of word order where it is None.

    Raises:
        UserError: the folder holds no exported bundle of a model of dyads.
    """
    if folder is None:
        return Finder(tasks, WordOrder())
    if not bundle.is_exported(bundle.describe(folder)):
        raise UserError(f"{folder} holds a trained bundle; write one to be served with haltung export bundle={folder} corpus=dyads to=DIR")
    return Finder(tasks, dyad_model.load(folder))
