"""Encoders and corpora loaded by hub name from a local server that behaves like the hub, with the
real client libraries.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import write_corpus
from haltung.tracking import Store
from hub_repositories import GBERT_SENTENCES, gnad10_rows, write_gbert, write_gnad10, write_x_stance, x_stance_rows
from hub_server import Hub, Repository, serve

pytestmark = pytest.mark.slow

GBERT = "deepset/gbert-base"

# Each runs in its own process, since HF_ENDPOINT and HF_HOME are read at import. `shown` returns
# the message that a user gets.
_BEGIN = """
import json, os, sys
from pathlib import Path
import numpy as np
from haltung import hub, labels
from haltung.corpus.readers.published import Gnad10
from haltung.corpus.readers.xstance import XStance
from haltung.encoders.load import Encoder, load
from haltung.errors import UserError

def shown(action):
    try:
        action()
    except UserError as error:
        return str(error)

def hidden(model, tokenizer):
    import torch
    sentences = json.loads(sys.argv[2])
    with torch.inference_mode():
        return model.eval()(**tokenizer(sentences, padding=True, return_tensors="pt")).last_hidden_state.numpy()

out, schemes = Path(sys.argv[1]), Path(sys.argv[3])
def scheme(name): return labels.load(schemes / f"{name}.yaml")
def gbert(path="deepset/gbert-base", **more): return Encoder("gbert_base", "hub", path, **more)
"""

_ENCODER = """
from transformers import AutoModel, AutoTokenizer
np.save(out / "ours.npy", hidden(*load(gbert())))
np.save(out / "theirs.npy", hidden(AutoModel.from_pretrained(gbert().path), AutoTokenizer.from_pretrained(gbert().path)))
report = {
    "missing": shown(lambda: load(gbert("deepset/gbert-bass"))),
    "revision": shown(lambda: load(gbert(revision="v9"))),
    "malformed": shown(lambda: load(gbert("deepset/gbert base"))),
}
from haltung.models import compact, neural
from haltung.models.spec import NetworkSpec
report["commit"] = neural.pretrained(gbert(), NetworkSpec(max_length=32))[0].revision
report["moving"] = neural.pretrained(gbert("ours/encoder"), NetworkSpec(max_length=32))[0].revision
report["moving model"] = compact.find("hub:ours/model").name
os.chdir(out)
from command_line import CORPUS
from haltung.cli import main
words = ("encoder=gbert_base", "encoder.path=ours/trained", "model=few_shot", "model.max_length=32", "name=few")
report["reproduced"] = [main(["train", *CORPUS, *words]), main(["reproduce", "run=few-42"])]
os.environ[hub.LIMIT] = "1e-4"  # 100 kB
report["large"] = shown(lambda: load(gbert("deepset/gbert-huge")))
report["large model"] = shown(lambda: compact.find("hub:deepset/gbert-huge"))
os.environ[hub.LIMIT] = "many"
report["limit"] = shown(lambda: load(gbert()))
"""

_OFFLINE = """
np.save(out / "ours.npy", hidden(*load(gbert())))
from haltung.models import compact
report = {"not cached": shown(lambda: load(gbert("deepset/gbert-large"))), "model": compact.find("hub:ours/model").name}
"""

_CORPORA = """
import datasets
def segments(reader, name):
    return [[s.split, s.text, s.target, dict(s.labels)] for s in reader.read(scheme(name)).segments]
