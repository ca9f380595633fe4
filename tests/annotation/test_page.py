"""The annotation page over HTTP: who has access, what is refused, and what an answer saves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from annotated import GOOD, rows, served, work, write

KEY = "geheim-1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the corpus."""
    write(tmp_path)
    return tmp_path


@pytest.fixture
def client(folder: Path) -> Iterator[httpx.Client]:
    """A client of Anna's page."""
    with served(work(folder, "anna")) as address, httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        yield client


def test_an_answer_is_on_the_disk_when_the_page_hears_of_it(client: httpx.Client, folder: Path) -> None:
    """After a reload, the page still lists it as answered."""
    answered = client.post("/items/0", json={"labels": GOOD, "seen": None})
    assert answered.status_code == 200
    assert [row["id"] for row in rows(folder / "anna.jsonl")] == ["0-0"]
    assert client.get("/work").json()["answered"] == [[0, False]]


def test_a_sentence_comes_in_its_article_with_the_names_found(client: httpx.Client) -> None:
    """Names have positions in the text; codes for dyads include names mentioned earlier."""
    item = client.get("/items/1").json()
    assert [sentence["number"] for sentence in item["sentences"]] == [0, 1, 2, 3]
    text = item["sentences"][item["here"]]["text"]
    assert {text[actor["start"] : actor["end"]]: actor["code"] for actor in item["actors"]} == {"China": "CHN", "Taiwan": "TWN"}
    assert item["codes"][:2] == ["CHN", "TWN"]
    assert {"USA", "RUS"} <= {*item["codes"]}


def test_two_windows_do_not_overwrite_each_other(client: httpx.Client, folder: Path) -> None:
    """Answering or undoing is refused if the answer has changed since it was shown."""
    client.post("/items/0", json={"labels": GOOD, "seen": None}).raise_for_status()
    for body in ({"labels": {**GOOD, "topic": "economy"}, "seen": None}, {"labels": None, "seen": "2020"}):
        refused = client.post("/items/0", json=body)
        assert (refused.status_code, "another window" in refused.json()["error"]) == (409, True)
    assert [row["topic"] for row in rows(folder / "anna.jsonl")] == ["security"]
    seen = client.get("/items/0").json()["answer"]["time"]
    assert client.post("/items/0", json={"labels": {**GOOD, "topic": "economy"}, "seen": seen}).status_code == 200
    assert [row["topic"] for row in rows(folder / "anna.jsonl")] == ["economy"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "http://evil.example:80", "host": "evil.example:80"}, 403),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "localhost:5"}, 200),
        ({}, 200),
    ],
)
def test_only_its_own_page_may_send_answers(client: httpx.Client, folder: Path, headers: dict[str, str], status: int) -> None:
    """A page of another host can't, even if that host's name resolves to this machine."""
    answered = client.post("/items/0", json={"labels": GOOD, "seen": None}, headers=headers)
    assert answered.status_code == status
    assert len(rows(folder / "anna.jsonl")) == (status == 200)
    if "host" in headers:
        assert client.get("/items/0", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/items/0", b"{", 422),
        ("POST", "/items/0", b"[]", 422),
        ("POST", "/items/0", b"\xff", 422),
        ("POST", "/items/0", b'{"labels": {"topic": 5}}', 422),
        ("POST", "/items/0", b'{"labels": "x"}', 422),
        ("POST", "/items/8", b"{}", 422),
        ("GET", "/items/-1", b"", 422),
        ("GET", "/items/x", b"", 422),
        ("POST", "/items/0", b'{"comment": "' + b"x" * 3_000_000 + b'"}', 413),
        ("GET", "/page/annotation/../app.py", b"", 404),
        ("GET", "/page/%2e%2e/app.py", b"", 404),
        ("GET", "/anna.jsonl", b"", 404),
        ("DELETE", "/items/0", b"", 405),
        ("GET", "/docs", b"", 404),
    ],
)
def test_what_is_no_answer_gets_one_sentence(client: httpx.Client, folder: Path, method: str, path: str, body: bytes, status: int) -> None:
    """The file stays unchanged."""
    answered = client.request(method, path, content=body)
    assert answered.status_code == status
    assert list(answered.json()) == ["error"]
    assert (folder / "anna.jsonl").read_bytes() == b""


def test_the_page_may_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    """As for the serving page: no inline script, other host or frame, and texts are not cached."""
    for path in ("/", "/work", "/page/annotation/annotate.js"):
        headers = client.get(path).raise_for_status().headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
    assert client.get("/items/0").headers["cache-control"] == "no-store"


def test_with_a_key_only_the_page_itself_is_open(folder: Path) -> None:
    """Its texts and answers need the key."""
    with served(work(folder, "anna"), key=KEY) as address, httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        assert client.get("/").status_code == client.get("/page/annotation/words.js").status_code == 200
        for given in ({}, {"x-api-key": "falsch"}):
            assert client.get("/work", headers=given).status_code == 401
            assert client.post("/items/0", json={"labels": GOOD}, headers=given).status_code == 401
        assert client.post("/items/0", json={"labels": GOOD}, headers={"x-api-key": KEY}).status_code == 200
