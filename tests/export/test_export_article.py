"""A model of articles as a bundle: its graphs give the trained model's answers for sentences and
actors, whatever the batch.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tiny
from haltung.actors.finder import Actors
from haltung.errors import UserError
from haltung.evaluation.error_analysis.analysis import Mistake
from haltung.experiments.explain import explained
from haltung.export import golden
from haltung.export import verify as verification
from haltung.export import write as writing
from haltung.export.formats import largest_difference, sides
from haltung.export.graphs import neural as graphs
from haltung.export.write import ExportResult, ReferenceSplit
from haltung.inference import client as standalone
from haltung.inference.client import BundleError, Classifier, Run
from haltung.inference.sessions import Feeds, Graph
from haltung.labels import parse
from haltung.models import bundle
from haltung.models.article import ArticleModel, build
from haltung.models.predictor import Calibration, tables
from haltung.models.spec import ArticleSpec
from haltung.records import Prediction, Segment

pytestmark = pytest.mark.slow  # tracing even a small network for ONNX is slow

RUNTIMES = ("onnxruntime", "openvino")


def _model(bert: Path, **changes: Any) -> ArticleModel:
    model = tiny.article_model(bert, window=6, reads={"default": "target"}, **changes)
    model.calibration = Calibration({"stance": 1.6})
    return model


def _exported(model: ArticleModel, folder: Path, wanted: Sequence[str] = ()) -> ExportResult:
    return writing.export(model, folder, ReferenceSplit("tiny", "dev", tiny.articles(20, seed=7)), {"run": "r1"}, wanted)


def _mixed() -> list[Segment]:
    """Return shuffled sentences of articles of 1 to 20, partly without headline, and lone ones."""
    rows = [row for number, size in enumerate((5, 1, 20, 7, 3)) for row in tiny.articles(1, seed=number, size=size)]
    rows = [replace(row, text=" ".join(row.text.split() * (1 + number * 5 % 6))) for number, row in enumerate(rows)]
    rows = [replace(row, target="Peru", headline="" if row.article.startswith("a3") else row.headline) for row in rows]
    rows += [*tiny.segments(5, seed=9), Segment("bare", "Chile warnt Peru ."), Segment("empty", "")]
    return random.Random(3).sample(rows, len(rows))


def _given(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    names = ("id", "text", "context", "target", "article", "position", "headline")
    return [{name: getattr(one, name) for name in names} for one in segments]


@pytest.fixture(scope="module")
def model(bert: Path) -> ArticleModel:
    """A model of articles that finds dyads."""
    return _model(bert, dyads=True)


@pytest.fixture(scope="module")
def result(model: ArticleModel, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """The result of its export, with fp16 and int8."""
    return _exported(model, tmp_path_factory.mktemp("article") / "bundle", ("fp16", "int8"))


@pytest.fixture(scope="module")
def folder(result: ExportResult) -> Path:
    """The exported bundle."""
    assert result.folder is not None, result.refused
    return result.folder


@pytest.fixture
def traced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the graph of sentences instead of tracing it, since the same model is exported again."""
    save = graphs.save

    def copied(module: Any, *words: Any) -> None:
        path = Path(words[-1])
        if path.name == "actors.onnx":
            save(module, *words)
        else:
            shutil.copy(folder / "onnx" / path.name, path)

    monkeypatch.setattr(graphs, "save", copied)


def _graph(folder: Path, runtime: str = "onnxruntime") -> bundle.ExportedModel:
    return bundle.ExportedModel(folder, Graph(runtime, "fp32", folder / "onnx/model.fp32.onnx", 1))


