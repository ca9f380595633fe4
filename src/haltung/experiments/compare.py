"""Compare runs: find them, read their predictions, refuse mismatches, track the result.

A run's exported model is promoted unless it is worse than the champion on the same test split.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from haltung import tracking
from haltung.errors import UserError
from haltung.evaluation.comparison import WORSE, Comparison, System, compare
from haltung.evaluation.predictions import ScoredSplit, read_predictions
from haltung.evaluation.report import comparison as report
from haltung.evaluation.report import page
from haltung.labels import Scheme
from haltung.tracking import RunRecord, Store
from haltung.tracking.models import ModelVersion, exported_version, set_alias, version_of_alias

FOLDS = "folds"  # the split name of a cross-validation's joined out-of-fold predictions
# Config keys of a recipe, and corpus keys that the digest covers or (the last) without effect.
_RECIPE = ("encoder", "model", "training", "corpus")
_SEED = re.compile(r"-\d+(?=-[0-9a-f]{8}/encoder/?$)")  # in the path of an encoder that ``haltung adapt`` wrote
DIGESTED = ("reader", "rules", "split", "references")
# A run named by the user, or several joined by "+", each with the runs that it stands for.
_Named = Sequence[tuple[RunRecord, Sequence[RunRecord]]]


@dataclass(frozen=True)
class Promotion:
    """A proposed change of an alias, and its reasons.

    ``old`` is the version that has the alias now, or None. ``comparison`` compares the run with
    that of ``old``; if there is nothing to compare, it is None and ``note`` says why.
    """

    record: RunRecord
    alias: str
    new: ModelVersion
    old: ModelVersion | None
    comparison: Comparison | None
    scheme: Scheme | None
    note: str
    forced: bool

    @property
    def worse(self) -> tuple[str, ...]:
        """The tasks in which the run is worse than the champion; one is enough to refuse it."""
        tasks = self.comparison.tasks if self.comparison else {}
        return tuple(name for name, task in tasks.items() if task.pairs[0].verdict == WORSE)

    @property
    def allowed(self) -> bool:
        """Whether the alias may be moved."""
        return self.forced or not self.worse

    @property
    def changes(self) -> bool:
        """Whether the alias would point to another version than now."""
        return self.old is None or self.old.version != self.new.version

    def verdicts(self, language: str = "en") -> list[str]:
        """Return the verdict on each task as a sentence."""
        if self.comparison is None or self.scheme is None:
            return []
        found, scheme = self.comparison, self.scheme
        return [f"{scheme[name].title(language)}: {report.sentence(task.pairs[0], found, language)}" for name, task in found.tasks.items()]


def read(store: Store, names: Sequence[str], split: str = "test", corpus: str | None = None) -> list[System]:
    """Return the runs as systems to compare, with their predictions.

    ``names`` are ids, prefixes of ids, or names. A parent run stands for its seeds, a sweep for the
    seeds of its best recipe; runs joined by "+" are seeds of one recipe, trained separately.
    ``split`` is ``dev``, ``test``, or ``folds`` for the predictions of cross-validations; it
    belongs to ``corpus``, or by default to the corpus that each run was trained on. Raises
    ``UserError`` for fewer than two runs, or one named twice, unknown, still running, without
    predictions, joined by "+" with another recipe, or on another split or scheme.
    """
    if len(names) < 2:
        raise UserError(f"{len(names)} run{'' if len(names) == 1 else 's'} to compare; name two or more, as in runs=[A,B]")
    named = [_named(store, name, split) for name in names]
    _refuse_twice([part for parts in named for part in parts])
    titles = [_title([record.name for record, _ in parts]) for parts in named]
    systems, digests = list[System](), list[tuple[RunRecord, set[str]]]()
    for title, parts in zip(titles, named, strict=True):
        first, members = parts[0][0], [member for _, part in parts for member in part]
        # Add the id if other systems have the same name.
        name = title if titles.count(title) == 1 else f"{title} ({first.id[:8]})"
        of_split, runs, seen = zip(*(_predictions(member, split, corpus) for member in members), strict=True)
        digests.append((first, set(of_split)))
        fixed = all(member.params.get("model._target_", "").endswith(".LinearSpec") for member in members)
        systems.append(System(name, runs, tuple(member.id for member in members), max(seen), fixed))
    _refuse_other_splits(digests, split, corpus)
    return systems


def save(
    comparison: Comparison, systems: Sequence[System], command: Sequence[str], *, language: str = "en", folder: Path | None = None,
    store: Store | None = None,
) -> tuple[Path | None, str]:  # fmt: skip
    """Write the comparison's page, tables and plots to ``folder``, and track them in ``store``.

    ``systems`` are the compared systems. Without a folder, files are only tracked; without a store,
    nothing is tracked. Return the page (None without both) and the run's id ("" without a store).
    """
    if folder is None and store is None:
        return None, ""
    ids = {system.name: ", ".join(id[:8] for id in system.ids) for system in systems}
    details = {"command": tracking.provenance(command)["haltung.command"], **ids}
    with tempfile.TemporaryDirectory() as scratch:
        target = folder or Path(scratch) / "comparison"
        report.write(target, comparison, systems[0].runs[0].scheme, language, details)
        if store is None:
            return target / report.PAGE, ""
        tags = {
            "haltung.kind": "compare", "haltung.corpus": comparison.corpus, "haltung.scheme": comparison.scheme,
            "haltung.scheme_digest": comparison.scheme_digest,
            "haltung.compared": " ".join(id for system in systems for id in system.ids), **tracking.provenance(command),
        }  # fmt: skip
        with tracking.run(store, f"compare-{'-'.join(comparison.systems)}"[:120], tags=tags) as run:
            run.params({name: getattr(comparison, name) for name in ("systems", "split", "correction", "level", "draws", "seed")})
            for name, task in comparison.tasks.items():
                for pair in task.pairs:
                    values = {"value": pair.macro_f1.value, "low": pair.macro_f1.low, "high": pair.macro_f1.high, "p": pair.corrected}
                    run.metrics({name: {f"{pair.first} - {pair.second}": values}})
            run.artifact(target, "comparison")
    if folder is None:
        return tracking.artifact(tracking.find(store, run.id), f"comparison/{report.PAGE}"), run.id
    return target / report.PAGE, run.id


def recipe_of(config: Mapping[str, object]) -> dict[str, object]:
    """Return the settings that define the recipe in a run's config, as flat keys and values.

    Source and split of the corpus are omitted because the split's digest compares them, paths of
    classes since these differ in their keys, and the seed in the path of an adapted encoder.
    """
    parts = {key: value for key, value in config.items() if key in _RECIPE and isinstance(value, Mapping)}
    parts["corpus"] = {key: value for key, value in parts.get("corpus", {}).items() if key not in DIGESTED}
    recipe = {key: _SEED.sub("", value) if isinstance(value, str) else value for key, value in tracking.flat_settings(parts).items()}
    recipe |= {"share": config.get("share", 1), "teacher": config.get("teacher")}
    return {key: value for key, value in recipe.items() if key != "training.teacher_weight" or recipe["teacher"]}


def consider(store: Store, run: str, alias: str, corpus: str | None = None, forced: bool = False) -> Promotion:
    """Compare a run with the champion's run on their test predictions, without changing anything.

    The test split is that of ``corpus``, or of the corpus that each run was trained on. With
    ``forced``, a run that is worse or can't be compared is allowed. Raises ``UserError`` if the run
    does not exist, has no exported version, or can't be compared with the champion.
    """
    record = tracking.find(store, run)
    new = exported_version(record.connection, record.id)
    if new is None and record.kind in ("seeds", "sweep", "folds"):
        parts = ", ".join(part.name for part in tracking.members(record))
        raise UserError(f"{record.name} stands for several trainings, but only one model can be promoted; name one of them: {parts}")
    if new is None:
        raise UserError(
            f"{record.name} ({record.id[:8]}) has no exported version that could be promoted; "
            f"make one with haltung export run={record.id[:8]} to=FOLDER register=true"
        )
    old = version_of_alias(record.connection, alias)
    comparison, scheme, note = None, None, ""
    if old is None:
        note = f"no version of {new.name} is the {alias} yet, so there is nothing to compare with"
    elif old.version == new.version:
        note = f"{new} is the {alias} already"
    elif old.run == new.run:
        note = f"{old} and {new} come from the same run, so there is nothing to compare"
    else:
        try:
            if not old.run:
                raise UserError(f"{old}, the {alias}, does not name its run, so it can't be compared; force=true promotes anyway")
            systems = read(store, [record.id, old.run], "test", corpus)
            scheme = systems[0].runs[0].scheme
            # All tasks count, also multi-label ones; those without labels in the split are omitted.
            comparison = compare(systems, scheme.names)
        except UserError as error:
            if not forced:
                raise
            note = f"not compared: {error}"
    return Promotion(record, alias, new, old, comparison, scheme, note, forced)


def carry_out(promotion: Promotion, command: Sequence[str]) -> None:
    """Move the alias and tag the version with time, reasons, command; ``UserError`` if refused."""
    if not promotion.changes:
        return
    if not promotion.allowed:
        raise UserError(f"{promotion.record.name} was found to be worse than today's {promotion.alias} in {', '.join(promotion.worse)}")
    tags = {
        "haltung.promoted": datetime.now(UTC).isoformat(timespec="seconds"), "haltung.promoted_as": promotion.alias,
        "haltung.promoted_over": promotion.old.version if promotion.old else "",
        "haltung.promoted_why": " ".join([*promotion.verdicts(), *([promotion.note] if promotion.note else [])]),
        "haltung.promoted_with": tracking.provenance(command)["haltung.command"],
    }  # fmt: skip
    set_alias(promotion.record.connection, promotion.alias, promotion.new, tags)


def _named(store: Store, word: str, split: str) -> _Named:
    try:
        records = [tracking.find(store, word)]
    except UserError:
        # A name may contain a plus.
        if "+" not in word:
            raise
        records = [tracking.find(store, part.strip()) for part in word.split("+")]
        _refuse_other_recipes(records)
    for record in records:
        if record.status in tracking.UNFINISHED:
            raise UserError(f"the run {record.name} ({record.id}) is still running; wait for it, or resume it if its process was killed")
    return [(record, [record] if split == FOLDS else tracking.members(record)) for record in records]


def _title(names: Sequence[str]) -> str:
    """Return the name of one run; for several, their common name without the seed, or all names."""
    stems = {re.sub(r"[-_]\d+$", "", name) for name in names}
    return names[0] if len(names) == 1 else stems.pop() if len(stems) == 1 else "+".join(names)


def _refuse_other_recipes(records: Sequence[RunRecord]) -> None:
    first, recipe = records[0], recipe_of(records[0].config)
    for other in records[1:]:
        theirs = recipe_of(other.config)
        for key in sorted({*recipe, *theirs}):
            if recipe.get(key) != theirs.get(key):
                raise UserError(
                    f"{first.name} and {other.name} are not seeds of one recipe: they differ in {key} "
                    f"({recipe.get(key)} and {theirs.get(key)}); name them separately, as in runs=[{first.name},{other.name}]"
                )


def _refuse_twice(named: _Named) -> None:
    seen: dict[str, RunRecord] = {}
    for record, members in named:
        for member in members:
            if other := seen.get(member.id):
                part = "" if member.id == other.id == record.id else f", as a part of {(other if record.id == member.id else record).name}"
                raise UserError(f"the run {member.name} ({member.id[:8]}) is named twice{part}; name different runs")
            seen[member.id] = record


def _predictions(record: RunRecord, split: str, corpus: str | None) -> tuple[str, ScoredSplit, int]:
    """Return digest and predictions of a split, and how many of its segments the run has seen."""
    # The name of this split of this corpus in the run, as `evaluate_model` sets it.
    key = split if corpus in (None, record.tags.get("haltung.corpus")) else f"{corpus}.{split}"
    key = FOLDS if key in ("dev", "test") and record.of_all_rows else key  # a model of all rows has only out-of-fold metrics
    digest, folder = record.tags.get(f"haltung.digest.{key}"), f"evaluation/{key}"
    if digest is None and key == "dev":
        # Every training stores its dev predictions; `evaluate split=dev` stores newer ones.
        digest, folder = record.tags.get("haltung.split_digest.dev"), "dev"
    if digest is None:
        which = f"the run {record.name} ({record.id[:8]})"
        if split == FOLDS:
            raise UserError(f"{which} is not a cross-validation; leave split=folds out, or train it with folds")
        command = f"haltung evaluate run={record.id[:8]} split={split}" + (f" corpus={corpus}" if corpus and key != split else "")
        raise UserError(f"{which} has no predictions for {key}; run {command}")
    scored = read_predictions(tracking.artifact(record, f"{folder}/{page.PREDICTIONS}"))
    return digest, scored, int(record.tags.get(f"{tracking.SEEN}.{key}", 0))


def _refuse_other_splits(runs: Sequence[tuple[RunRecord, set[str]]], split: str, corpus: str | None) -> None:
    first, digests = runs[0]
    expected = min(digests)
    for record, others in runs:
        for digest in others - {expected}:
            names = first.name if record is first else f"{first.name} and {record.name}"
            trained = [str(one.tags.get("haltung.corpus", "?")) for one in (first, record)]
            hint = "evaluate both on the same split"
            if corpus is None and trained[0] != trained[1]:
                hint = f"they were trained on {trained[0]} and {trained[1]}; name the corpus to compare on, as in corpus={trained[0]}"
            raise UserError(f"{names} can't be compared: their {split} splits differ (digests {expected[:12]} and {digest[:12]}); {hint}")
