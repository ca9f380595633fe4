"""Runs to MLflow and runs from MLflow; the only room that talks to it. Light to import: MLflow itself is imported at first use."""

from haltung.tracking.members import GOING, MEMBERS, group, members
from haltung.tracking.provenance import provenance
from haltung.tracking.read import RunRecord, artifact, attach, bundle_folder, children, find, newest
from haltung.tracking.store import Store, open_store
from haltung.tracking.write import SEEN, Pruned, Run, adopt, flat, lost, run

__all__ = [
    "GOING",
    "MEMBERS",
    "SEEN",
    "Pruned",
    "Run",
    "RunRecord",
    "Store",
    "adopt",
    "artifact",
    "attach",
    "bundle_folder",
    "children",
    "find",
    "flat",
    "group",
    "lost",
    "members",
    "newest",
    "open_store",
    "provenance",
    "run",
]
