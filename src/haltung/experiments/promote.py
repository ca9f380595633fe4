"""Promote a run's exported model, unless it is worse than the champion on the same test split."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from haltung import tracking
from haltung.errors import UserError
from haltung.evaluation.comparison import WORSE, Comparison, compare
from haltung.evaluation.report import comparison
from haltung.experiments.compare import read
from haltung.labels import Scheme
from haltung.tracking import RunRecord, Store
from haltung.tracking.models import ModelVersion, exported_version, set_alias, version_of_alias


@dataclass(frozen=True)
class Promotion:
    """What would change about an alias, and why.

    ``old`` is the version that has the alias today, or None. ``comparison`` is of the run with that
    of ``old``; None if there is nothing to compare, and then ``note`` says why.
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
        """Whether the alias would point to another version than today."""
        return self.old is None or self.old.version != self.new.version

    def verdicts(self, language: str = "en") -> list[str]:
        """Return the verdict on each task as a sentence."""
        if self.comparison is None or self.scheme is None:
            return []
        return [
            f"{self.scheme[name].title(language)}: {comparison.sentence(task.pairs[0], self.comparison, language)}"
            for name, task in self.comparison.tasks.items()
        ]


def consider(store: Store, run: str, alias: str, corpus: str | None = None, forced: bool = False) -> Promotion:
    """Compare a run with the champion's run, by their test predictions; nothing is changed.

    The test split is that of ``corpus``, or of the corpus that each run was trained on. With
    ``forced``, a run that is worse or can't be compared is allowed. Raises ``UserError`` if there
    is no such run, it has no exported version, or it can't be compared with the champion.
    """
    record = tracking.find(store, run)
    new = exported_version(record.connection, record.id)
    if new is None and record.kind in ("seeds", "sweep", "folds"):
        parts = ", ".join(part.name for part in tracking.members(record))
        raise UserError(f"{record.name} stands for several trainings, and one model is promoted; name one of them: {parts}")
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
                raise UserError(f"{old}, the {alias}, does not say which run it comes from, so it can't be compared; force=true goes ahead")
            systems = read(store, [record.id, old.run], "test", corpus)
            scheme = systems[0].runs[0].scheme
            # Every task counts, multi-label ones too; those without labels here are left out.
            comparison = compare(systems, scheme.names)
        except UserError as error:
            if not forced:
                raise
            note = f"not compared: {error}"
    return Promotion(record, alias, new, old, comparison, scheme, note, forced)


def carry_out(promotion: Promotion, command: Sequence[str]) -> None:
    """Move the alias and tag the version with when, why and how; ``UserError`` if it may not."""
    if not promotion.changes:
        return
    if not promotion.allowed:
        raise UserError(f"{promotion.record.name} was found worse than today's {promotion.alias} in {', '.join(promotion.worse)}")
    tags = {
        "haltung.promoted": datetime.now(UTC).isoformat(timespec="seconds"),
        "haltung.promoted_as": promotion.alias,
        "haltung.promoted_over": promotion.old.version if promotion.old else "",
        "haltung.promoted_why": " ".join([*promotion.verdicts(), *([promotion.note] if promotion.note else [])]),
        "haltung.promoted_with": tracking.provenance(command)["haltung.command"],
    }
    set_alias(promotion.record.connection, promotion.alias, promotion.new, tags)
