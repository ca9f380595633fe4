"""Errors and hostile stances of the shipped model by state, person and party: `python experiments/fairness.py PREPARED OUT [BUNDLE]`.

PREPARED is the folder with the corpora `real_news`, `contrast` and `challenge`, as written by `haltung prepare corpus=NAME prepared=PREPARED/NAME`. The model must have
seen at most 1 % of what is read: test of `real_news`, dev and test of `contrast`, all of `challenge`. Predictions are stored in OUT part by part, so that the program can resume.
Figures are written to `experiments/2026-12-01-fairness.json` and tables to the page beside it, or for a BUNDLE to OUT. The card of `news_de` takes its section from here.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import t

from haltung.actors.matching import state_of
from haltung.actors.states import state_mentions, states
from haltung.evaluation.error_analysis.name_sensitivity import exchanged, masked, name_sensitivity
from haltung.evaluation.statistics import bootstrap
from haltung.evaluation.statistics.significance import holm
from haltung.files import sha256
from haltung.records import Dyad, Segment, by_group

PAGE = Path(__file__).with_name("2026-12-01-fairness.md")
HOSTILE = ("warning", "threat", "criticism", "rejection", "coercion")
LEAST, LEAST_ARTICLES, OFF = 20, 5, 0.05
# Exchanged names have the same declension; the neuters were chosen by how the news writes of them, Norway for how little it does.
EXCHANGED = {
    "n": ("DEU", "FRA", "POL", "RUS", "CHN", "SYR", "ISR", "NOR"), "f": ("TUR", "UKR", "SVK"), "p": ("USA", "PHL"),
    "m": ("IRN", "IRQ", "LBN", "SEN"),
}  # fmt: skip
# Maximum number of (article, name) pairs that are exchanged, by gender.
FRAMES = {"real": {"n": 80, "f": 31, "p": 24, "m": 11}, "written": {"n": 80, "f": 30, "p": 20, "m": 30}}
SPLITS = {"real_news": ("test",), "contrast": ("dev", "test"), "challenge": ("test",)}
PERSONS = ("Wladimir Putin", "Donald Trump", "Barack Obama", "Tayyip Erdogan", "Emmanuel Macron", "Thomas Keller")
PARTIES = ("CDU/CSU", "SPD", "AfD", "FDP", "Bündnis 90/Die Grünen", "Die Linke")
FIELDS = ("headline", "text", "target", "context")
PART = 1500  # number of segments that are predicted and stored at a time

# An article with one name replaced by another: the article's rows, the name, the other name, and the new segments.
Variant = tuple[Sequence[int], str, str, list[Segment]]


def named(text: str) -> set[str]:
    """Return the codes of the states that a text names, also by capital or adjective; Brussels counts as Belgium."""
    return {mention.form.code for mention in state_mentions(text)}


def frames(segments: Sequence[Segment], gender: str, most: int | None = None) -> list[Variant]:
    """Return articles with a state of `gender` in the text replaced by each of `EXCHANGED` that they don't name, for `most` random (article, state) pairs."""
    rows, found = {id(one): row for row, one in enumerate(segments)}, list[list[Variant]]()
    for article in by_group(segments).values():
        forms = defaultdict(list)
        for mention in (mention for one in article for field in FIELDS for mention in state_mentions(getattr(one, field))):
            forms[mention.form.code].append(mention.form)
        for code in sorted(set().union(*(named(one.text) for one in article))):
            gendered = [form.gender for form in forms[code] if form.gender]
            # Residents of capitals and the genitive of capitals decline differently; the EU is not a state, Moldau often lacks its article.
            odd = code in ("EU", "MDA") or code not in states() or any(form.kind in ("resident", "capital_genitive") for form in forms[code])
            if odd or (gendered[0] if gendered else states()[code].gender) != gender:
                continue
            others = [other for other in EXCHANGED[gender] if other != code and other not in forms]
            found.append([([rows[id(one)] for one in article], code, other, exchanged(article, {code: states()[other]}, FIELDS)) for other in others])
    # A larger `most` begins with the same variants, so that stored predictions are reused.
    random.Random(0).shuffle(found)
    return [variant for of_frame in found[:most] for variant in of_frame]


def persons(segments: Sequence[Segment]) -> list[Variant]:
    """Return each article with the first head of state or government named in full, unless marked as a woman, replaced by each of `PERSONS`."""
    from haltung.actors.tables import read
    from haltung.files import shipped

    heads = sorted({row["name"].split("|")[0] for row in read(shipped("data") / "actors") if row.table == "persons" and "head of" in row["office"]})
    rows, out = {id(one): row for row, one in enumerate(segments)}, list[Variant]()
    for article in by_group(segments).values():
        whole = "\n".join(getattr(one, field) for one in article for field in FIELDS)
        there = sorted((whole.index(name), name) for name in heads if re.search(rf"\b{re.escape(name)}(?:s\b|\b)", whole))
        if not there or re.search(rf"\b(?:\w+in|Frau) (?:\w+ )?{re.escape(there[0][1].split()[-1])}\b", whole):
            continue
        name = there[0][1]
        for other in PERSONS:
            if other.split()[-1] not in whole:
                parts = {name: other, name.split()[-1]: other.split()[-1]}
                pattern = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, parts))})(?=s\b|\b)")
                new = [
                    replace(one, **{field: pattern.sub(lambda found, parts=parts: parts[found[1]], getattr(one, field)) for field in FIELDS})
                    for one in article
                ]
                out.append(([rows[id(one)] for one in article], name, other, new))
    return out


