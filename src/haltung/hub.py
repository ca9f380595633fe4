"""The Hugging Face hub: what it would send is measured before anything is fetched."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from haltung.errors import UserError

LIMIT = "HALTUNG_HUB_GB"


def check_size(name: str, revision: str | None, kind: str = "model") -> None:
    """Raise ``UserError`` if a repository has more than ``HALTUNG_HUB_GB`` (20) gigabytes.

    A folder, and a hub that is not to be asked or does not answer, are left to what reads them.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of httpx, or of httpx2, as the version has it

    try:
        most = float(os.environ.get(LIMIT) or 20)
    except ValueError:
        raise UserError(f"{LIMIT} is '{os.environ[LIMIT]}', expected a number of gigabytes, as in {LIMIT}=20") from None
    size = 0.0
    if not constants.HF_HUB_OFFLINE and not Path(name).exists():
        with suppress(HTTPError, OSError, RuntimeError, ValueError):
            found: Any = HfApi().repo_info(name, revision=revision, repo_type=kind, files_metadata=True, timeout=10)
            size = sum(one.size or 0 for one in found.siblings or ()) / 1e9
    if not size <= most:
        raise UserError(f"{name} has {size:.3g} GB on the hub, allowed are {most:g}; take another {kind}, or set {LIMIT}={size + 1:.0f}")


def commit(name: str, revision: str) -> str:
    """Return the commit that a revision of a model was when it was fetched, or the revision."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else revision
