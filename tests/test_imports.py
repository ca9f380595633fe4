"""Every module is imported, so that a library whose lowest allowed version lacks a name is found by
``make lowest``.
"""

from __future__ import annotations

import importlib
import pkgutil

import haltung


def test_every_module_can_be_imported() -> None:
    """With the libraries that are installed, and no optional one beside them."""
    names = [module.name for module in pkgutil.walk_packages(haltung.__path__, "haltung.") if not module.name.endswith("__main__")]
    assert len(names) > 100
    assert all(importlib.import_module(name) for name in names)
