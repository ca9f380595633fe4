"""Splits into train, dev and test; only given splits and held-out targets divide articles."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from haltung.errors import UserError, listed, nearest, short
from haltung.labels import Scheme
from haltung.records import Segment, by_group

SPLITS = ("train", "dev", "test")
BESIDE = "beside"  # always train: neither dev nor test is taken from it
Splits = dict[str, tuple[Segment, ...]]


class Split(Protocol):
    """A way to split: a frozen dataclass whose fields ``configs/splits/NAME.yaml`` sets."""

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return train, dev and test: each segment in exactly one, in the order of the source.

        Raises ``UserError`` if sizes do not fit together, a required date, target or split is
        missing, or there are too few articles.
        """


def divide(segments: Sequence[Segment], kind: Split, scheme: Scheme) -> Splits:
    """Return the splits of ``kind``; segments given as ``BESIDE`` go to train (see ``Split``)."""
    splits = kind.split([segment for segment in segments if segment.split != BESIDE], scheme)
    held_out = {segment.id for name in ("dev", "test") for segment in splits[name]}
    return {**splits, "train": tuple(segment for segment in segments if segment.id not in held_out)}


@dataclass(frozen=True)
class Given:
    """The source's own splits; a missing dev (share or number) is cut from train, stratified."""

    dev: int | float = 0.1
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return the given splits, with dev cut from train if there is none (see ``Split``)."""
        counts = Counter(segment.split for segment in segments)
        if missing := counts[""]:
            found = f"split=given: {missing} of {len(segments)} segments have no split"
            raise UserError(f"{found}; choose split=group, stratified, date or target")
        if one := next((segment for segment in segments if segment.split not in SPLITS), None):
            found = f"split=given: {one.where or one.id} is in split '{short(one.split)}'"
            raise UserError(f"{found}{nearest(one.split, SPLITS)}; choose from {listed(SPLITS)}")
        split_of = {segment.id: segment.split for segment in segments}
        if self.dev and counts["train"] and not counts["dev"]:
            _cut_dev("given", segments, split_of, scheme, self.dev, self.seed)
        return _parts("given", segments, split_of, ())


@dataclass(frozen=True)
class TestOnly:
    """Everything is test: a challenge set, or another corpus that is only for testing."""

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return everything as test."""
        return {"train": (), "dev": (), "test": tuple(segments)}


@dataclass(frozen=True)
class ByGroup:
    """Random split by article; sizes are shares or numbers of segments, ``train`` is the rest."""

    train: int | float | None = None
    dev: int | float = 0.1
    test: int | float = 0.2
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return splits of shuffled articles, cut where the sizes fit best (see ``Split``)."""
        import numpy as np

        wanted = _sizes("group", len(segments), self.train, self.dev, self.test)
        groups = by_group(segments)
        names = _enough("group", groups, wanted)
        order = _shuffled(list(groups), self.seed)
        filled = np.cumsum([len(groups[key]) for key in order])
        split_of: dict[str, str] = {}
        start, total = 0, 0
        for index, name in enumerate(names):
            total += wanted[name]
            after = len(names) - index - 1
            ends = np.arange(start + 1, len(order) - after + 1)
            end = int(ends[np.argmin(np.abs(filled[ends - 1] - total))]) if after else len(order)
            split_of |= {segment.id: name for key in order[start:end] for segment in groups[key]}
            start = end
        return _parts("group", segments, split_of, names)


@dataclass(frozen=True)
class ByDate:
    """Train before ``dev_from``, dev before ``test_from``, test from then on (ISO dates).

    This measures how well a model performs on future news. The latest date of an article decides,
    so that no split contains anything dated after its border.
    """

    dev_from: str | dt.date
    test_from: str | dt.date

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return splits by date (see ``Split``)."""
        dev, test = _date(str(self.dev_from), "dev_from"), _date(str(self.test_from), "test_from")
        if dev >= test:
            raise UserError(f"split=date: dev_from is {dev} and test_from {test}; dev must begin before test")
        _require("date", segments)
        split_of: dict[str, str] = {}
        for members in by_group(segments).values():
            last = max(_date(segment.date, segment.where or segment.id) for segment in members)
            name = "test" if last >= test else "dev" if last >= dev else "train"
            split_of |= {segment.id: name for segment in members}
        return _parts("date", segments, split_of, SPLITS)


