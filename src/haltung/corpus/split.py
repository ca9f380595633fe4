"""Splits of a corpus into train, dev and test.

No split tears an article apart, unless the source or a held-out target does.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from haltung.errors import UserError, listed, nearest
from haltung.labels import Scheme
from haltung.records import Segment

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "dev", "test")

Splits = dict[str, tuple[Segment, ...]]


class Split(Protocol):
    """A way to split: a frozen dataclass whose fields ``configs/splits/NAME.yaml`` sets."""

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return train, dev and test: each segment in exactly one, in the order of the source.

        Raises:
            UserError: the segments cannot be split like this: sizes do not fit together, a
                required date, target or split is missing, or there are too few articles.
        """
        ...


@dataclass(frozen=True)
class Given:
    """The splits of the source.

    If it gives no dev, ``dev`` (a share of train, or a number of segments) is cut from train by
    article, stratified.
    """

    dev: int | float = 0.1
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return the given splits, with dev cut from train if there is none (see ``Split``)."""
        counts = Counter(segment.split for segment in segments)
        if missing := counts.get("", 0):
            raise UserError(
                f"split=given: {missing} of {len(segments)} segments have no split; choose split=group, stratified, date or target"
            )
        for name in counts:
            if name not in SPLITS:
                one = next(segment for segment in segments if segment.split == name)
                raise UserError(
                    f"split=given: {one.where or one.id} is of split '{name}'{nearest(name, SPLITS)}; allowed are {listed(SPLITS)}"
                )
        split_of = {segment.id: segment.split for segment in segments}
        if self.dev and counts["train"] and not counts["dev"]:
            train = [segment for segment in segments if segment.split == "train"]
            sizes = _sizes("given", len(train), None, self.dev, 0)
            split_of |= _stratified("given", train, scheme, sizes, self.seed, strict=_whole(self.dev))
        return _parts("given", segments, split_of, ("train",))


@dataclass(frozen=True)
class TestOnly:
    """Everything is test: a challenge set, or another corpus that is only for testing."""

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return everything as test."""
        return {"train": (), "dev": (), "test": tuple(segments)}


@dataclass(frozen=True)
class ByGroup:
    """Articles drawn at random.

    Each size is a share of all segments or a number of them; without ``train`` it is the rest.
    """

    train: int | float | None = None
    dev: int | float = 0.1
    test: int | float = 0.2
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return splits of shuffled articles, each cut nearest to its size (see ``Split``)."""
        import numpy as np

        wanted = _sizes("group", len(segments), self.train, self.dev, self.test)
        groups = _groups(segments)
        names = _enough("group", groups, wanted)
        keys = list(groups)
        order = [keys[index] for index in np.random.default_rng(self.seed).permutation(len(keys))]
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

    This measures how well a model does on the news of tomorrow. An article whose segments have
    several dates belongs where its last date belongs, so that no split contains anything from after
    its border.
    """

    dev_from: str | dt.date
    test_from: str | dt.date

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return splits by date (see ``Split``)."""
        dev, test = _date(str(self.dev_from), "dev_from"), _date(str(self.test_from), "test_from")
        if dev >= test:
            raise UserError(f"split=date: dev_from is {dev} and test_from {test}; dev must begin before test")
        missing = [segment for segment in segments if not segment.date]
        if missing:
            raise UserError(
                f"split=date: {len(missing)} of {len(segments)} segments have no date (the first: {missing[0].where or missing[0].id}); "
                "map a date column, or choose split=group or stratified"
            )
        split_of: dict[str, str] = {}
        for members in _groups(segments).values():
            last = max(_date(segment.date, segment.where or segment.id) for segment in members)
            name = "test" if last >= test else "dev" if last >= dev else "train"
            split_of |= {segment.id: name for segment in members}
        return _parts("date", segments, split_of, SPLITS)


@dataclass(frozen=True)
class ByTarget:
    """Targets (questions, entities) that training never sees.

    ``dev`` and ``test`` are shares or numbers of targets, or the targets themselves. An article
    with several targets may be in several splits; the rule ``shared_articles`` then decides
    (``drop`` it from train, or ``keep`` it, as for x-stance, whose "articles" are authors who each
    answer many questions).
    """

    dev: int | float | Sequence[str] = 0.1
    test: int | float | Sequence[str] = 0.2
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return splits by target (see ``Split``)."""
        import numpy as np

        if missing := [segment for segment in segments if not segment.target]:
            raise UserError(
                f"split=target: {len(missing)} of {len(segments)} segments have no target "
                f"(the first: {missing[0].where or missing[0].id}); "
                "map a target column, or choose split=group or stratified"
            )
        targets = sorted({segment.target for segment in segments})
        split_of: dict[str, str] = {}
        for name, wish in (("test", self.test), ("dev", self.dev)):
            for target in () if isinstance(wish, int | float) else wish:
                if target not in targets:
                    raise UserError(
                        f"split=target: no segment has the target '{target}'{nearest(target, targets)}; {name} needs targets that occur"
                    )
                if target in split_of:
                    raise UserError(f"split=target: the target '{target}' is named twice; it can be in one split only")
                split_of[target] = name
        free = [target for target in targets if target not in split_of]
        order = [free[index] for index in np.random.default_rng(self.seed).permutation(len(free))]
        dev, test = (wish if isinstance(wish, int | float) else len(wish) for wish in (self.dev, self.test))
        sizes = _sizes("target", len(targets), None, dev, test, "targets")
        for name, wish in (("test", self.test), ("dev", self.dev)):
            if isinstance(wish, int | float):
                split_of |= dict.fromkeys(order[: sizes[name]], name)
                order = order[sizes[name] :]
        by_id = {segment.id: split_of.get(segment.target, "train") for segment in segments}
        return _parts("target", segments, by_id, [name for name in SPLITS if name == "train" or name in split_of.values()])


