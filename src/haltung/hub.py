"""The Hugging Face hub: the size of a commit is checked before anything is downloaded."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from haltung.errors import UserError

LIMIT = "HALTUNG_HUB_GB"


def pinned(name: str, revision: str | None, kind: str = "model") -> str | None:
    """Return the ``commit``; ``UserError`` if it exceeds ``HALTUNG_HUB_GB`` (20 by default)."""
    from huggingface_hub import HfApi, constants, errors

    try:
        most = float(os.environ.get(LIMIT) or 20)
    except ValueError:
        raise UserError(f"{LIMIT} is '{os.environ[LIMIT]}', expected a number of gigabytes, as in {LIMIT}=20") from None
    size, revision = 0.0, commit(name, revision, kind)
    if not constants.HF_HUB_OFFLINE and not Path(name).exists():
        with suppress(errors.HTTPError, OSError, RuntimeError, ValueError):  # type: ignore[attr-defined]  # of httpx, or of httpx2
            found: Any = HfApi().repo_info(name, revision=revision, repo_type=kind, files_metadata=True, timeout=10)
            size = sum(one.size or 0 for one in found.siblings or ()) / 1e9
    if not size <= most:
        raise UserError(f"{name} has {size:.3g} GB on the hub, the limit is {most:g}; choose another {kind}, or set {LIMIT}={size + 1:.0f}")
    return revision


def commit(name: str, revision: str | None, kind: str = "model") -> str | None:
    """Return the commit of a revision, from the hub or, if that does not answer, from the cache.
    A folder, or a name that neither has, keeps its revision; errors are left to the caller.
    """
    from huggingface_hub import HfApi, constants, errors

    with suppress(errors.HTTPError, errors.RevisionResolutionError, OSError, RuntimeError, ValueError):  # type: ignore[attr-defined]
        if not Path(name).exists():
            return HfApi().resolve_revision(name, revision=revision, repo_type=kind, local_files_only=constants.HF_HUB_OFFLINE).resolved
    return revision