def speeches(segments: Sequence[Segment]) -> list[Variant]:
    """Return each speech with its speaker's party replaced by each other party, in the headline only."""
    rows, out = {id(one): row for row, one in enumerate(segments)}, list[Variant]()
    for article in by_group(segments).values():
        party = article[0].headline.partition("(")[2].removesuffix(")")
        if article[0].id.startswith("b") and party in PARTIES:
            for other in PARTIES:
                if other != party:
                    new = [replace(one, headline=one.headline.replace(party, other)) for one in article]
                    out.append(([rows[id(one)] for one in article], party, other, new))
    return out


class Reader:
    """Predicts stances as the model of articles does, but encodes each distinct sentence only once over all variants of its article."""

    def __init__(self, model) -> None:
        self.model, self.known = model, {}

    def probabilities(self, segments: Sequence[Segment]) -> np.ndarray:
        """Return the calibrated probabilities of stances, `[segments, labels]`."""
        import torch

        from haltung.inference.client import batches, places
        from haltung.models.article import means
        from haltung.models.neural import likely, predicting
        from haltung.models.predictor import calibrated
        from haltung.models.units import Unit, units

        model, task = self.model, self.model.scheme["stance"]
        every, out = units(segments, model.spec.window), np.zeros((len(segments), len(task)))
        key = lambda one: (one.text, one.context, one.target)  # noqa: E731
        with predicting(model, "auto", len(segments), False):
            new = list({key(one): one for unit in every for one in unit.sentences if key(one) not in self.known}.values())
            for start in range(0, len(new), 512):
                some = new[start : start + 512]
                batch, _ = model.articles([Unit((one,), (0,)) for one in some], [model.encode([one]) for one in some])
                vectors = torch.cat([means(model.network.states(part), part.sentence, len(part.starts)) for part in batch.parts])
                self.known |= zip(map(key, some), vectors, strict=True)
            for numbers in batches([len(unit.rows) for unit in every], 1024):
                chosen = [every[number] for number in numbers]
                rows = [row for unit in chosen for row in unit.rows]
                where = {name: torch.from_numpy(values) for name, values in places([unit.rows for unit in chosen]).items()}
                sentences = torch.stack([self.known[key(one)] for unit in chosen for one in unit.sentences])
                asked = [number for number, row in enumerate(rows) if row is not None]
                logits = model.network.logits(model.network.vectors(sentences, where["place"], where["kind"])[asked])["stance"]
                out[[rows[number] for number in asked]] = likely(logits, task)
        return calibrated({"stance": out}, model.scheme.only(["stance"]), model.calibration)["stance"]

    def predict(self, segments: Sequence[Segment]) -> list:
        """Return predictions of stances alone."""
        from haltung.models.predictor import predictions

        values = {"stance": self.probabilities(segments)}
        return predictions([one.id for one in segments], values, self.model.scheme.only(["stance"]), [()] * len(segments))


def predicted(name: str, variants: Sequence[Variant], reader: Reader, out: Path) -> list[np.ndarray]:
    """Return the probabilities of stances for each variant; parts that are stored already are read."""
    values, part, size = list[np.ndarray](), list[Variant](), 0
    for number, variant in enumerate(variants, start=1):
        part.append(variant)
        size += len(variant[3])
        if size >= PART or number == len(variants):
            mark = hashlib.sha256(json.dumps([[one.text, one.headline, one.context] for *_, new in part for one in new]).encode()).hexdigest()[:8]
            path = out / f"{name}-{number}-{mark}.npy"
            if not path.is_file():
                # Copies of an article are distinguished by a number.
                together = [replace(one, article=f"{one.article}#{n}") for n, (*_, new) in enumerate(part) for one in new]
                beginning = path.with_suffix(".part.npy")
                np.save(beginning, reader.probabilities(together).astype(np.float32))
                beginning.rename(path)
                print(f"{path.name}: {len(together)} segments", flush=True)
            found, begin = np.load(path), 0
            for *_, new in part:
                values.append(found[begin : begin + len(new)].astype(np.float64))
                begin += len(new)
            part, size = [], 0
    return values


def kept(path: Path, make: Callable[[], object]) -> object:
    """Return the content of a JSON file, which is created with `make` if it is missing."""
    if not path.is_file():
        path.write_text(json.dumps(make(), ensure_ascii=False), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))




