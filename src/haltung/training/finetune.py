"""Fine-tuning on transformers' Trainer: rates by depth, batches by length, resumable."""

from __future__ import annotations

import copy
import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_pt_utils import LengthGroupedSampler

from haltung.encoders.load import Encoder, locate
from haltung.encoders.tokens import Tokens
from haltung.errors import UserError
from haltung.evaluation.metrics.classification import evaluate
from haltung.evaluation.predictions import UNLABELLED, score
from haltung.labels import STANCE, Scheme
from haltung.models import article
from haltung.models.article import ArticleModel
from haltung.models.neural import NeuralModel, build, has_bf16, layer_of
from haltung.models.spec import ArticleSpec, NetworkSpec
from haltung.models.units import Unit, units
from haltung.records import Segment
from haltung.training.losses import actor_loss, actor_targets, class_weights, loss, targets
from haltung.training.recipe import Training, agreed, place

# Newer releases of transformers have another name for it, and warn about the old one.
_CHECKPOINTING = "activation_checkpointing" if hasattr(TrainingArguments, "activation_checkpointing") else "gradient_checkpointing"

# A point of the learning curve: {"epoch": 1.0, "step": 145, "loss": …}, or with dev_TASK_macro_f1.
Point = dict[str, float]


@dataclass(frozen=True)
class FineTuned:
    """A trained model and its training.

    ``history`` is the learning curve, ``best`` the dev macro-F1 that chose ``best_epoch``,
    ``tokens`` the number of tokens seen, without padding.
    """

    model: NeuralModel | ArticleModel
    history: tuple[Point, ...]
    best: float
    best_epoch: float
    seconds: float
    tokens: int


