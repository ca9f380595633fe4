"""Fine-tuning: it learns, its learning rates fall with depth, it is reproducible, and it can be
killed and resumed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import TrainerControl, TrainerState, TrainingArguments, set_seed

import tiny
from haltung.cli.build import make
from haltung.encoders.load import Encoder
from haltung.errors import UserError
from haltung.labels import parse
from haltung.models import article
from haltung.models.neural import build
from haltung.models.spec import ArticleSpec, NetworkSpec
from haltung.records import Segment
from haltung.training.average import Average
from haltung.training.finetune import FineTuned, _arguments, _Rows, _Trainer, _Units, finetune
from haltung.training.losses import rates
from haltung.training.recipe import Training, last_checkpoint

RECIPE = Training(epochs=4, batch_size=16, encoder_rate=2e-3, head_rate=1e-2, patience=0, precision="fp32")
SPEC = NetworkSpec(max_length=32)
# With all randomness of a training: order, dropout, and which rows are read without their
# context.
DROPPING = Training(**{**vars(RECIPE), "context_dropout": 0.3})
AVERAGED = replace(DROPPING, ema_decay=0.9)
WITH_CONTEXT = NetworkSpec(max_length=32, reads={"default": "context"})
ARTICLE = ArticleSpec(max_length=32, window=8, alone=0.0)
# By model: train, dev, and the model's spec.
EXAMPLES = {
    "network": (tiny.segments(160), tiny.segments(48, seed=1), WITH_CONTEXT),
    "article": (tiny.articles(40), tiny.articles(12, seed=1), ARTICLE),
    "dyads": (tiny.with_dyads(tiny.articles(40)), tiny.with_dyads(tiny.articles(12, seed=1)), ARTICLE),
}


def _learn(bert: Path, folder: Path, kind: str = "article", recipe: Training = RECIPE, seed: int = 1, **more: object) -> FineTuned:
    train, dev, spec = EXAMPLES[kind]
    if isinstance(spec, ArticleSpec):
        spec = replace(spec, alone=recipe.context_dropout)
    return finetune(train, dev, tiny.scheme(), tiny.encoder(bert), spec, recipe, seed, folder, **more)  # type: ignore[arg-type]


def _same_weights(one: FineTuned, other: FineTuned) -> bool:
    first, second = one.model.network.state_dict(), other.model.network.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def _train(bert: Path, folder: Path, recipe: Training = RECIPE, seed: int = 1, spec: NetworkSpec = SPEC, **more: object) -> FineTuned:
    return finetune(tiny.segments(160), tiny.segments(48, seed=1), tiny.scheme(), tiny.encoder(bert), spec, recipe, seed, folder, **more)  # type: ignore[arg-type]


def test_a_tiny_bert_learns_the_tiny_corpus(bert: Path, tmp_path: Path) -> None:
    """From pretrained weights to correct labels of unseen sentences."""
    recipe = Training(epochs=10, batch_size=8, encoder_rate=1e-3, head_rate=1e-2, patience=0, precision="fp32")
    trained = _train(bert, tmp_path / "c", recipe)
    unseen = tiny.segments(40, seed=2)
    right = [p.labels == dict(row.labels) for p, row in zip(trained.model.predict(unseen), unseen, strict=True)]
    assert sum(right) / len(right) > 0.9


@pytest.fixture(scope="module")
def trained(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    """The model trained by the plain recipe with seed 1."""
    return _train(bert, tmp_path_factory.mktemp("plain") / "c")


def test_the_reported_score_is_that_of_the_best_weights(trained: FineTuned) -> None:
    """Early stopping and the report use the same macro-F1."""
    from haltung.evaluation.metrics.classification import evaluate
    from haltung.evaluation.predictions import score

    dev = tiny.segments(48, seed=1)
    result = evaluate(score(dev, trained.model.predict(dev), tiny.scheme()))
    mean = sum(task.macro_f1 for task in result.tasks.values()) / 2
    assert mean == pytest.approx(trained.best)
    assert trained.predictions == trained.model.predict(dev)
    assert trained.best == max(point["dev_score"] for point in trained.history if "dev_score" in point)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_curve(trained: FineTuned, bert: Path, tmp_path: Path) -> None:
    """Another seed gives another curve."""
    same, other = (_train(bert, tmp_path / str(seed), seed=seed).history for seed in (1, 2))
    losses = [[point["loss"] for point in history if "loss" in point] for history in (trained.history, same, other)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


# The libraries are imported once; each training runs in its own process.
_KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {tests!r} + "/training"]
    from test_training import RECIPES, _learn

    def report(point):
        if "dev_score" in point and point["epoch"] == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    for kind, recipe in {trainings!r}:
        if (child := os.fork()) == 0:
            _learn(Path({bert!r}), Path({folder!r}, f"{{kind}}-{{recipe}}"), kind, RECIPES[recipe], report=report)
            os._exit(0)
        if (code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) != -signal.SIGKILL:
            sys.exit(f"{{kind}} has ended with {{code}}")
"""
RECIPES = {"DROPPING": DROPPING, "AVERAGED": AVERAGED}
TRAININGS = [*((kind, "DROPPING") for kind in EXAMPLES), ("article", "AVERAGED")]


