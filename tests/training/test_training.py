"""Fine-tuning: it learns, its rates fall with depth, it is repeatable, and can be killed and
resumed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import set_seed

import tiny
from haltung.encoders.load import Encoder
from haltung.errors import UserError
from haltung.models.network import Batch
from haltung.models.neural import build
from haltung.models.spec import NetworkSpec
from haltung.training.finetune import FineTuned, _arguments, _Rows, _Trainer, finetune, last_checkpoint, rates
from haltung.training.recipe import Training

RECIPE = Training(epochs=4, batch_size=16, encoder_rate=2e-3, head_rate=1e-2, patience=0, precision="fp32")
SPEC = NetworkSpec(max_length=32)
# Everything that is random in a training: order, dropout, and which rows are read without their
# context.
DROPPING = Training(**{**vars(RECIPE), "context_dropout": 0.3})
WITH_CONTEXT = NetworkSpec(max_length=32, reads={"default": "context"})


def _train(bert: Path, folder: Path, recipe: Training = RECIPE, seed: int = 1, spec: NetworkSpec = SPEC, **more: object) -> FineTuned:
    return finetune(tiny.segments(160), tiny.segments(48, seed=1), tiny.scheme(), tiny.encoder(bert), spec, recipe, seed, folder, **more)  # type: ignore[arg-type]


def test_a_tiny_bert_learns_the_tiny_corpus(bert: Path, tmp_path: Path) -> None:
    """The whole way, from pretrained weights to unseen sentences labelled right."""
    recipe = Training(epochs=10, batch_size=8, encoder_rate=1e-3, head_rate=1e-2, patience=0, precision="fp32")
    trained = _train(bert, tmp_path / "c", recipe)
    unseen = tiny.segments(40, seed=2)
    right = [p.labels == dict(row.labels) for p, row in zip(trained.model.predict(unseen), unseen, strict=True)]
    assert sum(right) / len(right) > 0.9


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    """The plain recipe with seed 1."""
    return _train(bert, tmp_path_factory.mktemp("plain") / "c")


def test_the_reported_score_is_that_of_the_best_weights(trained: FineTuned) -> None:
    """Early stopping and the report read the same macro-F1."""
    from haltung.evaluation.metrics.classification import evaluate
    from haltung.evaluation.predictions import score

    dev = tiny.segments(48, seed=1)
    result = evaluate(score(dev, trained.model.predict(dev), tiny.scheme()))
    mean = sum(task.macro_f1 for task in result.tasks.values()) / 2
    assert mean == pytest.approx(trained.best)
    assert trained.best == max(point["dev_score"] for point in trained.history if "dev_score" in point)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_curve(trained: FineTuned, bert: Path, tmp_path: Path) -> None:
    """And another seed another one."""
    same, other = (_train(bert, tmp_path / str(seed), seed=seed).history for seed in (1, 2))
    losses = [[point["loss"] for point in history if "loss" in point] for history in (trained.history, same, other)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


_KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {tests!r} + "/training"]
    import tiny
    from test_training import DROPPING, WITH_CONTEXT
    from haltung.training.finetune import finetune

    def report(point):
        if "dev_score" in point and point["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    train, dev, encoder = tiny.segments(160), tiny.segments(48, seed=1), tiny.encoder(Path({bert!r}))
    finetune(train, dev, tiny.scheme(), encoder, WITH_CONTEXT, DROPPING, 1, Path({folder!r}), report=report)
"""


