"""The client under the name that older model cards give; it is ``haltung.inference.client``."""

from haltung.inference.client import BundleError, Classifier

__all__ = ["BundleError", "Classifier"]
