"""``haltung.events.actors`` under its old name; removed in the next release. Use ``haltung.actors``."""

from haltung.actors import Actors, codes

__all__ = ["Actors", "codes"]
