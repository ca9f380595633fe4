"""Where the shipped configs and data lie: beside the sources in a checkout, inside the package in an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


def shipped(name: str) -> Path:
    """Return the folder of the shipped ``configs`` or ``data``.

    In a wheel they are at ``haltung/_configs`` and ``haltung/_data``; in a checkout (an editable install) at top level.
    """
    inside = _PACKAGE / f"_{name}"
    return inside if inside.is_dir() else _CHECKOUT / name


def cache() -> Path:
    """Return the folder for what is built once and can be built again: ``HALTUNG_CACHE``, or the platform's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ["HALTUNG_CACHE"]) if os.environ.get("HALTUNG_CACHE") else user_cache_path("haltung", appauthor=False)
