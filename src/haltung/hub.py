"""The Hugging Face hub: a commit is measured before anything of it is fetched."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from haltung.errors import UserError

LIMIT = "HALTUNG_HUB_GB"


def pinned(name: str, revision: str | None, kind: str = "model") -> str | None:
    """Return what ``commit`` does; ``UserError`` if that has over ``HALTUNG_HUB_GB`` (20) GB."""
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
        raise UserError(f"{name} has {size:.3g} GB on the hub, allowed are {most:g}; take another {kind}, or set {LIMIT}={size + 1:.0f}")
    return revision


def commit(name: str, revision: str | None, kind: str = "model") -> str | None:
    """Return the commit that a revision is, on the hub or, where that does not answer, in the
    cache. A folder, and what neither has, keep their revision, and are left to what reads them.
    """
    from huggingface_hub import HfApi, constants, errors

    with suppress(errors.HTTPError, errors.RevisionResolutionError, OSError, RuntimeError, ValueError):  # type: ignore[attr-defined]
        if not Path(name).exists():
            return HfApi().resolve_revision(name, revision=revision, repo_type=kind, local_files_only=constants.HF_HUB_OFFLINE).resolved
    return revision
