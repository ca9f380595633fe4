"""Dyads by rules of word order: the baseline that a trained dyad model has to beat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from haltung.actors.finder import Mention
from haltung.events.records import ScoredDyad
from haltung.records import Prediction, Segment

NEUTRAL = "neutral"
_MUTUAL = "cooperation"

# Of a passive, the actor stands behind "von": "wurde von den USA kritisiert", "die von Russland besetzten Gebiete".
_PASSIVE = re.compile(r"\b(?:wird|werden|wurden?|worden|werde|würden?)\b", re.IGNORECASE)
_BY = re.compile(r"\b(?:von|vom|durch)\s+(?:(?:de[nrms]|die|das|eine[mnrs]?|seine[mnrs]?|ihre[mnrs]?|\w+e[nrm])\s+){0,3}$", re.IGNORECASE)

# Who only tells what happened is not the one who acts.
_TOLD_BEFORE = re.compile(
    r"\b(?:laut|nach (?:den )?(?:angaben|darstellung|einschätzung|informationen|berichten) (?:von|der|des|aus)?)\s+"
    r"(?:(?:de[nrms]|die|das|eine[mnrs]?|\w+e[nrs])\s+){0,3}$",
    re.IGNORECASE,
)
# The subject stands behind the verb where the quotation comes first: "…, sagte Merkel".
_SAID = re.compile(
    r"\b(?:sagt|sagte|erklärte|erklärt|meinte|meint|betonte|betont|warnte|kritisierte|forderte|so|teilte|schrieb|schreibt|hieß es aus)\s+"
    r"(?:am \w+ |gestern |heute )?(?:(?:de[rmn]|die|das|ein[e]?)\s+)?(?:\w+e[nrs]?\s+)?$",
    re.IGNORECASE,
)
_TOLD_AFTER = re.compile(r"^\w*(?:\s+\w+)?\s+zufolge\b|^[\w-]*-?angaben\b", re.IGNORECASE)


@dataclass(frozen=True)
class Rules:
    """Word order decides: the first actor of a sentence is the source, and the next other one the target.

    Behind a verb of saying that follows its quotation stands the source ("…, sagte Merkel"), and so it does behind "von" in a passive. A
    cooperation of two is mutual. A sentence without an actor goes on with the source of the one before it (``carry``). The stance is the
    segment's own, and so is the probability.
    """

    carry: bool = True

    def pairs(
        self,
        segments: Sequence[Segment],
        mentions: Sequence[Sequence[Mention]],
        predictions: Sequence[Prediction],
        headline: Sequence[Mention] = (),
    ) -> list[list[ScoredDyad]]:
        """Return the dyads of each segment; at least one where it is not neutral, with "" for whom the sentence does not name."""
        out: list[list[ScoredDyad]] = []
        last = ""
        for segment, found, prediction in zip(segments, mentions, predictions, strict=True):
            stance = str(prediction.labels["stance"])
            source, target = ends(segment.text, found)
            if source is not None and source.code:
                last = source.code
            if stance == NEUTRAL:
                out.append([])
                continue
            probability = prediction.probabilities["stance"][stance]
            name = source.code if source else last if self.carry else ""
            there = ScoredDyad(name, target.code if target else "", stance, probability, _span(source), _span(target))
            out.append([there])
            if stance == _MUTUAL and there.source and there.target:
                out[-1].append(ScoredDyad(there.target, there.source, stance, probability, there.target_span, there.source_span))
        return out


def ends(text: str, mentions: Sequence[Mention]) -> tuple[Mention | None, Mention | None]:
    """Return the source and the target among a sentence's mentions, as word order has it."""
    # Media are told to, and take a stance of their own only where nobody else is named.
    actors = [one for one in mentions if not one.place]
    actors = [one for one in actors if not one.code.endswith("-MED")] or actors
    acting = [one for one in actors if not (_TOLD_BEFORE.search(text[: one.start]) or _TOLD_AFTER.search(text[one.end :]))] or actors
    if not acting:
        return None, None
    source = next((one for one in acting if _SAID.search(text[: one.start])), acting[0])
    if _PASSIVE.search(text):
        source = next((one for one in acting if _BY.search(text[: one.start])), source)
    return source, next((one for one in acting if one.code != source.code), None)


def _span(mention: Mention | None) -> tuple[int, int] | None:
    return None if mention is None else (mention.start, mention.end)