@pytest.fixture(scope="module")
def killed(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of all ``TRAININGS``, each killed during the third epoch's
    evaluation.
    """
    tests, folder = Path(__file__).parents[1], tmp_path_factory.mktemp("killed")
    code = textwrap.dedent(_KILLED).format(tests=str(tests), bert=str(bert), folder=str(folder), trainings=TRAININGS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "recipe"), TRAININGS)
def test_a_killed_training_ends_with_the_figures_of_an_unbroken_one(
    bert: Path, killed: Path, tmp_path: Path, kind: str, recipe: str
) -> None:
    """SIGKILL in the third epoch's evaluation; resumed from the second epoch's checkpoint, the
    curve and the weights are exactly the same.
    """
    folder, settings = killed / f"{kind}-{recipe}", RECIPES[recipe]
    checkpoint = last_checkpoint(folder)
    assert checkpoint is not None
    assert json.loads((checkpoint / "trainer_state.json").read_text())["epoch"] == 2
    unbroken, resumed = _learn(bert, tmp_path / "whole", kind, settings), _learn(bert, folder, kind, settings, resume=True)
    assert resumed.history == unbroken.history
    assert resumed.best == unbroken.best
    assert _same_weights(resumed, unbroken)


def test_the_average_of_the_weights_takes_their_place_on_dev_alone(tmp_path: Path) -> None:
    """Each step keeps the given share of the average, less in the first steps; training continues
    with the weights themselves.
    """
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average, state = Average(0.5), TrainerState()
    arguments, control = TrainingArguments(output_dir=str(tmp_path), use_cpu=True), TrainerControl()
    average.on_train_begin(arguments, state, control, model=model)
    expected = 0.0
    for step, keeps in ((1, 2 / 11), (2, 3 / 12), (20, 0.5)):
        average.on_step_begin(arguments, state, control)
        model.weight.data.fill_(float(step))
        state.global_step = step
        average.on_step_end(arguments, state, control)
        expected = keeps * expected + (1 - keeps) * step
    average.on_epoch_end(arguments, state, control)
    assert model.weight.item() == pytest.approx(expected)
    average.on_step_begin(arguments, state, control)
    assert model.weight.item() == 20


def test_context_dropout_withholds_its_share_anew_in_each_epoch(bert: Path) -> None:
    """About a third of the rows, drawn anew in each epoch but the same for the same seed and epoch;
    none without dropout.
    """
    model = build(tiny.encoder(bert), WITH_CONTEXT, tiny.scheme())
    segments = tiny.segments(300)
    rows, bare = _Rows(model, segments, DROPPING, 1), []
    for epoch in (0, 1, 0):
        rows.begin(epoch)
        bare.append([len(read) < len(full) for read, full in zip(rows.tokens_read[0], rows.encoded[0], strict=True)])
    assert 60 < sum(bare[0]) < 120
    assert bare[0] != bare[1]
    assert bare[0] == bare[2]
    whole = _Rows(model, segments, RECIPE, 1)
    whole.begin(0)
    assert whole.tokens_read[0] == rows.encoded[0]


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """The state file is written last; if it is missing or truncated, the previous checkpoint is
    used.
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
    """With patience 1 and a rate too small to learn, it ends after the second epoch."""
    recipe = Training(**{**vars(RECIPE), "encoder_rate": 1e-12, "head_rate": 1e-12, "patience": 1, "epochs": 4})
    assert len([point for point in _train(bert, tmp_path / "c", recipe).history if "dev_score" in point]) == 2


def test_patience_survives_a_resume(bert: Path, tmp_path: Path) -> None:
    """It stops after the second epoch without improvement, also if it was interrupted and resumed
    in between.
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
    """Two batches of 8 have the loss and the gradient norm of one batch of 16."""
    without_dropout, first = NetworkSpec(max_length=32, dropout=0.0, encoder_dropout=0.0), []
    for name, changes in (("one", {}), ("two", {"accumulation": 2, "batch_size": 8})):
        recipe = Training(**{**vars(RECIPE), "epochs": 1, **changes})  # type: ignore[arg-type]
        first.append(next(point for point in _train(bert, tmp_path / name, recipe, spec=without_dropout).history if "loss" in point))
    for metric in ("loss", "grad_norm"):
        assert first[1][metric] == pytest.approx(first[0][metric], rel=1e-3)


@pytest.mark.parametrize("changes", [{"class_weight": "inverse"}, {"label_smoothing": 0.2}])
def test_the_trainer_weighs_and_smooths_as_the_recipe_says(bert: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    """Equal to torch's own cross-entropy, with weights computed by hand."""
    recipe, scheme = Training(**{**vars(RECIPE), **changes}), tiny.scheme()  # type: ignore[arg-type]
    model = build(tiny.encoder(bert), SPEC, scheme)
    rows = _Rows(model, tiny.segments(40), recipe, 1)
    trainer = _Trainer(rows, [], recipe, _arguments(recipe, tmp_path, 1, -(-40 // rows.size)), lambda point: None)
    model.network.eval()
    inputs = trainer._collate(list(range(16)))
    with torch.no_grad():
        logits = rows.logits(model.network, inputs)[0]
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


def _soft(rows: Sequence[Segment], sure: float = 0.9) -> dict[str, np.ndarray]:
    """Return the probabilities of a teacher that knows the labels."""
    labels = {task.name: np.array([task.index(str(row.labels[task.name])) for row in rows]) for task in tiny.scheme()}
    return {
        name: np.where(np.arange(len(tiny.scheme()[name])) == gold[:, None], sure, (1 - sure) / (len(tiny.scheme()[name]) - 1))
        for name, gold in labels.items()
    }


@pytest.mark.parametrize("kind", ["network", "dyads"])
@pytest.mark.parametrize("part", [0.0, 0.25, 1.0])
def test_a_teacher_has_its_share_of_the_loss(bert: Path, tmp_path: Path, kind: str, part: float) -> None:
    """Equal to torch's own for the rows of the batch, in whatever order; the loss of dyads is not
    reduced.
    """
    rows, _, spec = EXAMPLES[kind]
    recipe, scheme, chance = replace(RECIPE, teacher_weight=part), tiny.scheme(), np.random.default_rng(1)
    soft = {task.name: chance.dirichlet(np.ones(len(task)), len(rows)) for task in scheme}
    model = article.build(tiny.encoder(bert), spec, scheme, dyads=True) if kind == "dyads" else build(tiny.encoder(bert), spec, scheme)
    examples = (_Units if kind == "dyads" else _Rows)(model, rows, recipe, 1)  # type: ignore[arg-type]
    arguments = _arguments(recipe, tmp_path, 1, 4)
    alone, taught = (_Trainer(examples, [], recipe, arguments, lambda point: None, given) for given in (None, soft))
    model.network.eval()
    inputs = taught._collate([3, 1])
    with torch.no_grad():
        logits, further, _ = examples.logits(model.network, inputs)
        plain, value = (trainer.compute_loss(model.network, inputs) for trainer in (alone, taught))
    dyads = further if kind == "dyads" else torch.zeros(())
    expected = (1 - part) * (plain - dyads) + dyads
    for task in scheme:
        probabilities = torch.tensor(soft[task.name][inputs["rows"]], dtype=torch.float32)
        expected = expected - part * (probabilities * logits[task.name].log_softmax(dim=-1)).sum(dim=-1).mean()
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("kind", ["network", "article"])
def test_a_student_follows_its_teacher_where_labels_are_absent(bert: Path, tmp_path: Path, kind: str) -> None:
    """Without stance labels, the student copies a teacher that confuses warning and support; topics
    are learned from the labels.
    """
    train, dev, spec = EXAMPLES[kind]
    swapped = {"warning": "support", "support": "warning", "neutral": "neutral"}
    wrong, as_taught = (
        [replace(row, labels={**row.labels, "stance": swapped[str(row.labels["stance"])]}) for row in of] for of in (train, dev)
    )
    bare = [replace(row, labels={**row.labels, "stance": None}) for row in train]
    recipe = replace(RECIPE, epochs=10, batch_size=8, encoder_rate=1e-3, head_rate=1e-2 if kind == "network" else 2e-3)
    words = (tiny.scheme(), tiny.encoder(bert), replace(spec, reads={"default": "text"}), recipe, 1)
    done = finetune(bare, as_taught, *words, tmp_path / "c", soft=_soft(wrong))
    unseen = tiny.articles(30, seed=2) if kind == "article" else tiny.segments(60, seed=2)
    said = [prediction.labels for prediction in done.model.predict(unseen)]
    follows = [one["stance"] == swapped[str(row.labels["stance"])] for one, row in zip(said, unseen, strict=True)]
    right = [one["topic"] == row.labels["topic"] for one, row in zip(said, unseen, strict=True)]
    assert min(sum(follows), sum(right)) / len(unseen) > 0.9


@pytest.mark.parametrize("changes", [{"gradient_checkpointing": True}, {"group_by_length": False}])
def test_variants_of_the_recipe_learn_too(bert: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    """Activation checkpointing, and batches that are not grouped by length."""
    trained = _train(bert, tmp_path / "c", Training(**{**vars(RECIPE), "epochs": 8, **changes}))  # type: ignore[arg-type]
    assert trained.best > 0.8


@pytest.mark.parametrize(("tune", "parts"), [("full", {"heads", "encoder"}), ("frozen", {"heads"}), ("lora", {"heads", "lora"})])
def test_only_what_is_tuned_changes(bert: Path, tmp_path: Path, tune: str, parts: set[str]) -> None:
    """frozen: the heads alone; lora: the heads and the low-rank updates, not the pretrained
    weights.
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
    """Padding does not count."""
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
        ({"epochs": 0}, "training.epochs is 0: input should be greater than or equal to 1"),
        ({"warmup": 1.5}, "training.warmup is 1.5"),
        ({"layer_decay": 0}, "training.layer_decay is 0"),
        ({"teacher_weight": 1.5}, "training.teacher_weight is 1.5: input should be less than or equal to 1"),
        ({"ema_decay": 1.0}, "training.ema_decay is 1.0: input should be less than 1"),
        ({"patience": -1}, "training.patience is -1: input should be greater than or equal to 0"),
    ],
)
def test_a_recipe_out_of_range_is_refused(changes: dict[str, object], message: str) -> None:
    """One sentence with the key, what was found, and what is allowed."""
    with pytest.raises(UserError, match=message):
        make({"_target_": "haltung.training.recipe.Training", **changes}, "training")


def test_checkpoint_state_is_json(bert: Path, tmp_path: Path) -> None:
    """The file that marks a checkpoint as complete is written after every epoch."""
    _train(bert, tmp_path / "c", Training(**{**vars(RECIPE), "epochs": 1}))
    checkpoint = last_checkpoint(tmp_path / "c")
    assert checkpoint is not None
    assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == 10


def test_a_first_training_that_builds_its_encoder_is_like_a_later_one(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building the embedded encoder draws random numbers, on which nothing may depend."""
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


def _uneven() -> list[Segment]:
    """Return articles of 1 to 23 sentences (a window holds 8), and sentences without position."""
    sizes = (1, 23, 4, 9, 2, 16, 1, 7, 12, 3)
    rows = [row for number, size in enumerate(sizes) for row in tiny.articles(1, seed=number, size=size)]
    return [*rows, *tiny.segments(5, seed=77)]


@pytest.mark.parametrize("share", [0.0, 0.4, 0.95])
@pytest.mark.parametrize("size", [1, 5, 16])
def test_every_epoch_has_each_row_once_and_equally_many_batches(bert: Path, share: float, size: int) -> None:
    """However many articles are split; no batch is empty, or twice as large as it should be."""
    rows, spec = _uneven(), replace(ARTICLE, window=size, alone=share)
    examples = _Units(article.build(tiny.encoder(bert), spec, tiny.scheme()), rows, replace(RECIPE, batch_size=size), 1)
    orders = []
    for epoch in range(6):
        examples.begin(epoch)
        batches = [[row for unit in batch for row in examples.units[unit].rows if row is not None] for batch in examples.sampler]
        assert len(examples.sampler) == len(batches) == -(-len(rows) // size)
        assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
        assert all(1 <= len(batch) < 2 * size for batch in batches)
        orders.append(batches)
    assert orders[0] != orders[1]


def test_a_window_wider_than_a_batch_is_not_cut(bert: Path) -> None:
    """A batch has room for it, so that an article is read the same in training and prediction."""
    rows = _uneven()
    model = article.build(tiny.encoder(bert), ARTICLE, tiny.scheme())
    examples = _Units(model, rows, replace(RECIPE, batch_size=3), 1)
    assert [unit.rows for unit in examples.units] == [unit.rows for unit in article.units(rows, ARTICLE.window)]
    assert all(sum(examples.units[unit].labelled for unit in batch) < 2 * ARTICLE.window for batch in examples.sampler)


def test_articles_fall_apart_anew_in_each_epoch(bert: Path) -> None:
    """About the share given by the model's spec, the same for the same seed and epoch, and none at
    0; the same share of segments without an article is read without context.
    """
    rows = tiny.articles(100, size=4)

    def bare(share: float, epoch: int, seed: int = 1) -> set[str]:
        model = article.build(tiny.encoder(bert), replace(ARTICLE, alone=share), tiny.scheme())
        examples = _Units(model, rows, RECIPE, seed)
        examples.begin(epoch)
        return {unit.sentences[0].article for unit in examples.units if len(unit.rows) == 1}

    assert 15 < len(bare(0.3, 0)) < 45
    assert bare(0.3, 0) == bare(0.3, 0)
    assert bare(0.3, 0) != bare(0.3, 1)
    assert bare(0.3, 0) != bare(0.3, 0, seed=2)
    assert bare(0.0, 0) == set()
    rows = [replace(row, article="") for row in tiny.segments(100)]
    model = article.build(tiny.encoder(bert), replace(ARTICLE, alone=0.3), tiny.scheme())
    assert 15 < sum(len(unit.rows) == 1 for unit in _Units(model, rows, RECIPE, 1).units) < 45


def test_gold_labels_stand_beside_the_logits_of_their_sentences(bert: Path) -> None:
    """In each batch, a sentence has the probabilities that the model predicts for it."""
    model, rows = tiny.article_model(bert, window=8, alone=0.0), _uneven()
    examples = _Units(model, rows, replace(RECIPE, batch_size=8), 1)
    model.network.eval()
    expected = torch.tensor(model.probabilities(rows, precision="fp32")["stance"], dtype=torch.float32)
    for chosen in examples.sampler:
        batch = examples.collate(chosen)
        order = [row for unit in chosen for row in examples.units[unit].rows if row is not None]
        with torch.no_grad():
            found = examples.logits(model.network, batch)[0]["stance"].softmax(dim=-1)
        torch.testing.assert_close(found, expected[order], atol=1e-5, rtol=0)
        assert batch["gold"]["stance"].tolist() == [model.scheme["stance"].index(str(rows[row].labels["stance"])) for row in order]


def test_a_model_of_articles_learns_what_the_headline_alone_tells(bert: Path, tmp_path: Path) -> None:
    """Topics depend on the headline, stances on the sentence: both are learned for unseen articles,
    and without headlines the stance alone.
    """
    recipe = replace(DROPPING, epochs=16, encoder_rate=2e-3, head_rate=2e-3)
    train, dev, unseen = tiny.articles(80), tiny.articles(20, seed=1), tiny.articles(30, seed=2)
    trained = finetune(train, dev, tiny.scheme(), tiny.encoder(bert), replace(ARTICLE, alone=0.3), recipe, 1, tmp_path / "c")  # type: ignore[call-arg]
    alone = [replace(row, headline="", position=None) for row in unseen]

    def right(rows: Sequence[Segment], task: str) -> float:
        return sum(p.labels[task] == row.labels[task] for p, row in zip(trained.model.predict(rows), rows, strict=True)) / len(rows)

    assert trained.best > 0.9
    assert right(unseen, "topic") > 0.9
    assert right(unseen, "stance") > 0.9
    assert right(alone, "stance") > 0.9
    assert right(alone, "topic") < 0.7


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model_of_articles(bert: Path, tmp_path: Path) -> None:
    """With the same curve and equal weights; another seed gives others."""
    recipe = replace(DROPPING, epochs=2)
    first, same, other = (_learn(bert, tmp_path / str(n), "article", recipe, seed) for n, seed in enumerate((1, 1, 2)))
    assert first.history == same.history
    assert _same_weights(first, same)
    assert first.history != other.history
    assert not _same_weights(first, other)


def test_accumulated_batches_of_articles_make_one_step(bert: Path, tmp_path: Path) -> None:
    """200 sentences in batches of 8, two a step, make 13 steps an epoch, as with single texts."""
    recipe = replace(RECIPE, epochs=1, batch_size=8, accumulation=2)
    for kind, steps in (("article", 13), ("network", 10)):
        _learn(bert, tmp_path / kind, kind, recipe)
        checkpoint = last_checkpoint(tmp_path / kind)
        assert checkpoint is not None
        assert json.loads((checkpoint / "trainer_state.json").read_text())["global_step"] == steps


@pytest.mark.parametrize(("tune", "parts"), [("full", {"new", "encoder"}), ("frozen", {"new"}), ("lora", {"new", "lora"})])
def test_only_what_is_tuned_changes_in_a_model_of_articles(bert: Path, tmp_path: Path, tune: str, parts: set[str]) -> None:
    """New parts are always trained; frozen: nothing else; lora: also the low-rank updates."""
    train, dev, spec = EXAMPLES["dyads"]
    spec = replace(spec, tune=tune)
    set_seed(1)
    before = dict(article.build(tiny.encoder(bert), spec, tiny.scheme(), dyads=True).network.named_parameters())
    done = finetune(train, dev, tiny.scheme(), tiny.encoder(bert), spec, replace(RECIPE, epochs=1), 1, tmp_path / "c")
    after = dict(done.model.network.named_parameters())
    assert before.keys() == after.keys()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {"new" if not name.startswith("encoder.") else "lora" if "lora_" in name else "encoder" for name in changed} == parts
    new = {name for name in after if not name.startswith("encoder.")}
    assert new - changed == set()


def test_rows_without_a_label_are_read_and_not_learned_from(bert: Path, tmp_path: Path) -> None:
    """Labels missing in every second or third article don't prevent learning from the rest; a task
    without any label leaves its head unchanged.
    """
    train, dev, spec = EXAMPLES["article"]
    names = list(dict.fromkeys(row.article for row in train))

    def without(*tasks: str) -> list[Segment]:
        missing = {"topic": names[::2], "stance": names[::3]}
        return [
            replace(row, labels={t: None if t in tasks and row.article in missing[t] else row.labels[t] for t in row.labels})
            for row in train
        ]

    recipe = replace(RECIPE, epochs=16, encoder_rate=2e-3, head_rate=2e-3, weight_decay=0.0)
    trained = finetune(without("topic", "stance"), dev, tiny.scheme(), tiny.encoder(bert), spec, recipe, 1, tmp_path / "c")
    assert trained.best > 0.8
    none = [replace(row, labels={**row.labels, "topic": None}) for row in train]
    set_seed(1)
    before = article.build(tiny.encoder(bert), spec, tiny.scheme()).network.heads["topic"].weight.clone()
    after = finetune(none, dev, tiny.scheme(), tiny.encoder(bert), spec, replace(recipe, epochs=1), 1, tmp_path / "d").model.network.heads
    assert torch.equal(after["topic"].weight, before)
    assert not torch.equal(after["stance"].weight, before)


def test_a_model_of_articles_learns_a_multi_label_task(bert: Path, tmp_path: Path) -> None:
    """With none, one or both of two themes, one in the headline and one in the sentence."""
    scheme = parse({"name": "m", "tasks": {"themes": {"kind": "multi", "labels": ["army", "threat"]}}})

    def themes(rows: Sequence[Segment]) -> list[Segment]:
        on = [(row.labels["topic"] == "security", row.labels["stance"] == "warning") for row in rows]
        return [
            replace(row, labels={"themes": tuple(t for t, has in zip(("army", "threat"), both, strict=True) if has)})
            for row, both in zip(rows, on, strict=True)
        ]

    train, dev, spec = EXAMPLES["article"]
    recipe = replace(RECIPE, epochs=16, encoder_rate=2e-3, head_rate=2e-3)
    trained = finetune(themes(train), themes(dev), scheme, tiny.encoder(bert), spec, recipe, 1, tmp_path / "c")
    unseen = themes(tiny.articles(30, seed=2))
    right = [p.labels == dict(row.labels) for p, row in zip(trained.model.predict(unseen), unseen, strict=True)]
    assert sum(right) / len(right) > 0.85


def test_the_tokens_of_headlines_count(bert: Path, tmp_path: Path) -> None:
    """Each sentence and each headline counts once, padding does not."""
    done = _learn(bert, tmp_path / "c", recipe=replace(RECIPE, epochs=2))
    assert isinstance(done.model, article.ArticleModel)
    rows = EXAMPLES["article"][0]
    headlines = [Segment("", row.headline) for row in rows if row.position == 0]
    assert done.tokens == 2 * sum(map(len, done.model.encode([*rows, *headlines])))


def test_checkpointing_of_activations_trains_a_model_of_articles(bert: Path, tmp_path: Path) -> None:
    """With the same loss."""
    losses = [
        next(p["loss"] for p in _learn(bert, tmp_path / str(on), recipe=replace(RECIPE, epochs=1, gradient_checkpointing=on)).history)
        for on in (False, True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
