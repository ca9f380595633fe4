"""Write runs to MLflow and read them; only this package calls it, and imports it at first use."""

from haltung.tracking.models import version_of_alias
from haltung.tracking.read import MEMBERS, UNFINISHED, RunRecord, artifact, attach, bundle_folder, children, find, group, members, newest
from haltung.tracking.store import Store, open_store
from haltung.tracking.write import MARK, SEEN, Pruned, Run, adopt, flat_settings, mark_killed, provenance, run

__all__ = [
    "MARK", "MEMBERS", "SEEN", "UNFINISHED", "Pruned", "Run", "RunRecord", "Store", "adopt", "artifact", "attach", "bundle_folder",
    "children", "find", "flat_settings", "group", "mark_killed", "members", "newest", "open_store", "provenance", "run", "version_of_alias",
]  # fmt: skip
