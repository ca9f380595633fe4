"""The cache of answers: the same bytes as without it, for all that an answer depends on, and
bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import exported
import tiny
from haltung.serving import service as services
from haltung.serving.engine import Engine, Settings
from haltung.serving.queue import AnswerCache
from served import PATIENCE, served_in_thread

TEXT = "Peru lobt den Zoll in Malta ."
ARTICLE = {
    "headline": "Peru lobt die Marine",
    "text": "Chile warnt das Heer in Nepal . Nepal besucht den Haushalt in Island . Island warnt den Haushalt in Laos .",
}
REQUESTS = [
    ("/classify", {"text": TEXT, "context": "Chile Ghana", "id": "s1"}),
    ("/article", ARTICLE),
    ("/events", ARTICLE),
    ("/classify", {"segments": [{"text": TEXT}, {"text": "Chile warnt Ghana .", "context": "Malta"}]}),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle of single texts, which are read after their context."""
    return exported.write(tmp_path_factory.mktemp("cache") / "bundle")


@contextmanager
def _client(bundle: Path, **settings: Any) -> Iterator[httpx.Client]:
    """Start a server and yield a client of it."""
    with (
        served_in_thread(Settings(bundle, runtime="onnxruntime", threads=1, **settings)) as address,
        httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as client,
    ):
        yield client


def _figures(client: httpx.Client) -> tuple[int, int, int]:
    """Return the numbers of hits, misses, and texts run through the graph."""
    lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if not line.startswith("#"))
    hits, misses, texts = (int(float(lines[f"haltung_{name}_total"])) for name in ("cache_hits", "cache_misses", "texts"))
    return hits, misses, texts


def _post(client: httpx.Client, path: str, body: Any) -> bytes:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize("kind", ["texts", pytest.param("articles", marks=pytest.mark.slow)])
def test_every_endpoint_answers_a_second_time_from_the_cache(kind: str, bundle: Path, request: pytest.FixtureRequest) -> None:
    """With the bytes of the first answer, which are those of a server without a cache; the graph is
    not run again.
    """
    folder = bundle if kind == "texts" else request.getfixturevalue("article_bundle")
    with _client(folder) as kept, _client(folder, cache=0) as none:
        first = [_post(kept, path, body) for path, body in REQUESTS]
        assert first == [_post(none, path, body) for path, body in REQUESTS]
        hits, misses, texts = _figures(kept)
        assert texts == misses
        assert [_post(kept, path, body) for path, body in REQUESTS] == first
        assert _figures(kept) == (hits + 1 + 3 + 3 + 2, misses, texts)
        assert [_post(none, path, body) for path, body in REQUESTS] == first
        assert _figures(none) == (0, 0, 2 * (1 + 3 + 3 + 2))


def test_whatever_the_answer_depends_on_counts(bundle: Path) -> None:
    """Text, context and target change the answer; id and precision belong to the request and do
    not.
    """
    asked = [
        {"text": TEXT}, {"text": f"{TEXT} "}, {"text": TEXT, "context": "Chile"}, {"text": "Chile", "context": TEXT},
        {"text": TEXT, "target": "Chile"}, {"text": f"{TEXT}', 'Chile"}, {"text": TEXT, "context": "Chile", "target": "Chile"},
    ]  # fmt: skip
    with _client(bundle) as kept, _client(bundle, cache=0) as none:
        for _ in range(2):
            assert [_post(kept, "/classify", one) for one in asked] == [_post(none, "/classify", one) for one in asked]
        assert _figures(kept) == (len(asked), len(asked), len(asked))
        for name in ("a", "b"):
            assert kept.post("/classify", json={"text": TEXT, "id": name}).json()["id"] == name
        assert "id" not in kept.post("/classify", json={"text": TEXT}).json()
        assert _figures(kept)[1] == len(asked)


def test_the_same_text_twice_in_a_request_is_read_once(bundle: Path) -> None:
    """Each of its places in the answer is filled, among cached and new texts."""
    texts = [TEXT, "Chile warnt Ghana .", TEXT, "Nepal lobt Laos .", "Chile warnt Ghana ."]
    body = {"segments": [{"text": text, "id": str(number)} for number, text in enumerate(texts)]}
    with _client(bundle) as kept, _client(bundle, cache=0) as none:
        _post(kept, "/classify", {"text": "Nepal lobt Laos ."})
        rows = kept.post("/classify", json=body).json()["predictions"]
        assert _figures(kept) == (3, 3, 3)
        for row, expected in zip(rows, none.post("/classify", json=body).json()["predictions"], strict=True):
            assert row["id"] == expected["id"]
            assert row["probabilities"]["stance"] == pytest.approx(expected["probabilities"]["stance"], abs=1e-5)


