"""Malicious and invalid requests: none gets a 500, and none is answered without the key or for a
page that was not named.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import exported
from haltung.serving.app import application
from haltung.serving.engine import Settings
from haltung.serving.service import Service
from served import PATIENCE, Served, served

KEY = "a key-of plain signs"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle."""
    return exported.write(tmp_path_factory.mktemp("hostile") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with a key that allows two other origins."""
    words = ("origins=[https://a.example,https://b.example]", "texts=20", "characters=2000", "bytes=20000")
    with served(bundle, tmp_path_factory.mktemp("server"), *words, key=KEY) as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    """A client without the key."""
    with server.client() as one:
        yield one


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {KEY}"}])
@pytest.mark.parametrize("asked", ["POST /classify", "POST /article", "POST /events", "GET /model", "GET /metrics"])
def test_without_the_key_there_is_no_answer(client: httpx.Client, asked: str, headers: dict[str, str]) -> None:
    """Neither with labels nor with metrics."""
    answer = client.request(*asked.split(), headers=headers)
    assert (answer.status_code, answer.json()) == (401, {"error": "this server requires a key: send it in the header X-API-Key"})


@pytest.mark.parametrize("headers", [{"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}])
def test_with_the_key_there_is_one(client: httpx.Client, headers: dict[str, str]) -> None:
    """In either header."""
    assert client.post("/classify", json={"text": "Peru lobt ."}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health/live", "/health/ready"])
def test_health_and_page_are_open(client: httpx.Client, path: str) -> None:
    """A supervisor and a browser ask for these without a key."""
    assert client.get(path).status_code == 200


def test_a_page_that_was_named_may_ask_and_another_may_not(client: httpx.Client) -> None:
    """The browser is told so before it sends the request (CORS)."""
    for origin, allowed in (("https://a.example", True), ("https://c.example", False), ("null", False)):
        asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
        answer = client.options("/classify", headers=asked)
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
    answer = client.post("/classify", json={"text": "x"}, headers={"x-api-key": KEY, "origin": "https://b.example"})
    assert answer.headers["access-control-allow-origin"] == "https://b.example"
    refused = client.post("/classify", json={"text": "x"}, headers={"origin": "https://b.example"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://b.example")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/x.y\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
    ids=lambda request: str(request[:40]),
)
def test_what_is_no_http_is_refused_and_the_server_goes_on(server: Served, client: httpx.Client, request_bytes: bytes) -> None:
    """Broken requests on a bare socket."""
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        try:
            connection.sendall(request_bytes)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        except ConnectionError:
            answer = b""  # a closed connection is an answer too
    assert not answer or answer.split()[1][:1] == b"4"
    assert client.get("/health/live").status_code == 200


def test_a_client_that_goes_away_is_no_matter(server: Served, client: httpx.Client) -> None:
    """Half a body, then a closed connection."""
    host, port = server.address.removeprefix("http://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            head = f"POST /classify HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 500\r\n\r\n"
            connection.sendall(head.encode() + b'{"text": "Pe')
    assert client.post("/classify", json={"text": "Peru lobt ."}, headers={"x-api-key": KEY}).status_code == 200
    assert "Traceback" not in server.log.read_text()


KEYS = ("text", "segments", "context", "target", "id", "abstain", "headline", "date")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture(scope="module")
def in_process(bundle: Path) -> Iterator[TestClient]:
    """A server in this process, which is faster."""
    with TestClient(application(Service(Settings(bundle, runtime="onnxruntime", threads=1, texts=5, characters=50)))) as client:
        yield client


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_answered_or_refused(in_process: TestClient, body: bytes) -> None:
    """Any bytes are either classified or refused with one sentence."""
    for path in ("/classify", "/article", "/events"):
        answer = in_process.post(path, content=body)
        assert answer.status_code in (200, 413, 422), answer.text
        if answer.status_code != 200:
            assert list(answer.json()) == ["error"]
            assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("path", ["/classify", "/article", "/events"])
@pytest.mark.parametrize(
    "body",
    [
        '"SECRET"', '["SECRET"]', '{"SECRET": 1}', '{"text": ["SECRET"]}', '{"text": "x", "SECRET": "SECRET"}', '{"text": "SECRET',
        '{"text": "x", "abstain": "SECRET"}', '{"text": "x", "date": "SECRET"}', '{"segments": "SECRET"}',
        '{"segments": [{"text": {"SECRET": "SECRET"}}]}', '{"segments": [{"text": "x", "id": ["SECRET"]}]}',
        f'{{"text": "{"SECRET" * 10}"}}',
    ],
)  # fmt: skip
def test_no_refusal_repeats_what_was_sent(in_process: TestClient, path: str, body: str) -> None:
    """Neither a text nor a key: the message names only known fields and what they accept."""
    answer = in_process.post(path, content=body)
    assert answer.status_code in (413, 422)
    assert list(answer.json()) == ["error"]
    assert "SECRET" not in answer.text


def test_the_description_of_the_interface_holds(server: Served) -> None:
    """Schemathesis sends what OpenAPI allows, and what it does not: there is no 500, and answers
    match their description.
    """
    schemathesis = pytest.importorskip("schemathesis", reason="it is in the extra dev")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(deadline=None, max_examples=8, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
            case.call_and_validate(headers={"X-API-Key": KEY}, checks=checks, timeout=PATIENCE)

        ask()
    assert asked > 40
