"""Recall of the actors in gold dyads, found by name: `python experiments/actors.py [SOURCES] [--split train] [--misses N]`.

SOURCES is the folder with the texts of 10kGNAD and Wikinews; without it, the written corpus is read. For each segment with dyads, the distinct
codes of sources and targets are looked up in the sentence alone (`find`), in the sentence as part of its article (`article`), and in the article
up to this sentence (with headline; a pronoun may refer to an actor there). 10kGNAD has no dates; its articles are from June 2015 to May 2016.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter

from rich.console import Console
from rich.table import Table

from haltung.cli.build import scheme_of
from haltung.corpus.readers.standoff import Standoff
from haltung.corpus.readers.union import Union
from haltung.actors.finder import Actors
from haltung.actors.tables import ORGANISATIONS
from haltung.files import shipped
from haltung.records import Dyad, Segment

GNAD_DATE = "2015-12-01"
WAYS = (
    "sentence",
    "sentence, with places",
    "in its article",
    "in its article, with places",
    "article so far",
    "article so far, with places",
)


def kind(code: str) -> str:
    """Return the kind of a code: state, organisation, or a role in a state."""
    return "organisation" if code in ORGANISATIONS else code.partition("-")[2] or "state"


def codes(mentions: list, places: bool) -> set[str]:
    """Return the codes of the mentions; mentions of places only if ``places``."""
    return {mention.code for mention in mentions if places or not mention.place}


def ways(actors: Actors, segments: list[Segment], kinds: Counter[tuple[str, bool]]) -> list[dict[str, set[str]]]:
    """Return the codes found by each way, for each segment of an article; count mentions in and outside of dyads in ``kinds``."""
    date = segments[0].date or GNAD_DATE
    headline = segments[0].context
    inside = actors.article([segment.text for segment in segments], date, headline)
    before = {places: codes(actors.article([headline], date)[0], places) for places in (False, True)}
    out = []
    for segment, mentions in zip(segments, inside, strict=True):
        alone = actors.find(segment.text, date)
        gold = {code for dyad in segment.dyads for code in (dyad.source, dyad.target)}
        if segment.dyads:
            kinds.update((f"{mention.kind}{' (place)' * mention.place}", mention.code in gold) for mention in mentions)
        found = {}
        for places in (False, True):
            before[places] |= codes(mentions, places)
            for way, what in (
                ("sentence", codes(alone, places)),
                ("in its article", codes(mentions, places)),
                ("article so far", set(before[places])),
            ):
                found[way + (", with places" if places else "")] = what
        out.append(found)
    return out


def written() -> list[Segment]:
    """Return the segments of the written corpus; the headline serves as context of the first segment."""
    out = []
    for file in sorted((shipped("data") / "diplomacy").glob("articles-*.jsonl")):
        for article in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            for number, row in enumerate(article["segments"]):
                context = "" if number else article["title"]
                dyads = tuple(Dyad(**dyad) for dyad in row["dyads"])
                labels = {"stance": row["stance"]}
                out.append(
                    Segment(
                        f"{article['article']}-{number}",
                        row["text"],
                        labels,
                        context,
                        article=article["article"],
                        date=article["date"],
                        dyads=dyads,
                    )
                )
    return out


def main() -> None:
    """Print recall by kind and way, precision, and the codes missed most often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", nargs="?", help="the written corpus if not given")
    parser.add_argument("--split", default="train", choices=("train", "test"))
    parser.add_argument("--corpus", default="", help="gnad10 or wikinews; both if not given")
    parser.add_argument("--misses", type=int, default=0, help="print so many segments with a state or organisation that was missed")
    options = parser.parse_args()
    if options.sources:
        texts = {"gnad10": "gnad10/test.csv", "wikinews": "wikinews/articles.jsonl"}
        parts = [
            Standoff(str(shipped("data") / f"{kind}_stance/annotations.jsonl"), f"{options.sources}/{file}", kind) for kind, file in texts.items()
        ]
        segments = Union(parts).read(scheme_of("diplomacy")).segments
        rows = [segment for segment in segments if segment.split == options.split and segment.source.startswith(options.corpus)]
    else:
        rows = written()
    actors = Actors.load()
    gold_counts: Counter[str] = Counter()
    hits: Counter[tuple[str, str]] = Counter()
    shown = 0
    named: Counter[str] = Counter()
    right: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    kinds: Counter[tuple[str, bool]] = Counter()
    for _, group in itertools.groupby(rows, key=lambda segment: segment.article):
        segments = list(group)
        for segment, found in zip(segments, ways(actors, segments, kinds), strict=True):
            gold = {code for dyad in segment.dyads for code in (dyad.source, dyad.target) if code}
            if segment.labels["stance"] == "neutral" or not gold:
                continue
            for code in gold:
                gold_counts[kind(code)] += 1
                for way, what in found.items():
                    hits[kind(code), way] += code in what
            # A code outside of the dyads lowers the share, but is not an error: not every actor named takes a stance.
            for way, what in found.items():
                named[way] += len(what)
                right[way] += len(what & gold)
            lost = {code for code in gold - found["article so far, with places"] if kind(code) in ("state", "organisation")}
            missed.update(lost)
            if lost and shown < options.misses:
                shown += 1
                print(
                    f"{segment.id} {segment.date} missed {sorted(lost)} of {sorted(gold)}, found {sorted(found['in its article'])}: {segment.text}"
                )
    _show(gold_counts, hits, options)
    for way in WAYS:
        print(f"{way}: of {named[way]} codes found for segments with dyads, {right[way] / named[way]:.3f} are in a dyad of the segment")
    totals = {name: kinds[name, True] + kinds[name, False] for name in sorted({name for name, _ in kinds})}
    shares = (f"{name} {kinds[name, True] / total:.2f} of {total}" for name, total in totals.items())
    print("mentions in a dyad, by kind, in its article:", "; ".join(shares))
    print("missed most, states and organisations:", json.dumps(missed.most_common(25)))


def _show(gold: Counter[str], hits: Counter[tuple[str, str]], options: argparse.Namespace) -> None:
    which = f"{options.split} split, {options.corpus or 'gnad10 and wikinews'}" if options.sources else "the written corpus"
    table = Table(title=f"recall of the codes in gold dyads, {which}")
    for column in ("code of", "n", *WAYS):
        table.add_column(column, justify="left" if column == "code of" else "right")
    for name, count in gold.most_common():
        table.add_row(name, str(count), *(f"{hits[name, way] / count:.3f}" for way in WAYS))
    both = ("state", "organisation")
    for title, kinds in (("state or organisation", both), ("all", tuple(gold))):
        total = sum(gold[name] for name in kinds)
        table.add_row(title, str(total), *(f"{sum(hits[name, way] for name in kinds) / total:.3f}" for way in WAYS))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
