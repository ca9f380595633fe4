"""A model looked at more closely than its figures: where it is worse, whether it judges by names, and its errors with their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from haltung.evaluation.error_analysis.analysis import ErrorAnalysis
from haltung.evaluation.error_analysis.mistakes import Mistake, Mistakes, Word, find
from haltung.evaluation.error_analysis.name_sensitivity import reliance
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.error_analysis.slices import slices
from haltung.models.bundle import Model
from haltung.models.explain.words import Attribution, pooled
from haltung.records import Segment


def examine(
    model: Model, segments: Sequence[Segment], scored: ScoredSplit, explain: int = 30, listed: int = 300, draws: int = 2000, seed: int = 0
) -> ErrorAnalysis:
    """Return all that there is to look at.

    Args:
        model: that ``scored`` is of; it predicts the masked and the swapped segments.
        segments: the split.
        scored: predictions and gold of these segments, in the same order.
        explain: how many mistakes get word importances, shared evenly among the tasks; 0 needs no captum.
        listed: how many mistakes are listed for each task.
        draws: of each bootstrap.
        seed: of the draws, and of the states that are put for others.

    Raises:
        UserError: captum or cleanlab is not installed, or no segment is labelled.
    """
    found, gap = _explained(model, segments, find(scored, segments, listed), explain)
    return ErrorAnalysis(
        scored.corpus,
        scored.split,
        slices(scored, segments, draws=draws, seed=seed),
        reliance(scored, segments, model.predict, draws, seed),
        found,
        sum(bool(mistake.words) for mistake in found.mistakes),
        gap,
    )


def _explained(model: Model, segments: Sequence[Segment], found: Mistakes, explain: int) -> tuple[Mistakes, float | None]:
    """Return the mistakes with words at the most confident ones of each task, and the gap (see ``ErrorAnalysis``)."""
    by_id = {segment.id: segment for segment in segments}
    tasks = [task for task, wrong in found.wrong.items() if wrong]
    out, made = list(found.mistakes), list[Attribution]()
    for turn, task in enumerate(tasks):
        # What the first tasks leave over by rounding, or for want of errors, goes to the later ones.
        share = -(-(explain - len(made)) // (len(tasks) - turn))
        places = [place for place, mistake in enumerate(out) if mistake.task == task][:share]
        chosen = [out[place] for place in places]
        explained = _attributed(model, [by_id[mistake.id] for mistake in chosen], task, [mistake.label for mistake in chosen])
        made += explained
        for place, mistake, attribution in zip(places, chosen, explained, strict=True):
            out[place] = _with_words(mistake, attribution)
    explained_ = sum(abs(attribution.logit - attribution.baseline) for attribution in made)
    gap = sum(abs(attribution.gap) for attribution in made) / explained_ if explained_ else None
    return replace(found, mistakes=tuple(out)), gap


def _attributed(model: Model, segments: Sequence[Segment], task: str, labels: Sequence[str]) -> list[Attribution]:
    if not segments:
        return []
    from haltung.models.linear import LinearModel

    if isinstance(model, LinearModel):
        from haltung.models.explain.linear import contributions

        return contributions(model, segments, task, labels)
    from haltung.models.ensemble import EnsembleModel

    if isinstance(model, EnsembleModel):
        each = [_attributed(member.model, segments, task, labels) for member in model.members]
        return [pooled(own, model.weights[task]) for own in zip(*each, strict=True)]
    from haltung.models.explain.neural import attribute
    from haltung.models.neural import NetworkModel

    if not isinstance(model, NetworkModel):
        raise TypeError(f"no word importances are known for a model of kind '{model.kind}'; pass explain=0")
    return attribute(model, segments, task, labels)


def _with_words(mistake: Mistake, attribution: Attribution) -> Mistake:
    # Three digits are more than a shade of colour can show, and keep the report small.
    words = (Word(word.part, word.start, word.end, round(word.value, 3)) for word in attribution.normalised())
    return replace(mistake, words=tuple(words))
