"""Requests with known answers, which an otherwise idle server has given one by one."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from generator import post
from sides import Side
from texts import articles, segments

PATHS = ("/classify", "/article", "/events")
# Number of texts, of requests made from them, of sentences in articles; range of article sizes.
_TEXTS, _REQUESTS, _SENTENCES, _ARTICLE = 150, 200, 400, range(4, 11)


@dataclass(frozen=True)
class Known:
    """A request and its answer."""

    path: str
    body: bytes
    answer: Any


def difference(one: Any, other: Any) -> float:
    """Return the largest difference of numbers in two JSON values; inf if anything else differs."""
    match one, other:
        case dict(), dict() if one.keys() == other.keys():
            return max((difference(value, other[key]) for key, value in one.items()), default=0.0)
        case list(), list() if len(one) == len(other):
            return max(map(difference, one, other), default=0.0)
        case float(), float():
            return abs(one - other)
    return 0.0 if one == other else float("inf")


def _lines(answer: Any) -> Iterator[dict[str, float]]:
    """Yield the probabilities by label, for each text and task of an answer."""
    for text in answer.get("segments", [answer]):
        yield from text["probabilities"].values()


def _clear(answer: Any, tolerance: float) -> bool:
    """Return whether rounding can't change which label is the most probable."""
    return all(first - second > 2 * tolerance for first, second in (sorted(line.values())[:-3:-1] for line in _lines(answer)))


async def requests(side: Side, tolerance: float) -> list[Known]:
    """Return requests of one to three texts, or of an article, in random order.

    No two texts have the same probabilities within the tolerance, so that their answers can be
    distinguished. In no answer could rounding swap the two most probable labels.
    """
    parts = urlsplit(side.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)

    async def ask(path: str, body: object) -> Any:
        status, content = await post(reader, writer, str(parts.hostname), path, json.dumps(body).encode())
        assert status in (200, 501), content
        return json.loads(content) if status == 200 else None  # a model without stances has no events

    texts: list[tuple[dict[str, str], Any]] = []
    for text in segments(_TEXTS):
        answer = await ask("/classify", text)
        apart = all(difference(answer["probabilities"], before["probabilities"]) > 2 * tolerance for _, before in texts)
        if apart and _clear(answer, tolerance):
            texts.append((text, answer))
    drawn, known = random.Random(0), list[Known]()
    for number in range(_REQUESTS):
        some = [(f"{number}-{place}", *one) for place, one in enumerate(drawn.sample(texts, 1 + number % 3))]
        body = {"segments": [{**text, "id": name} for name, text, _ in some]}
        known.append(Known("/classify", json.dumps(body).encode(), {"predictions": [{"id": name, **answer} for name, _, answer in some]}))
    for article in articles("diplomacy", _SENTENCES):
        if len(article) in _ARTICLE:
            body = {"text": " ".join(one.text for one in article)}
            both = [Known(path, json.dumps(body).encode(), await ask(path, body)) for path in PATHS[1:]]
            known += [one for one in both if one.answer and _clear(one.answer, tolerance)]
    writer.close()
    drawn.shuffle(known)
    return known
