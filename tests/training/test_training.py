"""Fine-tuning: it learns, its rates fall with depth, it is repeatable, and a killed one goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import tiny
from haltung.errors import UserError
from haltung.models.neural import build
from haltung.models.spec import NetworkSpec
from haltung.training.finetune import FineTuned, _Rows, finetune, last_checkpoint, rates
from haltung.training.recipe import Training

RECIPE = Training(epochs=4, batch_size=16, encoder_rate=2e-3, head_rate=1e-2, patience=0, precision="fp32")
SPEC = NetworkSpec(max_length=32)
# Everything that is random in a training: order, dropout, and which rows are read without their context.
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


def test_the_reported_score_is_that_of_the_kept_weights(bert: Path, tmp_path: Path) -> None:
    """Early stopping and the report read the same macro-F1."""
    from haltung.evaluation.metrics.classification import evaluate
    from haltung.evaluation.predictions import score

    trained = _train(bert, tmp_path / "c")
    dev = tiny.segments(48, seed=1)
    figures = evaluate(score(dev, trained.model.predict(dev), tiny.scheme()))
    mean = sum(task.macro_f1 for task in figures.tasks.values()) / 2
    assert mean == pytest.approx(trained.best)
    assert trained.best == max(point["dev_score"] for point in trained.history if "dev_score" in point)


def test_the_same_seed_gives_the_same_curve(bert: Path, tmp_path: Path) -> None:
    """And another seed another one."""
    first, again, other = (_train(bert, tmp_path / name, seed=seed).history for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    losses = [[point["loss"] for point in history if "loss" in point] for history in (first, again, other)]
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


def test_a_killed_training_ends_with_the_figures_of_an_unbroken_one(bert: Path, tmp_path: Path) -> None:
    """SIGKILL in the third epoch's evaluation; resumed from the second's checkpoint, the curve is the same to the last digit."""
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
    """Another third of the rows each time, the same again for the same seed and epoch, and none without dropout."""
    model = build(tiny.encoder(bert), WITH_CONTEXT, tiny.scheme())
    segments = tiny.segments(300)
    rows = _Rows(model, segments, tiny.scheme(), 0.3, 1)
    bare = [[len(read) < len(full) for read, full in zip(rows.read(epoch)[0], rows.encoded[0], strict=True)] for epoch in (0, 1, 0)]
    assert 60 < sum(bare[0]) < 120
    assert bare[0] != bare[1]
    assert bare[0] == bare[2]
    assert _Rows(model, segments, tiny.scheme(), 0.0, 1).read(0)[0] == rows.encoded[0]


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """The state file is written last; where it is missing or cut, the checkpoint before it counts."""
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
    again = _train(bert, tmp_path / "c", short)
    assert [point["epoch"] for point in again.history if "dev_score" in point] == [1.0]


def test_training_stops_when_dev_gets_no_better(bert: Path, tmp_path: Path) -> None:
    """Patience 1 and a rate too small to learn: it ends after the second epoch."""
    recipe = Training(**{**vars(RECIPE), "encoder_rate": 1e-12, "head_rate": 1e-12, "patience": 1, "epochs": 4})
    assert len([point for point in _train(bert, tmp_path / "c", recipe).history if "dev_score" in point]) == 2


@pytest.mark.parametrize("changes", [{"accumulation": 2, "batch_size": 8}, {"gradient_checkpointing": True}, {"group_by_length": False}])
def test_variants_of_the_recipe_learn_too(bert: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    """Accumulation, checkpointing of activations, and random batches."""
    trained = _train(bert, tmp_path / "c", Training(**{**vars(RECIPE), **changes}))  # type: ignore[arg-type]
    assert trained.best > 0.8


@pytest.mark.parametrize("tune", ["frozen", "lora"])
def test_frozen_and_lora_trainings_run_through(bert: Path, tmp_path: Path, tune: str) -> None:
    """They end with a model that answers."""
    recipe = Training(**{**vars(RECIPE), "epochs": 1})
    trained = _train(bert, tmp_path / "c", recipe, spec=NetworkSpec(max_length=32, tune=tune))
    assert len(trained.model.predict(tiny.segments(3))) == 3


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


def test_tokens_count_real_ones_only(bert: Path, tmp_path: Path) -> None:
    """Padding is no work done."""
    recipe = Training(**{**vars(RECIPE), "epochs": 2})
    trained = _train(bert, tmp_path / "c", recipe)
    lengths = sum(len(tokens) for tokens in trained.model.encode(tiny.segments(160))[0])
    assert trained.tokens == 2 * lengths


def test_an_empty_split_is_told(bert: Path, tmp_path: Path) -> None:
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
def test_a_recipe_out_of_range_is_told(changes: dict[str, object], message: str) -> None:
    """One sentence with the key, what was found, and what is allowed."""
    with pytest.raises(UserError, match=message):
        Training(**changes)  # type: ignore[arg-type]


def test_checkpoint_state_is_json(bert: Path, tmp_path: Path) -> None:
    """What marks a checkpoint as whole is there after every epoch."""
    _train(bert, tmp_path / "c", Training(**{**vars(RECIPE), "epochs": 1}))
    checkpoint = last_checkpoint(tmp_path / "c")
    assert checkpoint is not None
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == 10
