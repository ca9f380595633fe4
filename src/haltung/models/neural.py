"""The fine-tuned model of ``model=network``: an encoder of segments, and a head for each task."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, cast

import numpy as np
import torch
from accelerate.utils import send_to_device
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from haltung import hub
from haltung.encoders import load as sources
from haltung.encoders.load import Encoder
from haltung.encoders.tokens import Tokens, encode
from haltung.errors import UserError
from haltung.inference import sessions
from haltung.inference.client import batches
from haltung.labels import Scheme, Task
from haltung.models.predictor import Calibration, Model, calibrated
from haltung.models.spec import NetworkSpec
from haltung.records import Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WEIGHTS = "model.safetensors"
_Net = TypeVar("_Net", bound=nn.Module)


class Batch(NamedTuple):
    """The tensors of one view, each ``[batch, tokens]``; ``own`` is 1 at the segment's own text."""

    ids: Tensor
    mask: Tensor
    types: Tensor | None
    own: Tensor


class Heads(nn.ModuleDict):
    """A ModuleDict that accepts any name; the plain one rejects ``type`` and ``values``."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a module under any name."""
        if module is not None:
            self._modules[name] = module


class EncoderNetwork(nn.Module):
    """An encoder of transformers with heads, and the interface that the Trainer requires."""

    finds_dyads = False

    def __init__(self, encoder: nn.Module, scheme: Scheme, spec: NetworkSpec, dyads: bool = False) -> None:
        """Store the encoder; ``dyads``, whether to score their sides, is used for articles only."""
        super().__init__()
        self.width = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.encoder = encoder
        self.dropout = nn.Dropout(spec.dropout)

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Trade time for memory while training (called by the Trainer)."""
        enable = getattr(self.encoder, "activation_checkpointing_enable", None) or self.encoder.gradient_checkpointing_enable
        enable(**kwargs)  # type: ignore[operator]

    # Its name in releases of transformers before 5.2x.
    gradient_checkpointing_enable = activation_checkpointing_enable


class MultiTaskNetwork(EncoderNetwork):
    """One encoder of transformers and a linear head per task, trained together.

    ``views`` maps each task to the index of its view in the argument of ``forward``, ``poolings``
    to ``mean``, ``cls`` or ``text``. In training, dropout is applied to the pooled vector.
    """

    def __init__(self, encoder: nn.Module, scheme: Scheme, spec: NetworkSpec, dyads: bool = False) -> None:
        """Create the heads; their weights are drawn from N(0, 0.02²) as in BERT, biases are 0."""
        super().__init__(encoder, scheme, spec)
        self.heads = Heads({task.name: nn.Linear(self.width, len(task)) for task in scheme})
        self.views = {task: spec.views(scheme).index(spec.reads_of(task)) for task in scheme.names}
        self.poolings = {task: spec.pooling_of(task) for task in scheme.names}
        for head in self.heads.values():
            nn.init.normal_(head.weight, std=0.02)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def vectors(self, views: Sequence[Batch]) -> dict[str, Tensor]:
        """Return the pooled vectors that the head of each task reads, ``[batch, width]``."""
        states = []
        for view in views:
            types = {} if view.types is None else {"token_type_ids": view.types}
            states.append(self.encoder(input_ids=view.ids, attention_mask=view.mask, **types).last_hidden_state)
        return {task: pool(states[index], views[index], self.poolings[task]) for task, index in self.views.items()}

    def forward(self, views: Sequence[Batch]) -> dict[str, Tensor]:
        """Return the logits of each task, ``[batch, labels]`` in float32."""
        return {task: self.heads[task](self.dropout(vector)).float() for task, vector in self.vectors(views).items()}


class EncoderModel(Model):
    """A network with a transformer as its encoder, and everything it needs to predict."""

    network_type: type[EncoderNetwork]
    spec_type: type[NetworkSpec]

    def __init__(
        self, network: EncoderNetwork, tokenizer: "PreTrainedTokenizerBase", scheme: Scheme, spec: NetworkSpec, encoder: Encoder
    ) -> None:
        self.network, self.tokenizer, self.scheme, self.spec, self.encoder = network, tokenizer, scheme, spec, encoder
        self.finds_dyads = network.finds_dyads
        self.calibration, self.pad = Calibration(), int(tokenizer.pad_token_id)
        self.with_types = "token_type_ids" in tokenizer.model_input_names

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    def write(self, folder: Path) -> dict[str, Any]:
        """Write weights, tokenizer and config; return the model's part of the description."""
        network: Any = merged(self.network)
        state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
        network.encoder.config.save_pretrained(folder)
        # Other readers of tokenizer.json truncate and pad as docs/bundle.md describes.
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.save_pretrained(folder)
        spec = {key: dict(value) if isinstance(value, Mapping) else value for key, value in asdict(self.spec).items()}
        return {"model": spec, "encoder": {key: value for key, value in asdict(self.encoder).items() if value is not None}}

    @classmethod
    def read(cls, folder: Path, scheme: Scheme, description: Mapping[str, Any]) -> Self:
        """Read what ``write`` writes; ``UserError`` if the weights do not match the rest."""
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        spec, encoder = cls.spec_type(**description["model"]), Encoder(**description["encoder"])
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        attention = "sdpa" if spec.attention == "auto" else spec.attention
        with suppress(SafetensorError):  # raised again, and reported, below
            sources.check_size(config, folder / WEIGHTS)
        body = AutoModel.from_config(config, attn_implementation=sources.able(config, attention))
        if getattr(body, "pooler", None) is not None:
            body.pooler = None
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        network = cls.network_type(body, scheme, spec, description.get("dyads", False))
        try:
            network.load_state_dict(load_file(folder / WEIGHTS), strict=True)
        except (SafetensorError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise UserError(f"{folder / WEIGHTS} does not fit the bundle's haltung.json ({first}); export or train it again") from None
        return cls(network.eval().to(_device()), tokenizer, scheme, spec, encoder)


class NeuralModel(EncoderModel):
    """A network that reads each segment on its own."""

    kind = "network"
    network_type, spec_type = MultiTaskNetwork, NetworkSpec
    network: MultiTaskNetwork

    @property
    def views(self) -> tuple[str, ...]:
        """What each pass of the encoder reads, in order."""
        return self.spec.views(self.scheme)

    def encode(self, segments: Sequence[Segment]) -> list[list[Tokens]]:
        """Return the tokens of each segment for each view: ``[views][segments]``."""
        return [encode(segments, self.tokenizer, reads, self.spec.max_length, self.encoder.prefix) for reads in self.views]

    def batch(self, encoded: Sequence[Sequence[Tokens]], rows: Sequence[int]) -> list[Batch]:
        """Return the padded tensors of these rows, one ``Batch`` per view, on the device."""
        padded = [collate([view[row] for row in rows], self.pad, self.with_types) for view in encoded]
        return send_to_device(padded, self.device)  # type: ignore[no-any-return]

    def probabilities(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return each task's calibrated probabilities: a softmax, or sigmoids if multi-label."""
        out = {task.name: np.zeros((len(segments), len(task))) for task in self.scheme}
        for rows, logits in self._read(self.network, segments, progress, precision):
            for name, values in logits.items():
                out[name][rows] = likely(values, self.scheme[name])
        return calibrated(out, self.scheme, self.calibration)

    def vectors(self, segments: Sequence[Segment], progress: bool = False, precision: str = "auto") -> dict[str, np.ndarray]:
        """Return the pooled vectors that each task's head reads, float64 ``[segments, width]``."""
        out = {task.name: np.zeros((len(segments), self.network.width)) for task in self.scheme}
        for rows, vectors in self._read(self.network.vectors, segments, progress, precision):
            for name, values in vectors.items():
                out[name][rows] = values.double().cpu().numpy()
        return out

    def _read(
        self, part: Callable[[Sequence[Batch]], dict[str, Tensor]], segments: Sequence[Segment], progress: bool, precision: str
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        encoded = self.encode(segments)
        with predicting(self, precision, len(segments), progress) as done:
            for rows in batches([max(map(len, views)) for views in zip(*encoded, strict=True)]):
                yield rows, part(self.batch(encoded, rows))
                done(len(rows))

    def write(self, folder: Path) -> dict[str, Any]:
        """Write weights, tokenizer and config; return the model's part of the description."""
        return {**super().write(folder), "views": list(self.views)}


def pool(states: Tensor, view: Batch, pooling: str) -> Tensor:
    """Pool hidden states ``[batch, tokens, width]`` to one vector per row, ``[batch, width]``.

    An empty text (special tokens only) is pooled over all of its tokens.
    """
    if pooling == "cls":
        return states[:, 0]
    mask = view.mask if pooling == "mean" else torch.where(view.own.any(dim=1, keepdim=True), view.own, view.mask)
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def collate(rows: Sequence[Tokens], pad: int, with_types: bool) -> Batch:
    """Pad the rows on the right to the longest one."""
    width = max(len(row) for row in rows)

    def table(values: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in values], dtype=torch.long)

    ids, mask = table([row.ids for row in rows], pad), table([[1] * len(row) for row in rows], 0)
    return Batch(ids, mask, table([row.types for row in rows], 0) if with_types else None, table([row.own for row in rows], 0))


@contextmanager
def predicting(model: EncoderModel, precision: str, segments: int, progress: bool) -> Iterator[Callable[[int], object]]:
    """Turn off dropout and gradients, and show the progress.

    The function that is yielded takes the number of further segments that are done. ``precision``
    is as in ``Predictor``. A model that is not in training may predict in several threads at once.
    """
    network, config = model.network, cast("Any", model.network.encoder.config)
    was_training, attention = network.training, config._attn_implementation
    network.eval()
    if model.spec.attention == "auto":
        config._attn_implementation = sources.able(config, "sdpa")
    try:
        with (
            torch.inference_mode(),
            autocast(model.device) if precision == "auto" else nullcontext(),
            tqdm(total=segments, desc="predict", unit=" segments", delay=2, disable=not progress, leave=False) as bar,
        ):
            yield bar.update
    finally:
        if was_training:
            network.train()
            config._attn_implementation = attention


def likely(logits: Tensor, task: Task) -> np.ndarray:
    """Return the probabilities of a task's labels, float64 ``[segments, labels]``."""
    values = logits.double()
    return np.asarray((values.softmax(dim=-1) if task.kind == "single" else values.sigmoid()).cpu().numpy())


def build(encoder: Encoder, spec: NetworkSpec, scheme: Scheme) -> NeuralModel:
    """Return a model to train: the encoder as ``pretrained`` returns it, with new heads."""
    encoder, body, tokenizer = pretrained(encoder, spec.checked(scheme))
    return NeuralModel(MultiTaskNetwork(body, scheme, spec), tokenizer, scheme, spec, encoder)


def pretrained(encoder: Encoder, spec: NetworkSpec) -> tuple[Encoder, nn.Module, "PreTrainedTokenizerBase"]:
    """Return the encoder's description, its network, frozen as in ``spec``, and its tokenizer.

    ``UserError`` is raised if it can't be loaded, or has too few layers or positions.
    """
    encoder = sources.inherited(encoder)
    if encoder.origin == "hub":
        encoder = replace(encoder, revision=hub.commit(encoder.path, encoder.revision) or encoder.revision)
    # For short inputs on a CPU the fused kernel's backward pass is slower.
    fastest = "eager" if _device().type == "cpu" and spec.max_length <= 160 else "sdpa"
    body, tokenizer = sources.load(encoder, fastest if spec.attention == "auto" else spec.attention, spec.encoder_dropout)
    positions = int(getattr(body.config, "max_position_embeddings", spec.max_length))
    limit = min(positions - first_position(body.config), tokenizer.model_max_length)
    layers = int(getattr(body.config, "num_hidden_layers", spec.freeze_layers))
    if spec.freeze_layers > layers:
        raise UserError(f"model.freeze_layers is {spec.freeze_layers}, but the encoder '{encoder.name}' has {layers} layers")
    if spec.max_length > limit:
        raise UserError(f"model.max_length is {spec.max_length}, but the encoder '{encoder.name}' reads at most {limit} tokens")
    freeze(body, spec)
    if spec.tune == "lora":
        from peft import LoraConfig, get_peft_model

        updates = LoraConfig(r=spec.lora_rank, lora_alpha=spec.lora_alpha, lora_dropout=0.05, target_modules="all-linear")
        body = get_peft_model(body, updates)  # type: ignore[assignment]  # it answers as the encoder does
        # The low-rank updates of frozen layers keep their initial values, which change nothing.
        freeze(body, spec)
    return encoder, body, tokenizer


def first_position(config: Any) -> int:
    """Return the position id of the first token; RoBERTa's position ids follow the padding id."""
    return int(config.pad_token_id) + 1 if "roberta" in config.model_type or "camembert" in config.model_type else 0


def freeze(encoder: nn.Module, spec: NetworkSpec) -> None:
    """Freeze what ``spec`` names: the whole encoder, its embeddings, or its lowest layers."""
    for name, parameter in encoder.named_parameters():
        layer = layer_of(name)
        lowest = layer is not None and layer < spec.freeze_layers
        embedding = layer is None and "embedding" in name
        if spec.tune == "frozen" or lowest or (embedding and (spec.freeze_embeddings or spec.freeze_layers > 0)):
            parameter.requires_grad_(False)


def layer_of(name: str) -> int | None:
    """Return the layer in a parameter's name (``encoder.layer.3.…``), None outside the layers."""
    match = re.search(r"(?:^|\.)layers?\.(\d+)(?:\.|$)", name)
    return int(match[1]) if match else None


def has_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies in bfloat16; emulation is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and sessions.has_bf16()


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Compute in bfloat16 within the context, if the device does so natively."""
    return torch.autocast(device.type, torch.bfloat16) if has_bf16(device) else nullcontext()


def merged(network: _Net) -> _Net:
    """Return the network with LoRA's low-rank updates, if any, added to its weights."""
    if not hasattr(network.encoder, "merge_and_unload"):
        return network
    plain = copy.deepcopy(network)
    plain.encoder = plain.encoder.merge_and_unload()  # type: ignore[operator, union-attr]
    return plain


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