@dataclass(frozen=True)
class Stratified:
    """Articles assigned so that each label of each task has the same share in all splits.

    Sizes are as in ``ByGroup``; a number of segments is met exactly.
    """

    train: int | float | None = None
    dev: int | float = 0.1
    test: int | float = 0.2
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return stratified splits (see ``Split``).

        Raises:
            UserError: whole articles cannot add up to a requested number.
        """
        wanted = _sizes("stratified", len(segments), self.train, self.dev, self.test)
        strict = any(_whole(size) for size in (self.train, self.dev, self.test))
        split_of = _stratified("stratified", segments, scheme, wanted, self.seed, strict)
        return _parts("stratified", segments, split_of, [name for name in SPLITS if wanted[name]])


@dataclass(frozen=True)
class KFold:
    """Cross-validation by article: ``folds`` stratified parts of equal size.

    Part ``fold`` (from 1 on) is test; ``dev`` (a share of the rest, or a number of segments) is cut
    from the rest, stratified too. The parts depend on ``seed`` alone, so that the tests of all
    folds together are the whole corpus, whatever splits its source gives.

    The parts come from ``stratify.assign`` and not from scikit-learn's StratifiedGroupKFold, which
    handles one label per row: here a row has one for each task, or several.
    """

    folds: int = 5
    fold: int = 1
    dev: int | float = 0.1
    seed: int = 42

    def split(self, segments: Sequence[Segment], scheme: Scheme) -> Splits:
        """Return the splits of one fold (see ``Split``).

        Raises:
            UserError: there are fewer than two folds, or there is no such fold.
        """
        import numpy as np

        from haltung.corpus.stratify import assign, label_counts

        if self.folds < 2:
            raise UserError(f"split=kfold: folds is {self.folds}; expected a whole number of at least 2")
        if not 1 <= self.fold <= self.folds:
            raise UserError(f"split=kfold: fold is {self.fold}; expected a whole number from 1 to {self.folds}, the number of folds")
        groups = _groups(segments)
        if len(groups) < self.folds + 1:
            raise UserError(f"split=kfold: {len(groups)} articles are too few for {self.folds} folds; choose fewer folds")
        sizes = np.array([len(members) for members in groups.values()])
        counts = label_counts(list(groups.values()), scheme)
        part = assign(counts, sizes, [len(segments) / self.folds] * self.folds, np.random.default_rng(self.seed))
        split_of = {
            segment.id: "test" if part[index] == self.fold - 1 else "train"
            for index, members in enumerate(groups.values())
            for segment in members
        }
        if self.dev:
            rest = [segment for segment in segments if split_of[segment.id] == "train"]
            wanted = _sizes("kfold", len(rest), None, self.dev, 0)
            split_of |= _stratified("kfold", rest, scheme, wanted, self.seed, strict=_whole(self.dev))
        return _parts("kfold", segments, split_of, ("train", "test"))


def _stratified(
    kind: str, segments: Sequence[Segment], scheme: Scheme, wanted: Mapping[str, int], seed: int, strict: bool
) -> dict[str, str]:
    import numpy as np

    from haltung.corpus.stratify import assign, label_counts

    groups = _groups(segments)
    names = _enough(kind, groups, wanted)
    sizes = np.array([len(members) for members in groups.values()])
    rng: np.random.Generator = np.random.default_rng(seed)
    assigned = assign(label_counts(list(groups.values()), scheme), sizes, [wanted[name] for name in names], rng, strict)
    got = {name: int(sizes[assigned == index].sum()) for index, name in enumerate(names)}
    if strict and any(got[name] != wanted[name] for name in names):
        found = ", ".join(f"{name} {got[name]} instead of {wanted[name]}" for name in names if got[name] != wanted[name])
        raise UserError(
            f"split={kind}: whole articles do not add up to the requested numbers (nearest: {found}); give shares such as 0.2 instead"
        )
    return {segment.id: names[assigned[index]] for index, members in enumerate(groups.values()) for segment in members}


def _sizes(kind: str, total: int, train: float | None, dev: float, test: float, unit: str = "segments") -> dict[str, int]:
    """Return the number of segments (or targets) of each split.

    A fraction is a share of ``total``, a whole number is a count.
    """
    requested = {"train": train, "dev": dev, "test": test}
    shown = ", ".join(f"{name} {size}" for name, size in requested.items() if size is not None)
    for name, size in requested.items():
        if size is not None and (isinstance(size, bool) or size < 0 or (not _whole(size) and size > 1)):
            raise UserError(f"split={kind}: {name} is {size}; allowed are a share from 0 to 1 (0.2) or a whole number of {unit} (300)")
    shares = [size for size in requested.values() if size is not None and not _whole(size)]
    if sum(shares) > 1 + 1e-9 or (train is not None and len(shares) == 3 and abs(sum(shares) - 1) > 1e-6):
        raise UserError(f"split={kind}: the shares ({shown}) add up to {sum(shares):g}, not to 1; leave out train to give it the rest")
    sizes = {
        name: (int(size) if _whole(size) else max(1, round(size * total)) if size else 0)
        for name, size in requested.items()
        if size is not None
    }
    rest = total - sizes["dev"] - sizes["test"]
    # Shares are rounded, so train gets the remainder; a number of train segments is exact.
    if not (train is not None and _whole(train)):
        sizes["train"] = rest
    if sizes["train"] != rest or rest < 0:
        raise UserError(f"split={kind}: {shown} do not add up to {total} {unit}; leave out train to give it the rest")
    if rest == 0:
        raise UserError(f"split={kind}: {shown} leave nothing of {total} {unit} to train on")
    return sizes


def _whole(size: float | int | None) -> bool:
    return isinstance(size, int) and size > 0


def _groups(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    groups: dict[str, list[Segment]] = {}
    for segment in segments:
        groups.setdefault(segment.group, []).append(segment)
    return groups


def _enough(kind: str, groups: Mapping[str, Sequence[Segment]], wanted: Mapping[str, int]) -> list[str]:
    names = [name for name in SPLITS if wanted[name]]
    if len(groups) < len(names):
        raise UserError(
            f"split={kind}: {len(groups)} articles are too few for {listed(names)}; every split needs at least one "
            "(is the column 'article' the same in all rows?)"
        )
    return names


def _parts(kind: str, segments: Sequence[Segment], split_of: Mapping[str, str], needed: Sequence[str]) -> Splits:
    parts = {name: tuple(segment for segment in segments if split_of[segment.id] == name) for name in SPLITS}
    for name in needed:
        if not parts[name]:
            found = ", ".join(f"{split} {len(part)}" for split, part in parts.items())
            raise UserError(f"split={kind}: {name} would be empty ({found}); change the borders or sizes of the split")
    return parts


def _date(text: str, where: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        raise UserError(f"split=date: {where} has the date '{text}', expected an ISO date such as 2026-01-31") from None