def estimate(columns: Sequence[np.ndarray], groups: np.ndarray, articles: int) -> dict[str, float | None]:
    """Return first/second − third/fourth, each a sum over segments, with its interval and p by article.

    The variance is that of the ratios linearised over articles (Binder 1983, "On the variances of asymptotically normal estimators from complex surveys"),
    with a t distribution. `articles` is the number of relevant articles, such as those that name a state; with fewer than five, or if all agree, only the
    value is given. `detectable` is the difference that is detected in four of five such samples, at 5 %, before any correction.
    """
    sums = bootstrap.per_article(np.stack([np.asarray(one, dtype=np.float64) for one in columns], axis=1), groups)
    total = sums.sum(axis=0)
    shares = total[::2] / total[1::2]
    value = float(shares[0] - shares[1])
    (first, second), free = ((sums[:, ::2] - shares * sums[:, 1::2]) / total[1::2]).T, max(1, articles - 1)
    error = float(np.sqrt(((first - second) ** 2).sum() * articles / free))
    if articles < LEAST_ARTICLES or not error > 0:
        return {"value": round(value, 4), "low": None, "high": None, "p": None, "detectable": None}
    reach = float(t.ppf(0.975, free)) * error
    ends = {"low": value - reach, "high": value + reach, "p": 2 * float(t.sf(abs(value) / error, free)), "detectable": 2.8 * error}
    return {"value": round(value, 4)} | {name: round(end, 4) for name, end in ends.items()}


def share(flags: np.ndarray, groups: np.ndarray) -> dict[str, float | int | None]:
    """Return a share with its interval from a bootstrap over articles, or Wilson's for that many articles if they are few or all agree."""
    sums = bootstrap.per_article(np.stack([flags, np.ones(len(flags))], axis=1).astype(np.float64), bootstrap.numbered(groups.tolist()))
    value = float(flags.mean())
    (found,) = bootstrap.bca_intervals(sums, lambda part: bootstrap.ratio(part[..., :1], part[..., 1:]))
    found = found or bootstrap.wilson(value, len(sums))
    return {"value": round(value, 4), "low": round(found.low, 4), "high": round(found.high, 4), "n": len(flags), "articles": len(sums)}


def corrected(rows: Sequence[dict], *columns: str) -> None:
    """Add Holm's corrected p to these columns of each row, over the rows that have a p."""
    for column in columns:
        tested = [row[column] for row in rows if row[column]["p"] is not None]
        for one, p in zip(tested, holm([one["p"] for one in tested]), strict=True):
            one["holm"] = round(p, 4)


class Stances:
    """Gold and predicted stances of segments, and statistics of them."""

    def __init__(self, segments: Sequence[Segment], probabilities: np.ndarray, labels: Sequence[str]) -> None:
        self.segments, self.probabilities, self.labels = segments, probabilities, list(labels)
        self.groups = bootstrap.numbered([one.group for one in segments])
        self.gold, self.said = np.array([self.labels.index(one.labels["stance"]) for one in segments]), probabilities.argmax(axis=1)
        self.hostile = np.array([label in HOSTILE for label in self.labels])
        self.wrong = (self.gold != self.said).astype(np.float64)
        by_label = np.array([self.wrong[self.gold == n].mean() if (self.gold == n).any() else 0.0 for n in range(len(self.labels))])
        # Errors beyond the error rate of all sentences with this gold stance.
        self.excess = self.wrong - by_label[self.gold]
        self.off = self.hostile[self.said].astype(np.float64) - self.hostile[self.gold]

    def articles(self, mask: np.ndarray) -> int:
        """Return the number of articles with a segment in the mask."""
        return len(np.unique(self.groups[mask]))

    def shares(self) -> list[dict]:
        """Return the share of each stance in the labels, and the differences from it of predictions and of summed probabilities."""
        out, one = [], np.ones(len(self.gold))
        for name, mask in [("hostile", self.hostile), *((label, np.array(self.labels) == label) for label in self.labels)]:
            gold, said, soft = mask[self.gold], mask[self.said], self.probabilities[:, mask].sum(axis=1)
            ends = [estimate([part, one, gold, one], self.groups, int(self.groups.max()) + 1) for part in (said, soft)]
            out.append({"stance": name, "gold": round(float(gold.mean()), 4), "predicted": ends[0], "probabilities": ends[1]})
        return out

    def states(self) -> list[dict]:
        """Return the statistics of sentences that name a state, for each state with enough of them."""
        names = [named(one.text) for one in self.segments]
        count, out, any_state = Counter(code for one in names for code in one), [], np.array([bool(one) for one in names])
        for code, n in sorted(count.items(), key=lambda item: (-item[1], item[0])):
            here = np.array([code in one for one in names])
            articles = self.articles(here)
            if n < LEAST or articles < LEAST_ARTICLES:
                continue
            rest, soft = any_state & ~here, self.probabilities[:, self.hostile].sum(axis=1)
            gold, said = self.hostile[self.gold], self.hostile[self.said]
            against = {"errors": self.wrong, "excess": self.excess, "offset_to_rest": self.off}
            row = {"state": code, "n": n, "articles": articles, "wrong": share(self.wrong[here], self.groups[here]), "gold": round(float(gold[here].mean()), 4)}
            row |= {name: estimate([one * here, here, one * rest, rest], self.groups, articles) for name, one in against.items()}
            row |= {name: estimate([one * here, here, gold * here, here], self.groups, articles) for name, one in (("offset", said), ("soft", soft))}
            for number, label in enumerate(self.labels):
                if label in HOSTILE:
                    row[label] = estimate([(self.said == number) * here, here, (self.gold == number) * here, here], self.groups, articles)
            out.append(row)
        corrected(out, "errors", "excess", "offset")
        return out

    def spread(self, draws: int = 2000) -> dict[str, float | int]:
        """Return p of a permutation test that states differ in errors and offsets, permuting sentences with the same gold stance."""
        names = [named(one.text) for one in self.segments]
        count = Counter(code for one in names for code in one)
        enough = sorted(code for code, n in count.items() if n >= LEAST)
        member = np.array([[code in one for code in enough] for one in names], dtype=np.float64)
        rows = np.flatnonzero(member.any(axis=1))
        member, rng, out = member[rows], np.random.default_rng(0), {"states": len(enough), "sentences": len(rows)}
        for name, values in (("errors", self.excess), ("offset", self.off)):
            values, gold = values[rows].copy(), self.gold[rows]
            for label in np.unique(gold):
                values[gold == label] -= values[gold == label].mean()
            seen, reached = ((values @ member) ** 2 / member.sum(axis=0)).sum(), 0
            for _ in range(draws):
                for label in np.unique(gold):
                    values[gold == label] = rng.permutation(values[gold == label])
                reached += ((values @ member) ** 2 / member.sum(axis=0)).sum() >= seen - 1e-9
            out[f"{name}_p"] = round((reached + 1) / (draws + 1), 4)
        return out


