"""The Open Inference Protocol, as JSON and with the official client, whose tensors are bytes."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import exported
from haltung.inference.client import Classifier
from served import Served, served

TEXTS = ["Peru lobt den Zoll in Malta .", "Ghana warnt das Heer in Chile .", "Größe – „Zitat“ 😀"]
CONTEXTS = ["Nepal", "", "Laos Malta"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported bundle with a task of each kind."""
    scheme = {
        "name": "both",
        "tasks": {
            "tone": {"kind": "single", "labels": {name: {"de": name, "en": name} for name in ("calm", "loud")}},
            "themes": {"kind": "multi", "labels": {name: {"de": name, "en": name} for name in ("energy", "trade", "arms")}},
        },
    }
    return exported.write(tmp_path_factory.mktemp("protocol") / "bundle", scheme)


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of it."""
    with served(bundle, tmp_path_factory.mktemp("server"), "texts=20", "characters=500") as running:
        yield running


@pytest.fixture
def client(server: Served) -> Iterator[httpx.Client]:
    """Somebody who asks in JSON."""
    with server.client() as one:
        yield one


@pytest.fixture(scope="module")
def expected(bundle: Path) -> dict[str, np.ndarray]:
    """What the client with the bundle itself says."""
    return Classifier(bundle).probabilities([{"text": text, "context": before} for text, before in zip(TEXTS, CONTEXTS, strict=True)])


def _tensor(name: str, texts: list[str], **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(texts)], "datatype": "BYTES", "data": texts, **more}


def test_the_server_tells_what_it_is(client: httpx.Client) -> None:
    """Metadata and health, as the protocol names them."""
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/haltung/ready").json() == {"name": "haltung", "ready": True}


def test_the_model_tells_its_tensors(client: httpx.Client) -> None:
    """Inputs, and for each task its labels and its probabilities, whose columns are named."""
    described = client.get("/v2/models/haltung/versions/1").json()
    assert [tensor["name"] for tensor in described["inputs"]] == ["text", "context", "target"]
    shapes = {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in described["outputs"]}
    assert shapes == {
        "tone": ("BYTES", [-1]), "tone.probabilities": ("FP32", [-1, 2]),
        "themes": ("BYTES", [-1]), "themes.probabilities": ("FP32", [-1, 3]),
    }  # fmt: skip
    assert json.loads(described["outputs"][3]["parameters"]["labels"]) == ["energy", "trade", "arms"]


def test_texts_as_json_get_their_tensors_as_json(client: httpx.Client, expected: dict[str, np.ndarray]) -> None:
    """All outputs come where none is asked for."""
    body = {"id": "r1", "inputs": [_tensor("text", TEXTS), _tensor("context", CONTEXTS)]}
    answer = client.post("/v2/models/haltung/infer", json=body).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("haltung", "1", "r1")
    outputs = {output["name"]: output for output in answer["outputs"]}
    for task, values in expected.items():
        found = outputs[f"{task}.probabilities"]
        np.testing.assert_allclose(np.reshape(found["data"], found["shape"]), values, atol=1e-5)
    assert outputs["tone"]["data"] == [["calm", "loud"][row] for row in expected["tone"].argmax(axis=1)]
    several = [[name for name, value in zip(("energy", "trade", "arms"), row, strict=True) if value >= 0.5] for row in expected["themes"]]
    assert [json.loads(one) for one in outputs["themes"]["data"]] == several


def test_the_official_client_gets_the_same(server: Served, expected: dict[str, np.ndarray]) -> None:
    """Tritonclient sends and wants bytes behind the JSON, by default."""
    http = pytest.importorskip("tritonclient.http", reason="the official client is in the extra dev")
    with http.InferenceServerClient(server.address.removeprefix("http://"), network_timeout=120, connection_timeout=120) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("haltung")
        assert client.get_model_metadata("haltung")["platform"] == "onnx_onnxruntime"
        inputs = []
        for name, texts in (("text", TEXTS), ("context", CONTEXTS)):
            tensor = http.InferInput(name, [len(texts)], "BYTES")
            tensor.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=np.object_))
            inputs.append(tensor)
        found = client.infer("haltung", inputs)
        for task, values in expected.items():
            np.testing.assert_allclose(found.as_numpy(f"{task}.probabilities"), values, atol=1e-5)
        assert [label.decode() for label in found.as_numpy("tone")] == [["calm", "loud"][row] for row in expected["tone"].argmax(axis=1)]
        wanted = [http.InferRequestedOutput("tone", binary_data=False), http.InferRequestedOutput("tone.probabilities", binary_data=True)]
        both = client.infer("haltung", inputs, outputs=wanted, model_version="1", request_id="r2")
        assert [output["name"] for output in both.get_response()["outputs"]] == ["tone", "tone.probabilities"]
        np.testing.assert_allclose(both.as_numpy("tone.probabilities"), expected["tone"], atol=1e-5)


def test_the_official_client_is_told_a_mistake(server: Served) -> None:
    """Its exception has our sentence."""
    http = pytest.importorskip("tritonclient.http", reason="the official client is in the extra dev")
    with http.InferenceServerClient(server.address.removeprefix("http://"), network_timeout=120, connection_timeout=120) as client:
        tensor = http.InferInput("text", [1], "FP32")
        tensor.set_data_from_numpy(np.zeros(1, np.float32))
        with pytest.raises(http.InferenceServerException, match=r"inputs\[0\].datatype .*'BYTES'"):
            client.infer("haltung", [tensor])
        with pytest.raises(http.InferenceServerException, match="this server has the model 'haltung' in version 1"):
            client.get_model_metadata("another")


def test_no_texts_get_no_rows(client: httpx.Client) -> None:
    """A tensor of no rows is a tensor."""
    outputs = client.post("/v2/models/haltung/infer", json={"inputs": [_tensor("text", [])]}).json()["outputs"]
    assert [output["shape"] for output in outputs] == [[0], [0, 2], [0], [0, 3]]


def test_a_column_of_texts_is_read_too(client: httpx.Client) -> None:
    """Some clients send ``[n, 1]``, nested or flat."""
    for data in (TEXTS, [[text] for text in TEXTS]):
        body = {"inputs": [{"name": "text", "shape": [3, 1], "datatype": "BYTES", "data": data}]}
        assert client.post("/v2/models/haltung/infer", json=body).json()["outputs"][0]["shape"] == [3]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "the body is a list; expected an object such as"),
        ({}, "the body has no 'inputs'"),
        ({"inputs": [5]}, r"inputs\[0\] is a number; expected an object"),
        ({"inputs": []}, "no input 'text'"),
        ({"id": 5, "inputs": []}, "id is a number; expected text"),
        ({"inputs": [_tensor("txt", ["x"])]}, r"inputs\[0\].name .*'text', 'context' or 'target'"),
        ({"inputs": [_tensor("text", ["x"])] * 2}, r"inputs\[1\] is a second 'text'"),
        ({"inputs": [_tensor("text", ["x"], datatype="FP32")]}, r"inputs\[0\].datatype .*'BYTES'"),
        ({"inputs": [_tensor("text", ["x"], shape=[2])]}, r"inputs\[0\] has 1 texts, its shape says 2"),
        ({"inputs": [_tensor("text", ["x"], shape=[1, 1, 1])]}, r"inputs\[0\].shape is neither \[n\] nor \[n, 1\]"),
        ({"inputs": [_tensor("text", ["x"], shape=[True])]}, r"inputs\[0\].shape\[0\] is true or false; expected a whole number"),
        ({"inputs": [_tensor("text", ["x"], shape=[-1])]}, r"inputs\[0\].shape\[0\] .*greater than or equal to 0"),
        ({"inputs": [_tensor("text", ["x"], data=[5])]}, r"inputs\[0\].data\[0\] is a number; expected text"),
        ({"inputs": [_tensor("text", ["x"], data="x")]}, r"inputs\[0\].data is text; expected a list"),
        ({"inputs": [_tensor("text", ["x"], data=None)]}, r"inputs\[0\] has neither 'data' nor a binary_data_size"),
        ({"inputs": [_tensor("text", ["x"], parameters={"binary_data_size": 5})]}, "binary_data_size that does not fit"),
        ({"inputs": [_tensor("text", ["x"]), _tensor("context", [])]}, "'context' has 0 texts and 'text' has 1"),
        ({"inputs": [_tensor("text", ["x"])], "outputs": [{"name": "tune"}]}, r"outputs\[0\] .* allowed are tone"),
        ({"inputs": [_tensor("text", ["x"])], "outputs": "tone"}, "outputs is text; expected a list"),
        ({"inputs": [_tensor("text", ["x"])], "outputs": [{"name": "tone", "parameters": {"classification": 1}}]}, "classification"),
        ({"inputs": [_tensor("text", ["x"])], "parameters": {"binary_data_output": 1}}, "binary_data_output is a number"),
        ({"inputs": [_tensor("text", ["x"])], "parameters": [1]}, "parameters is a list; expected an object"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_mistake_is_refused_as_the_protocol_has_it(client: httpx.Client, body: Any, words: str) -> None:
    """Status 400 and ``{"error": …}``."""
    answer = client.post("/v2/models/haltung/infer", json=body)
    assert answer.status_code == 400
    assert re.search(words, answer.json()["error"]), answer.json()


@pytest.mark.parametrize(
    ("raw", "size", "length", "sentence"),
    [
        (struct.pack("<I", 9) + b"Peru", 8, None, "the bytes of inputs[0] end within a text"),
        (b"\x01\x00", 2, None, "the bytes of inputs[0] end within a text"),
        (struct.pack("<I", 2) + b"\xff\xff", 6, None, "text 0 of inputs[0] is not UTF-8"),
        (struct.pack("<I", 4) + b"Peru!", 8, None, "the last 1 bytes belong to no tensor"),
        (struct.pack("<I", 4) + b"Peru", 9, None, "binary_data_size that does not fit the body"),
        (b"", 0, "100000", "is no length that fits the body"),
        (b"", 0, "-5", "is no length that fits the body"),
        (b"", 0, "²", "is no length that fits the body"),
    ],
)
def test_broken_bytes_are_refused(client: httpx.Client, raw: bytes, size: int, length: str | None, sentence: str) -> None:
    """Lengths that do not add up, and text that is none."""
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {b"inference-header-content-length": (length or str(len(head))).encode()}
    answer = client.post("/v2/models/haltung/infer", content=head + raw, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, sentence in answer.json()["error"]) == (400, True), answer.json()


def test_too_much_is_refused_here_too(client: httpx.Client) -> None:
    """The limits are those of ``/classify``."""
    many = client.post("/v2/models/haltung/infer", json={"inputs": [_tensor("text", ["x"] * 21)]})
    long = client.post("/v2/models/haltung/infer", json={"inputs": [_tensor("text", ["x", "y" * 501])]})
    assert (many.status_code, long.status_code) == (413, 413)
    assert long.json()["error"].startswith("text 1 has 501 characters")


def test_the_description_of_a_route_has_the_parameters_of_its_path_alone(client: httpx.Client) -> None:
    """Where a path names no version, there is none to be given behind a question mark."""
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for operation in operations.values():
            if path.startswith("/v2"):
                named = [(one["name"], one["in"]) for one in operation.get("parameters", [])]
                assert named == [(name, "path") for name in re.findall(r"{(\w+)}", path)]
    assert client.get("/v2/models/haltung?version=2").status_code == 200
