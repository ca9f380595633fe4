"""Speed of actor recognition: sentences per second of process time, compared in one interleaved run
with two simple ways to find the same forms.

    .venv/bin/python benchmarks/actors.py                      # the written corpus, 5 rounds
    # sentences of a JSONL file with a field `text`
    .venv/bin/python benchmarks/actors.py --texts FILE.jsonl

Ours is `Actors.find`: it matches all forms with one Aho-Corasick automaton, then resolves phrases,
places and codes. The peers only return where a form occurs as a whole word: a compiled regular
expression with all forms as alternatives, and a scan that looks up each word in a dictionary of
first words (as gazetteers usually do). The regular expression is measured on fewer sentences, since
it is slow.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from haltung.actors import tables as actors_tables
from haltung.actors.finder import Actors
from haltung.actors.forms import forms
from haltung.files import shipped

FLOOR = 20_000
REGEX_SENTENCES = 200

_WORD = re.compile(r"\w+")


def main() -> None:
    """Measure all sides in turn; print a table, then the same as one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=20_000)
    options = parser.parse_args()
    texts = sentences(options.texts, options.sentences)
    written = list(forms(actors_tables.read(shipped("data") / "actors")))
    actors = Actors.load()
    sides: dict[str, tuple[Callable[[str], object], list[str]]] = {
        "ours": (actors.find, texts),
        "regular expression": (alternation(written), texts[:REGEX_SENTENCES]),
        "words in a dictionary": (dictionary(written), texts),
    }
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, (find, given) in sides.items():
            rates[side].append(rate(find, given))
    show(rates, texts, len(written))


def sentences(path: Path | None, count: int) -> list[str]:
    """Return ``count`` sentences, repeated if there are fewer."""
    if path:
        texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    else:
        files = sorted((shipped("data") / "diplomacy").glob("articles-*.jsonl"))
        articles = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        texts = [segment["text"] for article in articles for segment in article["segments"]]
    return (texts * (count // len(texts) + 1))[:count]


def alternation(written: list[str]) -> Callable[[str], object]:
    """Return a search by one regular expression that tries longer forms first."""
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, sorted(written, key=len, reverse=True)))})(?!\w)")
    return lambda text: [match.span() for match in pattern.finditer(text)]


def dictionary(written: list[str]) -> Callable[[str], object]:
    """Return a search that looks up each word, and tries the forms it begins, longest first."""
    by_word: dict[str, list[str]] = {}
    for form in sorted(written, key=len, reverse=True):
        first = _WORD.search(form)
        if first and not first.start():
            by_word.setdefault(first[0], []).append(form)

    def find(text: str) -> list[tuple[int, int]]:
        found, at = [], 0
        for word in _WORD.finditer(text):
            if word.start() < at:
                continue
            for form in by_word.get(word[0], ()):
                end = word.start() + len(form)
                if text.startswith(form, word.start()) and not text[end : end + 1].isalnum():
                    found.append((word.start(), end))
                    at = end
                    break
        return found

    return find


def rate(find: Callable[[str], object], texts: list[str]) -> float:
    """Return sentences per second of process time, which other load hardly affects."""
    began = time.process_time()
    for text in texts:
        find(text)
    return len(texts) / (time.process_time() - began)


def show(rates: dict[str, list[float]], texts: list[str], count: int) -> None:
    """Print the medians and the ratio to ours."""
    middle = {side: statistics.median(values) for side, values in rates.items()}
    length = statistics.mean(map(len, texts))
    table = Table(title=f"{len(texts):,} sentences of {length:.0f} characters, {count:,} forms, one core")
    for column in ("side", "sentences/s", "lowest", "highest", "ours is faster by"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side, values in rates.items():
        table.add_row(side, f"{middle[side]:,.0f}", f"{min(values):,.0f}", f"{max(values):,.0f}", f"{middle['ours'] / middle[side]:.2f}")
    Console().print(table)
    print(f"floor: {FLOOR:,} sentences/s; ours {'holds' if middle['ours'] >= FLOOR else 'misses'} it")
    print(json.dumps({"sentences": len(texts), "characters": length, "forms": count, "rates": rates, "medians": middle}))


if __name__ == "__main__":
    main()
