"""Runs in MLflow to a comparison: find them, read what they predicted, refuse what can't be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from haltung import tracking
from haltung.errors import UserError
from haltung.evaluation import outcome, report
from haltung.evaluation.scored import Scored
from haltung.evaluation.standings import Comparison, System
from haltung.tracking import RunRecord, Store

# What a cross-validation calls the predictions of all its held-out parts together.
FOLDS = "folds"
SPLITS = ("dev", "test", FOLDS)

# MLflow's words for a run that has not ended.
_GOING = ("RUNNING", "SCHEDULED")

_KINDS_OF_SEVERAL = ("seeds", "sweep")


def read(store: Store, names: Sequence[str], split: str = "test", corpus: str | None = None) -> list[System]:
    """Return the systems that the runs are, with their predictions.

    Args:
        store: where the runs are.
        names: ids, beginnings of ids, or names; a parent run stands for its seeds, a sweep for those of its best recipe.
        split: ``dev``, ``test``, or ``folds`` for the out-of-fold predictions of cross-validations.
        corpus: whose split; None: the corpus that each run was trained on.

    Raises:
        UserError: fewer than two runs, one of them twice, unknown or still running, without predictions, or on another split or scheme.
    """
    if len(names) < 2:
        raise UserError(f"{len(names)} run{'' if len(names) == 1 else 's'} to compare; name two or more, as in runs=[A,B]")
    found = [(record, _members(record, split)) for record in (tracking.find(store, name) for name in names)]
    _refuse_twice(found)
    for record, members in found:
        going = next((one for one in (record, *members) if one.status in _GOING), None)
        if going is not None:
            raise UserError(f"the run {going.name} ({going.id}) is still running; wait for it, or resume it if its process was killed")
    digests = {record.id: {_digest(member, split, corpus) for member in members} for record, members in found}
    systems = [
        System(
            _name(record, found), tuple(_predictions(member, split, corpus) for member in members), tuple(member.id for member in members)
        )
        for record, members in found
    ]
    _refuse_other_splits([(record, digests[record.id]) for record, _ in found], split, corpus)
    return systems


def track(store: Store, comparison: Comparison, systems: Sequence[System], folder: Path, command: Sequence[str]) -> str:
    """Keep the comparison and the files of its folder as a run of the kind ``compare``, and return its id.

    Raises:
        UserError: the store can't be reached.
    """
    tags = {
        "haltung.kind": "compare",
        "haltung.corpus": comparison.corpus,
        "haltung.scheme": comparison.scheme,
        "haltung.scheme_digest": comparison.scheme_digest,
        "haltung.compared": " ".join(id for system in systems for id in system.ids),
        **tracking.provenance(command),
    }
    with tracking.run(store, f"compare-{'-'.join(comparison.systems)}"[:120], tags=tags) as run:
        run.params(
            {
                "systems": list(comparison.systems), "split": comparison.split, "correction": comparison.correction,
                "level": comparison.level, "draws": comparison.draws, "seed": comparison.seed,
            }
        )  # fmt: skip
        for name, task in comparison.tasks.items():
            for pair in task.pairs:
                values = {key: value for key, value in asdict(pair.macro_f1).items() if key in ("value", "low", "high")}
                run.metrics({name: {f"{pair.first} - {pair.second}": {**values, "p": pair.corrected}}})
        run.artifact(folder, "comparison")
    return run.id


def _members(record: RunRecord, split: str) -> list[RunRecord]:
    """Return the runs whose predictions a run stands for: itself, or its seeds."""
    if split == FOLDS or record.tags.get("haltung.kind") not in _KINDS_OF_SEVERAL:
        return [record]
    parts = tracking.children(record)
    inner = [part for part in parts if part.tags.get("haltung.kind") == "seeds"]
    if record.tags["haltung.kind"] == "sweep":
        return _members(inner[-1], split) if inner else [record]
    return [part for part in parts if part.tags.get("haltung.kind") == "train"] or [record]


def _refuse_twice(found: Sequence[tuple[RunRecord, Sequence[RunRecord]]]) -> None:
    seen: dict[str, RunRecord] = {}
    for record, members in found:
        for member in members:
            other = seen.setdefault(member.id, record)
            if other is not record:
                part = "" if member.id == other.id == record.id else f", as a part of {(other if record.id == member.id else record).name}"
                raise UserError(f"the run {member.name} ({member.id[:8]}) is named twice{part}; name runs that differ")


def _name(record: RunRecord, found: Sequence[tuple[RunRecord, Sequence[RunRecord]]]) -> str:
    """Return the run's name, with the beginning of its id where another run is called the same."""
    alone = sum(other.name == record.name for other, _ in found) == 1
    return record.name if alone else f"{record.name} ({record.id[:8]})"


def _key(record: RunRecord, split: str, corpus: str | None) -> str:
    """Return what ``runs.test`` calls this split of this corpus in this run."""
    return split if corpus in (None, record.tags.get("haltung.corpus")) else f"{corpus}.{split}"


def _digest(record: RunRecord, split: str, corpus: str | None) -> str | None:
    """Return the digest of the split that was predicted; None where the run was not evaluated on it."""
    key = _key(record, split, corpus)
    scored = record.tags.get(f"haltung.digest.{key}")
    return record.tags.get(f"haltung.split_digest.{key}") if scored is None and key == "dev" else scored


def _predictions(record: RunRecord, split: str, corpus: str | None) -> Scored:
    key = _key(record, split, corpus)
    if _digest(record, split, corpus) is None:
        if split == FOLDS:
            raise UserError(
                f"the run {record.name} ({record.id[:8]}) is no cross-validation; leave split=folds out, or train it with folds"
            )
        if record.tags.get("haltung.kind") == FOLDS:
            raise UserError(f"the run {record.name} ({record.id[:8]}) is a cross-validation; compare such runs with split=folds")
        command = f"haltung evaluate run={record.id[:8]} split={split}" + (f" corpus={corpus}" if corpus and key != split else "")
        raise UserError(f"the run {record.name} ({record.id[:8]}) holds no predictions for {key}; run {command}")
    # Every training stores its dev predictions; `evaluate split=dev` stores newer ones.
    place = "dev" if key == "dev" and f"haltung.digest.{key}" not in record.tags else f"evaluation/{key}"
    return outcome.read(tracking.artifact(record, f"{place}/{report.PREDICTIONS}"))


def _refuse_other_splits(found: Sequence[tuple[RunRecord, set[str | None]]], split: str, corpus: str | None) -> None:
    """Refuse runs that were scored on another split than the first, by name."""
    first, digests = found[0]
    here = min(str(digest) for digest in digests)
    for record, others in found:
        for digest in others:
            if digest == here:
                continue
            names = first.name if record is first else f"{first.name} and {record.name}"
            trained = [str(one.tags.get("haltung.corpus", "?")) for one in (first, record)]
            hint = "evaluate both on one split"
            if corpus is None and trained[0] != trained[1]:
                hint = f"they were trained on {trained[0]} and {trained[1]}; name the corpus to compare on, as in corpus={trained[0]}"
            raise UserError(f"{names} can't be compared: their {split} splits differ (digests {here[:12]} and {str(digest)[:12]}); {hint}")
