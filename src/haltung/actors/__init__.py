"""Find the actors named in German sentences, with their codes of the label standard."""

from haltung.actors.finder import Actors, codes

__all__ = ["Actors", "codes"]