def sides(segments: Sequence[Segment], found: Sequence[Sequence[Dyad]], groups: np.ndarray) -> dict[str, list[dict]]:
    """Return, for each state as source and as target, the share of gold dyads found exactly, and how often gold and predicted dyads are hostile."""
    out: dict[str, list[dict]] = {}
    for side in ("source", "target"):
        gold = [[(state_of(getattr(dyad, side)) or "", dyad) for dyad in set(one.dyads)] for one in segments]
        said = [[(state_of(getattr(dyad, side)) or "", dyad) for dyad in set(one)] for one in found]
        out[side], counts = [], Counter(code for one in gold for code, _ in one)
        for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            own = np.array([[(state == code) and bool(state) for state, _ in one].count(True) for one in gold])
            articles = len(np.unique(groups[own > 0]))
            if not code or n < LEAST or articles < LEAST_ARTICLES:
                continue

            def sums(of: Sequence[Sequence[tuple[str, Dyad]]], chosen: Callable[[str], bool], counted: Callable[[int, Dyad], bool]) -> np.ndarray:
                return np.array([sum(chosen(state) and counted(row, dyad) for state, dyad in one) for row, one in enumerate(of)])

            mine, others = (lambda state, code=code: state == code), (lambda state, code=code: state not in ("", code))
            whole, hostile, every = (lambda row, dyad: dyad in set(found[row])), (lambda _, dyad: dyad.stance in HOSTILE), (lambda *_: True)
            right = [sums(gold, mine, whole), own, sums(gold, others, whole), sums(gold, others, every)]
            offset = [sums(said, mine, hostile), sums(said, mine, every), sums(gold, mine, hostile), own]
            one = {"state": code, "n": n, "articles": articles, "found": round(right[0].sum() / n, 4), "predicted": int(offset[1].sum())}
            one |= {"gold_hostile": round(offset[2].sum() / n, 4), "difference": estimate(right, groups, articles), "offset": estimate(offset, groups, articles)}
            out[side].append(one)
        corrected(out[side], "difference", "offset")
    return out


