"""A model's probabilities and the gold labels of one split, in memory and as a Parquet file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from haltung.errors import UserError, listed, nearest
from haltung.files import atomic_file
from haltung.labels import Scheme, Task, parse
from haltung.records import MULTI_THRESHOLD, TEXT_COLUMNS, Answer, Prediction, Segment, label_ids

UNLABELLED = -1  # in gold: the row is not labelled for the task
_META = b"haltung"  # key of scheme, corpus and split in the metadata of a predictions file
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredSplit:
    """Probabilities and gold labels of ``n`` segments.

    ``ids`` and ``groups`` (articles; a segment without one forms its own group) have ``n`` entries.
    ``probabilities[task]`` is ``[n, labels]``. ``gold[task]`` has label indices, ``[n]``, for a
    single-label task, and 0 and 1, ``[n, labels]``, for a multi-label task. It is ``UNLABELLED``
    (the whole row for a multi-label task) if the segment is not labelled for the task. ``corpus``
    and ``split`` are names, for titles.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    scheme: Scheme
    probabilities: Mapping[str, Floats]
    gold: Mapping[str, Ints]
    corpus: str = ""
    split: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks for which at least one segment is labelled."""
        return tuple(task for task in self.scheme if self.labelled(task.name).any())

    def labelled(self, task: str) -> Bools:
        """Return a mask of the segments that are labelled for the task, ``[n]``."""
        gold = self.gold[task]
        return np.asarray((gold if gold.ndim == 1 else gold.min(axis=1, initial=1)) != UNLABELLED)

    def decided(self, task: str) -> Ints:
        """Return the most probable labels' indices, ``[n]``; multi-label: 0/1, ``[n, labels]``."""
        values = self.probabilities[task]
        return (values.argmax(axis=1) if self.scheme[task].kind == "single" else values >= MULTI_THRESHOLD).astype(np.int64)

    def only(self, tasks: Sequence[str]) -> Self:
        """Return the split with only these tasks; ``UserError`` if one is unknown."""
        scheme = self.scheme.only(tasks)
        probabilities = {name: self.probabilities[name] for name in scheme.names}
        return replace(self, scheme=scheme, probabilities=probabilities, gold={name: self.gold[name] for name in scheme.names})

    def subset(self, rows: Ints | Bools) -> Self:
        """Return the segments in ``rows``, a mask or indices (repetition allowed)."""
        picked = np.arange(len(self))[rows]
        return replace(
            self, ids=tuple(self.ids[row] for row in picked), groups=tuple(self.groups[row] for row in picked),
            probabilities={task: values[picked] for task, values in self.probabilities.items()},
            gold={task: gold[picked] for task, gold in self.gold.items()},
        )  # fmt: skip


def score(segments: Sequence[Segment], predictions: Sequence[Prediction], scheme: Scheme, corpus: str = "", split: str = "") -> ScoredSplit:
    """Join predictions and gold labels; ``UserError`` if ids differ or a probability is invalid."""
    if len(segments) != len(predictions):
        raise UserError(f"{len(predictions)} predictions for {len(segments)} segments; predict the same split that is evaluated")
    for row, (segment, prediction) in enumerate(zip(segments, predictions, strict=True)):
        if segment.id != prediction.id:
            found = f"prediction {row + 1} is for '{prediction.id}', but segment {row + 1} is '{segment.id}'"
            raise UserError(f"{found}; predict the same split, in the same order")
    return ScoredSplit(
        ids=tuple(segment.id for segment in segments), groups=_groups([segment.article for segment in segments]), scheme=scheme,
        probabilities={task.name: _probabilities(predictions, task) for task in scheme},
        gold={task.name: gold(segments, task) for task in scheme}, corpus=corpus, split=split,
    )  # fmt: skip


def gold(segments: Sequence[Segment], task: Task) -> Ints:
    """Return one task's gold labels, encoded as in ``ScoredSplit``; ``UserError`` if invalid."""
    return _encode([segment.labels.get(task.name) for segment in segments], task, [segment.where or segment.id for segment in segments])


