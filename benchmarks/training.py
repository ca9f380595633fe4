"""Speed of training and bulk prediction, against matrix products and the Trainer's defaults.

    # the embedded corpus, 3 rounds
    .venv/bin/python benchmarks/training.py
    # overrides as in haltung train
    .venv/bin/python benchmarks/training.py --rounds 5 corpus=real_news sources=FOLDER
    # profile of a training with model=article
    .venv/bin/python benchmarks/training.py --profile outputs/profile.txt

The speed of model=article and model=network is a share of the peak of matrix products here. All
sides train the same encoder on the same articles, in turn, one pass per figure. The plain side
reads each segment after its context, as model=network does.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from haltung import resources

os.environ.update(resources.thread_settings())

import torch
from arithmetic import Cost, cost, now, peak, precision
from measuring import Figure, machine, write
from profiling import profiled
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import AutoModel, PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.utils import logging

from haltung.cli.build import make, scheme_of
from haltung.cli.config import compose, plain
from haltung.corpus.prepare import prepare
from haltung.encoders.load import Encoder, locate
from haltung.encoders.tokens import Tokens
from haltung.labels import Scheme
from haltung.models.neural import Batch, EncoderModel, NeuralModel, build
from haltung.models.spec import NetworkSpec
from haltung.models.units import units
from haltung.records import Segment
from haltung.training import finetune
from haltung.training.losses import loss, targets
from haltung.training.recipe import Training

MODELS = ("article", "network")
PREDICTING = {"article": "article predicts", "network": "network predicts"}
# Maximum number of tokens for which a peak is measured; batches of predictions may have more.
MOST_VECTORS = 4096


@dataclass(frozen=True)
class Setting:
    """Input of all sides; ``dev`` is for evaluations, the plain side pads to ``padded`` tokens."""

    segments: list[Segment]
    dev: list[Segment]
    scheme: Scheme
    encoder: Encoder
    specs: dict[str, NetworkSpec]
    training: Training
    padded: int = 256


@dataclass(frozen=True)
class Pass:
    """One pass over the segments; ``tokens`` are real ones, without padding.

    ``operations`` are those of real tokens, ``peaks`` the operations per second of the encoder's
    products, measured directly after the pass. The plain side has neither.
    """

    sentences: int
    tokens: int
    seconds: float
    operations: float = 0.0
    peaks: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Labelled sentences per second."""
        return self.sentences / self.seconds

    @property
    def token_rate(self) -> float:
        """Real tokens per second."""
        return self.tokens / self.seconds

    @property
    def share(self) -> float:
        """Operations per second as a share of the fastest product."""
        return self.operations / self.seconds / max(self.peaks.values())