@dataclass(frozen=True)
class ByTarget:
    """Targets (questions, entities) that training never sees.

    ``dev`` and ``test`` are shares or numbers of targets, or the targets themselves. An article may
    then be in several splits. The rule ``shared_articles`` decides: ``drop`` keeps it in the last
    one only, ``keep`` in all (as for x-stance, whose "articles" are authors with many answers).
    """

    dev: int | float | Sequence[str] = 0.1
    test: int | float | Sequence[str] = 0.2
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return splits by target (see ``Split``)."""
        _require("target", segments)
        targets = sorted({segment.target for segment in segments})
        split_of: dict[str, str] = {}
        for name, wish in (("test", self.test), ("dev", self.dev)):
            for target in () if isinstance(wish, int | float) else wish:
                if target not in targets:
                    found = f"split=target: no segment has the target '{target}'"
                    raise UserError(f"{found}{nearest(target, targets)}; {name} needs targets that occur in the corpus")
                if target in split_of:
                    raise UserError(f"split=target: the target '{target}' is given twice; it can be in only one split")
                split_of[target] = name
        order = _shuffled([target for target in targets if target not in split_of], self.seed)
        dev, test = (wish if isinstance(wish, int | float) else len(wish) for wish in (self.dev, self.test))
        sizes = _sizes("target", len(targets), None, dev, test, "targets")
        for name, wish in (("test", self.test), ("dev", self.dev)):
            if isinstance(wish, int | float):
                split_of |= dict.fromkeys(order[: sizes[name]], name)
                order = order[sizes[name] :]
        by_id = {segment.id: split_of.get(segment.target, "train") for segment in segments}
        return _parts("target", segments, by_id, [name for name in SPLITS if name == "train" or name in split_of.values()])


@dataclass(frozen=True)
class Stratified(ByGroup):
    """Split by article with similar label shares in all splits; sizes as numbers are exact."""

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return the splits (see ``Split``); also ``UserError`` if articles do not add up."""
        wanted = _sizes("stratified", len(segments), self.train, self.dev, self.test)
        strict = any(_whole(size) for size in (self.train, self.dev, self.test))
        split_of = _stratified("stratified", segments, scheme, wanted, self.seed, strict)
        return _parts("stratified", segments, split_of, [name for name in SPLITS if wanted[name]])


