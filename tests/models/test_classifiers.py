"""The classifier: masks, pooling, frozen parts, LoRA, and a bundle with the same predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from haltung.cli.build import make
from haltung.encoders.load import inherited
from haltung.errors import UserError
from haltung.labels import parse
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.neural import Batch, NeuralModel, build, pool
from haltung.models.spec import LinearSpec, NetworkSpec
from haltung.records import Segment


def _model(bert: Path, **changes: object) -> NeuralModel:
    torch.manual_seed(1)
    return build(tiny.encoder(bert), NetworkSpec(max_length=32, **changes), tiny.scheme())  # type: ignore[arg-type]


def _view(own: list[int], mask: list[int]) -> Batch:
    return Batch(torch.zeros(1, 3, dtype=torch.long), torch.tensor([mask]), None, torch.tensor([own]))


STATES = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]]])


def test_mean_pooling_leaves_padding_out() -> None:
    """Padding does not count as a token."""
    assert pool(STATES, _view([0, 1, 0], [1, 1, 0]), "mean").tolist() == [[2.0, 3.0]]


def test_text_pooling_takes_the_segments_own_tokens() -> None:
    """The context is attended to, but not averaged in."""
    assert pool(STATES, _view([0, 1, 1], [1, 1, 1]), "text").tolist() == [[4.0, 6.5]]


def test_text_pooling_of_an_empty_text_falls_back_to_all_tokens() -> None:
    """There is no division by zero."""
    assert pool(STATES, _view([0, 0, 0], [1, 1, 0]), "text").tolist() == [[2.0, 3.0]]


def test_cls_pooling_takes_the_first_token() -> None:
    """As BERT was pretrained."""
    assert pool(STATES, _view([0, 1, 1], [1, 1, 1]), "cls").tolist() == [[1.0, 2.0]]


def test_head_sizes_come_from_the_scheme(bert: Path) -> None:
    """No config names a number of labels."""
    heads = _model(bert).network.heads
    assert {task: head.out_features for task, head in heads.items()} == {"topic": 2, "stance": 3}


def test_tasks_that_read_the_same_share_a_pass(bert: Path) -> None:
    """One view if they read the same, two if they read differently."""
    assert _model(bert, reads={"default": "context"}).views == ("context",)
    assert _model(bert, reads={"default": "text", "topic": "context"}).views == ("context", "text")


def test_each_task_reads_its_own_view(bert: Path) -> None:
    """If only the topic reads the context, another context changes the topic's probabilities and no
    others.
    """
    model = _model(bert, reads={"default": "text", "topic": "context"})
    one = Segment("1", "Chile warnt die Marine .", context="Peru lobt den Zoll .")
    other = Segment("1", one.text, context="Ghana Ghana Ghana")
    first, second = model.probabilities([one]), model.probabilities([other])
    assert not np.allclose(first["topic"], second["topic"])
    np.testing.assert_allclose(first["stance"], second["stance"])


def _unequal(count: int) -> list[Segment]:
    """Return sentences of 3 to 24 words, not sorted by length."""
    return [Segment(f"s{n}", " ".join(row.text.split()[:3] + row.text.split() * (n * 5 % 4)), context=row.context)
            for n, row in enumerate(tiny.segments(count))]  # fmt: skip


def test_a_prediction_does_not_depend_on_its_neighbours(bert: Path) -> None:
    """Padding to the length of other rows does not change a row's log probabilities."""
    model, rows = tiny.network(bert, reads={"default": "context"}), _unequal(12)
    together = np.log(model.probabilities(rows, precision="fp32")["stance"])
    alone = np.log(np.concatenate([model.probabilities([row], precision="fp32")["stance"] for row in rows]))
    assert len({len(tokens) for tokens in model.encode(rows)[0]}) == 4
    assert np.abs(alone[1:] - alone[:-1]).max(axis=1).min() > 0.1
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_predictions_come_in_the_order_of_the_segments(bert: Path) -> None:
    """Although the longest are computed first, each id has the probabilities of its own segment."""
    model, rows = tiny.network(bert, reads={"default": "context"}), _unequal(12)
    predicted = model.predict(rows)
    together = np.log([list(one.probabilities["stance"].values()) for one in predicted])
    alone = np.log(np.concatenate([model.probabilities([row])["stance"] for row in rows]))
    assert [one.id for one in predicted] == [row.id for row in rows]
    assert np.abs(alone[1:] - alone[:-1]).max(axis=1).min() > 0.2
    np.testing.assert_allclose(together, alone, atol=0.1)  # bfloat16 if the processor has it