# First, since datasets falls back to what it has in its cache of the same name, whatever the revision.
script = shown(lambda: XStance(hub="ZurichNLP/x_stance", revision="main").read(scheme("xstance")))
report = {
    "script": script,
    "moving": segments(Gnad10(hub="ours/corpus"), "gnad10"),
    "gnad10": segments(Gnad10(hub="community-datasets/gnad10"), "gnad10"),
    "x_stance": segments(XStance(hub="ZurichNLP/x_stance", test_set="all"), "xstance"),
    "missing": shown(lambda: XStance(hub="ZurichNLP/x_stanze").read(scheme("xstance"))),
    "malformed": shown(lambda: Gnad10(hub="community datasets/gnad10").read(scheme("gnad10"))),
}
os.environ[hub.LIMIT] = "1e-9"  # a byte
report["large"] = shown(lambda: Gnad10(hub="ours/gnad10").read(scheme("gnad10")))
"""

_UNREACHABLE_ENCODER = 'report = {"encoder": shown(lambda: load(gbert()))}'
_UNREACHABLE_CORPUS = 'report = {"corpus": shown(lambda: Gnad10(hub="community-datasets/gnad10").read(scheme("gnad10")))}'


class Client:
    """A process with a hub, a cache and an output folder."""

    def __init__(self, program: str, root: Path, out: Path, environment: dict[str, str]) -> None:
        arguments = [str(out), json.dumps(GBERT_SENTENCES), str(root / "configs" / "labels")]
        end = "\n(out / 'report.json').write_text(json.dumps(report))"
        self.out = out
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN + program + end, *arguments],
            env={**environment, "PYTHONPATH": f"{root / 'src'}:{root / 'tests'}", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def report(self) -> dict[str, Any]:
        """Wait for the process to end, and return its report."""
        if not self._process.stdout.closed:
            printed, _ = self._process.communicate()
            assert self._process.returncode == 0, printed
        return json.loads((self.out / "report.json").read_text())

    def stop(self) -> None:
        """Kill the process if nothing has waited for it."""
        if not self._process.stdout.closed:
            self._process.kill()
            self._process.communicate()


@pytest.fixture(scope="module")
def gbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder served as deepset/gbert-base."""
    return write_gbert(tmp_path_factory.mktemp("gbert"))