class Exchange:
    """The same sentences with one name replaced by another.

    `cells[row, name]` has the probabilities of stances by the name inserted, including the segment's original name if that is among those compared.
    """

    def __init__(self, stances: Stances, among: Sequence[Sequence[str]], says: Callable[[Segment, str], bool]) -> None:
        self.stances, self.among, self.says = stances, among, says
        self.cells: dict[tuple[int, str], dict[str, np.ndarray]] = defaultdict(dict)
        self.flips: list[tuple[int, bool, int]] = []  # row, whether the label changed, and whether it became more or less hostile

    def add(self, variants: Sequence[Variant], values: Sequence[np.ndarray]) -> None:
        """Add variants; only rows that contain the name count."""
        known = {name for group in self.among for name in group}
        for (rows, name, other, _), probabilities in zip(variants, values, strict=True):
            for row, new in zip(rows, probabilities, strict=True):
                if not self.says(self.stances.segments[row], name):
                    continue
                before, after = self.stances.said[row], int(new.argmax())
                self.flips.append((row, before != after, int(self.stances.hostile[after]) - int(self.stances.hostile[before])))
                cell = self.cells[row, name]
                cell[other] = new
                if name in known:
                    cell[name] = self.stances.probabilities[row]

    def result(self) -> dict:
        """Return flips, the effect of each name against the others, and the difference of each pair."""
        rows, changed, turned = (np.array(part) for part in zip(*self.flips, strict=True))
        groups = self.stances.groups[rows]
        out: dict = {"sentences": len(self.cells), "articles": len(np.unique(groups)), "variants": len(rows)}
        out["flips"] = share(changed, groups)
        out |= {"to_hostile": share(turned > 0, groups), "from_hostile": share(turned < 0, groups)}
        out["effects"], out["pairs"] = [], []
        for group in self.among:
            for name in group:
                # Each sentence counts once: the name against the mean of the other names inserted there.
                found = [(row, old, cell[name] - np.mean([cell[other] for other in cell if other != name], axis=0)) for (row, old), cell in self.cells.items() if name in cell and len(cell) > 1 and set(cell) <= set(group)]
                if not found:
                    continue
                effect = {"name": name, **self._estimated([(row, change) for row, _, change in found], self.stances.hostile)}
                for label in HOSTILE:
                    effect[label] = self._estimated([(row, change) for row, _, change in found], np.array(self.stances.labels) == label)["hostile"]
                for side in ("source", "target"):
                    of = [(row, change) for row, old, change in found if old in {state_of(getattr(dyad, side)) for dyad in self.stances.segments[row].dyads}]
                    effect[side] = self._estimated(of, self.stances.hostile)["hostile"] | {"n": len(of)} if of else None
                out["effects"].append(effect)
            for one, other in combinations(group, 2):
                both = [(row, cell[one], cell[other]) for (row, _), cell in self.cells.items() if one in cell and other in cell]
                if both:
                    pair = {"names": [one, other], **self._estimated([(row, first - second) for row, first, second in both], self.stances.hostile)}
                    differ = np.array([first.argmax() != second.argmax() for _, first, second in both])
                    out["pairs"].append(pair | {"flips": share(differ, self.stances.groups[[row for row, *_ in both]])})
        corrected(out["effects"], "hostile")
        corrected(out["pairs"], "hostile")
        return out

    def _estimated(self, changes: Sequence[tuple[int, np.ndarray]], labels: np.ndarray) -> dict:
        """Return the mean change of the probability of some labels."""
        groups = self.stances.groups[[row for row, _ in changes]]
        value, one = np.array([change[labels].sum() for _, change in changes]), np.ones(len(changes))
        articles = len(np.unique(groups))
        return {"n": len(changes), "articles": articles, "hostile": estimate([value, one, 0 * value, one], bootstrap.numbered(groups.tolist()), articles)}


def without_names(stances: Stances, variants: Sequence[Variant], values: Sequence[np.ndarray]) -> list[dict]:
    """Return the effect of masking names on all segments that it changes, and on those that name each state."""
    after, changed = stances.probabilities.copy(), np.zeros(len(stances.gold), dtype=bool)
    for (rows, _, _, new), probabilities in zip(variants, values, strict=True):
        for row, one, value in zip(rows, new, probabilities, strict=True):
            after[row] = value
            changed[row] = one.text != stances.segments[row].text
    names = [named(one.text) for one in stances.segments]
    flips, wrong = after.argmax(axis=1) != stances.said, (after.argmax(axis=1) != stances.gold).astype(np.float64)
    more = (after - stances.probabilities)[:, stances.hostile].sum(axis=1)
    count, out, zero = Counter(code for one in names for code in one), [], np.zeros(len(more))
    for code in ["", *(code for code, n in count.most_common() if n >= LEAST)]:
        here = np.array([code in one for one in names]) if code else changed
        articles = stances.articles(here)
        if articles >= LEAST_ARTICLES:
            row = {"state": code, "n": int(here.sum()), "articles": articles, "flips": share(flips[here], stances.groups[here])}
            row["wrong"] = estimate([wrong * here, here, stances.wrong * here, here], stances.groups, articles)
            row["hostile"] = estimate([more * here, here, zero, here], stances.groups, articles)
            out.append(row)
    return out


def limits(figures: Mapping) -> Iterator[dict]:
    """Yield the figures to which the rule at the top of the page applies; `is_off` decides which of them it names."""
    for where in ("real_news", "written"):
        for row in figures["states"][where]:
            for rule in ("offset", "errors") if where == "real_news" else ("errors",):
                yield {"rule": rule, "where": where, "who": row["state"], **row[rule]}
    for where, of in figures["exchanged"].items():
        for row in of["effects"]:
            yield {"rule": "name", "where": where, "who": row["name"], **row["hostile"]}


