"""Who is named in a German sentence, and which code the label standard gives them."""

from haltung.actors.finder import Actors, codes

__all__ = ["Actors", "codes"]