def test_no_segments_give_no_predictions(bert: Path) -> None:
    """An empty list is allowed."""
    assert _model(bert).predict([]) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tune": "frozen"}, set()),
        ({"freeze_embeddings": True}, {"layer.0", "layer.1"}),
        ({"freeze_layers": 1}, {"layer.1"}),
        ({}, {"embeddings", "layer.0", "layer.1"}),
    ],
)
def test_frozen_parts_get_no_gradient(bert: Path, changes: dict[str, object], expected: set[str]) -> None:
    """Exactly the parts that the config names are frozen."""
    encoder = _model(bert, **changes).network.encoder
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert {part for part in ("embeddings", "layer.0", "layer.1") if any(part in name for name in trained)} == expected


def test_lora_trains_a_small_share_and_is_merged_into_the_bundle(bert: Path, tmp_path: Path) -> None:
    """The bundle of a LoRA model is an ordinary network with the same answers."""
    model = _model(bert, tune="lora", lora_rank=2)
    parameters = list(model.network.encoder.parameters())
    share = sum(p.numel() for p in parameters if p.requires_grad) / sum(p.numel() for p in parameters)
    with torch.no_grad():
        for name, parameter in model.network.encoder.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    rows = tiny.segments(8)
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle"))
    assert 0 < share < 0.2
    np.testing.assert_allclose(loaded.probabilities(rows)["stance"], model.probabilities(rows)["stance"], atol=2e-2)


@pytest.mark.parametrize("kind", ["logistic", "svc"])
def test_a_linear_bundle_keeps_multi_label_tasks_and_labels_it_never_saw(tmp_path: Path, kind: str) -> None:
    """All probabilities are the same after loading, and 0 for the unseen label."""
    scheme = parse({"name": "m", "tasks": {"type": {"kind": "multi", "labels": ["a"]}, "tone": {"labels": ["x", "y", "z"]}}})
    rows = [Segment(str(i), ("alpha", "beta")[i % 2], {"type": ("a",) if i % 2 else (), "tone": "xy"[i % 2]}) for i in range(20)]
    model = fit(rows, scheme, LinearSpec(min_count=1, kind=kind), seed=1)
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle"))
    for task, expected in model.probabilities(rows).items():
        np.testing.assert_array_equal(loaded.probabilities(rows)[task], expected)
    assert loaded.probabilities(rows)["tone"][:, 2].max() == 0
    assert [p.labels for p in loaded.predict(rows)] == [dict(row.labels) for row in rows]


@pytest.mark.parametrize("kind", ["network", "linear"])
def test_a_bundle_predicts_as_the_model_did(bert: Path, tmp_path: Path, kind: str) -> None:
    """Every probability is the same after saving and loading."""
    rows = tiny.segments(60)
    model = _model(bert, reads={"default": "context"}) if kind == "network" else fit(rows, tiny.scheme(), LinearSpec(min_count=1), seed=1)
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle", {"run": "abc"}))
    assert loaded.kind == kind
    assert loaded.scheme == model.scheme
    for task, expected in model.probabilities(rows).items():
        np.testing.assert_array_equal(loaded.probabilities(rows)[task], expected)


def test_a_bundle_holds_no_pickle(bert: Path, tmp_path: Path) -> None:
    """Nothing in either kind of bundle can run code when it is read."""
    rows = tiny.segments(60)
    for name, model in {"n": _model(bert), "l": fit(rows, tiny.scheme(), LinearSpec(min_count=1), seed=1)}.items():
        folder = bundle.save(model, tmp_path / name)
        assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {".json", ".safetensors", ".txt"}