def is_off(one: Mapping) -> bool:
    """Return whether a figure exceeds the limit of the rule: more than five points off, and p < 0.05 after Holm."""
    return one.get("holm") is not None and one["holm"] < 0.05 and abs(one["value"]) > OFF


# The part of the page between these two lines is generated here.
BEGIN, END = "<!-- made by experiments/fairness.py -->", "<!-- until here -->"


def state_name(code: str) -> str:
    """Return the name of a state for the tables, and other names unchanged."""
    return {"BEL": "Belgien (Brüssel)", "COD": "DR Kongo"}.get(code) or (states()[code].name if code in states() else code)


def points(one: Mapping, holm: bool = False, digits: int = 0, rule: bool = False) -> str:
    """Return a difference of shares in points with its interval, in bold if the `rule` applies to it and names it."""
    shown = f"{100 * one['value']:+.{digits}f}"
    if one["low"] is None:
        return shown.replace("-", "−")
    shown += f" [{100 * one['low']:+.{digits}f}, {100 * one['high']:+.{digits}f}]"
    shown = f"**{shown}**" if rule and is_off(one) else shown
    return (shown + (f"; {one['holm']:.3f}" if holm or rule else "")).replace("-", "−")


def percent(one: Mapping, digits: int = 0) -> str:
    """Return a share in percent with its interval."""
    return f"{100 * one['value']:.{digits}f} [{100 * one['low']:.{digits}f}, {100 * one['high']:.{digits}f}]"


def grid(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows))


def tables(figures: Mapping) -> str:
    """Return the page's tables."""
    real, written, both = figures["states"]["real_news"], figures["states"]["written"], figures["exchanged"]
    out = ["Differences are in points (a share times 100), with 95 % intervals by article; behind them, where there is one, p after Holm's correction. **Bold**: named by the rule."]
    out.append("### Stances on the whole: real news\n\n" + grid(
        ("stance", "labels, %", "predicted − labels", "sum of probabilities − labels"),
        [(one["stance"], f"{100 * one['gold']:.1f}", points(one["predicted"], digits=1), points(one["probabilities"], digits=1)) for one in figures["shares"]],
    ))  # fmt: skip
    out.append("### States named in the sentence: real news\n\n" + grid(
        ("state", "segments, articles", "wrong, %", "wrong, to sentences that name others; p", "the same, as if stances were alike", "hostile in labels, %", "hostile, predicted − labels; p", "sum of probabilities − labels", "found from … points on"),
        [(state_name(one["state"]), f"{one['n']}, {one['articles']}", percent(one["wrong"]), points(one["errors"], rule=True), points(one["excess"]), f"{100 * one['gold']:.0f}", points(one["offset"], rule=True), points(one["soft"]), ", ".join(f"{100 * one[part]['detectable']:.0f}" if one[part]["detectable"] else "–" for part in ("errors", "offset"))) for one in real],
    ))  # fmt: skip
    out.append("Predicted − labels, by stance:\n\n" + grid(("state", *HOSTILE), [(state_name(one["state"]), *(points(one[label]) for label in HOSTILE)) for one in real]))
    for side in ("source", "target"):
        out.append(f"### States as {side} of dyads: real news\n\n" + grid(
            ("state", "gold dyads, articles", "found whole, %", "to dyads of others; p", "predicted dyads", "hostile in labels, %", "hostile, predicted − labels; p"),
            [(state_name(one["state"]), f"{one['n']}, {one['articles']}", f"{100 * one['found']:.0f}", points(one["difference"], holm=True), one["predicted"], f"{100 * one['gold_hostile']:.0f}", points(one["offset"], holm=True)) for one in figures["sides"][side]],
        ))  # fmt: skip
    out.append("### Names masked: real news\n\n" + grid(
        ("segments", "n, articles", "other label, %", "wrong, after − before", "probability of hostile, after − before"),
        [(f"naming {state_name(one['state'])}" if one["state"] else "all that are changed", f"{one['n']}, {one['articles']}", percent(one["flips"]), points(one["wrong"]), points(one["hostile"], digits=1)) for one in figures["masked"]],
    ))  # fmt: skip
    kinds = {"real_news": "states, real news", "contrast": "states, written items", "persons": "heads of state or government, real news", "parties": "the speaker's party, speeches"}
    out.append("### Names exchanged\n\n" + grid(
        ("what", "sentences, articles", "variants", "other label, %", "to hostile, %", "from hostile, %"),
        [(what, f"{both[name]['sentences']}, {both[name]['articles']}", both[name]["variants"], *(percent(both[name][part], 1) for part in ("flips", "to_hostile", "from_hostile"))) for name, what in kinds.items()],
    ))  # fmt: skip
    effects = {name: {one["name"]: one for one in both[name]["effects"]} for name in both}
    out.append("Probability of a hostile stance by the name that stands in the same sentence, against the mean of the others that decline alike:\n\n" + grid(
        ("name", "real news: sentences", "hostile; p", "where it is the source", "the target", "threat", "coercion", "written: sentences", "hostile; p"),
        [(state_name(name), one["n"], points(one["hostile"], rule=True, digits=1), *(points(one[part], digits=1) if one[part] else "–" for part in ("source", "target", "threat", "coercion")), *((effects["contrast"][name]["n"], points(effects["contrast"][name]["hostile"], rule=True, digits=1)) if name in effects["contrast"] else ("–", "–"))) for name, one in effects["real_news"].items()],
    ))  # fmt: skip
    for name in ("real_news", "contrast"):
        largest = sorted(both[name]["pairs"], key=lambda one: -abs(one["hostile"]["value"]))[:8]
        out.append(f"The eight pairs of {len(both[name]['pairs'])} that differ most, {kinds[name]}:\n\n" + grid(
            ("pair", "sentences", "hostile, first − second; p", "other label, %"),
            [(" − ".join(map(state_name, one["names"])), one["n"], points(one["hostile"], holm=True, digits=1), percent(one["flips"])) for one in largest],
        ))  # fmt: skip
    out.append("Persons and parties:\n\n" + grid(
        ("name", "sentences, articles", "hostile; p"),
        [(one["name"], f"{one['n']}, {one['articles']}", points(one["hostile"], rule=True, digits=1)) for name in ("persons", "parties") for one in both[name]["effects"]],
    ))  # fmt: skip
    spread = figures["spread"]
    far = sorted(written, key=lambda one: -abs(one["excess"]["value"]))[:10]
    out.append(
        f"### Written items\n\nThat errors differ among {spread['states']} states (named in 20 segments or more, {spread['sentences']:,} in all) as they do, or more, has the probability "
        f"{spread['errors_p']:.3f} by chance, that the offsets of hostile stances do, {spread['offset_p']:.3f}. The ten states farthest off, stances being alike:\n\n" + grid(
        ("state", "segments, items", "wrong, %", "wrong, to sentences that name others; p", "the same, as if stances were alike; p"),
        [(state_name(one["state"]), f"{one['n']}, {one['articles']}", percent(one["wrong"]), points(one["errors"], rule=True), points(one["excess"], holm=True)) for one in far],
    ))  # fmt: skip
    return "\n\n".join(out) + "\n"