@pytest.mark.slow
def test_a_killed_training_ends_with_the_figures_of_an_unbroken_one(bert: Path, tmp_path: Path) -> None:
    """SIGKILL in the third epoch's evaluation; resumed from the second's checkpoint, the curve is
    the same to the last digit.
    """
    code = textwrap.dedent(_KILLED).format(tests=str(Path(__file__).parents[1]), bert=str(bert), folder=str(tmp_path / "killed"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    unbroken = _train(bert, tmp_path / "whole", DROPPING, spec=WITH_CONTEXT)
    resumed = _train(bert, tmp_path / "killed", DROPPING, spec=WITH_CONTEXT, resume=True)
    assert resumed.history == unbroken.history
    assert resumed.best == unbroken.best
    for name, value in unbroken.model.network.state_dict().items():
        torch.testing.assert_close(resumed.model.network.state_dict()[name], value, rtol=0, atol=0)


def test_context_dropout_withholds_its_share_anew_in_each_epoch(bert: Path) -> None:
    """A new third of the rows in each epoch, the same for the same seed and epoch, and none without
    dropout.
    """
    model = build(tiny.encoder(bert), WITH_CONTEXT, tiny.scheme())
    segments = tiny.segments(300)
    rows = _Rows(model, segments, tiny.scheme(), 0.3, 1)
    bare = [[len(read) < len(full) for read, full in zip(rows.read(epoch)[0], rows.encoded[0], strict=True)] for epoch in (0, 1, 0)]
    assert 60 < sum(bare[0]) < 120
    assert bare[0] != bare[1]
    assert bare[0] == bare[2]
    assert _Rows(model, segments, tiny.scheme(), 0.0, 1).read(0)[0] == rows.encoded[0]


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """The state file is written last; where it is missing or cut, the checkpoint before it
    counts.
    """
    for step, text in ((10, "{}"), (20, '{"cut'), (30, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if text is not None:
            (folder / "trainer_state.json").write_text(text)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-30").exists()


def test_without_resume_a_training_begins_anew(bert: Path, tmp_path: Path) -> None:
    """Old checkpoints do not leak into a new training."""
    short = Training(**{**vars(RECIPE), "epochs": 1})
    _train(bert, tmp_path / "c", short)
    second = _train(bert, tmp_path / "c", short)
    assert [point["epoch"] for point in second.history if "dev_score" in point] == [1.0]


def test_training_stops_when_dev_gets_no_better(bert: Path, tmp_path: Path) -> None:
    """Patience 1 and a rate too small to learn: it ends after the second epoch."""
    recipe = Training(**{**vars(RECIPE), "encoder_rate": 1e-12, "head_rate": 1e-12, "patience": 1, "epochs": 4})
    assert len([point for point in _train(bert, tmp_path / "c", recipe).history if "dev_score" in point]) == 2


def test_patience_survives_a_resume(bert: Path, tmp_path: Path) -> None:
    """Stopped after the second of two epochs without improvement, whether or not it was interrupted
    between them.
    """

    def interrupt(point: dict[str, float]) -> None:
        if "dev_score" in point and point["epoch"] == 3:
            raise InterruptedError

    recipe = Training(**{**vars(RECIPE), "encoder_rate": 1e-12, "head_rate": 1e-12, "patience": 2, "epochs": 6})
    with pytest.raises(InterruptedError):
        _train(bert, tmp_path / "c", recipe, report=interrupt)
    resumed = _train(bert, tmp_path / "c", recipe, resume=True)
    assert [point["epoch"] for point in resumed.history if "dev_score" in point] == [1.0, 2.0, 3.0]


def test_accumulated_batches_learn_as_one_large_batch(bert: Path, tmp_path: Path) -> None:
    """Two batches of 8 have the loss and the gradient of one batch of 16."""
    without_dropout, first = NetworkSpec(max_length=32, dropout=0.0, encoder_dropout=0.0), []
    for name, changes in (("one", {}), ("two", {"accumulation": 2, "batch_size": 8})):
        recipe = Training(**{**vars(RECIPE), "epochs": 1, **changes})  # type: ignore[arg-type]
        first.append(next(point for point in _train(bert, tmp_path / name, recipe, spec=without_dropout).history if "loss" in point))
    for metric in ("loss", "grad_norm"):
        assert first[1][metric] == pytest.approx(first[0][metric], rel=1e-3)


@pytest.mark.parametrize("changes", [{"class_weight": "inverse"}, {"label_smoothing": 0.2}])
def test_the_trainer_weighs_and_smooths_as_the_recipe_says(bert: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    """Equality with torch's own cross-entropy, with weights counted by hand."""
    recipe, scheme = Training(**{**vars(RECIPE), **changes}), tiny.scheme()  # type: ignore[arg-type]
    model = build(tiny.encoder(bert), SPEC, scheme)
    rows = _Rows(model, tiny.segments(40), scheme, 0.0, 1)
    trainer = _Trainer(model, rows, [], recipe, _arguments(recipe, tmp_path, 1, len(rows)), lambda point: None)
    model.network.eval()
    inputs = trainer._collate(list(range(16)))
    with torch.no_grad():
        logits = model.network([Batch(*view) for view in inputs["views"]])
        value = trainer.compute_loss(model.network, inputs)
    expected = plain = torch.zeros(())
    for task in scheme:
        gold = rows.gold[task.name]
        inverse = 1 / torch.bincount(gold, minlength=len(task))
        weight = inverse / inverse[gold].mean() if recipe.class_weight == "inverse" else None
        smoothing = recipe.label_smoothing
        expected = expected + functional.cross_entropy(logits[task.name], gold[:16], weight=weight, label_smoothing=smoothing)
        plain = plain + functional.cross_entropy(logits[task.name], gold[:16])
    torch.testing.assert_close(value, expected)
    assert abs(float(value - plain)) > 1e-3


@pytest.mark.parametrize("changes", [{"gradient_checkpointing": True}, {"group_by_length": False}])
def test_variants_of_the_recipe_learn_too(bert: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    """Checkpointing of activations, and random batches."""
    trained = _train(bert, tmp_path / "c", Training(**{**vars(RECIPE), **changes}))  # type: ignore[arg-type]
    assert trained.best > 0.8


@pytest.mark.parametrize(("tune", "parts"), [("full", {"heads", "encoder"}), ("frozen", {"heads"}), ("lora", {"heads", "lora"})])
def test_only_what_is_tuned_changes(bert: Path, tmp_path: Path, tune: str, parts: set[str]) -> None:
    """Frozen: the heads alone; lora: the heads and the low-rank updates; the pretrained weights
    stay.
    """
    recipe, spec = Training(**{**vars(RECIPE), "epochs": 1}), NetworkSpec(max_length=32, tune=tune)
    set_seed(1)
    before = dict(build(tiny.encoder(bert), spec, tiny.scheme()).network.named_parameters())
    after = dict(_train(bert, tmp_path / "c", recipe, spec=spec).model.network.named_parameters())
    assert before.keys() == after.keys()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {"heads" if name.startswith("heads.") else "lora" if "lora_" in name else "encoder" for name in changed} == parts


def test_rates_fall_with_depth_and_norms_are_not_decayed(bert: Path) -> None:
    """Heads, top layer, layer below, embeddings; biases and norms have no weight decay."""
    network = build(tiny.encoder(bert), SPEC, tiny.scheme()).network
    recipe = Training(encoder_rate=1.0, head_rate=10.0, layer_decay=0.5, weight_decay=0.1)
    groups = rates(network, recipe, layers=2)
    found = {
        name: group for name, parameter in network.named_parameters() for group in groups if any(parameter is p for p in group["params"])
    }
    assert found["heads.topic.weight"]["lr"] == 10.0
    assert found["encoder.encoder.layer.1.output.dense.weight"]["lr"] == 1.0
    assert found["encoder.encoder.layer.0.output.dense.weight"]["lr"] == 0.5
    assert found["encoder.embeddings.word_embeddings.weight"]["lr"] == 0.25
    assert found["encoder.encoder.layer.1.output.LayerNorm.weight"]["weight_decay"] == 0.0
    assert found["encoder.encoder.layer.1.output.dense.weight"]["weight_decay"] == 0.1


def test_tokens_count_real_ones_only(trained: FineTuned) -> None:
    """Padding is no work done."""
    lengths = sum(len(tokens) for tokens in trained.model.encode(tiny.segments(160))[0])
    assert trained.tokens == RECIPE.epochs * lengths


def test_an_empty_split_is_refused(bert: Path, tmp_path: Path) -> None:
    """Before anything is loaded."""
    with pytest.raises(UserError, match="the dev split is empty"):
        finetune(tiny.segments(4), [], tiny.scheme(), tiny.encoder(bert), SPEC, RECIPE, 1, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_weight": "inverted"}, "training.class_weight is 'inverted', did you mean 'inverse'"),
        ({"epochs": 0}, "training.epochs is 0, expected a whole number of at least 1"),
        ({"warmup": 1.5}, "training.warmup is 1.5"),
        ({"layer_decay": 0}, "training.layer_decay is 0"),
    ],
)
def test_a_recipe_out_of_range_is_refused(changes: dict[str, object], message: str) -> None:
    """One sentence with the key, what was found, and what is allowed."""
    with pytest.raises(UserError, match=message):
        Training(**changes)  # type: ignore[arg-type]


def test_checkpoint_state_is_json(bert: Path, tmp_path: Path) -> None:
    """What marks a checkpoint as whole is there after every epoch."""
    _train(bert, tmp_path / "c", Training(**{**vars(RECIPE), "epochs": 1}))
    checkpoint = last_checkpoint(tmp_path / "c")
    assert checkpoint is not None
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == 10


def test_a_first_training_that_builds_its_encoder_is_like_a_later_one(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the embedded encoder draws random numbers; nothing must depend on them."""
    from haltung.encoders import embedded

    encoder = Encoder("tiny", "embedded", encoder_rate=2e-3, head_rate=1e-2)

    def first_use(cache: Path) -> Path:
        if not (tmp_path / "built").exists():
            torch.rand(1000)
            (tmp_path / "built").touch()
        return bert

    def losses(name: str) -> list[float]:
        recipe = replace(RECIPE, epochs=1)
        done = finetune(tiny.segments(64), tiny.segments(48, seed=1), tiny.scheme(), encoder, SPEC, recipe, 1, tmp_path / name)
        return [point["loss"] for point in done.history if "loss" in point]

    monkeypatch.setattr(embedded, "ensure", first_use)
    first = losses("a")
    assert (tmp_path / "built").exists()
    assert first == losses("b")
