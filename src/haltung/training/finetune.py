"""Fine-tune with transformers' Trainer: layer-wise rates, batches by length, resumable."""

import atexit
import copy
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, send_to_device
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer import DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_pt_utils import LengthGroupedSampler

from haltung.encoders.load import Encoder, locate
from haltung.encoders.tokens import Tokens
from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import UNLABELLED, score
from haltung.labels import STANCE, Scheme
from haltung.models import article
from haltung.models.article import ArticleModel
from haltung.models.neural import NeuralModel, build, has_bf16
from haltung.models.predictor import shares
from haltung.models.spec import ArticleSpec, NetworkSpec
from haltung.models.units import Unit, units
from haltung.records import Prediction, Segment
from haltung.training.average import Average
from haltung.training.losses import actor_loss, actor_targets, class_weights, loss, rates, targets, teacher_loss
from haltung.training.recipe import Training, last_checkpoint, place

# Newer releases of transformers have renamed this argument, and warn about the old name.
_CHECKPOINTING = "activation_checkpointing" if hasattr(TrainingArguments, "activation_checkpointing") else "gradient_checkpointing"
# A point of the learning curve: {"epoch": 1.0, "step": 145, "loss": …}, or with dev_TASK_macro_f1.
Point = dict[str, float]


@dataclass(frozen=True)
class FineTuned:
    """A trained model and its training.

    ``history`` is the learning curve, ``best`` the dev macro-F1 that chose ``best_epoch``,
    ``tokens`` the number of tokens seen, without padding. ``predictions`` are the model's
    predictions for dev, if they were made since training was last resumed.
    """

    model: NeuralModel | ArticleModel
    history: tuple[Point, ...]
    best: float
    best_epoch: float
    seconds: float
    tokens: int
    predictions: Sequence[Prediction] | None = None


