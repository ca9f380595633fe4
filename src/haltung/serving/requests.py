"""From a request's body to the texts in it; each fault is told in one sentence that names the field and never repeats a text."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haltung.corpus.clean import join_surrogates
from haltung.errors import listed, nearest
from haltung.serving.answers import Refused

# A text, and what the encoder may read before it; "" where there is none.
FIELDS = ("text", "context", "target")
_SEGMENT = (*FIELDS, "id")


@dataclass(frozen=True)
class Asked:
    """What ``POST /classify`` asks: ``parts`` are the texts with what stands before them, ``ids`` those that were given, or None."""

    parts: tuple[Mapping[str, str], ...]
    ids: tuple[str | None, ...]
    many: bool
    abstain: float | None


@dataclass(frozen=True)
class Article:
    """What ``POST /article`` and ``POST /events`` ask; ``date`` is an ISO date or ""."""

    text: str
    headline: str
    abstain: float | None
    date: str = ""


@dataclass(frozen=True)
class Reader:
    """Reads bodies; at most ``texts`` in one, of at most ``characters`` each."""

    texts: int
    characters: int

    def classify(self, body: bytes) -> Asked:
        """Read one text or many.

        Raises:
            Refused: 422 where the body is of another form, 413 where it has too much.
        """
        data = mapping(body, '{"text": "…"} or {"segments": [{"text": "…"}]}')
        if "segments" not in data:
            if "text" not in data:
                raise Refused(422, "the body has neither 'text' nor 'segments'; send one text as 'text', or a list of them as 'segments'")
            _known(data, (*_SEGMENT, "abstain"), "the body")
            return Asked((self._part(data, ""),), (_id(data, ""),), False, _abstain(data))
        _known(data, ("segments", "abstain"), "the body")
        segments = data["segments"]
        if not isinstance(segments, list):
            raise Refused(422, f"segments is {_kind(segments)}; expected a list of objects with a 'text'")
        self.counted(len(segments))
        parts, ids = [], []
        for place, segment in enumerate(segments):
            where = f"segments[{place}]"
            if not isinstance(segment, dict):
                raise Refused(422, f"{where} is {_kind(segment)}; expected an object with a 'text'")
            _known(segment, _SEGMENT, where)
            if "text" not in segment:
                raise Refused(422, f"{where} has no 'text'")
            parts.append(self._part(segment, where + "."))
            ids.append(_id(segment, where + "."))
        return Asked(tuple(parts), tuple(ids), True, _abstain(data))

    def article(self, body: bytes) -> Article:
        """Read an article.

        Raises:
            Refused: as ``classify``.
        """
        data = mapping(body, '{"text": "…", "headline": "…"}')
        _known(data, ("text", "headline", "date", "abstain"), "the body")
        if "text" not in data:
            raise Refused(422, "the body has no 'text'; send the article's text")
        headline = self._text(data, "headline", "", needed=False)
        return Article(self._text(data, "text", ""), headline, _abstain(data), _date(data))

    def counted(self, texts: int) -> None:
        """Hold a number of texts against the limit.

        Raises:
            Refused: 413.
        """
        if texts > self.texts:
            raise Refused(413, f"the request has {texts} texts, at most {self.texts} are allowed; send them in several requests")

    def text(self, text: str, where: str, needed: bool = True) -> str:
        """Return a text with U+FFFD for each half of a character.

        Raises:
            Refused: 422 where it is ``needed`` and blank, 413 where it is too long.
        """
        if needed and not text.strip():
            raise Refused(422, f"{where} is empty; leave it out")
        if len(text) > self.characters:
            raise Refused(413, f"{where} has {len(text):,} characters, at most {self.characters:,} are allowed; send it in parts")
        return join_surrogates(text)

    def _part(self, segment: Mapping[str, Any], where: str) -> dict[str, str]:
        return {name: self._text(segment, name, where, needed=name == "text") for name in FIELDS}

    def _text(self, segment: Mapping[str, Any], name: str, where: str, needed: bool = True) -> str:
        value = segment.get(name)
        if value is None and not needed:
            return ""
        if not isinstance(value, str):
            raise Refused(422, f"{where}{name} is {_kind(value)}; expected text")
        return self.text(value, where + name, needed)


def _date(data: Mapping[str, Any]) -> str:
    value = data.get("date")
    if value is None or value == "":
        return ""
    try:
        return datetime.date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        found = f"'{value[:20]}'" if isinstance(value, str) and value.isprintable() else _kind(value)
        raise Refused(422, f"date is {found}; expected a day as YYYY-MM-DD") from None


def mapping(body: bytes, example: str, status: int = 422) -> dict[str, Any]:
    """Return the JSON object in a body.

    Raises:
        Refused: there is none.
    """
    try:
        data = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused(status, f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        raise Refused(
            status, f"the body is no JSON (line {error.lineno}, column {error.colno}); send an object such as {example}"
        ) from None
    except (ValueError, RecursionError):
        raise Refused(status, f"the body is JSON that nobody writes, too deep or with too long a number; send such as {example}") from None
    if not isinstance(data, dict):
        raise Refused(status, f"the body is {_kind(data)}; send an object such as {example}")
    return data


def _known(data: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    for key in data:
        if key not in allowed:
            raise Refused(422, f"{where} has a key that is not known{nearest(key, allowed)}; allowed are {listed(allowed)}")


def _id(data: Mapping[str, Any], where: str) -> str | None:
    value = data.get("id")
    if value is None or isinstance(value, str):
        return value
    raise Refused(422, f"{where}id is {_kind(value)}; expected text")


def _abstain(data: Mapping[str, Any]) -> float | None:
    value = data.get("abstain")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(422, f"abstain is {_kind(value)}; expected the precision wished for, such as 0.9")
    if not math.isfinite(value) or not 0 < value < 1:
        raise Refused(422, "abstain is the precision wished for, a number between 0 and 1, such as 0.9")
    return float(value)


def _kind(found: object) -> str:
    if isinstance(found, bool):
        return "true or false"
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(found), "something else")
