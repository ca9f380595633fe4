"""``haltung verify bundle=DIR``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from haltung.cli.build import plain, typed
from haltung.cli.config import compose, parse
from haltung.errors import UserError


@dataclass(frozen=True)
class Keys:
    """The command's own keys."""

    bundle: str | None
    threads: int | None


def run(words: Sequence[str]) -> int:
    """Replay the golden answers and print the table; 1 where a file or an answer is not as it was."""
    parsed = parse(words)
    code = 0
    for overrides in parsed.combinations:
        config = compose("verify", overrides, parsed.config_dir)
        if parsed.show:
            print(OmegaConf.to_yaml(config))
        else:
            code = max(code, _verify(typed(Keys, plain(config))))
    return code


def _verify(keys: Keys) -> int:
    if keys.bundle is None:
        raise UserError("name what to verify: bundle=DIR, a folder that haltung export has written")

    from rich.console import Console

    from haltung.export.tables import verified
    from haltung.export.verify import verify

    folder = Path(keys.bundle)
    with Console(stderr=True).status("") as status:
        found = verify(folder, keys.threads, lambda step: status.update(f"verifying: {step}"))
    Console().print(verified(found.checks))
    for runtime in found.absent:
        print(f"{runtime} is not installed here, so it was left out", file=sys.stderr)
    for sentence in found.broken:
        print(sentence, file=sys.stderr)
    for check in found.checks:
        if check.fault:
            print(f"{check.format} by {check.runtime}: {check.fault}", file=sys.stderr)
    print(f"{folder} {'is as it was exported' if found.agrees else 'is NOT as it was exported'}")
    return 0 if found.agrees else 1
