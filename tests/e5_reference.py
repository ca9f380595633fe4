"""Two reference implementations of E5, independent of ours: the package's C program, and NumPy."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import erf

_PIECES = 250_002

# Tokenizer and layers in e5.c are static functions; including the whole file makes them callable.
_SHIM = """
#include "e5.c"
int shim_tokens(e5_model *m, const char *text, int *ids, int room) { return tok_content(&m->tok, text, ids, room); }
void shim_hidden(e5_model *m, const int *ids, int n, float *out) {
    int *position = malloc(n * sizeof(int)), *start = calloc(n, sizeof(int)), *end = malloc(n * sizeof(int)), segment[2] = {0, n};
    for (int i = 0; i < n; i++) { position[i] = i; end[i] = n; }
    forward_batch(m, ids, position, start, end, segment, 1, n, NULL, out);
    free(position); free(start); free(end);
}
void shim_forbid(e5_model *m, int piece) { m->tok.scores[piece] = -INFINITY; }
void shim_dequantize(const void *blocks, int weights, float *out) { deq_row(blocks, weights, out); }
"""


class CProgram:
    """The package's C program with loaded weights; token ids refer to the full vocabulary."""

    def __init__(self, compiler: str, sources: Path, weights: Path, folder: Path) -> None:
        shim, library = folder / "shim.c", folder / "shim.so"
        shim.write_text(_SHIM, encoding="ascii")
        subprocess.run([compiler, "-O3", "-shared", "-fPIC", "-I", str(sources), "-o", str(library), str(shim), "-lm"], check=True)
        self._c = ctypes.CDLL(str(library))
        self._c.e5_load.restype = ctypes.c_void_p
        self._model = ctypes.c_void_p(self._c.e5_load(str(weights).encode()))
        assert self._model.value, f"e5_load could not read {weights}"

    def tokens(self, text: str) -> list[int]:
        """Return the token ids without special tokens. As in C, a NUL byte ends the text."""
        data = text.encode()
        ids = (ctypes.c_int * (len(data) + 4))()
        count = self._c.shim_tokens(self._model, data, ids, len(ids))
        return list(ids[:count])

    def keep(self, pieces: Iterable[int]) -> None:
        """Remove all pieces but these from the vocabulary. Ids and the score of an unknown
        character do not change.
        """
        kept = set(pieces)
        for piece in range(_PIECES):
            if piece not in kept:
                self._c.shim_forbid(self._model, piece)

    def hidden(self, ids: Sequence[int]) -> np.ndarray:
        """Return the last hidden states, ``[tokens, 384]``.

        They are approximate, since the program rounds activations to 8 bits.
        """
        out = np.zeros((len(ids), 384), np.float32)
        self._c.shim_hidden(self._model, (ctypes.c_int * len(ids))(*ids), len(ids), out.ctypes.data_as(ctypes.c_void_p))
        return out

    def query_embedding(self, text: str) -> np.ndarray:
        """Return the normalised mean of the hidden states of ``query: text``, ``[384]``.

        Calls the program's public function.
        """
        out = np.zeros(384, np.float32)
        assert self._c.e5_embed(self._model, text.encode(), 1, out.ctypes.data_as(ctypes.c_void_p)) == 0
        return out

    def dequantized(self, blocks: bytes) -> np.ndarray:
        """Return the weights of four-bit blocks (18 bytes for 32 weights), ``[weights]``."""
        out = np.zeros(len(blocks) // 18 * 32, np.float32)
        self._c.shim_dequantize(blocks, out.size, out.ctypes.data_as(ctypes.c_void_p))
        return out


def hidden_states(
    tensors: Mapping[str, np.ndarray], ids: Sequence[int], layers: int = 12, heads: int = 12, epsilon: float = 1e-12
) -> np.ndarray:
    """Return the last hidden states of a BERT in double precision, ``[tokens, hidden]``.

    ``tensors`` have the names of the package's file; matrices are ``[out, in]``. ``ids`` index
    ``emb.word``.
    """

    def normed(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * tensors[f"{name}.w"] + tensors[f"{name}.b"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ tensors[f"{name}.w"].astype(np.float64).T + tensors[f"{name}.b"]

    x = tensors["emb.word"][np.asarray(ids)].astype(np.float64) + tensors["emb.pos"][: len(ids)] + tensors["emb.type"][0]
    x = normed(x, "emb.ln")
    size = x.shape[1] // heads
    for layer in range(layers):
        q, k, v = (linear(x, f"l{layer}.{part}").reshape(-1, heads, size).transpose(1, 0, 2) for part in "qkv")
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(size)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = (weights @ v).transpose(1, 0, 2).reshape(x.shape)
        x = normed(x + linear(attended, f"l{layer}.ao"), f"l{layer}.aln")
        inner = linear(x, f"l{layer}.fi")
        x = normed(x + linear(inner * 0.5 * (1 + erf(inner / np.sqrt(2))), f"l{layer}.fo"), f"l{layer}.oln")
    return x
