"""A bundle of articles over HTTP: articles go through the queue as units, and their dyads are those
of `haltung events`.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import exported
from haltung.actors.finder import Actors
from haltung.errors import UserError
from haltung.events import dyads as dyad_model
from haltung.events.dyads import Thresholds, word_order
from haltung.events.pipeline import finish, prepare, segments_of
from haltung.events.records import ArticleEvents
from haltung.events.text.read import Article
from haltung.models import bundle as bundles
from haltung.models.units import Unit
from haltung.records import Segment
from haltung.serving.app import application
from haltung.serving.engine import Engine, Settings
from haltung.serving.service import Service

HEADLINE = "Peru lobt die Marine"
TEXT = (
    "Chile warnt das Heer in Nepal . Nepal besucht den Haushalt in Island . Island warnt den Haushalt in Laos . "
    "Laos begrüßt den Haushalt in Chile . Island warnt den Haushalt in Laos ."
)
BODY = {"text": TEXT, "headline": HEADLINE}

Ask = Callable[[httpx.AsyncClient], Awaitable[Any]]


def _service(folder: Path, **settings: Any) -> Service:
    return Service(Settings(folder, runtime="onnxruntime", format="fp32", threads=1, **settings))


@asynccontextmanager
async def _client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    app = application(service)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def _asked(service: Service, ask: Ask) -> Any:
    async def run() -> Any:
        async with _client(service) as client:
            return await ask(client)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def bundle(article_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle of articles whose thresholds exclude the neutral stance."""
    folder = Path(shutil.copytree(article_bundle, tmp_path_factory.mktemp("events") / "bundle"))
    dyad_model.write_thresholds(folder, Thresholds(neutral=0.0), {})
    return folder


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The number of sentences of each unit, for each batch."""
    groups, seen = Engine.groups, list[list[int]]()

    def noted(engine: Engine, units: Sequence[Unit]) -> Any:
        seen.append([unit.labelled for unit in units])
        return groups(engine, units)

    monkeypatch.setattr(Engine, "groups", noted)
    return seen


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Block the model's thread until the event is set."""
    release, groups = threading.Event(), Engine.groups

    def wait(engine: Engine, units: Sequence[Unit]) -> Any:
        if threading.current_thread() is not threading.main_thread():
            release.wait(30)
        return groups(engine, units)

    monkeypatch.setattr(Engine, "groups", wait)
    yield release
    release.set()


def _events(folder: Path) -> ArticleEvents:
    """Return the events of the article as ``haltung events`` finds them."""
    predictor, prepared = bundles.load(folder, graph=True), prepare(Article("a", TEXT, HEADLINE), Actors.load())
    predictions = predictor.predict(prepared.segments)
    assert any(one.actors for one in predictions)
    return finish(prepared, predictions, dyad_model.load(folder))


def _dyads(segments: Sequence[dict[str, Any]]) -> list[list[tuple[str, str, str]]]:
    return [[(dyad["source"], dyad["target"], dyad["stance"]) for dyad in segment["dyads"]] for segment in segments]


def test_the_dyads_are_those_of_the_bundle(bundle: Path, batches: list[list[int]]) -> None:
    """The queue changes nothing; each sentence is read once, in one batch with the others of its
    article.
    """
    service = _service(bundle)
    batches.clear()
    answer = _asked(service, lambda client: client.post("/events", json=BODY)).json()
    assert batches == [[5]]
    expected = _events(bundle).to_dict()
    assert sum(map(len, _dyads(expected["segments"]))) > 1
    assert _dyads(answer["segments"]) == _dyads(expected["segments"])
    for segment, wanted in zip(answer["segments"], expected["segments"], strict=True):
        assert [one["probability"] for one in segment["dyads"]] == pytest.approx([one["probability"] for one in wanted["dyads"]], abs=1e-4)
        for task, values in wanted["probabilities"].items():
            assert segment["probabilities"][task] == pytest.approx(values, abs=1e-5)
    assert [event["plover"] for event in answer["events"]] == [event["plover"] for event in expected["events"]]


def test_they_are_chosen_by_the_thresholds_of_the_bundle(bundle: Path, tmp_path: Path) -> None:
    """Other thresholds in its folder give other dyads."""
    folder = Path(shutil.copytree(bundle, tmp_path / "copy"))
    dyad_model.write_thresholds(folder, Thresholds(pair=0.0, neutral=0.0), {})
    answer = _asked(_service(folder), lambda client: client.post("/events", json=BODY)).json()
    assert _dyads(answer["segments"]) == _dyads(_events(folder).to_dict()["segments"])
    assert _dyads(answer["segments"]) != _dyads(_events(bundle).to_dict()["segments"])


