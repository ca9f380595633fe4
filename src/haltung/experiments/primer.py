"""The primer: does a model know a stance where a plain sentence spells it out?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from haltung.evaluation.report.i18n import brackets, number, word
from haltung.evaluation.statistics.bootstrap import wilson
from haltung.files import shipped
from haltung.labels import Task
from haltung.models.predictor import Predictor
from haltung.records import Segment

TASK = "stance"
_LISTED = 3


@dataclass(frozen=True)
class PrimerResult:
    """For each stance, in the scheme's order, how many of ``total`` sentences are ``right``."""

    right: Mapping[str, int]
    total: Mapping[str, int]

    @property
    def accuracy(self) -> float:
        """Share of right sentences; also the mean recall, since each stance has as many."""
        return sum(self.right.values()) / sum(self.total.values())

    def metrics(self) -> dict[str, float]:
        """Return what is tracked: accuracy, and the recall of each stance."""
        return {"accuracy": self.accuracy, **{f"recall_{stance}": self.right[stance] / n for stance, n in self.total.items()}}

    def sentence(self, task: Task, language: str = "en") -> str:
        """Return the result in words, with Wilson's interval and the stances found least."""
        n = sum(self.total.values())
        names = {label.id: label.name(language) for label in task.labels}
        least = sorted(self.total, key=lambda stance: self.right[stance] / self.total[stance])[:_LISTED]
        return word(
            "primer", language, right=sum(self.right.values()), n=n,
            share=f"{number(self.accuracy, language)} {brackets(wilson(self.accuracy, n), language)}",
            least=", ".join(f"{names[stance]} {self.right[stance]}/{self.total[stance]}" for stance in least),
        )  # fmt: skip


def primer_of(model: Predictor) -> PrimerResult | None:
    """Return a model's result on ``data/primer``, each sentence read without context.

    None if the model does not know exactly the primer's stances.
    """
    lines = (shipped("data") / "primer" / "sentences.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    gold = [row["stance"] for row in rows]
    task = next((task for task in model.scheme if task.name == TASK), None)
    if task is None or task.kind != "single" or set(task.ids) != set(gold):
        return None
    predictions = model.predict([Segment(row["id"], row["text"]) for row in rows])
    total = Counter(gold)
    right = Counter(label for label, prediction in zip(gold, predictions, strict=True) if prediction.labels[TASK] == label)
    return PrimerResult({stance: right[stance] for stance in task.ids}, {stance: total[stance] for stance in task.ids})
