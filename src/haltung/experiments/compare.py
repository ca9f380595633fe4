"""Runs in MLflow to a comparison: find them, read what they predicted, refuse what can't be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from haltung import tracking
from haltung.errors import UserError
from haltung.evaluation import outcome
from haltung.evaluation.report import page as report
from haltung.evaluation.predictions import ScoredSplit
from haltung.evaluation.comparison.compare import Comparison, System
from haltung.tracking import RunRecord, Store

# What a cross-validation calls the predictions of all its held-out parts together.
FOLDS = "folds"
SPLITS = ("dev", "test", FOLDS)

# The parts of a run's config that are its recipe; of the corpus all but where it lies and how it is cut.
_RECIPE = ("encoder", "model", "training", "corpus")
_CUT = ("reader", "rules", "split", "references")


@dataclass(frozen=True)
class _Named:
    """What the user has named: one run, or several joined by "+", each with the runs whose predictions it stands for."""

    parts: tuple[tuple[RunRecord, tuple[RunRecord, ...]], ...]

    @property
    def first(self) -> RunRecord:
        """The run that was named first."""
        return self.parts[0][0]

    @property
    def members(self) -> tuple[RunRecord, ...]:
        """All runs whose predictions count."""
        return tuple(member for _, members in self.parts for member in members)

    @property
    def name(self) -> str:
        """The run's name; of several their name without the seed at its end, or all names where they have no such one in common."""
        names = [record.name for record, _ in self.parts]
        stems = {re.sub(r"[-_]\d+$", "", name) for name in names}
        return names[0] if len(names) == 1 else stems.pop() if len(stems) == 1 else "+".join(names)


def read(store: Store, names: Sequence[str], split: str = "test", corpus: str | None = None) -> list[System]:
    """Return the systems that the runs are, with their predictions.

    Args:
        store: where the runs are.
        names: ids, beginnings of ids, or names; a parent run stands for its seeds, a sweep for those of its best recipe, and several
            joined by "+" are the seeds of one recipe that were trained one by one.
        split: ``dev``, ``test``, or ``folds`` for the out-of-fold predictions of cross-validations.
        corpus: whose split; None: the corpus that each run was trained on.

    Raises:
        UserError: fewer than two runs, one of them twice, unknown or still running, without predictions, joined by "+" with another
            recipe, or on another split or scheme.
    """
    if len(names) < 2:
        raise UserError(f"{len(names)} run{'' if len(names) == 1 else 's'} to compare; name two or more, as in runs=[A,B]")
    found = [_named(store, name, split) for name in names]
    _refuse_twice(found)
    digests = [{_digest(member, split, corpus) for member in named.members} for named in found]
    systems = [
        System(
            _name(named, found),
            tuple(_predictions(member, split, corpus) for member in named.members),
            tuple(member.id for member in named.members),
            max(int(member.tags.get(f"{tracking.SEEN}.{_key(member, split, corpus)}", 0)) for member in named.members),
        )
        for named in found
    ]
    _refuse_other_splits([(named.first, here) for named, here in zip(found, digests, strict=True)], split, corpus)
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


def _named(store: Store, word: str, split: str) -> _Named:
    try:
        records = [tracking.find(store, word)]
    except UserError:
        # A name may itself hold a plus.
        if "+" not in word:
            raise
        records = [tracking.find(store, part.strip()) for part in word.split("+")]
        _refuse_other_recipes(records)
    parts = []
    for record in records:
        if record.status in tracking.GOING:
            raise UserError(f"the run {record.name} ({record.id}) is still running; wait for it, or resume it if its process was killed")
        parts.append((record, (record,) if split == FOLDS else tuple(tracking.members(record))))
    return _Named(tuple(parts))


def _refuse_other_recipes(records: Sequence[RunRecord]) -> None:
    """Refuse runs joined by "+" that differ in more than their seed."""
    first, *others = records
    recipe = _recipe(first)
    for other in others:
        theirs = _recipe(other)
        apart = next((key for key in sorted({*recipe, *theirs}) if recipe.get(key) != theirs.get(key)), None)
        if apart is not None:
            raise UserError(
                f"{first.name} and {other.name} are no seeds of one recipe: they differ in {apart} "
                f"({recipe.get(apart)} and {theirs.get(apart)}); name them apart, as in runs=[{first.name},{other.name}]"
            )


def _recipe(record: RunRecord) -> dict[str, object]:
    """Return what makes a run's recipe, flat; where its corpus lies and how it was cut is told by the digest of its split."""
    config = {key: value for key, value in record.config.items() if key in _RECIPE and isinstance(value, Mapping)}
    corpus = {key: value for key, value in config.get("corpus", {}).items() if key not in _CUT}
    return {**dict(tracking.flat({**config, "corpus": corpus}, ".")), "shares": record.config.get("shares")}


def _refuse_twice(found: Sequence[_Named]) -> None:
    seen: dict[str, RunRecord] = {}
    for record, members in (part for named in found for part in named.parts):
        for member in members:
            other = seen.get(member.id)
            if other is not None:
                part = "" if member.id == other.id == record.id else f", as a part of {(other if record.id == member.id else record).name}"
                raise UserError(f"the run {member.name} ({member.id[:8]}) is named twice{part}; name runs that differ")
            seen[member.id] = record


def _name(named: _Named, found: Sequence[_Named]) -> str:
    """Return its name, with the beginning of the first run's id where another one is called the same."""
    alone = sum(other.name == named.name for other in found) == 1
    return named.name if alone else f"{named.name} ({named.first.id[:8]})"


def _key(record: RunRecord, split: str, corpus: str | None) -> str:
    """Return what ``runs.test`` calls this split of this corpus in this run."""
    return split if corpus in (None, record.tags.get("haltung.corpus")) else f"{corpus}.{split}"


def _digest(record: RunRecord, split: str, corpus: str | None) -> str | None:
    """Return the digest of the split that was predicted; None where the run was not evaluated on it."""
    key = _key(record, split, corpus)
    scored = record.tags.get(f"haltung.digest.{key}")
    return record.tags.get(f"haltung.split_digest.{key}") if scored is None and key == "dev" else scored


def _predictions(record: RunRecord, split: str, corpus: str | None) -> ScoredSplit:
    key = _key(record, split, corpus)
    if _digest(record, split, corpus) is None:
        if split == FOLDS:
            raise UserError(
                f"the run {record.name} ({record.id[:8]}) is no cross-validation; leave split=folds out, or train it with folds"
            )
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