def test_a_bundle_whose_thresholds_are_broken_is_refused_at_the_start(bundle: Path, tmp_path: Path) -> None:
    """Not only when the first article arrives."""
    folder = Path(shutil.copytree(bundle, tmp_path / "copy"))
    (folder / "dyads.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"dyads\.json contains no dyad thresholds"):
        _service(folder)


def test_without_dyads_in_the_bundle_word_order_decides(tmp_path: Path) -> None:
    """For example with a bundle of single texts."""
    folder = exported.write(tmp_path / "bundle")
    answer = _asked(_service(folder), lambda client: client.post("/events", json=BODY)).json()
    prepared = prepare(Article("a", TEXT, HEADLINE), Actors.load())
    predictions = bundles.load(folder).predict(prepared.segments)
    expected = finish(prepared, predictions, word_order)
    assert _dyads(answer["segments"]) == _dyads(expected.to_dict()["segments"])
    assert any(_dyads(answer["segments"]))


def test_an_article_is_labelled_as_such(bundle: Path) -> None:
    """`/article` reads it below its headline and among its sentences; `/classify` reads each text
    alone, after its context.
    """
    predictor, segments = bundles.load(bundle, graph=True), segments_of(Article("a", TEXT, HEADLINE)).segments
    alone = [Segment(one.id, one.text, context=one.context) for one in segments]

    async def ask(client: httpx.AsyncClient) -> list[Any]:
        texts = [{"text": one.text, "context": one.context} for one in alone]
        answers = [await client.post("/article", json=BODY), await client.post("/classify", json={"segments": texts})]
        return [answers[0].json()["segments"], answers[1].json()["predictions"]]

    together, single = _asked(_service(bundle), ask)
    for found, rows in ((together, segments), (single, alone)):
        for row, expected in zip(found, predictor.predict(rows), strict=True):
            assert row["probabilities"]["topic"] == pytest.approx(expected.probabilities["topic"], abs=1e-5)
    both = [[value for row in found for of in row["probabilities"].values() for value in of.values()] for found in (together, single)]
    assert max(abs(one - other) for one, other in zip(*both, strict=True)) > 1e-3
    assert [row["context"] for row in together] == [one.context for one in segments]


def test_an_article_above_every_limit_is_served_in_windows(bundle: Path, batches: list[list[int]]) -> None:
    """It gives the answers of the bundle; other requests don't wait for all of it."""
    text = "Chile warnt das Heer in Nepal . " * 80
    service = _service(bundle, batch=4, tokens=50)
    batches.clear()

    async def ask(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        article = asyncio.create_task(client.post("/events", json={"text": text, "headline": HEADLINE}))
        await asyncio.sleep(0)
        other = await client.post("/classify", json={"text": "Peru lobt den Zoll ."})
        return await article, other

    answer, other = _asked(service, ask)
    assert (answer.status_code, other.status_code) == (200, 200)
    assert sorted(size for batch in batches for size in batch) == [1, 16, 32, 32]
    predictor, prepared = bundles.load(bundle, graph=True), prepare(Article("a", text, HEADLINE), Actors.load())
    for row, expected in zip(answer.json()["segments"], predictor.predict(prepared.segments), strict=True):
        assert row["probabilities"]["stance"] == pytest.approx(expected.probabilities["stance"], abs=1e-5)


def test_articles_that_wait_fill_the_queue_by_their_sentences(bundle: Path, held: threading.Event) -> None:
    """Articles that exceed it get 429 at once, and accepted ones are answered."""
    service = _service(bundle, texts=5, queue=7)

    async def ask(client: httpx.AsyncClient) -> None:
        articles = [asyncio.create_task(client.post("/events", json=BODY)) for _ in range(8)]
        done, taken = await asyncio.wait(articles, timeout=2)
        assert done
        for full in done:
            answer = full.result()
            assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (429, True)
        held.set()
        assert taken
        assert {(await one).status_code for one in taken} == {200}

    _asked(service, ask)


def test_a_caller_who_gives_up_frees_the_queue(bundle: Path, held: threading.Event) -> None:
    """After a 504 no sentence of the article is waiting."""
    service = _service(bundle, timeout=0.5)

    async def ask(client: httpx.AsyncClient) -> None:
        first = asyncio.create_task(client.post("/classify", json={"text": "Peru lobt den Zoll ."}))
        await asyncio.sleep(0.1)
        assert (await client.post("/events", json=BODY)).status_code == 504
        assert service.metrics.registry.get_sample_value("haltung_waiting_texts") == 0
        held.set()
        await first

    _asked(service, ask)