def test_saving_over_a_bundle_replaces_it_whole(bert: Path, tmp_path: Path) -> None:
    """No file of the old one and no temporary folder is left."""
    folder = bundle.save(_model(bert), tmp_path / "bundle")
    (folder / "stale").write_text("old")
    bundle.save(_model(bert), folder)
    assert not (folder / "stale").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_linear_model_learns_what_the_words_tell() -> None:
    """On unseen sentences whose words decide the label, the baseline is always right."""
    model = fit(tiny.segments(200), tiny.scheme(), LinearSpec(), seed=1)
    rows = tiny.segments(50, seed=1)
    assert [p.labels for p in model.predict(rows)] == [dict(row.labels) for row in rows]


@pytest.mark.parametrize("kind", ["logistic", "svc"])
def test_the_linear_model_knows_multi_label_tasks_and_missing_labels(kind: str) -> None:
    """Rows without a label are ignored for that task only."""
    scheme = parse({"name": "m", "tasks": {"themes": {"kind": "multi", "labels": ["a", "b"]}, "tone": {"labels": ["x", "y"]}}})
    rows = [
        Segment(str(i), ("alpha " if i % 2 else "") + ("beta" if i % 3 else "gamma"),
                {"themes": tuple(t for t, on in (("a", i % 2), ("b", i % 3)) if on), "tone": None if i % 5 == 0 else "xy"[i % 2]})
        for i in range(60)
    ]  # fmt: skip
    model = fit(rows, scheme, LinearSpec(min_count=1, kind=kind), seed=1)
    (prediction,) = model.predict([Segment("?", "alpha beta")])
    assert prediction.labels == {"themes": ("a", "b"), "tone": "y"}


@pytest.mark.parametrize("kind", ["logistic", "svc"])
def test_two_labels_are_fitted_once_whichever_comes_first(kind: str) -> None:
    """With words that decide two cases in three, probabilities are the same if the scheme lists the
    labels in reverse.
    """
    rng = np.random.default_rng(1)
    rows = [Segment(str(i), f"alpha{tone if rng.random() < 0.67 else 1 - tone} beta{i % 7}", {"tone": "xy"[tone]})
            for i, tone in enumerate(rng.choice(2, 300, p=(0.7, 0.3)))]  # fmt: skip
    schemes = [parse({"name": "m", "tasks": {"tone": {"labels": list(order)}}}) for order in ("xy", "yx")]
    first, second = (fit(rows, scheme, LinearSpec(min_count=1, kind=kind), seed=1).probabilities(rows)["tone"] for scheme in schemes)
    assert first.std() > 0.02
    np.testing.assert_allclose(first, second[:, ::-1], atol=1e-6)


def test_a_task_without_any_label_is_refused() -> None:
    """There is nothing to fit."""
    rows = [Segment(str(i), "Chile warnt", {"topic": ("security", "economy")[i % 2]}) for i in range(4)]
    with pytest.raises(UserError, match="no training row has a label for the task 'stance'"):
        fit(rows, tiny.scheme(), LinearSpec(min_count=1), seed=1)


@pytest.mark.parametrize(("name", "value"), [("C", 0.0), ("words", 0), ("characters", 1), ("min_count", 0), ("max_features", -1)])
def test_settings_of_the_linear_model_have_ranges(name: str, value: float) -> None:
    """Other values are refused in one sentence, before the corpus is read."""
    with pytest.raises(UserError, match=rf"model\.{name} is {value}: input should be greater than"):
        make({"_target_": "haltung.models.spec.LinearSpec", name: value}, "model")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """The message says what was expected."""
    with pytest.raises(UserError, match=r"has no haltung\.json, so it is not a bundle"):
        bundle.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "can't be read"), ('{"format": 99}', "is of format 99, this version reads 1"), ('{"format": 1, "kind": "x"}', "is of kind 'x'")],
)
def test_a_broken_description_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    """Truncated, of another version, or of another kind."""
    (tmp_path / "haltung.json").write_text(text)
    with pytest.raises(UserError, match=message):
        bundle.load(tmp_path)