def _same(found: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
    """Compare ids, the codes and spans of actors, and the probabilities of sides and tasks."""
    assert [one.id for one in found] == [one.id for one in expected]
    assert [[(a.code, a.spans) for a in one.actors] for one in found] == [[(a.code, a.spans) for a in one.actors] for one in expected]
    one, other = sides(found), sides(expected)
    assert max(float(np.abs(one[side] - other[side]).max()) for side in one) < 1e-4
    scheme = tiny.scheme()
    values = (tables([one.probabilities for one in rows], scheme) for rows in (found, expected))
    assert largest_difference(*values) < 1e-5


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_graphs_answer_as_the_model(model: ArticleModel, folder: Path, runtime: str) -> None:
    """Tasks with temperatures, and sides of dyads, also in articles longer than the window."""
    rows, exported = _mixed(), _graph(folder, runtime)
    expected = model.predict(rows, precision="fp32")
    assert sum(len(one.actors) > 2 for one in expected) > 20
    _same(exported.predict(rows), expected)
    probabilities = exported.probabilities(rows)
    assert largest_difference(probabilities, model.probabilities(rows, precision="fp32")) < 1e-5


def test_openvino_meets_few_sizes(folder: Path) -> None:
    """It caches code compiled for each size, so batches are padded; ONNX Runtime pads nothing."""
    sizes: dict[str, list[tuple[int, ...]]] = {}
    for runtime in RUNTIMES:
        exported, seen = _graph(folder, runtime), sizes.setdefault(runtime, [])

        def noted(run: Run, seen: list[tuple[int, ...]] = seen) -> Run:
            def noting(feeds: Feeds, *asked: Sequence[str]) -> dict[str, np.ndarray]:
                sentences, articles, candidates = (len(feeds.get(name, ())) for name in ("place", "kind", "mentions"))
                seen.append((sentences or len(feeds["sentences"]), articles, candidates))
                return run(feeds, *asked)

            return noting

        exported._run, exported._score_actors = noted(exported._run), noted(exported._score_actors)
        for count in range(1, 12):
            exported.predict(_mixed()[:count])
    fewer, all_of = set(sizes["openvino"]), set(sizes["onnxruntime"])
    assert len(all_of) == 22
    assert {sentences % 8 for sentences, _, _ in fewer} == {candidates % 8 for _, _, candidates in fewer} == {0}
    assert {articles for _, articles, _ in fewer} <= {0, 2, 4, 8, 16}
    assert len(fewer) <= len(all_of) / 2


def test_the_graph_names_the_words_of_a_mistake_as_the_model_does(model: ArticleModel, folder: Path) -> None:
    """Together with its surroundings; an error analysis thus needs no torch."""
    rows = tiny.articles(1)
    own = rows[2]
    mistake = Mistake("stance", own.id, own.article, ("neutral",), ("warning",), "warning", 0.9, 0.1, own.text, "", "")
    ((found,), (expected,)) = (explained(one, rows, [mistake]) for one in (_graph(folder), model))
    assert found.surroundings == expected.surroundings
    assert [word.weight for word in found.words] == pytest.approx([word.weight for word in expected.words], abs=0.01)


def test_actors_are_sought_for_true_stances_where_they_are_given(model: ArticleModel, folder: Path) -> None:
    """The trained model does the same."""
    rows, exported = _mixed(), _graph(folder)
    assert exported.finds_dyads
    stances = [("warning", "support")[number % 2] for number in range(len(rows))]
    found = exported.predict(rows, stances=stances)
    _same(found, model.predict(rows, stances=stances, precision="fp32"))
    own = sides(exported.predict(rows))
    assert max(float(np.abs(values - own[side]).max()) for side, values in sides(found).items()) > 0.05


def test_other_tables_of_actors_can_be_set(folder: Path, tmp_path: Path) -> None:
    """Names in the user's own tables are then found."""
    (tmp_path / "groups.csv").write_text("name,code\nZollbund,DEU-REB\n", encoding="utf-8")
    exported, rows = _graph(folder), [Segment("1", "Chile lobt den Zollbund .")]
    assert "DEU-REB" not in {one.code for one in exported.predict(rows)[0].actors}
    exported.actors = Actors.load(extra=tmp_path)
    assert "DEU-REB" in {one.code for one in exported.predict(rows)[0].actors}


def test_the_client_answers_as_the_model(model: ArticleModel, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the segments, in one batch or in several."""
    rows, classifier = _mixed(), Classifier(folder)
    expected = model.probabilities(rows, precision="fp32")
    for tokens in (4096, 60):
        monkeypatch.setattr(Classifier.batches, "__defaults__", (tokens, 0.0))
        assert largest_difference(classifier.probabilities(_given(rows), empty=True), expected) < 1e-5
    found = classifier.classify([row for row in _given(rows) if row["text"]])
    assert [row["id"] for row in found] == [row.id for row in rows if row.text]


def test_neighbours_count_and_other_articles_do_not(folder: Path) -> None:
    """Otherwise tests could not detect a client that mixes up articles."""
    classifier, rows = Classifier(folder), tiny.articles(2, size=3)
    whole, alone, first = (
        np.hstack([*classifier.probabilities(given).values()])
        for given in (_given(rows), [{"text": row.text} for row in rows], _given(rows[:3]))
    )
    assert np.abs(whole - alone).max() > 1e-2
    assert np.abs(whole[:3] - first).max() < 1e-5


@pytest.mark.parametrize(
    ("segment", "sentence"),
    [
        ({"article": 5}, "the article of row 1 is not text but int: 5"),
        ({"headline": ["Zoll"]}, r"the headline of row 1 is not text but list: \['Zoll'\]"),
        ({"article": "a", "position": "3"}, "the position of row 1 is not a whole number but str: '3'"),
        ({"article": "a", "position": 1.5}, "the position of row 1 is not a whole number but float: 1.5"),
        ({"article": "a", "position": True}, "the position of row 1 is not a whole number but bool: True"),
    ],
)
def test_a_wrong_place_in_an_article_is_one_sentence(folder: Path, segment: dict[str, Any], sentence: str) -> None:
    """The message names the row."""
    with pytest.raises(BundleError, match=f"^{sentence}$"):
        Classifier(folder, format=None).classify([{"text": "Ja", **segment}])


def test_sentences_are_packed_with_little_padding(folder: Path) -> None:
    """Each is contiguous, with positions of its own; no row is wider than necessary."""
    classifier = Classifier(folder, format=None)
    rows = [{"text": "Chile warnt Peru . " * size, "article": "a", "position": size} for size in range(6)]
    ((numbers, feeds),) = classifier.batches([*rows, {"text": "Ja .", "context": "Nein ."}])
    assert numbers == [0, 1, 2, 3, 4, 5, None, 6]
    assert feeds["kind"].tolist() == [[1, 1, 1, 1, 1, 1], [0, 1, -1, -1, -1, -1]]
    assert feeds["place"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    lengths = [int((feeds["sentence"] == number).sum()) for number in range(8)]
    assert lengths[0] == 2
    assert sum(lengths) / feeds["input_ids"].size > 0.8
    for number, length in enumerate(lengths):
        row, column = np.argwhere(feeds["sentence"] == number)[0]
        assert (feeds["sentence"][row, column : column + length] == number).all()
        assert feeds["positions"][row, column : column + length].tolist() == list(range(length))


def test_inputs_and_outputs_are_named_as_the_contract_says(folder: Path) -> None:
    """All dimensions are dynamic except the model's own."""
    main, actors = (onnx.load(folder / "onnx" / name).graph for name in ("model.fp32.onnx", "actors.onnx"))
    assert {one.name for one in main.input} == {"input_ids", "positions", "sentence", "place", "kind", "token_type_ids"}
    assert [one.name for one in main.output] == ["topic", "stance", "tokens", "vectors", "likely"]
    assert [one.name for one in actors.input] == ["mentions", "sentences", "stances", "cues", "sentence", "slot"]
    assert [one.name for one in actors.output] == ["sides"]
    shape = {one.name: [dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in [*main.output, *actors.input]}
    assert all(dim.dim_param for one in main.input for dim in one.type.tensor_type.shape.dim)
    assert shape["tokens"] == ["rows", "width", 32]
    assert (shape["vectors"], shape["likely"], shape["topic"]) == (["sentences", 64], ["sentences", 3], ["sentences", 2])
    assert (shape["mentions"], shape["cues"]) == (["candidates", 64], ["candidates", "cues"])


def test_graphs_name_no_path_of_the_machine(folder: Path) -> None:
    """Tracing would record the source file of each operator."""
    for graph in (folder / "onnx").glob("*.onnx"):
        assert not [path for path in (b"site-packages", b".py", str(Path.home()).encode()) if path in graph.read_bytes()], graph


def test_the_bundle_describes_its_input(model: ArticleModel, folder: Path) -> None:
    """With all that a client needs."""
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    given = description["input"]
    assert (description["kind"], description["views"], description["dyads"]) == ("article", ["target"], True)
    assert (given["kind"], given["target"], given["window"], given["max_length"]) == ("articles", True, 6, 32)
    assert (given["first_position"], given["packed_width"]) == (0, 112)
    assert set(description["formats"]["fp32"]["flips"]) == {"topic", "stance", "source", "target"}


def test_the_bundle_verifies_in_every_runtime(folder: Path) -> None:
    """Golden answers with whole articles agree in each format and runtime, and by torch."""
    found = verification.verify(folder)
    assert found.agrees, [(check.format, check.runtime, check.fault) for check in found.checks if check.fault] + list(found.broken)
    assert {(check.format, check.runtime) for check in found.checks} > {("weights", "torch"), *(("fp32", runtime) for runtime in RUNTIMES)}
    assert max(sum(other.segment.article == one.segment.article for other in _answers(folder)) for one in _answers(folder)) > 64


def _answers(folder: Path) -> list[golden.Golden]:
    return golden.read(folder, tiny.scheme())


def test_a_changed_graph_of_actors_makes_verify_fail(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest is checked before any answer is replayed."""
    monkeypatch.setattr(verification, "is_installed", lambda runtime: False)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "onnx/actors.onnx"
    path.write_bytes(path.read_bytes() + b" ")
    assert [sentence for sentence in verification.verify(copy).broken if "actors.onnx is not the file that was written" in sentence]


@pytest.mark.parametrize("missing", ["actors.onnx", "model.fp32.onnx"])
def test_a_bundle_without_a_graph_is_refused(folder: Path, tmp_path: Path, missing: str) -> None:
    """The message is one sentence with its name."""
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "onnx" / missing).unlink()
    with pytest.raises(UserError, match=missing.replace(".", r"\.")) as refused:
        bundle.load(copy, graph=True)
    assert "\n" not in str(refused.value)


def test_weights_and_graph_are_loaded_alike(model: ArticleModel, folder: Path, tmp_path: Path) -> None:
    """The graph is loaded if it is preferred or there are no weights."""
    assert isinstance(bundle.load(folder), ArticleModel)
    assert isinstance(bundle.load(folder, graph=True), bundle.ExportedModel)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "model.safetensors").unlink()
    loaded = bundle.load(copy)
    assert isinstance(loaded, bundle.ExportedModel)
    assert loaded.reads_articles


def test_reduced_precisions_are_near(result: ExportResult) -> None:
    """The export decides whether they are near enough, by labels and by sides."""
    assert result.comparisons["fp16"].difference < 0.01
    assert result.comparisons["int8"].difference < 0.1
    for comparison in result.comparisons.values():
        assert set(comparison.flips) == {"topic", "stance", "source", "target"}


def test_the_card_says_that_articles_are_read(folder: Path) -> None:
    """It also says how, with an example that runs."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "Reads each sentence beside the others of its article, at most 6 at a time" in text
    assert "| fp16 | `onnx/model.fp16.onnx`" in text
    example = text.partition("```python\n")[2].partition("```")[0].replace('Classifier(".")', f"Classifier({str(folder)!r})")
    exec(example, {})


@pytest.mark.usefixtures("traced")
def test_nothing_is_written_where_the_graph_of_actors_differs(model: ArticleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both graphs have to agree with the trained model."""
    write = graphs._write_actors

    def wrong(head: Any, path: Path) -> None:
        import copy

        other = copy.deepcopy(head)
        other.roles.bias.data[0] += 3.0
        write(other, path)

    monkeypatch.setattr(graphs, "_write_actors", wrong)
    done = _exported(model, tmp_path / "bundle")
    assert done.folder is None
    assert "a probability differs by" in done.refused["fp32"]
    assert not (tmp_path / "bundle").exists()


def test_a_model_without_dyads_has_one_graph_and_no_actors(bert: Path, tmp_path: Path) -> None:
    """Its sentences are still classified."""
    model = _model(bert)
    folder = _exported(model, tmp_path / "bundle").folder
    assert folder is not None
    assert sorted(path.name for path in (folder / "onnx").iterdir()) == ["model.fp32.onnx"]
    rows, exported = _mixed(), bundle.load(folder, graph=True)
    assert largest_difference(exported.probabilities(rows), model.probabilities(rows, precision="fp32")) < 1e-5
    assert not any(one.actors for one in exported.predict(rows))


@pytest.mark.parametrize("name", ["kind", "tokens"])
def test_a_task_with_the_name_of_another_input_or_output_is_refused(bert: Path, tmp_path: Path, name: str) -> None:
    """Before anything is written."""
    scheme = parse({"name": "s", "tasks": {name: {"labels": ["a", "b"]}}})
    model = build(tiny.encoder(bert), ArticleSpec(max_length=32), scheme)
    rows = [replace(row, labels={name: "a"}) for row in tiny.articles(2)]
    with pytest.raises(UserError, match=f"the task '{name}' has the same name as an input"):
        writing.export(model, tmp_path / "bundle", ReferenceSplit("tiny", "dev", rows), {})
    assert not (tmp_path / "bundle").exists()


def test_the_standalone_client_groups_as_the_model_does() -> None:
    """A segment without article or position is on its own, after its context; the first headline
    given for an article applies.
    """
    places = [
        ("x", 3, "Kopf", "c"),
        ("", 1, "Kopf", " c "),
        ("x", None, "Kopf", ""),
        ("y", 0, " ", ""),
        ("x", 1, "Anders", ""),
        ("x", 3, "", ""),
    ]
    assert standalone.grouped(places) == [("c", [1]), ("", [2]), ("Kopf", [4, 0, 5]), ("", [3])]
