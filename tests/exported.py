"""An exported bundle written by hand from its specification (docs/bundle.md), for tests of readers.

Writing it takes a second and needs no torch. Its ONNX graph is valid but untrained: an embedding
that is averaged over the tokens, and one layer for each task.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

import tiny

# Special tokens of the tokenizer below, in which every word of the tiny corpus is one token.
_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def write(folder: Path, scheme: dict[str, Any] | None = None, run: str = "", seed: int = 0) -> Path:
    """Write a bundle and return its folder.

    ``scheme`` is plain data, by default the scheme of ``tiny``.
    """
    described = scheme or tiny.scheme().to_dict()
    (folder / "onnx").mkdir(parents=True)
    size = _tokenizer(folder / "tokenizer.json")
    graph = folder / "onnx/model.fp32.onnx"
    graph.write_bytes(_graph(described["tasks"], size, seed))
    about = {"file": "onnx/model.fp32.onnx", "bytes": graph.stat().st_size, "sha256": hashlib.sha256(graph.read_bytes()).hexdigest()}
    description = {
        "format": 1, "haltung": "0", "kind": "network", "scheme": described, "scheme_digest": "abc", "views": ["context"],
        "input": {
            "kind": "tokens", "tokenizer": "tokenizer.json", "prefix": "", "max_length": 32, "pad": 0,
            "single": [[2], [3]], "pair": [[2], [3], [3]], "types": None,
        },
        "calibration": {"temperatures": {}, "thresholds": {}},
        "formats": {"fp32": about},
        "reference": {"corpus": "tiny", "split": "dev", "segments": 40, "macro_f1": dict.fromkeys(described["tasks"], 0.5)},
        "provenance": {"run": run, "corpus": "tiny"},
    }  # fmt: skip
    (folder / "haltung.json").write_text(json.dumps(description, ensure_ascii=False, indent=2), encoding="utf-8")
    return folder


def _tokenizer(path: Path) -> int:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = sorted({word for segment in tiny.segments(400, seed=9) for word in segment.text.split()})
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate([*_SPECIALS, *words])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))
    return len(_SPECIALS) + len(words)


def _graph(tasks: dict[str, Any], size: int, seed: int) -> bytes:
    from onnx import TensorProto, checker, helper, numpy_helper

    rng = np.random.default_rng(seed)
    width = 8
    weights = {"table": rng.normal(size=(size, width)), "last": np.array([2]), "tokens": np.array([1])}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "last"], ["weights"]),
        helper.make_node("Mul", ["embedded", "weights"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["real", "tokens"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
    ]
    for task, has in tasks.items():
        weights[f"{task}.weight"] = rng.normal(size=(width, len(has["labels"]))) * 3
        nodes.append(helper.make_node("MatMul", ["mean", f"{task}.weight"], [f"{task}.scores"]))
        last = {"op_type": "Sigmoid"} if has["kind"] == "multi" else {"op_type": "Softmax", "axis": -1}
        nodes.append(helper.make_node(inputs=[f"{task}.scores"], outputs=[task], **last))
    names = ("input_ids", "attention_mask", "own_mask")
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names],
            [helper.make_tensor_value_info(task, TensorProto.FLOAT, ["batch", len(has["labels"])]) for task, has in tasks.items()],
            [
                numpy_helper.from_array(value.astype(np.float32 if value.dtype.kind == "f" else np.int64), name)
                for name, value in weights.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    checker.check_model(model)
    return bytes(model.SerializeToString())
