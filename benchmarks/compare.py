"""Compare two files of one benchmark, and list figures that got slower beyond their spread.

    .venv/bin/python benchmarks/compare.py before.json after.json

A figure is slower (for memory: larger) if its median is worse by more than ``--least`` and every
value is worse than every value before. Between identical sides, this happens to a figure by chance
once in 20 comparisons with 3 values per side, and once in 252 with 5. The exit code is 1 if
anything is slower, 2 if the files can't be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measuring import Figure, read, table

SLOWER, FASTER, SAME, UNKNOWN = "slower", "faster", "same", "unknown"

# Properties of the machine that must match, so that a difference is due to the code.
SHARED = ("processor", "cores", "usable_cores", "quota", "flags", "gpu", "versions", "settings")


def verdict(before: Figure, after: Figure, least: float) -> str:
    """Return the verdict on a figure; UNKNOWN if it changed, but a side has only one value."""
    sign = 1 if before.better == "higher" else -1
    if after.median == before.median:
        return SAME
    if min(len(before.values), len(after.values)) < 2:
        return UNKNOWN
    if abs(after.median - before.median) <= least * abs(before.median):
        return SAME
    old, new = [sign * value for value in before.values], [sign * value for value in after.values]
    return SLOWER if max(new) < min(old) else FASTER if min(new) > max(old) else SAME


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for each property of the machine that differs between two files."""
    return [f"{name} differs: {before.get(name)} before, {after.get(name)} after" for name in SHARED if before.get(name) != after.get(name)]


def main() -> int:
    """Print a table of all figures that both files have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--least", type=float, default=0.02, help="share by which a median has to differ (default: 0.02)")
    options = parser.parse_args()
    try:
        (old, before), (new, after) = read(options.before), read(options.after)
        if old["benchmark"] != new["benchmark"]:
            raise ValueError(f"{options.before} is of {old['benchmark']}, {options.after} of {new['benchmark']}; name two of one benchmark")
        both = [name for name in before if name in after]
        if not both:
            raise ValueError(f"{options.before} and {options.after} have no figure in common; measure both with the same options")
    except ValueError as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    verdicts = {name: verdict(before[name], after[name], options.least) for name in both}
    rows = [
        [name, before[name].unit, str(before[name]), str(after[name]), f"{after[name].median / before[name].median:.2f}", verdicts[name]]
        for name in both
    ]
    print(table(["figure", "unit", "before", "after", "after / before", "verdict"], rows))
    for line in differences(old["machine"], new["machine"]):
        print(line)
    for name in sorted(before.keys() ^ after.keys()):
        print(f"only in {options.before if name in before else options.after}: {name}")
    slower = [name for name, said in verdicts.items() if said == SLOWER]
    unknown = sum(said == UNKNOWN for said in verdicts.values())
    print(f"{len(slower)} of {len(both)} figures are slower beyond the spread{': ' if slower else ''}{'; '.join(slower)}")
    if unknown:
        print(f"{unknown} have one value on a side and can't be judged; measure with more --rounds")
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main())
