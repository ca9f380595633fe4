"""Compare a run with its reproduction: differences in data, code, machine, and in results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from haltung.errors import UserError
from haltung.evaluation.metrics.results import Stored
from haltung.evaluation.predictions import read_predictions
from haltung.files import sha256
from haltung.tracking.read import RunRecord, artifact, bundle_folder, children, members

# Prefixes of tags of the machine, on which rounding may differ, and those of data and code.
MACHINE = ("version.", "hardware.cpu", "hardware.threads", "hardware.gpu")
_TAGS = (*MACHINE, "code", "corpus_digest", "scheme_digest", "split_digest.", "share", "teacher")


@dataclass(frozen=True)
class Reproduction(Stored):
    """A ``run`` and the run that it ``reproduces``, as pairs of an old and a new value. ``weights``
    are SHA-256 digests; ``labels`` counts differing predictions, by split and task.
    """

    run: str
    reproduces: str
    differences: Mapping[str, tuple[str, str]]
    weights: tuple[str, ...]
    figures: Mapping[str, tuple[float, float]]
    labels: Mapping[str, int]

    def within(self, tolerance: float) -> bool:
        """Return whether no figure differs by more and, for 0, the weights are bit-identical."""
        close = (str(then) == str(now) or abs(then - now) <= tolerance for then, now in self.figures.values())
        return bool(self.figures) and all(close) and (tolerance > 0 or self.weights[0] == self.weights[1])


def trainings(record: RunRecord) -> list[RunRecord]:
    """Return the trainings of a run; ``UserError`` if it has none, or not all of them yet."""
    if record.kind == "folds" and record.status != "FINISHED":
        raise UserError(f"{record.name} is {record.status}, so folds may be missing; finish it with resume=true, or name one of its folds")
    found = children(record) if record.kind == "folds" else members(record) if record.kind in ("train", "seeds") else []
    if not (parts := [one for one in found if one.kind == "train" and not one.of_all_rows]):
        what = "of all rows" if record.of_all_rows else record.kind
        raise UserError(f"{record.name} ({what}) can't be reproduced by itself; name a training, or the run of its seeds or folds")
    return parts


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the tags in which two runs differ, as ``(then, now)``; older runs have "" for code."""
    found = {tag.removeprefix("haltung."): (then.get(tag, ""), now.get(tag, "")) for tag in sorted({*then, *now})}
    return {tag: both for tag, both in found.items() if tag.startswith(_TAGS) and both[0] != both[1]}


def compared(old: RunRecord, new: RunRecord, splits: Sequence[str]) -> Reproduction:
    """Compare two runs by weights, and on identical splits by shared metrics and predictions."""
    labels, same = dict[str, int](), ["primer"]
    for split in splits:
        path = f"{'dev' if split == 'dev' else f'evaluation/{split}'}/predictions.parquet"
        then, now = (read_predictions(artifact(one, path)) for one in (old, new))
        if (then.ids, then.scheme.digest()) == (now.ids, now.scheme.digest()):  # else the data differ
            same.append(split)
            labels |= {f"{split}/{task}": int((then.decided(task) != now.decided(task)).sum()) for task in then.probabilities}
    both = sorted(key for key in old.metrics.keys() & new.metrics if key.partition("/")[0] in same)
    figures = {key: (old.metrics[key], new.metrics[key]) for key in both}
    weights = tuple(sha256(next(bundle_folder(one).glob("*.safetensors"))) for one in (old, new))
    return Reproduction(new.id, old.id, differences(old.tags, new.tags), weights, figures, labels)