@pytest.fixture(scope="module")
def hub(gbert: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with encoders and corpora; the branches of some move while they are downloaded."""
    huge, own = write_gbert(tmp_path_factory.mktemp("huge"), seed=8), write_gnad10(tmp_path_factory.mktemp("ours"))
    with serve(
        Repository("models", GBERT, {"main": gbert}),
        Repository("models", "deepset/gbert-huge", {"main": huge}),
        Repository("datasets", "ZurichNLP/x_stance", write_x_stance(tmp_path_factory.mktemp("x_stance"))),
        Repository("datasets", "community-datasets/gnad10", write_gnad10(tmp_path_factory.mktemp("gnad10"))),
        Repository("datasets", "ours/gnad10", own),
        Repository("models", "ours/encoder", {"main": huge, "next": gbert}),
        Repository("models", "ours/model", {"main": huge, "next": gbert}),
        Repository("models", "ours/trained", {"main": huge, "next": gbert}),
        Repository("datasets", "ours/corpus", {**own, "next": own["main"]}),
    ) as running:
        running.moving.update({"ours/encoder", "ours/model", "ours/trained", "ours/corpus"})
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty cache of the hub's client."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def encoder(hub: Hub, home: Path, root: Path, new_store: Callable[[Path], Store], tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A process that has loaded encoders, and trained a model twice."""
    new_store(folder := tmp_path_factory.mktemp("out"))
    write_corpus(folder, 40)
    client = Client(_ENCODER, root, folder, hub.environment(home))
    client.report()
    return client


@pytest.fixture(scope="module")
def corpora(hub: Hub, home: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a process that reads corpora."""
    return Client(_CORPORA, root, tmp_path_factory.mktemp("out"), hub.environment(home)).report()


@pytest.fixture(scope="module", autouse=True)
def waiting(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[Client]]]:
    """An address without a hub, and the processes that request it.

    They try six times, which takes half a minute; started first, they wait while other tests run.
    """
    with serve() as gone:
        pass
    environment = gone.environment(tmp_path_factory.mktemp("empty"))
    programs = (_UNREACHABLE_ENCODER, _UNREACHABLE_CORPUS)
    clients = [Client(program, root, tmp_path_factory.mktemp("out"), environment) for program in programs]
    yield gone.url, clients
    for client in clients:
        client.stop()


@pytest.fixture(scope="module")
def unreachable(waiting: tuple[str, list[Client]]) -> dict[str, Any]:
    """The messages for an unreachable hub."""
    address, clients = waiting
    return {"address": address, **clients[0].report(), **clients[1].report()}


@pytest.fixture(scope="module")
def expected(gbert: Path) -> np.ndarray:
    """The hidden states of that folder, computed with transformers alone."""
    import torch
    from transformers import BertModel, BertTokenizer

    inputs = BertTokenizer.from_pretrained(gbert)(GBERT_SENTENCES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return BertModel.from_pretrained(gbert, add_pooling_layer=False).eval()(**inputs).last_hidden_state.numpy()


def test_an_encoder_by_its_hub_name_is_the_one_the_hub_has(encoder: Client, expected: np.ndarray) -> None:
    """The hidden states equal those of the served folder."""
    np.testing.assert_allclose(np.load(encoder.out / "ours.npy"), expected, rtol=0, atol=1e-6)


def test_our_loading_changes_nothing_of_what_transformers_loads(encoder: Client) -> None:
    """Without pooler and attention dropout, the hidden states are the same."""
    np.testing.assert_allclose(np.load(encoder.out / "ours.npy"), np.load(encoder.out / "theirs.npy"), rtol=0, atol=1e-6)


def test_weights_are_fetched_from_the_hub_once(encoder: Client, hub: Hub, gbert: Path) -> None:
    """Once for both ways of loading, through the hub's redirect for large files."""
    fetched = hashlib.sha256((gbert / "model.safetensors").read_bytes()).hexdigest()
    assert hub.requests.count(f"GET /blobs/{fetched}") == 1


def test_a_fetched_encoder_needs_the_hub_no_more(
    encoder: Client, hub: Hub, home: Path, root: Path, tmp_path: Path, expected: np.ndarray
) -> None:
    """With ``HF_HUB_OFFLINE=1``, encoder and model come from the cache without any request; a
    missing one is reported at once.
    """
    before = len(hub.requests)
    client = Client(_OFFLINE, root, tmp_path, {**hub.environment(home), "HF_HUB_OFFLINE": "1"})
    report = client.report()
    np.testing.assert_allclose(np.load(tmp_path / "ours.npy"), expected, rtol=0, atol=1e-6)
    assert len(hub.requests) == before
    assert "deepset/gbert-large" in report["not cached"]
    assert report["model"] == encoder.report()["moving model"]


def test_a_branch_is_recorded_as_the_commit_that_it_was(encoder: Client, hub: Hub) -> None:
    """A bundle states which encoder it started from, even if the branch changes later."""
    assert encoder.report()["commit"] == hub.find("models", GBERT).commit("main")


def test_a_run_is_reproduced_with_the_commit_that_its_encoder_was(encoder: Client, hub: Hub) -> None:
    """Although the branch has moved to other weights; an exit code of 0 means equal weights."""
    assert encoder.report()["reproduced"] == [0, 0]
    assert "ours/trained" in hub.moved


@pytest.mark.parametrize(("kind", "name"), [("models", "ours/encoder"), ("models", "ours/model"), ("datasets", "ours/corpus")])
def test_what_is_fetched_is_the_commit_whose_size_was_counted(
    encoder: Client, corpora: dict[str, Any], hub: Hub, kind: str, name: str
) -> None:
    """Although the branch has moved in between."""
    commit = hub.find(kind, name).commit("main")
    asked = [request for request in hub.requests if f"{name}/resolve/" in request]
    assert name in hub.moved
    assert len(asked) > 2
    assert all(f"/resolve/{commit}/" in request for request in asked)
    assert encoder.report()["moving"] == hub.find("models", "ours/encoder").commit("main")
    assert len(corpora["moving"]) == 2 * len(gnad10_rows("train"))


@pytest.mark.parametrize("case", ["large", "large model"])
def test_a_repository_that_is_too_large_is_refused_before_it_is_fetched(encoder: Client, hub: Hub, case: str) -> None:
    """The message has size, limit and the variable that raises it; no file was requested."""
    assert re.fullmatch(
        r"deepset/gbert-huge has 0\.00\d+ GB on the hub, the limit is 0\.0001; choose another model, or set HALTUNG_HUB_GB=1",
        encoder.report()[case],
    )
    address, commit = "GET /api/models/deepset/gbert-huge/revision", hub.find("models", "deepset/gbert-huge").commit("main")
    assert {request for request in hub.requests if "gbert-huge" in request} == {f"{address}/main", f"{address}/{commit}"}


def test_a_data_set_that_is_too_large_is_refused_before_it_is_fetched(corpora: dict[str, Any], hub: Hub) -> None:
    """As for an encoder."""
    assert re.match(
        r"ours/gnad10 has \S+ GB on the hub, the limit is 1e-09; choose another dataset, or set HALTUNG_HUB_GB=1", corpora["large"]
    )
    address, commit = "GET /api/datasets/ours/gnad10", hub.find("datasets", "ours/gnad10").commit("main")
    assert {request for request in hub.requests if "ours/gnad10" in request} == {address, f"{address}/revision/{commit}"}


def test_a_limit_that_is_no_number_is_named(encoder: Client) -> None:
    """The message says what is expected."""
    assert encoder.report()["limit"] == "HALTUNG_HUB_GB is 'many', expected a number of gigabytes, as in HALTUNG_HUB_GB=20"


def test_the_umlauts_of_a_wordpiece_vocabulary_stay(gbert: Path) -> None:
    """The ``vocab.txt`` of gbert has umlauts; a tokenizer that removes them would find none of
    these words.
    """
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(gbert).tokenize("Österreich begrüßt Küste") == ["Österreich", "begrüßt", "Küste"]


@pytest.mark.parametrize("case", ["missing", "revision", "malformed"])
def test_an_encoder_that_the_hub_lacks_is_named_with_the_ways_out(encoder: Client, hub: Hub, case: str) -> None:
    """In one sentence with the encoder, its hub name, the hub's address, and a local folder or the
    embedded encoder as alternatives.
    """
    text = encoder.report()[case]
    path = {"missing": "deepset/gbert-bass", "revision": GBERT, "malformed": "deepset/gbert base"}[case]
    assert f"'gbert_base' ({path}, revision {'v9' if case == 'revision' else 'main'})" in text
    assert hub.url in text
    assert "encoder=local encoder.path=FOLDER" in text
    assert "encoder=e5_small_de" in text
    assert "\n" not in text


def test_10kgnad_is_read_from_the_hub_with_its_splits_and_sections(corpora: dict[str, Any]) -> None:
    """Class numbers become names of sections."""
    names = ["Web", "Panorama", "International", "Wirtschaft", "Sport", "Inland", "Etat", "Wissenschaft", "Kultur"]
    rows = [[split, row["text"], "", {"section": names[row["label"]]}] for split in ("train", "test") for row in gnad10_rows(split)]
    assert sorted(rows, key=str) == sorted(corpora["gnad10"], key=str)


def test_x_stance_is_read_from_the_hubs_parquet_in_german_alone(corpora: dict[str, Any]) -> None:
    """The question is the target, ``validation`` becomes dev, and French comments are omitted."""
    rows = [
        ["dev" if split == "validation" else split, row["comment"], row["question"], {"topic": row["topic"], "stance": row["label"]}]
        for split in ("train", "validation", "test")
        for row in x_stance_rows(split)
        if row["language"] == "de"
    ]
    assert sorted(rows, key=str) == sorted(corpora["x_stance"], key=str)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("script", "ZurichNLP/x_stance .*Dataset scripts are no longer supported, but found x_stance.py"),
        ("missing", "ZurichNLP/x_stanze .*doesn't exist on the Hub or cannot be accessed"),
        ("malformed", "community datasets/gnad10 .*Repo id must use alphanumeric chars"),
    ],
)
def test_a_corpus_that_the_hub_lacks_is_reported(corpora: dict[str, Any], case: str, reason: str) -> None:
    """One sentence says why, and what to do instead."""
    assert re.search(reason, corpora[case])
    assert "local files" in corpora[case]
    assert "\n" not in corpora[case]


@pytest.mark.slow
def test_an_unreachable_hub_is_named_with_the_encoder_and_the_ways_out(unreachable: dict[str, Any]) -> None:
    """The message names the address, and an encoder that needs no hub."""
    assert f"could not be loaded from the hub {unreachable['address']}: We couldn't connect to" in unreachable["encoder"]
    assert "encoder=e5_small_de, which needs no hub" in unreachable["encoder"]


@pytest.mark.slow
def test_an_unreachable_hub_is_named_with_the_corpus_and_the_ways_out(unreachable: dict[str, Any]) -> None:
    """The message names local files as an alternative."""
    assert "community-datasets/gnad10 could not be loaded from the hub" in unreachable["corpus"]
    assert "local files" in unreachable["corpus"]
