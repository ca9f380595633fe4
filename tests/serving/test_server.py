"""The server's own endpoints: the right answers, and a sentence for each mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import exported
import tiny
from haltung.export.documents import write_schemas
from haltung.inference.client import Classifier
from haltung.labels import parse
from haltung.models.predictor import Calibration
from served import Served, served

ARTICLE = "Belgien warnt die Marine in Chile. Ghana lobt den Zoll in Peru.\n\nNepal besucht das Heer in Laos."


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle that can abstain."""
    folder = exported.write(tmp_path_factory.mktemp("serving") / "bundle")
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    description["calibration"]["thresholds"] = {"stance": {"0.9": 2.0}}
    (folder / "haltung.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of it, with limits that a test can reach."""
    with served(bundle, tmp_path_factory.mktemp("server"), "texts=50", "characters=2000", "bytes=100000") as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    """A client of that server."""
    with server.client() as one:
        yield one


@pytest.fixture(scope="module")
def classifier(bundle: Path) -> Classifier:
    """The standalone client of the same bundle."""
    return Classifier(bundle)


def _close(found: Any, expected: Any) -> None:
    """Compare predictions; batches and single rows are summed in different orders."""
    assert {**found, "probabilities": None} == {**expected, "probabilities": None}
    for task, values in expected["probabilities"].items():
        assert found["probabilities"][task] == pytest.approx(values, abs=1e-5)


def test_a_server_and_an_export_describe_texts_and_predictions_alike(client: httpx.Client, classifier: Classifier, tmp_path: Path) -> None:
    """Except for the precisions, which only the files of a bundle list."""
    about = classifier.description
    write_schemas(tmp_path, parse(about["scheme"]), Calibration(**about["calibration"]))
    told = client.get("/openapi.json").json()["components"]["schemas"]
    for name, parts in {"request": 3, "response": 5}.items():
        text = (tmp_path / f"{name}.schema.json").read_text(encoding="utf-8").replace("#/$defs/", "#/components/schemas/")
        # OpenAPI omits null values.
        found = json.loads(text, object_hook=lambda one: {key: value for key, value in one.items() if value is not None})["$defs"]
        assert len(found) >= parts
        for title, schema in found.items():
            precisions = schema["properties"].get("abstain", {}).pop("enum", [None, 0.9])
            assert (precisions, schema) == ([None, 0.9], told[title])


def test_one_text_gets_one_prediction(client: httpx.Client, classifier: Classifier) -> None:
    """The answer is that of the client, with the given id."""
    segment = {"text": "Peru lobt den Zoll in Malta .", "context": "Chile Ghana", "id": "s1"}
    answer = client.post("/classify", json=segment)
    assert answer.status_code == 200
    _close(answer.json(), classifier.classify([segment])[0])


def test_many_texts_get_their_predictions_in_order(client: httpx.Client, classifier: Classifier) -> None:
    """Texts of different lengths come back in the order in which they were sent."""
    rows = [{"id": row.id, "text": row.text * (number % 5 + 1), "context": row.context} for number, row in enumerate(tiny.segments(40))]
    found = client.post("/classify", json={"segments": rows}).json()["predictions"]
    for one, expected in zip(found, classifier.classify(rows), strict=True):
        _close(one, expected)


def test_no_texts_get_no_predictions(client: httpx.Client) -> None:
    """An empty list is no mistake."""
    assert client.post("/classify", json={"segments": []}).json() == {"predictions": []}


def test_half_a_character_is_no_failure(client: httpx.Client, classifier: Classifier) -> None:
    """A lone surrogate reads as U+FFFD, as the bundle's contract says, and so does one in an id."""
    found = client.post("/classify", content=b'{"text": "Peru \\ud83d lobt", "id": "\\ud83d"}').json()
    assert found["probabilities"]["stance"] == pytest.approx(
        classifier.classify(["Peru \ufffd lobt"])[0]["probabilities"]["stance"], abs=1e-5
    )


def test_what_is_not_sure_enough_abstains(client: httpx.Client) -> None:
    """A requested precision marks the tasks whose threshold is not reached."""
    answer = client.post("/classify", json={"text": "Peru lobt den Zoll .", "abstain": 0.9}).json()
    assert answer["abstained"] == {"stance": True}


def test_an_article_comes_back_in_sentences_with_their_places(client: httpx.Client, classifier: Classifier) -> None:
    """Positions are correct, and each sentence is read after headline, lead and previous sentence,
    as in training.
    """
    segments = client.post("/article", json={"text": ARTICLE, "headline": "Streit um die Marine"}).json()["segments"]
    texts = [segment["text"] for segment in segments]
    assert texts == [ARTICLE[segment["start"] : segment["end"]] for segment in segments]
    assert len(texts) == 3
    headline = "Streit um die Marine"
    contexts = (headline, f"{headline} {texts[0]}", f"{headline} {texts[0]} {texts[1]}")
    for segment, context in zip(segments, contexts, strict=True):
        assert segment["context"] == context
        expected = classifier.classify([{"text": segment["text"], "context": context}])[0]
        _close({name: segment[name] for name in expected}, expected)


def test_an_article_comes_back_with_dyads_and_events(client: httpx.Client) -> None:
    """The sentences are those of `/article`; each stance that is not neutral has a dyad, and each
    dyad an event with its position.
    """
    body = {"text": ARTICLE, "headline": "Streit um die Marine", "date": "2024-05-01"}
    answer, plain = client.post("/events", json=body).json(), client.post("/article", json=body).json()
    shared = ("start", "end", "text", "context", "topic", "stance")
    assert [[row[name] for name in shared] for row in answer["segments"]] == [[row[name] for name in shared] for row in plain["segments"]]
    for segment in answer["segments"]:
        assert bool(segment["dyads"]) == (segment["stance"] != "neutral")
        for actor in segment["actors"]:
            assert segment["text"][actor["start"] : actor["end"]] == actor["text"]
    assert [event["stance"] for event in answer["events"]] == [dyad["stance"] for row in answer["segments"] for dyad in row["dyads"]]
    assert all(ARTICLE[event["start"] : event["end"]] == event["text"] for event in answer["events"])


@pytest.mark.parametrize("date", ["1. Mai", 20240501, "2024-02-30"])
def test_a_wrong_date_is_refused(client: httpx.Client, date: object) -> None:
    """In one sentence, which names the field."""
    answer = client.post("/events", json={"text": ARTICLE, "date": date})
    assert answer.status_code == 422
    assert re.fullmatch("date is .*", answer.json()["error"])


def test_the_model_is_described(client: httpx.Client) -> None:
    """With tasks, labels with both names, limits, runtime and format."""
    described = client.get("/model").json()
    assert described["tasks"]["topic"]["labels"]["security"]["de"] == "Sicherheit"
    assert described["events"] is True
    assert (described["runtime"], described["format"], described["precisions"]) == ("onnxruntime", "fp32", [0.9])
    assert described["limits"] == {"texts": 50, "characters": 2000, "bytes": 100_000, "seconds": 30.0}


def test_health_is_reported(client: httpx.Client) -> None:
    """A supervisor can see that the server is alive and ready."""
    assert [client.get(f"/health/{name}").json() for name in ("live", "ready")] == [{"status": "live"}, {"status": "ready"}]


def test_the_figures_are_those_of_prometheus(client: httpx.Client) -> None:
    """Requests are counted by route; texts and waiting texts are counted too."""
    from prometheus_client.parser import text_string_to_metric_families

    client.post("/classify", json={"text": "Peru lobt den Zoll ."})
    answer = client.get("/metrics")
    samples = {
        (sample.name, sample.labels.get("route")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert answer.headers["content-type"].startswith("text/plain")
    assert samples["haltung_requests_total", "/classify"] >= 1
    assert samples["haltung_texts_total", None] >= 1
    assert samples["haltung_waiting_texts", None] == 0


TOO_LONG = "a" * 2001


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 422, "not JSON .*line 1, column 2.* such as"),
        (b"\xff{}", 422, "not UTF-8 .*byte 0"),
        (b"", 422, "the body is empty"),
        (b"[" * 90_000, 422, "too deep"),
        (b"1" * 5000, 422, "too long a number"),
        (b"[]", 422, "the body is a list; expected an object"),
        (b"{}", 422, "the body has no 'text'"),
        ({"text": 5}, 422, "text is a number; expected text"),
        ({"text": " \n"}, 422, "text is empty"),
        ({"text": "x", "context": []}, 422, "context is a list; expected text"),
        ({"text": "x", "id": 7}, 422, "id is a number; expected text"),
        ({"text": "x", "contxt": "y"}, 422, "unknown key, did you mean 'context'.* text, context, target, id, abstain"),
        ({"text": "x", "abstain": "high"}, 422, "abstain is text; expected a number"),
        ({"text": "x", "abstain": True}, 422, "abstain is true or false; expected a number"),
        ({"text": "x", "abstain": 90}, 422, "abstain .* less than 1"),
        (b'{"text": "x", "abstain": NaN}', 422, "abstain should be"),
        ({"text": "x", "abstain": 0.5}, 422, "abstain: .* precision 0.5; .* 0.9"),
        ({"segments": {}}, 422, "segments is an object; expected a list"),
        ({"segments": ["x"]}, 422, r"segments\[0\] is text; expected an object"),
        ({"segments": [{"text": "x"}, {}]}, 422, r"segments\[1\] has no 'text'"),
        ({"segments": [{"text": "x"}, {"text": None}]}, 422, r"segments\[1\].text is null; expected text"),
        ({"segments": [{"text": "x"}, {"text": ""}]}, 422, r"segments\[1\].text is empty"),
        ({"segments": [{"text": "x", "txet": ""}]}, 422, r"segments\[0\] has an unknown key, .*'text'"),
        ({"segments": [], "text": "x"}, 422, "the body has an unknown key.* segments, abstain"),
        ({"segments": [{"text": "x"}] * 51}, 413, "51 texts, at most 50"),
        ({"text": TOO_LONG}, 413, "^text has 2,001 characters, at most 2,000"),
        ({"text": "x", "context": TOO_LONG}, 413, "^context has 2,001 characters, at most 2,000"),
        ({"segments": [{"text": "x", "target": TOO_LONG}]}, 413, r"segments\[0\].target has 2,001 characters"),
        ({"segments": [{"text": "x"}, {"text": "x", "context": TOO_LONG}]}, 413, r"segments\[1\].context has 2,001"),
        ({"text": "x" * 100_001}, 413, "the body has more than the 100,000 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_mistake_is_one_sentence(client: httpx.Client, body: Any, status: int, words: str) -> None:
    """It says where, what kind of value is there and what is allowed, and never repeats a text."""
    answer = client.post("/classify", **({"content": body} if isinstance(body, bytes) else {"json": body}))
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert re.search(words, answer.json()["error"]), answer.json()


@pytest.mark.parametrize("path", ["/article", "/events"])
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"headline": "x"}, 422, "the body has no 'text'"),
        ({"text": "x", "title": "y"}, 422, "unknown key.* text, headline, date, abstain"),
        ({"text": "x", "headline": 1}, 422, "headline is a number; expected text"),
        ({"text": TOO_LONG}, 413, "^text has 2,001 characters, at most 2,000"),
        ({"text": "x", "headline": TOO_LONG}, 413, "^headline has 2,001 characters, at most 2,000"),
        ({"text": "Peru lobt. " * 60}, 413, "60 texts, at most 50"),
        ({"text": "x" * 100_001}, 413, "the body has more than the 100,000 bytes"),
        ({"text": "x", "abstain": 0.5}, 422, "abstain: .* precision 0.5; .* 0.9"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_in_an_article_is_one_sentence(client: httpx.Client, path: str, body: Any, status: int, words: str) -> None:
    """The same limits hold for both endpoints with articles; the number of sentences counts."""
    answer = client.post(path, json=body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert re.search(words, answer.json()["error"]), answer.json()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/classify", 405), ("POST", "/model", 405), ("GET", "/page/x.js", 404)]
)
def test_a_wrong_address_is_refused(client: httpx.Client, method: str, path: str, status: int) -> None:
    """All errors have one form, including those of the framework."""
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_a_body_in_pieces_is_read_and_limited_too(client: httpx.Client) -> None:
    """Without Content-Length the size is unknown; reading stops once the limit is exceeded."""
    assert client.post("/classify", content=iter([b'{"text": "Peru', b' lobt"}'])).status_code == 200
    answer = client.post("/classify", content=iter([b'{"text": "', *[b"x" * 50_000] * 5, b'"}']))
    assert (answer.status_code, "100,000 bytes" in answer.json()["error"]) == (413, True)


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    """So no small body can expand to a large one."""
    answer = client.post("/classify", content=b"x", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]) == (415, "the body is compressed; send it uncompressed")


def test_the_page_and_the_documentation_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    """Both come with a policy that forbids other hosts, and name none."""
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert 'src="http' not in answer.text
        assert 'href="http' not in answer.text
    assert "/classify" in client.get("/docs").text
    style = re.search(r'rel="stylesheet" href="([^"]+)"', client.get("/docs").text)
    assert style is not None
    assert client.get(f"/{style[1]}").headers["content-type"].startswith("text/css")


def test_every_answer_says_what_a_browser_may_do_with_it(client: httpx.Client) -> None:
    """It may not guess types, use frames, or cache a text's labels."""
    headers = client.post("/classify", json={"text": "Peru lobt ."}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert (headers["x-frame-options"], headers["cache-control"]) == ("DENY", "no-store")
    assert "access-control-allow-origin" not in headers


def test_no_text_stands_in_the_log(server: Served, client: httpx.Client) -> None:
    """A line has method, route, status and time, but neither query nor raw address nor body."""
    client.post("/classify?secretquery", json={"text": "geheimertext"})
    client.post("/classify", json={"text": "geheimertext", "geheimerschluessel": 1})
    client.get("/geheimeradresse")
    log = server.log.read_text()
    assert "POST /classify 200" in log
    assert "GET other 404" in log
    assert "geheim" not in log
    assert "secret" not in log


def test_the_running_process_has_not_loaded_torch(server: Served, client: httpx.Client) -> None:
    """A request does not load it either."""
    client.post("/article", json={"text": ARTICLE})
    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.is_file():
        pytest.skip("which libraries a process has loaded is told by /proc, which is there on Linux alone")
    loaded = maps.read_text()
    assert "onnxruntime" in loaded
    assert [name for name in ("/torch/", "/sklearn/", "/pandas/", "/scipy/") if name in loaded] == []
