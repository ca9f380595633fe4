"""What has been run: runs filtered in the store itself, so that a table of ten runs does not read ten thousand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from haltung.tracking.read import RunRecord, record_of
from haltung.tracking.store import Store, open_store, told

# MLflow's words for how a run has ended, and ours; a pruned trial is KILLED there.
STATUSES = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}

_PAGE = 1000


@dataclass(frozen=True)
class Filter:
    """Which runs are wanted; None and "" let all through. ``name`` is a part of a run's name, ``since`` a time with its zone."""

    corpus: str = ""
    kind: str = ""
    name: str = ""
    status: str = ""
    since: datetime | None = None

    def query(self) -> str:
        """Return the filter in MLflow's language."""
        parts = [f"tags.`haltung.{key}` = {_quoted(value)}" for key, value in (("corpus", self.corpus), ("kind", self.kind)) if value]
        parts += [f"attributes.status = '{STATUSES[self.status]}'"] if self.status else []
        parts += [f"attributes.start_time >= {round(self.since.timestamp() * 1000)}"] if self.since else []
        # MLflow's LIKE knows no way to mean % and _ themselves; what it finds too much is sorted out below.
        parts += [f"attributes.run_name LIKE {_quoted(f'%{self.name}%')}"] if self.name else []
        return " and ".join(parts)


def listing(store: Store, wanted: Filter, most: int | None = None) -> list[RunRecord]:
    """Return the runs of the store's experiment that pass the filter, newest first.

    Args:
        store: which one.
        wanted: the filter.
        most: how many at most; None: all.

    Raises:
        UserError: there is no such store.
    """
    connection = open_store(store, create=False)
    found: list[RunRecord] = []
    token: str | None = None
    with told(store):
        while most is None or len(found) < most:
            page = connection.client.search_runs(
                [connection.experiment], wanted.query(), max_results=_PAGE, order_by=["attributes.start_time DESC"], page_token=token
            )
            found += [record_of(connection, run) for run in page if wanted.name in run.info.run_name]
            token = page.token
            if not token:
                break
    return found[:most]


def _quoted(text: str) -> str:
    quote = '"' if "'" in text else "'"
    return f"{quote}{text.replace(quote, '')}{quote}"
