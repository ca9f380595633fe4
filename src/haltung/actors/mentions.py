"""What is found: a mention of an actor or a place, and the codes of a sentence's mentions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# What a mention can be. `role` is an office or body whose state only the sentence or article tells ("die Regierung").
KINDS = (
    "state", "adjective", "people", "capital", "resident", "palace", "city", "region", "organisation", "institution", "group", "party",
    "media", "company", "person", "office", "role",
)  # fmt: skip


@dataclass(frozen=True)
class Mention:
    """An actor named at ``[start, end)`` of a sentence.

    ``code`` is the code of the label standard, ``kind`` one of ``KINDS``. ``place`` is set where a state or a town is only where something
    is ("in Paris"). ``head`` is the noun that the mention modifies ("Politik" of "russische Politik", "Nordkorea-Politik"), or that says
    what somebody is ("Außenminister" of "der russische Außenminister"); "" where there is none.
    """

    start: int
    end: int
    text: str
    code: str
    kind: str
    place: bool = False
    head: str = ""


def codes(mentions: Iterable[Mention], places: bool | None = None) -> tuple[str, ...]:
    """Return the distinct codes in order of first mention.

    A place is no actor: by default the codes of places count only where nothing else is named. With ``places=True`` they always count,
    with ``places=False`` never.
    """
    found = list(mentions)
    if places is None:
        places = all(mention.place for mention in found)
    return tuple(dict.fromkeys(mention.code for mention in found if places or not mention.place))
