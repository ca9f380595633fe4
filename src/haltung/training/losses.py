"""Multi-task loss for partially labelled rows, and the learning rates of a network's parts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from haltung.actors.candidates import ITSELF, ROLES, Candidate, gold_roles
from haltung.evaluation import predictions
from haltung.evaluation.predictions import UNLABELLED
from haltung.labels import Scheme, Task
from haltung.models.neural import layer_of
from haltung.models.units import SLOTS
from haltung.records import Dyad, Segment
from haltung.training.recipe import Training


def targets(segments: Sequence[Segment], task: Task) -> Tensor:
    """Return gold labels, ``[rows]`` int64 or ``[rows, labels]`` float32, or ``UNLABELLED``."""
    table = torch.from_numpy(predictions.gold(segments, task))
    return table if task.kind == "single" else table.float()


def class_weights(gold: Tensor, task: Task, kind: str) -> Tensor | None:
    """Return a weight per label, ``[labels]``, with mean 1 over labelled rows; None for ``none``.

    ``inverse`` is proportional to 1 / count, ``root`` to its square root; a label without rows gets
    the weight of one with a single row. For a multi-label task, the weights apply to positive rows.
    """
    if kind == "none":
        return None
    single = task.kind == "single"
    counts = (torch.bincount(gold[gold != UNLABELLED], minlength=len(task)) if single else (gold == 1).sum(dim=0)).float()
    weights = 1.0 / counts.clamp(min=1.0)
    weights = weights.sqrt() if kind == "root" else weights
    return weights * counts.sum().clamp(min=1.0) / (weights * counts).sum().clamp(min=1e-12)


def loss(
    logits: Mapping[str, Tensor], gold: Mapping[str, Tensor], scheme: Scheme, weights: Mapping[str, Tensor | None], smoothing: float = 0.0,
    share: Callable[[Tensor], Tensor | float] = lambda count: 1.0,
) -> Tensor:  # fmt: skip
    """Return the sum of the tasks' mean losses, each times its share, a scalar.

    The loss is cross-entropy, for a multi-label task binary cross-entropy, over the rows that are
    labelled for the task; without any, it is 0. ``logits`` are ``[rows, labels]`` by task; see
    ``targets`` for ``gold``, which may also hold label shares (``shares``), and ``class_weights``
    for ``weights``. ``smoothing`` is the part of each target that is spread evenly over the labels.
    ``share`` maps a (weighted) number of rows to the share of their mean in the mean over a larger
    batch.
    """
    total = torch.zeros((), device=next(iter(logits.values())).device)
    for task in scheme:
        single, weight = task.kind == "single", weights.get(task.name)
        scores, truth = logits[task.name], gold[task.name]
        labelled = (truth if truth.dim() == 1 else truth[:, 0]) != UNLABELLED
        scores, truth = scores[labelled], truth[labelled]
        heft: Tensor = labelled.sum()
        if single and weight is not None:
            heft = (weight[truth] if truth.dim() == 1 else truth @ weight).sum()
        if not len(truth):
            # Keeps the graph connected, so that backward works for a batch without any label.
            mean = scores.sum()
        elif single:
            mean = functional.cross_entropy(scores, truth, weight=weight, label_smoothing=smoothing)
            # For label shares, torch divides by the number of rows, not by their weights.
            mean = mean if truth.dim() == 1 else mean * len(truth) / heft
        else:
            soft = truth * (1 - smoothing) + smoothing / 2
            mean = functional.binary_cross_entropy_with_logits(scores, soft, pos_weight=weight)
        total = total + mean * share(heft)
    return total


def teacher_loss(
    logits: Mapping[str, Tensor], soft: Mapping[str, Tensor], scheme: Scheme, share: Callable[[Tensor], Tensor | float] = lambda count: 1.0
) -> Tensor:
    """Return the sum of the tasks' mean cross-entropies to a teacher's probabilities, a scalar.

    The probabilities are the ``soft`` targets, ``[rows, labels]`` by task, also of rows without
    gold labels. Without a teacher there are none, and the loss is 0. For a multi-label task the
    cross-entropy is binary. ``share`` is as in ``loss``. Source: Hinton, Vinyals and Dean (2015),
    "Distilling the Knowledge in a Neural Network", section 2, with a temperature of 1.
    """
    total = torch.zeros((), device=next(iter(logits.values())).device)
    for task in (task for task in scheme if task.name in soft):
        cross_entropy = functional.cross_entropy if task.kind == "single" else functional.binary_cross_entropy_with_logits
        total = total + cross_entropy(logits[task.name], soft[task.name]) * share(total.new_tensor(len(soft[task.name])))
    return total


def actor_targets(named: Sequence[Candidate], dyads: Sequence[Dyad]) -> Tensor:
    """Return the gold probability of each candidate in each role, ``[2, SLOTS * roles]`` float32.

    Several sources or targets are equally probable. A side whose codes match no candidate is all 0,
    and ``actor_loss`` ignores it.
    """
    out = torch.zeros(2, SLOTS * len(ROLES))
    for side, name in enumerate(("source", "target")):
        codes = list(dict.fromkeys(code for code in (getattr(dyad, name) for dyad in dyads) if code))
        found, _ = gold_roles(named, codes)
        for candidate, role in found if codes else [(0, ITSELF)]:
            out[side, candidate * len(ROLES) + ROLES.index(role)] = 1 / max(1, len(found))
    return out


def actor_loss(sides: Tensor, gold: Tensor) -> Tensor:
    """Return the mean cross-entropy of sources and targets, a scalar.

    ``sides`` are log-probabilities, ``[2, sentences, SLOTS * roles]``, ``gold`` is probabilities.
    """
    return -(gold * sides).sum() / (gold.sum(dim=-1) > 0).sum().clamp(min=1)


def rates(network: nn.Module, training: Training, layers: int) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: new layers, and the encoder's layers by depth.

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