@dataclass(frozen=True)
class KFold:
    """Cross-validation by article: ``folds`` stratified parts of equal size.

    Part ``fold`` (1-based) is test; ``dev`` (a share of the rest, or a number of segments) is cut
    from the rest, also stratified. Fold 0 holds out nothing: all is train. The parts depend on
    ``seed`` but not on ``fold``, so the test splits of all folds together are the whole corpus.
    scikit-learn's StratifiedGroupKFold supports one label per row; here each task has one.
    """

    folds: int = 5
    fold: int = 1
    dev: int | float = 0.1
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return the splits of one fold (see ``Split``)."""
        if self.folds < 2:
            raise UserError(f"split=kfold: folds is {self.folds}; expected a whole number of at least 2")
        if not 0 <= self.fold <= self.folds:
            raise UserError(f"split=kfold: fold is {self.fold}; expected a whole number from 1 to {self.folds}, or 0 to hold out nothing")
        if not self.fold:
            return {"train": tuple(segments), "dev": (), "test": ()}
        groups = by_group(segments)
        if len(groups) < self.folds + 1:
            raise UserError(f"split=kfold: {len(groups)} articles are too few for {self.folds} folds; choose fewer folds")
        from haltung.corpus.stratify import assign

        part = assign(list(groups.values()), scheme, [len(segments) / self.folds] * self.folds, self.seed)
        in_test = {group for group, index in zip(groups, part, strict=True) if index == self.fold - 1}
        split_of = {segment.id: "test" if segment.group in in_test else "train" for segment in segments}
        if self.dev:
            # With few articles, a tenth may be less than half an article.
            dev = self.dev if _whole(self.dev) else max(self.dev, 1 / (len(groups) - len(in_test)))
            _cut_dev("kfold", segments, split_of, scheme, dev, self.seed)
        return _parts("kfold", segments, split_of, ("train", "test"))


def _shuffled(names: Sequence[str], seed: int) -> list[str]:
    import numpy as np

    return [names[index] for index in np.random.default_rng(seed).permutation(len(names))]


def _cut_dev(kind: str, segments: Sequence[Segment], split_of: dict[str, str], scheme: Scheme, dev: float, seed: int) -> None:
    """Cut a stratified dev split from train; a number of segments is met exactly."""
    train = [segment for segment in segments if split_of[segment.id] == "train"]
    split_of |= _stratified(kind, train, scheme, _sizes(kind, len(train), None, dev, 0), seed, strict=_whole(dev))


def _stratified(
    kind: str, segments: Sequence[Segment], scheme: Scheme, wanted: Mapping[str, int], seed: int, strict: bool
) -> dict[str, str]:
    groups = by_group(segments)
    names = _enough(kind, groups, wanted)
    from haltung.corpus.stratify import assign

    assigned = assign(list(groups.values()), scheme, [wanted[name] for name in names], seed, strict)
    split_of = {segment.id: names[index] for index, members in zip(assigned, groups.values(), strict=True) for segment in members}
    got = Counter(split_of.values())
    if strict and any(got[name] != wanted[name] for name in names):
        found = ", ".join(f"{name} {got[name]} instead of {wanted[name]}" for name in names if got[name] != wanted[name])
        wrong = f"split={kind}: whole articles do not add up to the requested numbers (nearest: {found})"
        raise UserError(f"{wrong}; give shares such as 0.2 instead")
    return split_of


def _sizes(kind: str, total: int, train: float | None, dev: float, test: float, unit: str = "segments") -> dict[str, int]:
    """Return the size of each split; a fraction is a share of ``total``, a whole number a count."""
    given = {name: size for name, size in {"train": train, "dev": dev, "test": test}.items() if size is not None}
    shown = ", ".join(f"{name} {size}" for name, size in given.items())
    for name, size in given.items():
        if isinstance(size, bool) or size < 0 or (not _whole(size) and size > 1):
            raise UserError(f"split={kind}: {name} is {size}; expected a share from 0 to 1 (0.2) or a whole number of {unit} (300)")
    shares = [size for size in given.values() if not _whole(size)]
    if sum(shares) > 1 + 1e-9 or (len(shares) == 3 and abs(sum(shares) - 1) > 1e-6):
        raise UserError(f"split={kind}: the shares ({shown}) add up to {sum(shares):g}, not to 1; leave out train to give it the rest")
    sizes = {name: int(size) if _whole(size) or not size else max(1, round(size * total)) for name, size in given.items()}
    rest = total - sizes["dev"] - sizes["test"]
    # Shares are rounded, so train gets the remainder; a number of train segments is exact.
    if not _whole(train):
        sizes["train"] = rest
    if sizes["train"] != rest or rest < 0:
        raise UserError(f"split={kind}: {shown} do not add up to {total} {unit}; leave out train to give it the rest")
    if rest == 0:
        raise UserError(f"split={kind}: {shown} leave nothing of {total} {unit} to train on")
    return sizes


def _whole(size: float | int | None) -> bool:
    return isinstance(size, int) and size > 0


def _enough(kind: str, groups: Mapping[str, Sequence[Segment]], wanted: Mapping[str, int]) -> list[str]:
    names = [name for name in SPLITS if wanted[name]]
    if len(groups) < len(names):
        found = f"split={kind}: {len(groups)} articles are too few for {listed(names)}"
        raise UserError(f"{found}; every split needs at least one (is the column 'article' the same in all rows?)")
    return names


def _require(name: str, segments: Sequence[Segment]) -> None:
    """Raise ``UserError`` if a segment lacks the field ``name``, which the split is based on."""
    if missing := [segment for segment in segments if not getattr(segment, name)]:
        found = f"{len(missing)} of {len(segments)} segments have no {name} (the first: {missing[0].where or missing[0].id})"
        raise UserError(f"split={name}: {found}; map a {name} column, or choose split=group or stratified")


def _parts(kind: str, segments: Sequence[Segment], split_of: Mapping[str, str], needed: Sequence[str]) -> Splits:
    parts = {name: tuple(segment for segment in segments if split_of[segment.id] == name) for name in SPLITS}
    for name in needed:
        if not parts[name]:
            found = ", ".join(f"{split} {len(part)}" for split, part in parts.items())
            raise UserError(f"split={kind}: {name} would be empty ({found}); change the boundaries or sizes of the split")
    return parts


def _date(text: str, where: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        raise UserError(f"split=date: {where} has the date '{short(text)}', expected an ISO date such as 2026-01-31") from None