def section(figures: Mapping) -> str:
    """Return the section of the model card."""
    both, spread = figures["exchanged"], figures["spread"]
    effects = {one["name"]: one["hostile"] for one in both["real_news"]["effects"]}
    real = figures["states"]["real_news"]
    off = "; ".join(dict.fromkeys(f"{state_name(one['who'])} ({one['rule']}, {points(one)} points)" for one in figures["limits"])) or "none"
    found = [one["offset"]["detectable"] for one in real if one["offset"]["detectable"]]
    rows = [
        (state_name(one["state"]), f"{one['n']}, {one['articles']}", percent(one["wrong"]), f"{100 * one['gold']:.0f}", points(one["offset"], rule=True), points(effects[one["state"]], rule=True, digits=1) if one["state"] in effects else "–")
        for one in real
    ]  # fmt: skip
    hostile = figures["shares"][0]
    return f"""## Who is judged how

Sentences of the three tests by the state that they name (20 segments and 5 articles or more; Brussels counts for Belgium): wrong stances; how much more often than the labels the model says something
hostile (warning, threat, criticism, rejection, coercion), in points, with p after Holm's correction; and what the name alone does to the probability of a hostile stance where other names stand in the
same sentences. Everything, and how it was counted: `experiments/{PAGE.name}`.

{grid(("state", "segments, articles", "wrong, %", "hostile in labels, %", "predicted − labels; p", "by the name alone; p"), rows)}

- **Named by the rule** (more than 5 points off, p < 0.05 after Holm): {off}.
- **What would have been found:** an offset of {100 * min(found):.0f} to {100 * max(found):.0f} points, by state, in four of five such tests. Smaller ones may be there. That a state is not named here does not say that it is judged fairly.
- **Names exchanged:** another state's name for the one in the sentence changes the stance in {percent(both["real_news"]["flips"], 1)} % of the cases, another head of state or government in {percent(both["persons"]["flips"], 1)} %, the
  speaker's other party in {percent(both["parties"]["flips"], 1)} %. All names masked: {percent(figures["masked"][0]["flips"])} %, and {points(figures["masked"][0]["wrong"], digits=1)} points more wrong stances.
- **Written items**, in which the state should not matter: errors of {spread["states"]} states differ as much or more by chance with p = {spread["errors_p"]:.3f}.
- **On the whole** {100 * hostile["gold"]:.1f} % of the labels are hostile; predicted less labels {points(hostile["predicted"], digits=1)} points, sum of the probabilities less labels {points(hostile["probabilities"], digits=1)} points.
- **Do not conclude** that a state warns or threatens more often than another because the model says so: a share by state is one of the model, and carries the offsets above. Compare a state with itself over time
  rather than with others; add up probabilities rather than labels; label a hundred sentences of each state that you compare, and correct the counts by them. The labels come from language
  models, which knew the names: what both judge alike is not seen here. Of women and men, and of parties (one to four speeches each), nothing can be said.
"""


