"""The predictions of an evaluation as a Parquet file that says everything itself, so that runs can be compared row by row later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haltung.errors import UserError
from haltung.evaluation.predictions import ScoredSplit, encoded
from haltung.files import atomic_file
from haltung.labels import Task, parse
from haltung.records import Answer

if TYPE_CHECKING:
    import pyarrow

_META = b"haltung"


def write(path: Path, scored: ScoredSplit) -> Path:
    """Write one row for each segment, atomically.

    Its columns are ``id``, ``article``, and for each task ``TASK_gold``, ``TASK_predicted``, ``TASK_probabilities``. Labels are ids (lists
    of them for a multi-label task, null where not labelled), probabilities a struct with a field per label. Scheme,
    corpus and split stand in the file's metadata.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "id": pa.array(scored.ids, pa.string()),
        "article": pa.array(["" if group.startswith("\0") else group for group in scored.groups], pa.string()),
    }
    for task in scored.scheme:
        kind = pa.string() if task.kind == "single" else pa.list_(pa.string())
        labelled, values = scored.labelled(task.name), scored.probabilities[task.name]
        gold = [answer if given else None for answer, given in zip(_named(scored.gold[task.name], task), labelled, strict=True)]
        columns[f"{task.name}_gold"] = pa.array(gold, kind)
        columns[f"{task.name}_predicted"] = pa.array(_named(scored.decided(task.name), task), kind)
        parts = [pa.array(np.ascontiguousarray(values[:, place]), pa.float64()) for place in range(len(task))]
        columns[f"{task.name}_probabilities"] = pa.StructArray.from_arrays(parts, names=list(task.ids))
    about = {"scheme": scored.scheme.to_dict(), "corpus": scored.corpus, "split": scored.split}
    table = pa.table(columns).replace_schema_metadata({_META: json.dumps(about, ensure_ascii=False).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as scratch:
        parquet.write_table(table, scratch, compression="zstd")
    return path


def read(path: Path) -> ScoredSplit:
    """Read what ``write`` has written; every figure comes out the same to the last digit.

    Raises:
        UserError: the file is missing, no Parquet, or not of this kind.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such predictions; haltung evaluate writes them") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is no Parquet file that can be read ({str(error).splitlines()[0]}); evaluate again") from None
    meta = (table.schema.metadata or {}).get(_META)
    if meta is None:
        raise UserError(f"{path} holds no predictions of an evaluation; expected the predictions.parquet that haltung evaluate writes")
    about = json.loads(meta)
    scheme = parse(about["scheme"], source=str(path))
    articles = table["article"].to_pylist()
    return ScoredSplit(
        ids=tuple(table["id"].to_pylist()),
        groups=tuple(article or f"\0{row}" for row, article in enumerate(articles)),
        scheme=scheme,
        probabilities={task.name: _stacked(table, task) for task in scheme},
        gold={task.name: encoded(_answers(table, task), task, [f"{path}, row {row + 1}" for row in range(len(table))]) for task in scheme},
        corpus=about["corpus"],
        split=about["split"],
    )


def _named(values: np.ndarray, task: Task) -> list[Any]:
    if task.kind == "single":
        return [task.ids[place] for place in values]
    return [[label for label, has in zip(task.ids, row, strict=True) if has == 1] for row in values]


def _answers(table: pyarrow.Table, task: Task) -> list[Answer]:
    return [tuple(answer) if isinstance(answer, list) else answer for answer in table[f"{task.name}_gold"].to_pylist()]


def _stacked(table: pyarrow.Table, task: Task) -> np.ndarray:
    struct = table[f"{task.name}_probabilities"].combine_chunks()
    return np.column_stack([struct.field(label).to_numpy(zero_copy_only=False) for label in task.ids])
