"""Old name of ``haltung.actors``; it will be removed in the next release."""

from haltung.actors import Actors, codes

__all__ = ["Actors", "codes"]