@dataclass(frozen=True)
class Side:
    """A pass with its model, its cost in operations, and its number of batches."""

    once: Callable[[], Pass]
    model: EncoderModel
    cost: Cost
    batches: int
    precision: str

    def __call__(self) -> Pass:
        """Do one pass."""
        return self.once()

    def beside_peak(self) -> Pass:
        """Do one pass, then measure the peak with as many tokens as its batches have on average."""
        done = self()
        vectors = min(MOST_VECTORS, max(1, done.tokens // self.batches))
        peaks = peak(self.model, vectors, precision(self.precision))
        return replace(done, operations=self.cost.of(done.tokens, done.sentences), peaks=peaks)


class _Clock(TrainerCallback):
    """Measures from the first batch to the last step, without building Trainer and optimizer."""

    began = ended = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = now()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ended = now()


def ours(setting: Setting, model: str, folder: Path) -> Side:
    """Return a side that trains one pass by the recipe of `haltung train`, without the evaluation
    and the checkpoint at its end.
    """
    examples = finetune.examples_of(setting.segments, setting.scheme, setting.encoder, setting.specs[model], setting.training, 1)

    def train() -> Pass:
        trainer = trainer_of(setting, examples, folder, epoch_ends=False)
        return _timed(trainer, len(setting.segments), lambda: trainer.tokens)

    return Side(train, examples.model, cost(examples.model.network, trains=True), len(examples.sampler), setting.training.precision)


def trainer_of(setting: Setting, examples: Any, folder: Path, epoch_ends: bool) -> finetune._Trainer:
    """Return the Trainer for one epoch, with evaluation and checkpoint if ``epoch_ends``."""
    training = replace(setting.training, epochs=1, patience=0)
    # New arguments each time also reset the precision, which is global, after the other side.
    arguments = finetune._arguments(training, folder, 1, -(-len(setting.segments) // examples.size))
    if not epoch_ends:
        arguments = replace(arguments, eval_strategy="no", save_strategy="no", load_best_model_at_end=False, logging_strategy="no")
    return finetune._Trainer(examples, setting.dev, training, arguments, lambda point: None)


def predicting(setting: Setting, model: str, trained: EncoderModel) -> Side:
    """Return a side that predicts all segments from their texts, as `haltung predict` does."""
    if model == "article":
        read = [sentence for unit in units(setting.segments, setting.specs[model].window) for sentence in unit.sentences]  # type: ignore[attr-defined]
        tokens = sum(map(len, trained.encode(read)))  # type: ignore[attr-defined]
    else:
        tokens = sum(len(row) for view in trained.encode(setting.segments) for row in view)  # type: ignore[attr-defined]

    def predict() -> Pass:
        began = now()
        trained.predict(setting.segments)
        return Pass(len(setting.segments), tokens, now() - began)

    return Side(predict, trained, cost(trained.network, trains=False), -(-tokens // MOST_VECTORS), "auto")


class _PlainTrainer(Trainer):
    """The unchanged Trainer, except for the loss, since it knows none for two heads."""

    scheme: Scheme
    tokens = 0

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        views = [Batch(*view) for view in inputs["views"]]
        self.tokens += sum(int(view.mask.sum()) for view in views)
        return loss(model(views), inputs["gold"], self.scheme, {})


def plainly(setting: Setting, folder: Path) -> Callable[[], Pass]:
    """Return a pass with the Trainer's defaults: float32, random batches, all rows padded to one
    length, all weights trained.
    """
    spec = replace(setting.specs["network"], max_length=setting.padded, tune="full", freeze_embeddings=False, freeze_layers=0)
    model = build(setting.encoder, spec, setting.scheme)
    # As from_pretrained returns it: default attention, the dropout of its pretraining, and all
    # parameters trainable.
    model.network.encoder = AutoModel.from_pretrained(locate(setting.encoder), dtype=torch.float32)
    model.network.encoder.pooler = None
    encoded = model.encode(setting.segments)
    gold = {task.name: targets(setting.segments, task) for task in setting.scheme}

    def collate(rows: list[int]) -> dict[str, Any]:
        views = [tuple(_padded(model, [view[row] for row in rows])) for view in encoded]
        return {"views": views, "gold": {name: table[rows] for name, table in gold.items()}}

    def train() -> Pass:
        arguments = TrainingArguments(
            output_dir=str(folder), num_train_epochs=1, per_device_train_batch_size=setting.training.batch_size, report_to="none",
            use_cpu=not torch.cuda.is_available(), remove_unused_columns=False, save_strategy="no", logging_strategy="no",
        )  # fmt: skip
        trainer = _PlainTrainer(model.network, arguments, data_collator=collate, train_dataset=range(len(setting.segments)))
        trainer.scheme = setting.scheme
        return _timed(trainer, len(setting.segments), lambda: trainer.tokens)

    return train


def _padded(model: NeuralModel, rows: list[Tokens]) -> Batch:
    pad = model.tokenizer.pad_token_id

    def table(values: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([value + [fill] * (model.spec.max_length - len(value)) for value in values])

    types = table([row.types for row in rows], 0) if "token_type_ids" in model.tokenizer.model_input_names else None
    return Batch(
        table([row.ids for row in rows], pad), table([[1] * len(row) for row in rows], 0), types, table([row.own for row in rows], 0)
    )


def _timed(trainer: Trainer, sentences: int, tokens: Callable[[], int]) -> Pass:
    clock = _Clock()
    trainer.add_callback(clock)
    _silence(trainer)
    trainer.train()
    return Pass(sentences, tokens(), clock.ended - clock.began)


def _silence(trainer: Trainer) -> None:
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)


def setting(overrides: list[str], sentences: int, folder: Path) -> Setting:
    """Return the input of all sides from a config: whole articles with about ``sentences``."""
    config = plain(compose("train", overrides))
    corpus = config["corpus"]
    scheme = scheme_of(corpus["labels"])
    reader, rules, split = (make(corpus[key], f"corpus.{key}") for key in ("reader", "rules", "split"))
    prepared = prepare(corpus["name"], reader, scheme, rules, split, folder)
    segments, dev = prepared.segments("train"), prepared.segments("dev")
    drawn = _drawn(segments, sentences)
    # The same share of dev.
    dev = _drawn(dev, max(1, len(dev) * len(drawn) // len(segments)))
    specs = {model: make(plain(compose("train", [*overrides, f"model={model}"]))["model"], "model") for model in MODELS}
    return Setting(drawn, dev, scheme, make(config["encoder"], "encoder"), specs, make(config["training"], "training"))


def _drawn(segments: list[Segment], sentences: int) -> list[Segment]:
    names = list(dict.fromkeys(segment.article for segment in segments))
    random.Random(1).shuffle(names)
    articles: dict[str, list[Segment]] = {}
    for segment in segments:
        articles.setdefault(segment.article, []).append(segment)
    drawn: list[Segment] = []
    for name in names:
        drawn += articles[name] if len(drawn) < sentences else []
    return drawn


def main() -> None:
    """Measure all sides in turn; print the tables and, as the last line, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="everything else is an override, as in haltung train")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (default: 3)")
    parser.add_argument("--sentences", type=int, default=600, help="how many sentences one pass has about (default: 600)")
    parser.add_argument("--padded", type=int, default=256, help="the tokens that the plain side pads to (default: 256)")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument(
        "--profile", type=Path, help="profile one epoch of model=article instead, and write where its time goes to this file"
    )
    options, overrides = parser.parse_known_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_seed(1)
    with tempfile.TemporaryDirectory() as name:
        given = replace(setting(overrides, options.sentences, Path(name) / "prepared"), padded=options.padded)
        if options.profile:
            print(_profile(given, Path(name), options.profile))
            return
        passes = _measured(given, Path(name), options.rounds)
    _show(given, passes, options.json)


def _profile(given: Setting, folder: Path, path: Path) -> str:
    examples = finetune.examples_of(given.segments, given.scheme, given.encoder, given.specs["article"], given.training, 1)

    def make_trainer() -> Trainer:
        trainer = trainer_of(given, examples, folder, epoch_ends=True)
        _silence(trainer)
        return trainer

    return profiled(make_trainer, path)


def _measured(given: Setting, folder: Path, rounds: int) -> dict[str, list[Pass]]:
    console, warm = Console(stderr=True), replace(given, segments=given.segments[:40])
    sides: dict[str, Callable[[], Pass]] = {}
    for side in (*MODELS, "plain"):
        make_side = plainly if side == "plain" else partial(ours, model=side)
        make_side(warm, folder=folder / "warm")()  # warm-up: first calls choose kernels and allocate memory
        made = make_side(given, folder=folder / side)
        sides[side] = made.beside_peak if isinstance(made, Side) else made
        if isinstance(made, Side):
            bulk = predicting(given, side, made.model)
            sides[PREDICTING[side]] = bulk.beside_peak
    passes: dict[str, list[Pass]] = {side: [] for side in sides}
    for number in range(rounds):
        for side, once in sides.items():
            passes[side].append(once())
            console.print(f"round {number + 1} of {rounds}, {side}: {passes[side][-1].rate:.1f} sentences/s", highlight=False)
    return passes


def _show(setting: Setting, passes: dict[str, list[Pass]], file: Path | None) -> None:
    figures = {side: Figure(tuple(one.rate for one in done), "sentences/s") for side, done in passes.items()}
    for side, done in passes.items():
        figures[f"{side}, tokens"] = Figure(tuple(one.token_rate for one in done), "real tokens/s")
        if all(one.peaks for one in done):
            figures[f"{side}, operations"] = Figure(tuple(one.operations / one.seconds / 1e9 for one in done), "GFLOP/s")
            figures[f"{side}, peak"] = Figure(tuple(max(one.peaks.values()) / 1e9 for one in done), "GFLOP/s")
            figures[f"{side}, share of the peak"] = Figure(tuple(one.share for one in done), "share")
    for one, other in (*((model, "plain") for model in MODELS), ("article", "network")):
        for measure in ("", ", tokens"):
            pairs = zip(figures[one + measure].values, figures[other + measure].values, strict=True)
            figures[f"{one} / {other}{measure}"] = Figure(tuple(first / second for first, second in pairs), "ratio")
    rounds = len(passes["plain"])
    title = f"{setting.encoder.name}, {len(setting.segments)} labelled sentences, {rounds} rounds: medians, lowest and highest"
    console, table = Console(), Table(title=title)
    for column in ("side", "sentences/s", "real tokens/s", "GFLOP/s", "peak GFLOP/s", "share of the peak"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side in passes:
        cells = [figures.get(f"{side}{name}") for name in ("", ", tokens", ", operations", ", peak", ", share of the peak")]
        table.add_row(side, *("" if cell is None else str(cell) for cell in cells))
    ratios = Table("ratio", "labelled sentences/s", "real tokens/s")
    for name in (name for name in figures if " / " in name and not name.endswith("tokens")):
        ratios.add_row(name, str(figures[name]), str(figures[f"{name}, tokens"]))
    console.print(table, ratios)
    more = {
        "encoder": setting.encoder.name,
        "sentences": len(setting.segments),
        "threads": torch.get_num_threads(),
        "precision": str(precision(setting.training.precision)),
        "passes": {side: [asdict(one) for one in done] for side, done in passes.items()},
    }
    print(write(file, "training", machine(), figures, **more))


if __name__ == "__main__":
    main()
