"""Who acts on whom by word order: the baseline that a trained model of dyads has to beat."""

from __future__ import annotations

import re
from collections.abc import Sequence

from haltung.actors.finder import Mention

# In a passive the actor stands behind "von": "wurde von den USA kritisiert".
_PASSIVE = re.compile(r"\b(?:wird|werden|wurden?|worden|werde|würden?)\b", re.IGNORECASE)
_BY = re.compile(r"\b(?:von|vom|durch)\s+(?:(?:de[nrms]|die|das|eine[mnrs]?|seine[mnrs]?|ihre[mnrs]?|\w+e[nrm])\s+){0,3}$", re.IGNORECASE)
# Whoever only reports does not act.
_REPORTED_BEFORE = re.compile(
    r"(?i)\b(?:laut|nach (?:den )?(?:angaben|darstellung|einschätzung|informationen|berichten) (?:von|der|des|aus)?)\s+"
    r"(?:(?:de[nrms]|die|das|eine[mnrs]?|\w+e[nrs])\s+){0,3}$"
)
# Behind a quotation the subject follows the verb: "…, sagte Merkel".
_SPEAKER = re.compile(
    r"(?i)\b(?:sagt|sagte|erklärte|erklärt|meinte|meint|betonte|betont|warnte|kritisierte|forderte|so|teilte|schrieb|schreibt|hieß es aus)"
    r"\s+(?:am \w+ |gestern |heute )?(?:(?:de[rmn]|die|das|ein[e]?)\s+)?(?:\w+e[nrs]?\s+)?$"
)
_REPORTED_AFTER = re.compile(r"^\w*(?:\s+\w+)?\s+zufolge\b|^[\w-]*-?angaben\b", re.IGNORECASE)


def ends(text: str, mentions: Sequence[Mention]) -> tuple[Mention | None, Mention | None]:
    """Return the source and the target among a sentence's mentions by word order."""
    # Media report, and take a stance themselves only where nobody else is named.
    actors = [one for one in mentions if not one.place]
    actors = [one for one in actors if not one.code.endswith("-MED")] or actors
    reporting = [one for one in actors if _REPORTED_BEFORE.search(text[: one.start]) or _REPORTED_AFTER.search(text[one.end :])]
    acting = [one for one in actors if one not in reporting] or actors
    if not acting:
        return None, None
    source = next((one for one in acting if _SPEAKER.search(text[: one.start])), acting[0])
    if _PASSIVE.search(text):
        source = next((one for one in acting if _BY.search(text[: one.start])), source)
    return source, next((one for one in acting if one.code != source.code), None)
