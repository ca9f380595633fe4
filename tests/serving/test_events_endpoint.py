"""``POST /events`` with a dyad model: the answers of ``haltung events``, from the same queue,
thread and limits as all texts.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import exported
from haltung.actors.finder import Actors
from haltung.events.dyads import model as dyad_model
from haltung.events.dyads.features import ITSELF, NONE, SIDES
from haltung.events.pipeline import finish, prepare
from haltung.events.text.read import Article
from haltung.models import bundle
from haltung.serving import service as serving_service
from haltung.serving.app import application
from haltung.serving.engine import Engine, Settings
from haltung.serving.service import Service

TEXT = (
    "Chile warnt das Heer in Nepal . Nepal besucht den Haushalt in Island . Island warnt den Haushalt in Laos . "
    "Laos begrüßt den Haushalt in Chile . Island warnt den Haushalt in Laos ."
)
BODY = {"text": TEXT, "headline": "Streit um die Marine"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The exported bundles of a sentence model and of a dyad model."""
    folder = tmp_path_factory.mktemp("bundles")
    labels = {name: {"de": name, "en": name} for name in (NONE, ITSELF)}
    scheme = {"name": "dyads", "tasks": {side: {"kind": "single", "labels": labels} for side in SIDES}}
    return exported.write(folder / "sentences"), exported.write(folder / "dyads", scheme)


def _service(bundles: tuple[Path, Path], **settings: Any) -> Service:
    return Service(Settings(bundles[0], dyads=bundles[1], runtime="onnxruntime", threads=1, **settings))


@asynccontextmanager
async def _client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    app = application(service)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds the work of dyad models until the event is set."""
    release, groups = threading.Event(), Engine.groups

    def wait(engine: Engine, parts: Sequence[Any]) -> Any:
        if {*SIDES} == {*engine.classifier.tasks} and threading.current_thread() is not threading.main_thread():
            release.wait(30)
        return groups(engine, parts)

    monkeypatch.setattr(Engine, "groups", wait)
    yield release
    release.set()


def _pairs(segment: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(dyad["source"], dyad["target"], dyad["stance"]) for dyad in segment["dyads"]]


def test_the_dyads_are_those_of_the_model_itself(bundles: tuple[Path, Path]) -> None:
    """Going through the queue changes nothing."""

    async def ask() -> httpx.Response:
        async with _client(_service(bundles)) as client:
            return await client.post("/events", json=BODY)

    answer = asyncio.run(ask()).json()
    prepared = prepare(Article("a", TEXT, BODY["headline"]), Actors.load())
    predictions = bundle.load(bundles[0]).predict(prepared.segments)
    dyads = dyad_model.load(bundles[1]).find(prepared.labelled(predictions))
    expected = finish(prepared, predictions, dyads).to_dict()
    assert sum(len(segment["dyads"]) for segment in expected["segments"]) > 1
    for segment, wanted in zip(answer["segments"], expected["segments"], strict=True):
        assert _pairs(segment) == _pairs(wanted)
        assert [one["probability"] for one in segment["dyads"]] == pytest.approx([one["probability"] for one in wanted["dyads"]], abs=1e-5)
    assert [event["plover"] for event in answer["events"]] == [event["plover"] for event in expected["events"]]


def test_both_models_work_in_one_thread_and_wait_for_each_other(bundles: tuple[Path, Path], held: threading.Event) -> None:
    """While the dyad model works no sentence is labelled, so that never more threads compute than
    were set.
    """

    async def ask() -> None:
        service = _service(bundles)
        async with _client(service) as client:
            events = asyncio.create_task(client.post("/events", json=BODY))
            while service.metrics.registry.get_sample_value("haltung_batch_texts_count") != 1:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            other = asyncio.create_task(client.post("/classify", json={"text": "Peru lobt den Zoll ."}))
            done, _ = await asyncio.wait([events, other], timeout=0.5)
            assert not done
            held.set()
            assert [(await one).status_code for one in (events, other)] == [200, 200]

    asyncio.run(ask())


def test_texts_that_wait_for_the_dyad_model_fill_the_queue(bundles: tuple[Path, Path], held: threading.Event) -> None:
    """Articles beyond the queue get 429 at once, and those that were taken are answered."""

    async def ask() -> None:
        async with _client(_service(bundles, texts=5, queue=5)) as client:
            articles = [asyncio.create_task(client.post("/events", json=BODY)) for _ in range(8)]
            done, taken = await asyncio.wait(articles, timeout=1)
            assert done
            for full in done:
                answer = full.result()
                assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (429, True)
            held.set()
            assert taken
            assert {(await one).status_code for one in taken} == {200}

    asyncio.run(ask())


def test_the_questions_to_the_dyad_model_have_a_limit_too(bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is room for no candidate the article gets 429."""
    monkeypatch.setattr(serving_service, "MAX_CANDIDATES", 0)

    async def ask() -> httpx.Response:
        async with _client(_service(bundles)) as client:
            return await client.post("/events", json=BODY)

    assert asyncio.run(ask()).status_code == 429


def test_a_caller_who_gives_up_frees_the_dyad_model(bundles: tuple[Path, Path], held: threading.Event) -> None:
    """After 504 nothing of the article waits any more."""

    async def ask() -> None:
        service = _service(bundles, timeout=0.5, batch=1)
        async with _client(service) as client:
            assert (await client.post("/events", json=BODY)).status_code == 504
            assert service.metrics.registry.get_sample_value("haltung_waiting_texts") == 0
            held.set()

    asyncio.run(ask())


def test_a_bundle_that_is_no_dyad_model_is_refused_at_the_start(bundles: tuple[Path, Path]) -> None:
    """The command says so, and not the first article."""
    from haltung.errors import UserError

    with pytest.raises(UserError, match="no model of dyads"):
        Service(Settings(bundles[0], dyads=bundles[0], runtime="onnxruntime", threads=1))
