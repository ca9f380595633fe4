"""Cost of drafting a label scheme from a sheet and of reading its rows.

``python benchmarks/sheets.py 1000000`` writes a CSV of that many invented sentences, in the format
of a German Excel, and prints its size, processor seconds and peak memory.
"""

import csv
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from haltung import labels
from haltung.corpus.readers.sheet import Sheet

WHO = ("Die Regierung", "Der Verband", "Die Gewerkschaft", "Die Opposition", "Der Städtetag", "Die Ministerin", "Die Bürgerinitiative")
PLANS = ("das Tempolimit", "die Citymaut", "den Radweg", "die Parkgebühr", "den Fahrplan", "die Fahrradstraße", "den Tunnel")
VERBS = {
    "dafür": ("begrüßt", "lobt", "befürwortet"),
    "dagegen": ("verwirft", "rügt", "verurteilt"),
    "neutral": ("prüft", "erwähnt", "bespricht"),
}


def write(path: Path, count: int) -> None:
    """Write a sheet of ``count`` rows, two per article."""
    rng = random.Random(1)
    with path.open("w", encoding="cp1252", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(("Satz", "Haltung", "Artikel", "Datum"))
        for number in range(count):
            stance = rng.choice(list(VERBS))
            what = f"{rng.choice(WHO)} {rng.choice(VERBS[stance])} nach langer Debatte {rng.choice(PLANS)}"
            rows.writerow((f"{what} zum {number}. Mal; so der Bericht.", stance, f"A{number // 2}", f"{1 + number % 28:02d}.01.2025"))


def main(count: int) -> None:
    """Print the cumulative cost after each step."""
    with tempfile.TemporaryDirectory() as folder:
        path, scheme = Path(folder) / "sheet.csv", Path(folder) / "labels.yaml"
        write(path, count)
        begin, sheet = time.process_time(), Sheet(str(path))
        print(f"{count:,} rows, {path.stat().st_size / 1e6:.0f} MB")
        sheet.draft(str(scheme), "sheet")
        _tell("drafted", begin)
        read = sheet.read(labels.load(scheme)).segments
        _tell(f"{len(read):,} read", begin)


def _tell(what: str, begin: float) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{what}: {time.process_time() - begin:.1f} processor seconds, {memory / 1e9:.2f} GB")


if __name__ == "__main__":
    main(int(sys.argv[1]))