def test_what_can_not_be_read_in_a_bundle_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its description, also if an encoder is to start from it, and its list of segments."""
    (tmp_path / "haltung.json").write_text("{}")
    (tmp_path / bundle.LEARNED).write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"is broken or incomplete \(UnicodeDecodeError"):
        bundle.known_segments(tmp_path, tiny.segments(2))

    def denied(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", denied)
    for read in (lambda: bundle.describe(tmp_path), lambda: inherited(tiny.encoder(tmp_path))):
        with pytest.raises(UserError, match=r"haltung\.json (can't be read|is broken or incomplete) .*Permission denied"):
            read()


@pytest.mark.parametrize("file", ["model.safetensors", "linear.safetensors"])
def test_a_bundle_without_its_weights_is_an_error(bert: Path, tmp_path: Path, file: str) -> None:
    """One sentence names the missing file."""
    model = _model(bert) if file.startswith("model") else fit(tiny.segments(60), tiny.scheme(), LinearSpec(), seed=1)
    folder = bundle.save(model, tmp_path / "bundle")
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"has no {file}"):
        bundle.load(folder)


def test_truncated_weights_are_an_error(bert: Path, tmp_path: Path) -> None:
    """Half a file can't be loaded."""
    folder = bundle.save(_model(bert), tmp_path / "bundle")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match="does not fit the bundle"):
        bundle.load(folder)


def test_the_description_names_scheme_and_provenance(bert: Path, tmp_path: Path) -> None:
    """A service can read the labels without this project."""
    folder = bundle.save(_model(bert), tmp_path / "bundle", {"run": "abc"})
    description = json.loads((folder / "haltung.json").read_text())
    assert list(description["scheme"]["tasks"]["topic"]["labels"]) == ["security", "economy"]
    assert description["provenance"] == {"run": "abc"}


def test_a_task_may_be_called_like_a_method_of_torch(bert: Path, tmp_path: Path) -> None:
    """``type`` and ``values`` are allowed as names of tasks."""
    scheme = parse({"name": "m", "tasks": {"type": {"labels": ["a", "b"]}, "values": {"labels": ["c", "d"]}}})
    model = build(tiny.encoder(bert), NetworkSpec(max_length=32), scheme)
    loaded = bundle.load(bundle.save(model, tmp_path / "bundle"))
    assert set(loaded.predict(tiny.segments(1))[0].labels) == {"type", "values"}


def test_lora_leaves_frozen_layers_alone(bert: Path) -> None:
    """``freeze_layers`` also applies to the low-rank updates."""
    encoder = _model(bert, tune="lora", freeze_layers=1).network.encoder
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert any("layer.1." in name for name in trained)
    assert not any("layer.0." in name for name in trained)


def test_an_input_longer_than_the_encoder_reads_is_refused(bert: Path) -> None:
    """Before training, instead of an index error during it."""
    with pytest.raises(UserError, match=r"model\.max_length is 128, but the encoder 'tiny' reads at most 64 tokens"):
        build(tiny.encoder(bert), NetworkSpec(max_length=128), tiny.scheme())


def test_a_task_that_the_scheme_lacks_gets_the_nearest_suggested() -> None:
    """``model.reads.topics=context`` is a typing error."""
    with pytest.raises(UserError, match="names the task 'topics', did you mean 'topic'"):
        NetworkSpec(reads={"topics": "context"}).checked(tiny.scheme())


def test_a_training_goes_on_from_the_encoder_of_a_bundle(bert: Path, tmp_path: Path) -> None:
    """Its weights and prefix are inherited, its heads are not; a bundle without an encoder is
    refused.
    """
    from haltung.encoders.load import Encoder

    first = _model(bert)
    with torch.no_grad():
        next(iter(first.network.encoder.parameters())).add_(1.0)
    first.encoder = Encoder("tiny", "folder", str(bert), prefix="query: ")
    bundle.save(first, tmp_path / "first")
    scheme = parse({"name": "other", "tasks": {"mood": {"labels": ["good", "bad"]}}})
    second = build(Encoder("bundle", "folder", str(tmp_path / "first")), NetworkSpec(max_length=32), scheme)
    assert second.encoder.prefix == "query: "
    assert set(second.network.heads) == {"mood"}
    for name, value in first.network.encoder.state_dict().items():
        assert torch.equal(value, second.network.encoder.state_dict()[name]), name
    bundle.save(fit(tiny.segments(60), tiny.scheme(), LinearSpec(), seed=1), tmp_path / "linear")
    with pytest.raises(UserError, match=r"haltung\.json does not describe an encoder"):
        build(Encoder("bundle", "folder", str(tmp_path / "linear")), NetworkSpec(max_length=32), scheme)
