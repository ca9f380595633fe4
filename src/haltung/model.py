"""``haltung.models`` under the name that MLflow models logged by version 0.1.0 import."""

from haltung.models import bundle

__all__ = ["bundle"]