def write_predictions(path: Path, split: ScoredSplit, segments: Sequence[Segment] = ()) -> Path:
    """Write a predictions file atomically, one row per segment.

    Its columns are ``id``, ``article``, and for each task ``TASK_gold``, ``TASK_predicted``,
    ``TASK_probabilities``. Labels are ids (lists of ids for a multi-label task, null if not
    labelled), probabilities a struct with a field per label. Metadata: scheme, corpus and split.
    If ``segments`` are given, their text and other columns precede those of the tasks.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "id": pa.array(split.ids, pa.string()),
        "article": pa.array(["" if group.startswith("\0") else group for group in split.groups], pa.string()),
    }
    for name in (*TEXT_COLUMNS[1:], "position") if segments else ():
        columns.setdefault(name, pa.array([getattr(one, name) for one in segments], pa.int32() if name == "position" else pa.string()))
    for task in split.scheme:
        kind = pa.string() if task.kind == "single" else pa.list_(pa.string())
        labelled, values = split.labelled(task.name), split.probabilities[task.name]
        given = [answer if has else None for answer, has in zip(answers(split.gold[task.name], task), labelled, strict=True)]
        columns[f"{task.name}_gold"] = pa.array(given, kind)
        columns[f"{task.name}_predicted"] = pa.array(answers(split.decided(task.name), task), kind)
        parts = [pa.array(part, pa.float64()) for part in np.ascontiguousarray(values.T)]
        columns[f"{task.name}_probabilities"] = pa.StructArray.from_arrays(parts, names=list(task.ids))
    about = {"scheme": split.scheme.to_dict(), "corpus": split.corpus, "split": split.split}
    table = pa.table(columns).replace_schema_metadata({_META: json.dumps(about, ensure_ascii=False).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as scratch:
        parquet.write_table(table, scratch, compression="zstd")
    return path


def read_predictions(path: Path) -> ScoredSplit:
    """Read a predictions file; ``UserError`` if missing, not Parquet, or of another kind."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: no such predictions; haltung evaluate writes them") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file ({str(error).splitlines()[0]}); evaluate again") from None
    if (meta := (table.schema.metadata or {}).get(_META)) is None:
        raise UserError(f"{path} has no predictions of an evaluation; expected the predictions.parquet that haltung evaluate writes")
    about = json.loads(meta)
    scheme = parse(about["scheme"], source=str(path))
    where = [f"{path}, row {row + 1}" for row in range(len(table))]
    flat = table.flatten()
    columns = {task.name: [flat[f"{task.name}_probabilities.{label}"].to_numpy() for label in task.ids] for task in scheme}
    return ScoredSplit(
        ids=tuple(table["id"].to_pylist()), groups=_groups(table["article"].to_pylist()), scheme=scheme,
        probabilities={task: np.column_stack(values) for task, values in columns.items()},
        gold={task.name: _encode(table[f"{task.name}_gold"].to_pylist(), task, where) for task in scheme},
        corpus=about["corpus"], split=about["split"],
    )  # fmt: skip


def _groups(articles: Sequence[str]) -> tuple[str, ...]:
    # The NUL prevents a clash between a row's group and an article's name.
    return tuple(article or f"\0{row}" for row, article in enumerate(articles))


def _encode(given: Sequence[Answer], task: Task, where: Sequence[str]) -> Ints:
    """Encode label ids as in ``ScoredSplit.gold``; ``where`` names each row in messages."""
    single = task.kind == "single"
    out = np.full((len(given),) if single else (len(given), len(task)), UNLABELLED, dtype=np.int64)
    indices = {label: index for index, label in enumerate(task.ids)}
    for row, answer in enumerate(given):
        if answer is None:
            continue
        if isinstance(answer, str) != single:
            expected = "one label" if single else "a tuple of labels"
            raise UserError(f"{where[row]}: {task.name} is {answer!r}, expected {expected} because the task is {task.kind}-label")
        for label in label_ids(answer):
            if label not in indices:
                raise UserError(f"{where[row]}: unknown {task.name} '{label}'{nearest(label, task.ids)}; the labels are {listed(task.ids)}")
        out[row] = indices[answer] if isinstance(answer, str) else [label in answer for label in task.ids]
    return out


def answers(values: Ints, task: Task) -> list[Any]:
    """Decode gold or predicted labels to label ids: one per row, or a list for multi-label."""
    if task.kind == "single":
        return [task.ids[index] for index in values]
    return [[label for label, has in zip(task.ids, row, strict=True) if has == 1] for row in values]


def _probabilities(predictions: Sequence[Prediction], task: Task) -> Floats:
    out = np.zeros((len(predictions), len(task)), dtype=np.float64)
    for row, prediction in enumerate(predictions):
        values = prediction.probabilities.get(task.name, {})
        if missing := [label for label in task.ids if label not in values]:
            found = f"the prediction for '{prediction.id}' has no probability for {task.name} {listed(missing)}"
            raise UserError(f"{found}; was the model trained with this scheme?")
        out[row] = [values[label] for label in task.ids]
    # A float32 softmax may leave [0, 1] by a rounding error; NaN fails both comparisons.
    good = (out >= -1e-6) & (out <= 1 + 1e-6)
    if not good.all():
        row, column = (int(index) for index in np.argwhere(~good)[0])
        found = f"the prediction for '{predictions[row].id}' has {task.name} '{task.ids[column]}' at {out[row, column]}"
        raise UserError(f"{found}, which is not a probability; if it is nan, training has diverged: lower its learning rates")
    return out
