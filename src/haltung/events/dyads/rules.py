"""Dyads by word order: the baseline that a trained model has to beat."""

from dataclasses import dataclass

from haltung.actors.candidates import ends
from haltung.events.records import LabelledArticle, ScoredDyad
from haltung.labels import NEUTRAL

_MUTUAL = "cooperation"


@dataclass(frozen=True)
class WordOrder:
    """Take the first actor of a sentence for the source, and the next other one for the target.

    In "…, sagte Merkel" the source follows the verb of saying, in a passive it follows "von". A
    cooperation of two is mutual. A sentence without an actor has the source of the one before it.
    Stance and probability are the segment's.
    """

    def find(self, article: LabelledArticle) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment: at least one unless it is neutral, "" for nobody."""
        out: list[list[ScoredDyad]] = []
        last = ""
        for segment, named, prediction in zip(article.segments, article.mentions, article.predictions, strict=True):
            stance = str(prediction.labels["stance"])
            source, target = ends(segment.text, named)
            if source is not None and source.code:
                last = source.code
            if stance == NEUTRAL:
                out.append([])
                continue
            probability = prediction.probabilities["stance"][stance]
            name = source.code if source else last
            spans = [None if one is None else (one.start, one.end) for one in (source, target)]
            there = ScoredDyad(name, target.code if target else "", stance, probability, *spans)
            out.append([there])
            if stance == _MUTUAL and there.source and there.target:
                out[-1].append(ScoredDyad(there.target, there.source, stance, probability, there.target_span, there.source_span))
        return out