@pytest.mark.slow
def test_a_sentence_among_others_is_another_one(article_bundle: Path) -> None:
    """A model of articles reads it in context: it is read again in another order, below another
    headline, alone, or with actors. Windows in the cache are reused for a longer article.
    """
    first, second, third = (f"{part.strip()} ." for part in str(ARTICLE["text"]).strip(" .").split(" . "))
    others = [
        ("/article", {**ARTICLE, "text": f"{second} {first} {third}"}),
        ("/article", {**ARTICLE, "headline": "Peru"}),
        ("/article", {"text": ARTICLE["text"]}),
        ("/classify", {"segments": [{"text": first}, {"text": second}, {"text": third}]}),
        ("/events", ARTICLE),
    ]
    with _client(article_bundle) as kept, _client(article_bundle, cache=0) as none:
        _post(kept, "/article", ARTICLE)
        for number, (path, body) in enumerate(others, start=2):
            assert _post(kept, path, body) == _post(none, path, body)
            assert _figures(kept) == (0, 3 * number, 3 * number)
        window = [f"{first.replace('Chile', country)} {second}" for country in ("Peru", "Ghana", "Malta", "Laos") for _ in range(4)]
        _post(kept, "/article", {"text": " ".join(window)})
        before = _figures(kept)
        longer = {"text": " ".join([*window, third])}
        assert _post(kept, "/article", longer) == _post(none, "/article", longer)
        assert _figures(kept) == (before[0] + 32, before[1] + 1, before[2] + 1)


def test_the_memory_is_bounded(bundle: Path) -> None:
    """The least recently used answers are evicted."""
    texts = [one.text for one in tiny.segments(40)]
    assert len(set(texts)) == 40
    with _client(bundle, cache=5000) as client:
        for text in texts:
            _post(client, "/classify", {"text": text})
            _post(client, "/classify", {"text": texts[0]})
        assert _figures(client) == (40, 40, 40)
        _post(client, "/classify", {"text": texts[-1]})
        _post(client, "/classify", {"text": texts[1]})
        assert _figures(client) == (41, 41, 41)
        size = next(line for line in client.get("/metrics").text.splitlines() if line.startswith("haltung_cache_bytes"))
        assert 2000 < float(size.split()[1]) <= 5000


def test_what_does_not_fit_is_answered_all_the_same(bundle: Path) -> None:
    """Even if the cache is smaller than one answer."""
    with _client(bundle, cache=1) as client:
        assert _post(client, "/classify", {"text": TEXT}) == _post(client, "/classify", {"text": TEXT})
        assert _figures(client) == (0, 2, 2)


def test_no_text_is_kept(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are digests, and answers only have labels and codes of actors."""
    made = []

    class Seen(AnswerCache):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(services, "AnswerCache", Seen)
    with _client(bundle) as client:
        for path, body in REQUESTS:
            _post(client, path, body)
    (cache,) = made
    held = list(cache._answers.items())
    assert {len(key) for key, _ in held} == {32}
    words = [word.encode() for word in TEXT.split() + str(ARTICLE["text"]).split() if len(word) > 3]
    assert [word for word in words for key, value in held if word in key + value] == []


def test_a_failure_is_not_kept(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request gets an answer."""
    groups, fails = Engine.groups, [False]
    monkeypatch.setattr(Engine, "groups", lambda engine, units: 1 / 0 if fails[0] else groups(engine, units))
    with _client(bundle) as client:
        fails[0] = True
        assert client.post("/classify", json={"text": TEXT}).status_code == 500
        fails[0] = False
        _post(client, "/classify", {"text": TEXT})
        assert _figures(client)[:2] == (0, 1)


def test_many_callers_with_the_same_texts_get_the_same_answers(bundle: Path) -> None:
    """Concurrently, in shared batches; each text counts once for each caller."""
    bodies = [{"text": one.text, "context": one.context} for one in tiny.segments(8)] * 20
    with _client(bundle) as client, ThreadPoolExecutor(16) as callers:
        answers = list(callers.map(lambda body: client.post("/classify", json=body).json(), bodies))
        for number, answer in enumerate(answers):
            for task, values in answers[number % 8]["probabilities"].items():
                assert answer["probabilities"][task] == pytest.approx(values, abs=1e-5)
        hits, misses, texts = _figures(client)
        assert hits + misses == len(bodies)
        assert 8 <= misses == texts < len(bodies)
