"""Every module can be imported. With ``make lowest``, this finds names that the lowest allowed
version of a library lacks.
"""

from __future__ import annotations

import importlib
import pkgutil

import haltung


def test_every_module_can_be_imported() -> None:
    """With the installed libraries, without optional ones."""
    names = [module.name for module in pkgutil.walk_packages(haltung.__path__, "haltung.") if not module.name.endswith("__main__")]
    assert len(names) > 100
    assert all(importlib.import_module(name) for name in names)