def main(prepared: Path, out: Path, given: str | None = None) -> None:
    """Predict what is not stored yet, and write figures and tables."""
    from haltung.corpus import store
    from haltung.evaluation.predictions import score
    from haltung.events import dyads as dyad_model
    from haltung.models import bundle, compact

    folder = compact.find(given)
    corpora = {name: store.load(prepared / name) for name in ("real_news", "contrast", "challenge")}
    read = {name: [one for split in SPLITS[name] for one in corpus.segments(split)] for name, corpus in corpora.items()}
    for name, segments in read.items():
        known = bundle.known_segments(folder, segments)
        if known is None or len(known) > len(segments) / 100:
            raise SystemExit(f"{folder} knows segments of {name}, or does not say what it knows")
    digests = {name: corpus.manifest.digest for name, corpus in corpora.items()}
    mark = hashlib.sha256(json.dumps([sha256(folder / bundle.DESCRIPTION), digests]).encode()).hexdigest()[:12]
    out = out / mark
    out.mkdir(parents=True, exist_ok=True)
    model, chooser = bundle.load(folder), dyad_model.load(folder)
    if model.kind != "article":
        raise SystemExit(f"{folder} is a model of the kind {model.kind}; this reads those that read articles")
    reader = Reader(model)
    real = read["real_news"]
    found = kept(out / "dyads.json", lambda: [[(one.source, one.target, one.stance) for one in chooser.dyads(each)] for each in model.predict(real)])
    # Unchanged articles go through the same reader, which returns bitwise equal values for equal sentences.
    first = {name: np.concatenate(predicted(name, [(range(len(segments)), "", "", segments)], reader, out)) for name, segments in read.items()}

    def names() -> dict:
        scheme = model.scheme.only(["stance"])
        return asdict(name_sensitivity(score(real, reader.predict(real), scheme), real, reader.predict, in_articles=True))

    sensitivity = kept(out / "names.json", names)
    groups = by_group(real).values()
    rows = {id(one): row for row, one in enumerate(real)}
    variants = {
        "masked": [([rows[id(one)] for one in article], "", "", masked(article, FIELDS)) for article in groups], "party": speeches(real), "person": persons(real),
    }  # fmt: skip
    for where, segments in (("written", read["contrast"]), ("real", real)):
        variants |= {f"{where}-{gender}": frames(segments, gender, most) for gender, most in FRAMES[where].items()}
    values = {name: predicted(name, some, reader, out) for name, some in variants.items()}
    labels = model.scheme["stance"].ids
    stances = {name: Stances(segments, first[name], labels) for name, segments in read.items()}
    written = [*read["contrast"], *read["challenge"]]
    stances["written"] = Stances(written, np.concatenate([stances[name].probabilities for name in ("contrast", "challenge")]), labels)
    everywhere, exchanges = list(EXCHANGED.values()), {}
    for name in ("real_news", "contrast"):
        exchanges[name] = Exchange(stances[name], everywhere, lambda segment, state: state in named(segment.text))
    exchanges["persons"] = Exchange(stances["real_news"], [PERSONS], lambda segment, person: person.split()[-1] in segment.text)
    exchanges["parties"] = Exchange(stances["real_news"], [PARTIES], lambda *_: True)
    for name in variants:
        where = {"real": "real_news", "written": "contrast", "person": "persons", "party": "parties"}.get(name.partition("-")[0])
        if where:
            exchanges[where].add(variants[name], values[name])
    real_stances = stances["real_news"]
    figures = {
        "model": sha256(folder / bundle.DESCRIPTION), "corpora": digests, "sizes": {name: [len(one.gold), int(one.groups.max()) + 1] for name, one in stances.items()},
        "shares": real_stances.shares(), "states": {name: stances[name].states() for name in ("real_news", "written")}, "spread": stances["written"].spread(),
        "sides": sides(real, [[Dyad(*dyad) for dyad in one] for one in found], real_stances.groups),
        "sensitivity": sensitivity["tasks"]["stance"], "masked": without_names(real_stances, variants["masked"], values["masked"]),
        "parties": {party: [sum(one.headline.endswith(f"({party})") for one in real), len({one.article for one in real if one.headline.endswith(f"({party})")})] for party in PARTIES},
        "exchanged": {name: one.result() for name, one in exchanges.items()},
    }  # fmt: skip
    figures["limits"] = [one for one in limits(figures) if is_off(one)]
    page = PAGE if given is None else out / "fairness.md"
    page.with_suffix(".json").write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    before, _, behind = page.read_text(encoding="utf-8").partition(BEGIN) if page.is_file() else ("", "", "")
    page.write_text(f"{before}{BEGIN}\n\n{tables(figures)}\n{END}{behind.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), *sys.argv[3:4])
