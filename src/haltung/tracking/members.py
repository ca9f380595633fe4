"""Which trained models a run stands for: itself, its seeds, or those of a sweep's best recipe."""

from __future__ import annotations

from haltung.errors import UserError
from haltung.tracking.read import RunRecord, by_ids, children

# Where a parent run keeps the ids of its seeds: a seed that was trained before, as part of another run, stays a child of that one.
MEMBERS = "haltung.members"

# MLflow's words for a run that has not ended, and for one that has ended before its time.
GOING = ("RUNNING", "SCHEDULED")
_BROKEN = ("FAILED", "KILLED")


def members(record: RunRecord) -> list[RunRecord]:
    """Return the runs whose models a run stands for, oldest first; at least one.

    Raises:
        UserError: the run is not done, or has no models of its own that could be taken together: a cross-validation, a learning curve,
            a comparison, a search that trained none, a group of seeds of which some are missing.
    """
    kind = record.tags.get("haltung.kind")
    which = f"the run {record.name} ({record.id[:8]})"
    if kind == "folds":
        raise UserError(
            f"{record.name} is a cross-validation, whose out-of-fold figures it holds already; compare such runs with split=folds "
            "(haltung compare 'runs=[A,B]' split=folds), or name one of its folds"
        )
    if kind == "compare":
        raise UserError(f"{which} is a comparison and holds no model; name the runs that it compares")
    if kind == "curve":
        raise UserError(
            f"{record.name} is a learning curve, and its runs have learned from different shares of the train split; "
            f"name one of them{_listed(children(record))}"
        )
    if kind == "sweep":
        inner = _of_sweep(record)
        if inner is None:
            raise UserError(
                f"{which} is a sweep that has kept no model of its best recipe: it was stopped before, or told final_seeds=[]; "
                "train that recipe with the command that the sweep ends with, and name that run"
            )
        return members(inner)
    return _of_seeds(record, which) if kind == "seeds" else [record]


def group(record: RunRecord) -> RunRecord | None:
    """Return the run that holds the seeds for which a run stands: itself, or a part of a sweep; None for a single training."""
    kind = record.tags.get("haltung.kind")
    found = _of_sweep(record) if kind == "sweep" else record
    return found if found is not None and found.tags.get("haltung.kind") == "seeds" else None


def _of_sweep(record: RunRecord) -> RunRecord | None:
    """Return the run of a sweep's best recipe, the newest where there are several."""
    parts = children(record)
    for kind in ("seeds", "train"):
        inner = [part for part in parts if part.tags.get("haltung.kind") == kind]
        if inner:
            return inner[-1]
    return None


def _of_seeds(record: RunRecord, which: str) -> list[RunRecord]:
    named = record.tags.get(MEMBERS, "").split()
    # Runs of older versions have no such list.
    found = by_ids(record.connection, named) if named else [part for part in children(record) if part.tags.get("haltung.kind") == "train"]
    if record.status in _BROKEN:
        raise UserError(
            f"{which} stopped before all of its seeds were trained (it is {record.status}); go on with it by the same words and "
            f"resume=true, or name the seeds that are there{_listed(found)}"
        )
    going = next((one for one in (record, *found) if one.status in GOING), None)
    if going is not None:
        raise UserError(f"the run {going.name} ({going.id}) is still running; wait for it, or resume it if its process was killed")
    if not found or len(found) < len(named):
        lost = f"{len(named) - len(found)} of its {len(named)}" if named else "all of its"
        raise UserError(f"{which} has lost {lost} seeds, they were deleted; name those that are left{_listed(found)}")
    return found


def _listed(found: list[RunRecord]) -> str:
    return f": {', '.join(f'{one.name} ({one.id[:8]})' for one in found)}" if found else ""
