"""Training speed: model=article and model=network against the Trainer's own defaults, as ratios of
labelled sentences per second in one interleaved run.

    # the embedded corpus, 3 rounds
    .venv/bin/python benchmarks/training.py
    # overrides as in haltung train
    .venv/bin/python benchmarks/training.py --rounds 5 corpus=real_news sources=FOLDER

All train the same encoder on the same articles, one pass over them for each figure, in turns. The
plain side reads each segment behind its context, as model=network does.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from haltung import threads

os.environ.update(threads.settings())

import torch
from measuring import Figure, machine, write
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
from haltung.models.neural import Batch, NeuralModel, build
from haltung.models.spec import NetworkSpec
from haltung.records import Segment
from haltung.training import finetune
from haltung.training.losses import loss, targets
from haltung.training.recipe import Training

PLAIN_LENGTH = 256
MODELS = ("article", "network")


@dataclass(frozen=True)
class Setting:
    """What all sides are given."""

    segments: list[Segment]
    scheme: Scheme
    encoder: Encoder
    specs: dict[str, NetworkSpec]
    training: Training


@dataclass(frozen=True)
class Pass:
    """One pass over the segments; ``tokens`` are real ones, without padding."""

    sentences: int
    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        """Labelled sentences per second."""
        return self.sentences / self.seconds


class _Clock(TrainerCallback):
    """Measures from the first batch to the last step; building the Trainer and its optimizer is not
    training.
    """

    began = ended = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # it works behind the program's back
        self.ended = time.perf_counter()


def ours(setting: Setting, model: str, folder: Path) -> Callable[[], Pass]:
    """Return what trains one pass by the recipe of `haltung train`, without the evaluation and the
    checkpoint at its end.
    """
    training = replace(setting.training, epochs=1, patience=0)
    examples = finetune.examples_of(setting.segments, setting.scheme, setting.encoder, setting.specs[model], training, 1)

    def train() -> Pass:
        # New arguments each time: they also reset the precision, which is kept globally, from what
        # the other side has set.
        arguments = replace(
            finetune._arguments(training, folder, 1, -(-len(setting.segments) // examples.size)),
            eval_strategy="no", save_strategy="no", load_best_model_at_end=False, logging_strategy="no",
        )  # fmt: skip
        trainer = finetune._Trainer(examples, [], training, arguments, lambda point: None)
        return _timed(trainer, len(setting.segments), lambda: trainer.tokens)

    return train


class _PlainTrainer(Trainer):
    """The Trainer as it is; only the loss is told, since two heads have more than the one that it
    knows.
    """

    scheme: Scheme
    tokens = 0

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        views = [Batch(*view) for view in inputs["views"]]
        self.tokens += sum(int(view.mask.sum()) for view in views)
        return loss(model(views), inputs["gold"], self.scheme, {})


def plainly(setting: Setting, folder: Path) -> Callable[[], Pass]:
    """Return what trains one pass by the Trainer's defaults: float32, random batches, everything
    padded to 256 tokens and trained.
    """
    spec = replace(setting.specs["network"], max_length=PLAIN_LENGTH, tune="full", freeze_embeddings=False, freeze_layers=0)
    model = build(setting.encoder, spec, setting.scheme)
    # As from_pretrained gives it: its own attention, and dropout wherever it was pretrained with
    # it. Its parameters come as trainable.
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
        return torch.tensor([value + [fill] * (PLAIN_LENGTH - len(value)) for value in values])

    types = table([row.types for row in rows], 0) if "token_type_ids" in model.tokenizer.model_input_names else None
    return Batch(
        table([row.ids for row in rows], pad), table([[1] * len(row) for row in rows], 0), types, table([row.own for row in rows], 0)
    )


def _timed(trainer: Trainer, sentences: int, tokens: Callable[[], int]) -> Pass:
    clock = _Clock()
    trainer.add_callback(clock)
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    trainer.train()
    return Pass(sentences, tokens(), clock.ended - clock.began)


def setting(overrides: list[str], sentences: int, folder: Path) -> Setting:
    """Return what all sides are given by a config: whole articles of about so many sentences."""
    config = plain(compose("train", overrides))
    corpus = config["corpus"]
    scheme = scheme_of(corpus["labels"])
    reader, rules, split = (make(corpus[key], f"corpus.{key}") for key in ("reader", "rules", "split"))
    segments = prepare(corpus["name"], reader, scheme, rules, split, folder).segments("train")
    names = list(dict.fromkeys(segment.article for segment in segments))
    random.Random(1).shuffle(names)
    articles: dict[str, list[Segment]] = {}
    for segment in segments:
        articles.setdefault(segment.article, []).append(segment)
    drawn: list[Segment] = []
    for name in names:
        drawn += articles[name] if len(drawn) < sentences else []
    specs = {model: make(plain(compose("train", [*overrides, f"model={model}"]))["model"], "model") for model in MODELS}
    return Setting(drawn, scheme, make(config["encoder"], "encoder"), specs, make(config["training"], "training"))


def main() -> None:
    """Measure in turns and print the table and, as the last line, the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="everything else is an override, as in haltung train")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (default: 3)")
    parser.add_argument("--sentences", type=int, default=600, help="how many sentences one pass has about (default: 600)")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options, overrides = parser.parse_known_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    set_seed(1)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = setting(overrides, options.sentences, folder / "prepared")
        warm = replace(given, segments=given.segments[:40])  # first calls choose kernels and touch memory
        sides = {}
        for side in (*MODELS, "plain"):
            make_side = plainly if side == "plain" else partial(ours, model=side)
            make_side(warm, folder=folder / "warm")()
            sides[side] = make_side(given, folder=folder / side)
        passes: dict[str, list[Pass]] = {side: [] for side in sides}
        for number in range(options.rounds):
            for side, train in sides.items():
                passes[side].append(train())
                console.print(f"round {number + 1} of {options.rounds}, {side}: {passes[side][-1].rate:.1f} sentences/s", highlight=False)
    _show(given, passes, options.json)