def finetune(
    train: Sequence[Segment], dev: Sequence[Segment], scheme: Scheme, encoder: Encoder, spec: NetworkSpec, training: Training, seed: int,
    folder: Path, resume: bool = False, report: Callable[[Point], None] = lambda point: None, fsdp: Mapping[str, Any] | None = None,
) -> FineTuned:  # fmt: skip
    """Train on ``train``, choose the epoch on ``dev``, and return the model with its best weights.

    The best epoch is the one with the highest macro-F1 on dev. The scheme determines the sizes of
    the heads, ``seed`` all that is random: heads, dropout, order. ``folder`` is for checkpoints;
    with ``resume`` the training continues from the last complete one, with the same result as an
    uninterrupted training, else the folder is emptied first. ``report`` gets each new point of the
    learning curve. Several processes that call this together (``recipe.place``) train one model, on
    the batches of a single one; ``fsdp`` is the Trainer's ``fsdp_config`` if each has a part of it.

    Raises ``UserError`` if a split is empty, or the encoder can't be loaded.
    """
    training.checked(scheme)
    for name, split in (("train", train), ("dev", dev)):
        if not split:
            raise UserError(f"the {name} split is empty, so nothing can be trained; see the corpus's manifest.json for what was dropped")
    (rank, processes), checkpoint = place(), None
    if rank == 0:
        checkpoint = last_checkpoint(folder) if resume else None
        if checkpoint is None:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        # The embedded encoder is built at its first use, which draws random numbers: before the
        # seed, so that the first training on a machine is like all others.
        locate(encoder)
    folder, checkpoint = agreed((folder, checkpoint))
    locate(encoder)
    set_seed(seed)
    examples = examples_of(train, scheme, encoder, spec, training, seed)
    model = examples.model
    # The processes begin with the same weights, and drop out differently.
    whole = copy.deepcopy(model.network) if fsdp and processes > 1 else None
    arguments = _arguments(training, folder, (seed + rank) % 2**32, -(-len(train) // examples.size), fsdp if whole else None)
    trainer = _Trainer(examples, dev, training, arguments, report)
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.perf_counter() - began
    history = tuple(_point(entry) for entry in trainer.state.log_history if "loss" in entry or "dev_score" in entry)
    best = max((point for point in history if "dev_score" in point), key=lambda point: point["dev_score"])
    if whole:
        state = trainer.accelerator.get_state_dict(trainer.model)  # the first process gets it
        model.network = whole.to(trainer.args.device)
        model.network.load_state_dict(state, strict=rank == 0)
    model.network.eval()
    tokens = trainer.accelerator.reduce(torch.tensor(trainer.tokens, device=trainer.args.device), "sum")
    return FineTuned(model, history, best["dev_score"], best["epoch"], seconds, int(tokens))


def examples_of(
    train: Sequence[Segment], scheme: Scheme, encoder: Encoder, spec: NetworkSpec, training: Training, seed: int
) -> _Rows | _Units:
    """Return a new model with what it learns from, in batches: segments, or whole articles."""
    if not isinstance(spec, ArticleSpec):
        return _Rows(build(encoder, spec, scheme), train, training, seed)
    dyads = spec.dyads and any(segment.dyads for segment in train)
    return _Units(article.build(encoder, spec, scheme, dyads), train, training, seed)


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint, and remove incomplete ones.

    The Trainer writes ``trainer_state.json`` last: if it can be read, the checkpoint is complete.
    """
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return path
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
    return None


def rates(network: nn.Module, training: Training, layers: int) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: all that is new, and the encoder by depth.

    Layer ``i`` of ``n`` has the encoder's rate times ``layer_decay ** (n - 1 - i)``, the embeddings
    ``layer_decay ** n`` (Howard and Ruder 2018, "Universal Language Model Fine-tuning", section
    3.2, there with a factor of 1/2.6). Biases and norms have no weight decay.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        if not name.startswith("encoder."):
            rate = training.head_rate
        else:
            layer = layer_of(name)
            rate = training.encoder_rate * training.layer_decay ** (layers if layer is None else layers - 1 - layer)
        decay = training.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": parameters, "lr": rate, "weight_decay": decay} for (rate, decay), parameters in groups.items()]


class _Examples(TrainerCallback):
    """The train split, whose tokens and labels the collator looks up by number.

    As a callback it draws anew where an epoch begins; nothing else tells it of that.
    """

    def __init__(self, model: NeuralModel | ArticleModel, segments: Sequence[Segment], seed: int) -> None:
        self.segments, self.seed = segments, seed
        self.gold = {task.name: targets(segments, task) for task in model.scheme}
        # Of whole batches, so a list of them will do; the data loader holds it.
        self.sampler: list[list[int]] = []

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begin(int(state.epoch or 0))

    def begin(self, epoch: int) -> None:
        """Draw what the epoch reads and in which order; it depends on seed and epoch alone."""

    def deal(self, batches: Sequence[list[int]]) -> None:
        """Put the parts of each batch into ``sampler``, one for each process in turn."""
        # A process that gets none reads an item, raised by this, and learns nothing from it.
        count, raised = place()[1], len(self.segments)
        self.sampler[:] = [batch[part::count] or [batch[0] + raised] for batch in batches for part in range(count)]

    def labels(self, rows: Sequence[int], learned: bool) -> dict[str, Tensor]:
        """Return the gold labels of rows; none of them is labelled if they are not learned from."""
        return {name: gold[rows] if learned else torch.full_like(gold[rows], UNLABELLED) for name, gold in self.gold.items()}


class _Rows(_Examples):
    """The train split in batches of segments of similar length.

    In each epoch a new random share ``bare`` of the rows is read without context.
    """

    def __init__(self, model: NeuralModel, segments: Sequence[Segment], training: Training, seed: int) -> None:
        super().__init__(model, segments, seed)
        self.model, self.bare, self.size = model, training.context_dropout, training.batch_size
        self.encoded: list[list[Tokens]] = model.encode(segments)
        self.without: list[list[Tokens]] = model.encode([replace(segment, context="") for segment in segments]) if self.bare else []
        lengths = [sum(len(view[row]) for view in self.encoded) for row in range(len(segments))]
        lengths = lengths if training.group_by_length else [1] * len(lengths)
        self.order = LengthGroupedSampler(training.batch_size * training.accumulation, lengths=lengths, generator=torch.Generator())
        self.tokens_read = self.encoded
        self.begin(0)

    def begin(self, epoch: int) -> None:
        seed = self.seed * 100_003 + epoch
        self.order.generator.manual_seed(seed)
        order = list(self.order)
        self.deal([order[start : start + self.size] for start in range(0, len(order), self.size)])
        if self.bare:
            drawn = torch.rand(len(self.segments), generator=torch.Generator().manual_seed(seed)) < self.bare
            self.tokens_read = [
                [short if is_bare else full for full, short, is_bare in zip(*views, drawn.tolist(), strict=True)]
                for views in zip(self.encoded, self.without, strict=True)
            ]

    def collate(self, rows: list[int]) -> dict[str, Any]:
        """Return the inputs of these rows and their gold labels."""
        learned = rows[0] < len(self.segments)
        rows = [row % len(self.segments) for row in rows]
        return {"inputs": self.model.batch(self.tokens_read, rows), "gold": self.labels(rows, learned), "learned": learned}

    def logits(self, network: nn.Module, batch: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor | float, int]:
        """Return the logits of each task, no further loss, and the number of tokens."""
        return network(batch["inputs"]), 0.0, sum(int(view.mask.sum()) for view in batch["inputs"])


class _Units(_Examples):
    """The train split as articles, in batches of about as many sentences as the batch size.

    In each epoch a new random share of the articles falls apart into single sentences, without
    headline or context, so that the model learns to read them alone too. A batch has room for a
    whole window. The actors of half of the sentences are sought for their true stance, of the rest
    for those that the model finds likely.
    """

    def __init__(self, model: ArticleModel, segments: Sequence[Segment], training: Training, seed: int) -> None:
        super().__init__(model, segments, seed)
        self.model, self.alone = model, model.spec.alone
        self.size = max(training.batch_size, model.spec.window)
        # Those of segments by row, of headlines and contexts by their text.
        self.tokens: dict[int | str, Tokens] = dict(enumerate(model.encode(segments)))
        self.begin(0)

    def begin(self, epoch: int) -> None:
        chance = random.Random(self.seed * 100_003 + epoch)
        names = dict.fromkeys(segment.article or segment.id for segment in self.segments)
        alone = {name: chance.random() < self.alone for name in names}
        self.units = units(self.segments, self.model.spec.window, lambda name: alone[name], self.model.actors)
        self.told = [chance.random() < 0.5 for _ in self.segments]
        order = list(range(len(self.units)))
        chance.shuffle(order)
        before, batches = 0, [list[int]() for _ in range(-(-len(self.segments) // self.size))]
        for number, unit in enumerate(order):
            # No unit is larger than a batch, and the last ones have a batch each if too few are
            # left: no batch stays empty, and each epoch has equally many.
            batches[max(before // self.size, len(batches) - (len(order) - number))].append(unit)
            before += self.units[unit].labelled
        self.deal(batches)

    def collate(self, chosen: list[int]) -> dict[str, Any]:
        """Return the inputs of these units, their gold labels, and the sides of their dyads."""
        learned = chosen[0] < len(self.segments)
        read = [self.units[unit % len(self.segments)] for unit in chosen]

        def asked_for(row: int | None) -> bool:
            return learned and row is not None and bool(self.segments[row].dyads)

        articles, rows = self.model.articles(read, [self._tokens(unit) for unit in read], asked_for)
        out: dict[str, Any] = {"inputs": articles, "gold": self.labels(rows, learned), "learned": learned}
        if articles.actors is not None:
            named = [of for unit in read for row, of in zip(unit.rows, unit.named, strict=True) if of and asked_for(row)]
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


class _Trainer(Trainer):
    """The Trainer with the project's batches, loss, rates and dev score."""

    def __init__(
        self, examples: _Rows | _Units, dev: Sequence[Segment], training: Training, arguments: TrainingArguments,
        report: Callable[[Point], None],
    ) -> None:  # fmt: skip
        self.examples, self.dev, self.training, self.report = examples, dev, training, report
        self.scheme = examples.model.scheme
        self.class_weights = {task.name: class_weights(examples.gold[task.name], task, training.class_weight) for task in self.scheme}
        self.tokens = 0
        callbacks: list[TrainerCallback] = [examples]
        if training.patience:
            callbacks.append(EarlyStoppingCallback(early_stopping_patience=training.patience))
        # The collator looks up the examples by number. An eval_dataset only switches evaluation
        # on; `evaluate` scores the dev split.
        numbers: Any = range(len(examples.segments))
        super().__init__(examples.model.network, arguments, examples.collate, numbers, numbers, callbacks=callbacks)
        for callback in (ProgressCallback, PrinterCallback):  # the log level decides which of them it has
            self.remove_callback(callback)
        self.add_callback(_ProgressBar)

    def get_train_dataloader(self) -> DataLoader[int]:
        numbers: Any = range(2 * len(self.examples.segments))
        loader = DataLoader(numbers, batch_sampler=self.examples.sampler, collate_fn=self.examples.collate)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        # The loader has moved them to the device; the Trainer can't, since tuples are named.
        return inputs

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
        known = torch.zeros((), device=self.args.device) if (sides := inputs.get("sides")) is None else (sides.sum(dim=-1) > 0).sum()
        value = loss(logits, inputs["gold"], self.scheme, weights, self.training.label_smoothing, self._share) + further * self._share(
            known
        )
        return (value, logits) if return_outputs else value

    def _share(self, count: Tensor) -> Tensor | float:
        """Return by what a mean over ``count`` counts: the processes' gradients are averaged."""
        if self.args.world_size == 1:
            return 1.0
        share: Tensor = count * self.args.world_size / self.accelerator.reduce(count.float(), "sum").clamp(min=1e-12)
        return share

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        macro: dict[str, float] = {}
        if self.args.process_index == 0 or self.is_fsdp_enabled:  # a network in parts answers only if all processes ask
            tasks = evaluate(score(self.dev, self.examples.model.predict(self.dev), self.scheme)).tasks
            macro = {task.name: tasks[task.name].macro_f1 for task in self.scheme if task.name in tasks}
        dev_score = self.training.score(macro := agreed(macro))
        metrics = {f"dev_{name}_macro_f1": value for name, value in macro.items()} | {"dev_score": dev_score}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, {"eval_dev_score": dev_score})
        return {"eval_dev_score": dev_score, **metrics}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log(logs, start_time)
        if "loss" in logs or "dev_score" in logs:
            self.report(_point(self.state.log_history[-1]))


def _point(entry: dict[str, Any]) -> Point:
    return {name: float(value) for name, value in entry.items() if isinstance(value, int | float)}


def _arguments(training: Training, folder: Path, seed: int, batches: int, fsdp: Mapping[str, Any] | None = None) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    steps = max(1, -(-batches // training.accumulation))
    half = training.precision == "bf16" or (training.precision == "auto" and has_bf16(torch.device("cuda" if cuda else "cpu")))
    checkpointing: dict[str, Any] = {_CHECKPOINTING: True} if training.gradient_checkpointing else {}
    shared_out: dict[str, Any] = {"fsdp": True, "fsdp_config": dict(fsdp)} if fsdp else {}
    return TrainingArguments(
        output_dir=str(folder), use_cpu=not cuda, bf16=half, **checkpointing, **shared_out, seed=seed, data_seed=seed,
        num_train_epochs=training.epochs, per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation, max_grad_norm=training.max_gradient, learning_rate=training.encoder_rate,
        lr_scheduler_type="linear", warmup_steps=round(training.warmup * steps * training.epochs),
        eval_strategy="epoch", save_strategy="epoch", save_total_limit=1, load_best_model_at_end=True,
        metric_for_best_model="eval_dev_score", greater_is_better=True, restore_callback_states_from_checkpoint=True,
        logging_steps=max(1, steps // 10), remove_unused_columns=False, dataloader_pin_memory=False, report_to="none",
    )  # fmt: skip