def finetune(
    train: Sequence[Segment], dev: Sequence[Segment], scheme: Scheme, encoder: Encoder, spec: NetworkSpec, training: Training, seed: int,
    folder: Path, resume: bool = False, report: Callable[[Point], None] = lambda point: None, fsdp: Mapping[str, Any] | None = None,
    soft: Mapping[str, np.ndarray] | None = None,
) -> FineTuned:  # fmt: skip
    """Train on ``train``, choose the epoch on ``dev``, and return the model with its best weights.

    The best epoch is the one with the highest macro-F1 on dev. The scheme determines the sizes of
    the heads. ``seed`` determines all that is random: heads, dropout, order. ``folder`` is for
    checkpoints. With ``resume``, training continues from the last complete one, with the same
    result as an uninterrupted training; otherwise the folder is emptied first. ``report`` is called
    with each new point of the learning curve. The processes of torchrun train one model together,
    as a single process would; with ``fsdp``, the Trainer's ``fsdp_config``, each holds a shard of
    it. ``soft`` targets are a teacher's probabilities for ``train``, ``[rows, labels]`` by task.

    Raises ``UserError`` if a split is empty, or the encoder can't be loaded.
    """
    training.checked(scheme)
    for name, split in (("train", train), ("dev", dev)):
        if not split:
            raise UserError(f"the {name} split is empty, so nothing can be trained; see the corpus's manifest.json for what was dropped")
    rank, _ = place()
    checkpoint = last_checkpoint(folder) if resume else None
    if checkpoint is None and rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    # Before seeding, because an encoder that is built at its first use draws random numbers.
    locate(encoder)
    set_seed(seed)
    examples = examples_of(train, scheme, encoder, spec, training, seed)
    model = examples.model
    whole = copy.deepcopy(model.network) if fsdp else None
    # The processes start from the same weights, but use different dropout masks.
    arguments = _arguments(training, folder, (seed + rank) % 2**32, -(-len(train) // examples.size), fsdp)
    trainer = _Trainer(examples, dev, training, arguments, report, soft)
    atexit.register(PartialState().destroy_process_group)  # its threads would abort the process at its end
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.perf_counter() - began
    history = tuple(_point(entry) for entry in trainer.state.log_history if "loss" in entry or "dev_score" in entry)
    best = max((point for point in history if "dev_score" in point), key=lambda point: point["dev_score"])
    if whole is not None:
        model.network = whole.to(trainer.args.device)
        model.network.load_state_dict(trainer.accelerator.get_state_dict(trainer.model), strict=rank == 0)  # only the first process has it
    model.network.eval()
    tokens = trainer.accelerator.reduce(torch.tensor(trainer.tokens, device=trainer.args.device), "sum")
    return FineTuned(model, history, best["dev_score"], best["epoch"], seconds, int(tokens), trainer.predictions)


def examples_of(
    train: Sequence[Segment], scheme: Scheme, encoder: Encoder, spec: NetworkSpec, training: Training, seed: int
) -> "_Rows | _Units":
    """Return the training examples of a new model in batches: segments, or whole articles."""
    if not isinstance(spec, ArticleSpec):
        return _Rows(build(encoder, spec, scheme), train, training, seed)
    dyads = spec.dyads and any(segment.dyads for segment in train)
    return _Units(article.build(encoder, spec, scheme, dyads), train, training, seed)


class _Examples(TrainerCallback):
    """The train split, indexed by number; as a callback it resamples at the start of an epoch."""

    def __init__(self, model: NeuralModel | ArticleModel, segments: Sequence[Segment], seed: int) -> None:
        self.segments, self.seed = segments, seed
        self.gold = {task.name: targets(segments, task) for task in model.scheme}
        soft = [task for task in model.scheme if any(task.name in segment.soft for segment in segments)]
        self.shares = {task.name: torch.from_numpy(shares(task, segments)).float().nan_to_num(UNLABELLED) for task in soft}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begin(int(state.epoch or 0))

    def begin(self, epoch: int) -> None:
        """Draw what the epoch reads and in which order, depending on seed and epoch alone."""


class _Rows(_Examples):
    """The train split in batches of similar lengths; a share ``bare`` is read without context."""

    def __init__(self, model: NeuralModel, segments: Sequence[Segment], training: Training, seed: int) -> None:
        super().__init__(model, segments, seed)
        self.model, self.bare, self.size = model, training.context_dropout, training.batch_size
        self.encoded: list[list[Tokens]] = model.encode(segments)
        self.without: list[list[Tokens]] = model.encode([replace(segment, context="") for segment in segments]) if self.bare else []
        lengths = [sum(len(view[row]) for view in self.encoded) for row in range(len(segments))]
        lengths = lengths if training.group_by_length else [1] * len(lengths)
        self.order = LengthGroupedSampler(training.batch_size * training.accumulation, lengths=lengths, generator=torch.Generator())
        self.sampler = BatchSampler(self.order, self.size, drop_last=False)
        self.tokens_read = self.encoded

    def begin(self, epoch: int) -> None:
        seed = self.seed * 100_003 + epoch
        self.order.generator.manual_seed(seed)
        if self.bare:
            drawn = torch.rand(len(self.segments), generator=torch.Generator().manual_seed(seed)) < self.bare
            self.tokens_read = [
                [short if is_bare else full for full, short, is_bare in zip(*views, drawn.tolist(), strict=True)]
                for views in zip(self.encoded, self.without, strict=True)
            ]

    def collate(self, rows: list[int]) -> dict[str, Any]:
        """Return these rows, their inputs, and their gold labels."""
        gold = {name: of[rows] for name, of in self.gold.items()}
        return {"rows": rows, "inputs": self.model.batch(self.tokens_read, rows), "gold": gold}

    def logits(self, network: nn.Module, batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor | float, int]:
        """Return the logits of each task, an additional loss of 0, and the number of tokens."""
        return network(batch["inputs"]), 0.0, sum(int(view.mask.sum()) for view in batch["inputs"])


class _Units(_Examples):
    """The train split as articles, in batches of about as many sentences as the batch size.

    In each epoch a new random share of the articles is split into single sentences, without
    headline or context, so that the model also learns to read sentences alone. A batch has room for
    a whole window. For a random half of the sentences, actors are predicted given the gold stance,
    for the rest given the stances that the model finds likely.
    """

    def __init__(self, model: ArticleModel, segments: Sequence[Segment], training: Training, seed: int) -> None:
        super().__init__(model, segments, seed)
        self.model, self.alone = model, model.spec.alone
        self.size = max(training.batch_size, model.spec.window)
        # Tokens of segments by row, those of headlines and contexts by text.
        self.tokens: dict[int | str, Tokens] = dict(enumerate(model.encode(segments)))
        # The batches of an epoch; a list of them serves as a batch sampler.
        self.sampler: list[list[int]] = [[] for _ in range(-(-len(segments) // self.size))]
        self.begin(0)

    def begin(self, epoch: int) -> None:
        chance = random.Random(self.seed * 100_003 + epoch)
        names = dict.fromkeys(segment.article or segment.id for segment in self.segments)
        alone = {name: chance.random() < self.alone for name in names}
        self.units = units(self.segments, self.model.spec.window, lambda name: alone[name], self.model.actors)
        self.told = [chance.random() < 0.5 for _ in self.segments]
        order = list(range(len(self.units)))
        chance.shuffle(order)
        before, batches = 0, len(self.sampler)
        self.sampler[:] = [[] for _ in self.sampler]  # in place: the data loader holds this list
        for number, unit in enumerate(order):
            # If few units are left, each gets a batch: none is empty, epochs have equally many.
            self.sampler[max(before // self.size, batches - (len(order) - number))].append(unit)
            before += self.units[unit].labelled

    def collate(self, chosen: list[int]) -> dict[str, Any]:
        """Return the rows of these units, inputs, gold labels, and the sides of dyads."""
        read = [self.units[unit] for unit in chosen]
        articles, rows = self.model.articles(read, [self._tokens(unit) for unit in read], self._has_dyads)
        out: dict[str, Any] = {"rows": rows, "inputs": articles, "gold": {name: gold[rows] for name, gold in self.gold.items()}}
        if articles.actors is not None:
            named = [of for unit in read for row, of in zip(unit.rows, unit.named, strict=True) if of and self._has_dyads(row)]
            asked = [rows[place] for place in articles.actors.rows]
            both = [actor_targets(of, self.segments[row].dyads) for row, of in zip(asked, named, strict=True)]
            out["sides"] = torch.stack(both, dim=1) if both else None
            told = out["gold"][STANCE].masked_fill(~torch.tensor([self.told[row] for row in rows]), UNLABELLED)
            out["stances"] = (told.unsqueeze(1) == torch.arange(len(self.model.scheme[STANCE]))).float()
        return out

    def logits(self, network: nn.Module, batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor | float, int]:
        """Return the logits of each task, the loss of dyads, and the number of tokens."""
        logits, sides = network(batch["inputs"], batch.get("stances"))
        tokens = sum(int((part.sentence >= 0).sum()) for part in batch["inputs"].parts)
        return logits, 0.0 if sides is None else actor_loss(sides, batch["sides"]), tokens

    def _has_dyads(self, row: int | None) -> bool:
        return row is not None and bool(self.segments[row].dyads)

    def _tokens(self, unit: Unit) -> list[Tokens]:
        out = []
        for sentence, row in zip(unit.sentences, unit.rows, strict=True):
            name = sentence.text if row is None else row
            if name not in self.tokens:
                (self.tokens[name],) = self.model.encode([sentence])
            out.append(self.tokens[name])
        return out


class _ProgressBar(ProgressCallback):
    """The Trainer's progress bar, with a readable line per epoch instead of a printed dict."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        bar: Any = self.training_bar
        if state.is_world_process_zero and bar is not None and logs and "dev_score" in logs:
            scores = "  ".join(f"{name[4:-9]} {value:.3f}" for name, value in logs.items() if name.endswith("_macro_f1"))
            bar.write(f"  epoch {logs['epoch']:.0f} of {args.num_train_epochs:.0f}: dev macro-F1  {scores}")
        elif bar is not None and logs and "perplexity" in logs:
            bar.write(f"  step {state.global_step:,}: perplexity {logs['perplexity']:.1f}")


class OneDevice(TrainingArguments):
    """Training arguments with at most one GPU per process."""

    @property
    def n_gpu(self) -> int:
        """At most one."""
        return min(1, int(super().n_gpu))  # the Trainer's DataParallel can't split our batches


class ReportingTrainer(Trainer):
    """The Trainer with our progress bar, averages of the weights, and a report of each point."""

    def __init__(
        self, network: nn.Module, arguments: TrainingArguments, collate: Callable[[list[Any]], Any], examples: Any,
        callbacks: Sequence[TrainerCallback], averages: Sequence[Average], report: Callable[[Point], None],
    ) -> None:  # fmt: skip
        """Take the Trainer's arguments, and ``report``, which gets points of the learning curve."""
        self.averages, self.report = averages, report
        # The eval_dataset only enables evaluation.
        super().__init__(network, arguments, collate, examples, examples, callbacks=[*callbacks, *averages])
        # The log level decides which one is present; in a notebook the first is another class.
        for callback in (DEFAULT_PROGRESS_CALLBACK, PrinterCallback):
            self.remove_callback(callback)
        self.add_callback(_ProgressBar)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write a checkpoint; next to averages, the weights that training continues from."""
        super().save_model(output_dir, _internal_call)
        for average in self.averages if self.args.should_save else ():
            average.save(Path(output_dir or str(self.args.output_dir)))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, and report entries that belong to the learning curve."""
        super().log(logs, start_time)
        if not {"loss", "dev_score", "perplexity"}.isdisjoint(logs):
            self.report(_point(self.state.log_history[-1]))


class _Trainer(ReportingTrainer):
    """The Trainer with the project's batches, loss, learning rates and dev score."""

    def __init__(
        self, examples: _Rows | _Units, dev: Sequence[Segment], training: Training, arguments: TrainingArguments,
        report: Callable[[Point], None], soft: Mapping[str, np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        self.examples, self.dev, self.training, self.soft = examples, dev, training, soft or {}
        self.scheme = examples.model.scheme
        self.class_weights = {task.name: class_weights(examples.gold[task.name], task, training.class_weight) for task in self.scheme}
        self.tokens = 0
        self.predictions: Sequence[Prediction] | None = None
        averages = [Average(training.ema_decay)] if training.ema_decay else []
        stopping = [EarlyStoppingCallback(early_stopping_patience=training.patience)] if training.patience else []
        # The collator looks up examples by number.
        numbers = range(len(examples.segments))
        super().__init__(examples.model.network, arguments, examples.collate, numbers, [examples, *stopping], averages, report)

    def get_train_dataloader(self) -> DataLoader[int]:
        numbers: Any = self.train_dataset
        # Not prepared by accelerate: each process gets all batches and takes its share of each.
        return DataLoader(numbers, batch_sampler=self.examples.sampler, collate_fn=self._collate)

    def _collate(self, batch: list[int]) -> dict[str, Any]:
        # A process without rows of its own takes part in the step too, but its rows do not count.
        rank, processes = place()
        return {**self.examples.collate(batch[rank::processes] or batch[:1]), "learned": rank < len(batch)}

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        # The Trainer can't move named tuples to a device.
        return send_to_device(inputs, self.args.device)  # type: ignore[no-any-return]

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            network = self.examples.model.network
            groups = rates(network, self.training, int(getattr(network.encoder.config, "num_hidden_layers", 12)))
            self.optimizer = torch.optim.AdamW(groups, lr=self.training.encoder_rate, fused=True)
        return self.optimizer

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        logits, further, tokens = self.examples.logits(model, inputs)
        if model.training and inputs["learned"]:
            self.tokens += tokens
        weights = {name: None if weight is None else weight.to(self.args.device) for name, weight in self.class_weights.items()}

        def share(count: Tensor) -> Tensor:
            # Gradients are averaged over processes, whose losses are means over different counts.
            own = count.float() * inputs["learned"]
            return own / self.accelerator.reduce(own, "mean").clamp(min=1e-12)  # type: ignore[no-any-return]

        known = torch.zeros((), device=self.args.device) if (sides := inputs.get("sides")) is None else (sides.sum(dim=-1) > 0).sum()
        soft = {task: torch.from_numpy(table[inputs["rows"]]).to(self.args.device, torch.float32) for task, table in self.soft.items()}
        part = self.training.teacher_weight if soft else 0.0
        several = {task: table[inputs["rows"]].to(self.args.device) for task, table in self.examples.shares.items()}
        of_gold = loss(logits, {**inputs["gold"], **several}, self.scheme, weights, self.training.label_smoothing, share)
        value = (1 - part) * of_gold + part * teacher_loss(logits, soft, self.scheme, share) + further * share(known)
        return (value, logits) if return_outputs else value

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        macro: dict[str, float] = {}
        predictions: Sequence[Prediction] | None = None
        if self.args.process_index == 0 or self.is_fsdp_enabled:  # a sharded network predicts only if all processes call it
            predictions = self.examples.model.predict(self.dev)
            tasks = evaluate(score(self.dev, predictions, self.scheme)).tasks
            macro = {task.name: tasks[task.name].macro_f1 for task in self.scheme if task.name in tasks}
        (macro,) = broadcast_object_list([macro])
        dev_score = self.training.score(macro)
        if self.state.best_metric is None or dev_score > self.state.best_metric:
            self.predictions = predictions
        metrics = {f"dev_{name}_macro_f1": value for name, value in macro.items()} | {"dev_score": dev_score}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, {"eval_dev_score": dev_score})
        return {"eval_dev_score": dev_score, **metrics}


def _point(entry: dict[str, Any]) -> Point:
    return {name: float(value) for name, value in entry.items() if isinstance(value, int | float)}


def _arguments(training: Training, folder: Path, seed: int, batches: int, fsdp: Mapping[str, Any] | None = None) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    steps = max(1, -(-batches // training.accumulation))
    half = training.precision == "bf16" or (training.precision == "auto" and has_bf16(torch.device("cuda" if cuda else "cpu")))
    checkpointing: dict[str, Any] = {_CHECKPOINTING: True} if training.gradient_checkpointing else {}
    shared_out: dict[str, Any] = {"fsdp": True, "fsdp_config": dict(fsdp)} if fsdp else {}
    return OneDevice(
        output_dir=str(folder), use_cpu=not cuda, bf16=half, **checkpointing, **shared_out, seed=seed, data_seed=seed,
        num_train_epochs=training.epochs, per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation, max_grad_norm=training.max_gradient, learning_rate=training.encoder_rate,
        lr_scheduler_type="linear", warmup_steps=round(training.warmup * steps * training.epochs),
        ddp_timeout=7200, eval_strategy="epoch", save_strategy="epoch", save_total_limit=1, load_best_model_at_end=True,
        metric_for_best_model="eval_dev_score", greater_is_better=True, restore_callback_states_from_checkpoint=True,
        logging_steps=max(1, steps // 10), remove_unused_columns=False, dataloader_pin_memory=False, report_to="none",
    )  # fmt: skip
