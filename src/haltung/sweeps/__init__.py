"""Hyperparameter search: spaces, trials that can be killed and resumed, and the best recipe trained on several seeds."""

from haltung.sweeps.searching import Found, Recipe, Sweep, search
from haltung.sweeps.spaces import Choice, Range, Space, Value, spaces_of
from haltung.sweeps.trials import Trial

__all__ = ["Choice", "Found", "Range", "Recipe", "Space", "Sweep", "Trial", "Value", "search", "spaces_of"]
