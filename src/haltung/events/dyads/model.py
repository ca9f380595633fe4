"""Dyads by a trained model: for each candidate, whether and as whom it acts or is acted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haltung.errors import UserError, listed
from haltung.events.dyads import thresholds
from haltung.events.dyads.features import ITSELF, MAX_CANDIDATES, NONE, ROLES, SIDES, STATE, Candidate, candidates, question
from haltung.events.dyads.rules import NEUTRAL
from haltung.events.dyads.thresholds import Thresholds
from haltung.events.records import LabelledArticle, ScoredDyad, Span
from haltung.models import bundle
from haltung.models.predictor import Predictor
from haltung.records import Prediction, Segment

# No questions are asked about a sentence that is neutral with this probability.
_CERTAIN = 0.95
# Less probable sides are left out; all ways to be a side would make hundreds of pairs.
_LEAST_SIDE = 0.01


@dataclass(frozen=True)
class Side:
    """Who may be one side of a dyad, with the spans of its words in the sentence; "" for nobody."""

    code: str
    probability: float
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Questions:
    """The candidates of one segment, and a question to the model about each."""

    candidates: tuple[Candidate, ...] = ()
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True)
class DyadModel:
    """Dyads by a model trained on the dataset ``dyads``.

    ``predictor`` answers the questions about candidates (see ``features.question``). The stance is
    the sentence's, by the sentence model; 96 to 99 % of gold dyads have it. A pair's probability is
    the product of its sides'; that of nobody is what all candidates leave.
    """

    predictor: Predictor
    thresholds: Thresholds = field(default_factory=Thresholds)
    max_candidates: int = MAX_CANDIDATES

    def find(self, article: LabelledArticle) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment of an article; none where its stance is neutral."""
        questions = self.questions(article)
        rows = [row for one in questions for row in one.segments]
        return self.choose(questions, self.predictor.predict(rows) if rows else [], article.predictions)

    def choose(
        self, questions: Sequence[Questions], answers: Sequence[Prediction], predictions: Sequence[Prediction]
    ) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment, given the answers to all questions, in order.

        ``predictions`` are those of the segments by the sentence model.
        """
        left = iter(answers)
        return [
            choose(one.candidates, [next(left) for _ in one.segments], prediction.probabilities["stance"], self.thresholds)
            for one, prediction in zip(questions, predictions, strict=True)
        ]

    def questions(self, article: LabelledArticle) -> list[Questions]:
        """Return the questions about each segment; none where it is certainly neutral."""
        # As in training: the context of the first segment, a headline, counts as a sentence.
        first = 1 if article.segments and article.segments[0].context else 0
        texts = [segment.context for segment in article.segments[:first]] + [segment.text for segment in article.segments]
        mentions = [article.headline, *article.mentions] if first else article.mentions
        out = []
        for index, (segment, prediction) in enumerate(zip(article.segments, article.predictions, strict=True)):
            stances = prediction.probabilities["stance"]
            if stances.get(NEUTRAL, 0.0) >= _CERTAIN:
                out.append(Questions())
                continue
            likely = max((label for label in stances if label != NEUTRAL), key=stances.__getitem__)
            named = candidates(texts, mentions, index + first, self.max_candidates)
            out.append(Questions(named, tuple(question(segment, one, likely) for one in named)))
        return out


def load(folder: Path, predictor: Predictor | None = None) -> DyadModel:
    """Load a bundle trained on the dataset ``dyads``, or use its ``predictor``, loaded already.

    Raises:
        UserError: it is no bundle, is broken, or has other tasks or labels.
    """
    predictor = predictor or bundle.load(folder, graph=True)
    scheme = predictor.scheme
    if not set(SIDES) <= set(scheme.names):
        wanted = f"name one with {listed(SIDES)}, as haltung train corpus=dyads writes it"
        raise UserError(f"{folder} has the tasks {listed(scheme.names)}, so it is no model of dyads; {wanted}")
    known = (NONE, ITSELF, STATE, *ROLES)
    unknown = [label for side in SIDES for label in scheme[side].ids if label not in known]
    if unknown or any(NONE not in scheme[side].ids for side in SIDES):
        wrong = listed(unknown) if unknown else f"{NONE} is missing"
        raise UserError(f"{folder} has other roles than a model of dyads ({wrong}); known are {listed(known)}")
    return DyadModel(predictor, thresholds.read(folder))


def choose(
    named: Sequence[Candidate], answers: Sequence[Prediction], stances: Mapping[str, float], chosen_by: Thresholds
) -> list[ScoredDyad]:
    """Return the dyads of one segment, the likeliest first.

    There is an answer of the model for each candidate; ``stances`` has the probability of each
    stance by the sentence model.
    """
    weighted = {label: value * (chosen_by.neutral if label == NEUTRAL else 1.0) for label, value in stances.items()}
    stance = max(weighted, key=weighted.__getitem__)
    if stance == NEUTRAL:
        return []
    of_stance = weighted[stance] / sum(weighted.values())
    sources, targets = (sides(named, [answer.probabilities[side] for answer in answers], chosen_by.nobody) for side in SIDES)
    pairs = [
        (source.probability * target.probability * (chosen_by.same_actor if source.code == target.code else 1.0), source, target)
        for source in sources
        for target in targets
        if source.code or target.code
    ]
    if not pairs:
        return [ScoredDyad("", "", stance, of_stance)]
    pairs.sort(key=lambda pair: -pair[0])
    out: list[ScoredDyad] = []
    for probability, source, target in pairs:
        if out and probability < chosen_by.pair:
            break
        # One code on both sides: its first words act, the others are acted on.
        acted_on = target.spans[1:] if source.code == target.code and len(target.spans) > 1 else target.spans
        spans = [next(iter(spans), None) for spans in (source.spans, acted_on)]
        out.append(ScoredDyad(source.code, target.code, stance, min(1.0, probability) * of_stance, *spans))
    return out


def sides(named: Sequence[Candidate], answers: Sequence[Mapping[str, float]], nobody: float = 1.0) -> list[Side]:
    """Return who may be one side, nobody last; of several ways to be one code the likeliest counts.

    ``answers`` has each candidate's probability of each label, ``nobody`` the factor of nobody's.
    """
    best: dict[str, Side] = {}
    for candidate, answer in zip(named, answers, strict=True):
        nobody *= answer[NONE]
        for label, probability in answer.items():
            code = candidate.code_as(label)
            if code and probability >= _LEAST_SIDE and (code not in best or probability > best[code].probability):
                # The words of somebody inside a state are not known.
                best[code] = Side(code, probability, candidate.spans if label == ITSELF else ())
    return [*best.values(), Side("", nobody)]
