"""Raw texts to adapt an encoder to: Bundestag speeches, Wikinews and 10kGNAD, as JSON Lines."""

import csv
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path


def texts(sources: Path) -> Iterator[tuple[str, str]]:
    """Yield ids and texts from the folders below ``sources`` that ``corpus=real_news`` reads."""
    with gzip.open(sources / "bundestag/speeches.jsonl.gz", "rt", encoding="utf-8") as speeches:
        yield from ((f"b{number}", json.loads(line)["text"]) for number, line in enumerate(speeches))
    with (sources / "wikinews/articles.jsonl").open(encoding="utf-8") as articles:
        yield from ((f"w{number}", json.loads(line)["text"]) for number, line in enumerate(articles))
    with (sources / "gnad10/test.csv").open(encoding="utf-8", newline="") as table:
        yield from ((f"g{number}", row[1]) for number, row in enumerate(csv.reader(table, delimiter=";", quotechar="'")))


if __name__ == "__main__":
    for id, text in texts(Path(sys.argv[1])):
        if text.strip():
            print(json.dumps({"id": id, "text": text.strip()}, ensure_ascii=False))
