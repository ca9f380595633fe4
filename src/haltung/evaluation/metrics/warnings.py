"""What a reader of figures has to be told before the figures, in German and English."""

from __future__ import annotations

from haltung.evaluation.metrics.results import TaskMetrics
from haltung.labels import Task


def cautions(figures: TaskMetrics, task: Task, language: str = "en") -> tuple[str, ...]:
    """Return the warnings about one task's figures as whole sentences, the gravest first.

    Told are a model that predicts the same for every segment, labels that are never predicted, and labels that no segment has but
    some are given, since each counts as 0 in macro-F1.
    """
    german = language == "de"
    out = []
    if figures.collapsed:
        given = " + ".join(f"'{label.label}'" for label in figures.labels if label.predicted)
        if german:
            what = given or "kein Label"
            out.append(f"{task.name}: jedem der {figures.n} Segmente wird {what} vorhergesagt; das Modell unterscheidet hier nichts")
        else:
            what = given or "no label"
            out.append(f"{task.name}: every one of {figures.n} segments is predicted {what}; the model tells nothing apart here")
    missed = [f"{label.label} ({label.support})" for label in figures.labels if label.support and not label.predicted]
    if missed:
        said = "nie vorhergesagt, obwohl im Gold vorhanden" if german else "never predicted though in gold"
        out.append(f"{task.name}: {said}: {', '.join(missed)}")
    strays = [f"{label.label} ({label.predicted})" for label in figures.labels if label.predicted and not label.support]
    if strays:
        said = "vorhergesagt, aber nicht im Gold (zählt als F1 0)" if german else "predicted but not in gold (counts as an F1 of 0)"
        out.append(f"{task.name}: {said}: {', '.join(strays)}")
    return tuple(out)