def _show(setting: Setting, passes: dict[str, list[Pass]], file: Path | None) -> None:
    table = Table(title=f"{setting.encoder.name}, {len(setting.segments)} labelled sentences: how many a second, and ratios")
    for column in ("round", *passes, *(f"{side} / plain" for side in MODELS), "article / network"):
        table.add_column(column, justify="right")
    ratios: dict[str, list[float]] = {}
    for number, done in enumerate(zip(*passes.values(), strict=True), start=1):
        rate = {side: one.rate for side, one in zip(passes, done, strict=True)}
        pairs = [*((side, "plain") for side in MODELS), ("article", "network")]
        for one, other in pairs:
            ratios.setdefault(f"{one} / {other}", []).append(rate[one] / rate[other])
        table.add_row(str(number), *(f"{value:.1f}" for value in rate.values()), *(f"{values[-1]:.2f}" for values in ratios.values()))
    table.add_section()
    middle = [statistics.median(one.rate for one in done) for done in passes.values()]
    table.add_row("median", *(f"{value:.1f}" for value in middle), *(f"{statistics.median(values):.2f}" for values in ratios.values()))
    ends = [f"{min(values):.2f} to {max(values):.2f}" for values in ratios.values()]
    table.add_row("spread", *("" for _ in middle), *ends)
    Console().print(table)
    figures = {side: Figure(tuple(one.rate for one in done), "sentences/s") for side, done in passes.items()}
    figures |= {name: Figure(tuple(values), "ratio") for name, values in ratios.items()}
    more = {
        "encoder": setting.encoder.name,
        "sentences": len(setting.segments),
        "threads": torch.get_num_threads(),
        "passes": {side: [asdict(one) for one in done] for side, done in passes.items()},
    }
    print(write(file, "training", machine(), figures, **more))


if __name__ == "__main__":
    main()
