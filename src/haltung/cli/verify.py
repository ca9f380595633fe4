"""``haltung verify bundle=DIR``."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from haltung.cli.build import command
from haltung.errors import UserError
from haltung.export.verify import verify
from haltung.models import compact


@command("verify")
def run(bundle: str | None, threads: int | None) -> int:
    """Replay the golden answers and print the table; return 1 if a file or an answer differs."""
    if bundle is None:
        raise UserError("name what to verify: bundle=DIR, a folder that haltung export has written")
    folder = compact.find(bundle)
    with Console(stderr=True).status("") as status:
        result = verify(folder, threads, lambda step: status.update(f"verifying: {step}"))
    table = Table("format", "runtime", "inputs", "differs by", "allowed", "other labels", "")
    for check in result.checks:
        difference = "–" if check.difference is None else f"{check.difference:.1e}"
        verdict = Text(check.fault or "agrees", style="bold red" if check.fault else "green")
        table.add_row(check.format, check.runtime, str(check.inputs), difference, f"{check.tolerance:.1e}", str(check.differing), verdict)
    Console().print(table)
    lines = [f"{runtime} is not installed here, so it was left out" for runtime in result.absent]
    lines += [*result.broken, *(f"{check.format} by {check.runtime}: {check.fault}" for check in result.checks if check.fault)]
    for line in lines:
        print(line, file=sys.stderr)
    print(f"{folder} {'is as it was exported' if result.agrees else 'is NOT as it was exported'}")
    return 0 if result.agrees else 1
