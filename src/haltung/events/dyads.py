"""Find dyads with a trained model (the source and target of each stance), or by word order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from haltung.actors.candidates import ITSELF, code_as, ends
from haltung.errors import UserError
from haltung.events.records import LabelledArticle, ScoredDyad
from haltung.files import write_text
from haltung.labels import NEUTRAL, STANCE
from haltung.models.bundle import THRESHOLDS as THRESHOLDS
from haltung.records import ActorAnswer, Prediction, Span

# Less probable sides would make hundreds of pairs, and are omitted; some side is always above it.
_LEAST_SIDE = 0.01
_MUTUAL = "cooperation"  # the stance that holds in both directions


@dataclass(frozen=True)
class Thresholds:
    """The thresholds that select dyads by probability, tuned at the end of training.

    In a segment that is not neutral, the most probable pair is always selected, as the label
    standard requires, and so is any other pair with a probability of at least ``pair``. The others
    are factors of probabilities: ``same_actor`` for pairs of an actor with itself, ``neutral`` for
    the neutral stance, ``nobody`` for a side without an actor.
    """

    pair: float = 0.4
    same_actor: float = 0.3
    neutral: float = 1.0
    nobody: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value < float("inf"):
                raise UserError(f"dyads' thresholds.{name} is {value}, expected a number of at least 0")


@dataclass(frozen=True)
class Side:
    """A candidate for a side of a dyad, with its spans in the sentence; code "" is nobody."""

    code: str
    probability: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Question:
    """What the dyads of a segment are chosen from: its stances, and candidates for both sides."""

    stances: Mapping[str, float]
    sources: tuple[Side, ...]
    targets: tuple[Side, ...]

    @classmethod
    def of(cls, prediction: Prediction) -> Self:
        """Return the question for a model's prediction of a segment."""
        return cls(prediction.probabilities[STANCE], sides(prediction.actors, "source"), sides(prediction.actors, "target"))


@dataclass(frozen=True)
class DyadModel:
    """Select dyads by a model's probabilities for the actors of segments (``Prediction.actors``).

    The stance is the segment's; 96 to 99 % of gold dyads have it. A dyad's probability is the
    product of those of both sides and the stance, after the factors of ``thresholds``.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)

    def __call__(self, article: LabelledArticle) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment of an article; none for a neutral segment."""
        return [self.dyads(prediction) for prediction in article.predictions]

    def dyads(self, prediction: Prediction) -> list[ScoredDyad]:
        """Return the dyads of one segment, the most probable first."""
        return choose(Question.of(prediction), self.thresholds)


def word_order(article: LabelledArticle) -> list[list[ScoredDyad]]:
    """Return the dyads of each segment by word order: the baseline that a model has to beat.

    The first actor of a sentence is the source, the next different one the target. In "…, sagte
    Merkel" the source follows the verb of saying, in a passive it follows "von". Cooperation of two
    actors is mutual. A sentence without an actor has the previous source. Stance and probability
    are the segment's. A segment that is not neutral has at least one dyad, with "" for nobody.
    """
    out: list[list[ScoredDyad]] = []
    last = ""
    for segment, named, prediction in zip(article.segments, article.mentions, article.predictions, strict=True):
        stance = str(prediction.labels[STANCE])
        source, target = ends(segment.text, named)
        last = source.code if source else last
        if stance == NEUTRAL:
            out.append([])
            continue
        probability = prediction.probabilities[STANCE][stance]
        spans = [None if one is None else (one.start, one.end) for one in (source, target)]
        there = ScoredDyad(last, target.code if target else "", stance, probability, *spans)
        out.append([there])
        if stance == _MUTUAL and there.source and there.target:
            out[-1].append(ScoredDyad(there.target, there.source, stance, probability, there.target_span, there.source_span))
    return out


def choose(question: Question, chosen_by: Thresholds) -> list[ScoredDyad]:
    """Return the dyads of one segment, the most probable first."""
    weighted = {label: value * (chosen_by.neutral if label == NEUTRAL else 1.0) for label, value in question.stances.items()}
    if (stance := max(weighted, key=weighted.__getitem__)) == NEUTRAL:
        return []
    of_stance = weighted[stance] / sum(weighted.values())
    sources, targets = (
        [(one.probability * (1.0 if one.code else chosen_by.nobody), one) for one in side] for side in (question.sources, question.targets)
    )
    pairs = [
        (likely * other * (chosen_by.same_actor if source.code == target.code else 1.0), source, target)
        for likely, source in sources
        for other, target in targets
        if source.code or target.code
    ]
    if not pairs:
        return [ScoredDyad("", "", stance, of_stance)]
    best = max(pairs, key=lambda pair: pair[0])
    others = [pair for pair in pairs if pair is not best and pair[0] >= chosen_by.pair]
    out: list[ScoredDyad] = []
    for probability, source, target in [best, *sorted(others, key=lambda pair: -pair[0])]:
        # If both sides have the same code, its first mention is the source, the second the target.
        acted_on = target.spans[1:] if source.code == target.code and len(target.spans) > 1 else target.spans
        spans = [next(iter(spans), None) for spans in (source.spans, acted_on)]
        out.append(ScoredDyad(source.code, target.code, stance, min(1.0, probability) * of_stance, *spans))
    return out


def sides(actors: Sequence[ActorAnswer], side: str) -> tuple[Side, ...]:
    """Return the candidates for ``source`` or ``target``, each code in its most probable role."""
    best = {} if actors else {"": Side("", 1.0)}
    for actor in actors:
        for role, probability in getattr(actor, side).items():
            code = code_as(actor.code, role)
            if (probability >= _LEAST_SIDE or not code) and (code not in best or probability > best[code].probability):
                # The span of somebody inside a state is unknown.
                best[code] = Side(code, probability, actor.spans if role == ITSELF else ())
    return tuple(best.values())


def write_thresholds(folder: Path, thresholds: Thresholds, tuned_on: Mapping[str, Any]) -> None:
    """Write thresholds and what they were tuned on into a bundle."""
    write_text(folder / THRESHOLDS, json.dumps({"thresholds": asdict(thresholds), **tuned_on}, indent=2, ensure_ascii=False) + "\n")


def load(folder: Path) -> DyadModel:
    """Return a model with a bundle's thresholds, or defaults; ``UserError`` if they are invalid."""
    try:
        return DyadModel(Thresholds(**json.loads((folder / THRESHOLDS).read_text(encoding="utf-8"))["thresholds"]))
    except FileNotFoundError:
        return DyadModel()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder / THRESHOLDS} contains no dyad thresholds; remove it, or export the bundle again") from None
