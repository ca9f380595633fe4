"""What annotation tools have in common: names of labels, and answers of several annotators."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from haltung.corpus.parsing.fields import answer
from haltung.corpus.parsing.lines import existing
from haltung.corpus.parsing.rows import Fault, Skip
from haltung.errors import UserError, kind, listed, nearest, one_of, short
from haltung.labels import Scheme
from haltung.records import Answer, by_key, label_ids

POLICIES = ("first", "majority", "soft", "error")  # which label counts if annotators differ


class LabelNames:
    """Finds the task and label meant by a name that an annotator clicked on.

    A tool with one flat list of labels does not say to which task a label belongs. A name is
    resolved in this order: as mapped by ``labels`` (``{"Warnung": "stance/warning"}``), as written
    with its task (``stance/warning``), as a label of the only task that has it. A name that two
    tasks have (``neutral``) must be mapped or written with its task.
    """

    def __init__(self, scheme: Scheme, labels: Mapping[str, str] | None) -> None:
        """Raise ``UserError`` if a name is not mapped to a ``TASK/LABEL`` of the scheme."""
        self._scheme = scheme
        self._mapped: dict[str, tuple[str, str]] = {}
        for name, meant in (labels or {}).items():
            task, slash, label = str(meant).partition("/")
            if not slash:
                example = f"{scheme.tasks[0].name}/{scheme.tasks[0].ids[0]}"
                raise UserError(f"labels: '{name}' is mapped to '{meant}'; expected TASK/LABEL, such as {example}")
            scheme[task].index(label)
            self._mapped[str(name)] = (task, label)

    def answers(self, names: Iterable[object]) -> dict[str, Answer]:
        """Return the answers in a flat list of labels; ``Fault`` for unknown or ambiguous names."""
        labels = by_key(map(self._meant, names))
        return {task.name: answer(task, labels.get(task.name)) for task in self._scheme}

    def within(self, task: str, names: Iterable[object]) -> Answer:
        """Return the answer to ``task`` from names of labels; raise ``Fault`` like ``answer``."""
        # A name may be mapped for one task and be a label of another.
        mapped = {name: label for name, (of, label) in self._mapped.items() if of == task}
        return answer(self._scheme[task], [mapped.get(name, name) if isinstance(name, str) else name for name in names] or None)

    def _meant(self, name: object) -> tuple[str, str]:
        if not isinstance(name, str):
            raise Fault("wrong_type", f"a label is {kind(name)}; expected text")
        if name in self._mapped:
            return self._mapped[name]
        task, slash, label = name.partition("/")
        if slash and task in self._scheme.names:
            if label not in (ids := self._scheme[task].ids):
                found = f"unknown {task} '{short(label)}'{nearest(label, ids)}"
                raise Fault("unknown_label", f"{found}; after '{task}/', expected one of {listed(ids)}")
            return task, label
        owners = [task.name for task in self._scheme if name in task.ids]
        if len(owners) > 1:
            found = f"the label '{name}' is in several tasks ({listed(owners)})"
            raise Fault("ambiguous_label", f"{found}; say which one with labels: {{{name}: {owners[0]}/{name}}}")
        if not owners:
            allowed = [label for task in self._scheme for label in task.ids]
            found = f"unknown label '{short(name)}'{nearest(name, allowed)}; the scheme {self._scheme.name} has {listed(allowed)}"
            raise Fault("unknown_label", f"{found}; map another name with labels: {{NAME: TASK/LABEL}}")
        return owners[0], name


@dataclass(frozen=True)
class AnnotationExport:
    """The settings shared by the readers of annotation tools' exports.

    ``columns`` maps our fields to those of the export, ``labels`` a name that is no label id to
    ``TASK/LABEL`` (see ``LabelNames``); ``annotators`` settles differing answers (see ``settle``).
    """

    path: str | tuple[str, ...] | list[str]
    columns: Mapping[str, str | None] = field(default_factory=dict)
    labels: Mapping[str, str] | None = None
    annotators: str = "first"
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``)."""
        if not (paths := [self.path] if isinstance(self.path, str | Path) else list(self.path)):
            raise UserError("path is empty; expected a file, or the files of several annotators")
        return tuple(map(existing, paths))

    def names(self, scheme: Scheme) -> LabelNames:
        """Return the names' resolver; ``UserError`` if ``labels`` or ``annotators`` is invalid."""
        one_of("annotators", self.annotators, POLICIES)
        return LabelNames(scheme, self.labels)


def settle(votes: Sequence[Mapping[str, Answer]], scheme: Scheme, policy: str) -> dict[str, Answer]:
    """Return one answer per task from those of several annotators, in their order.

    ``first`` takes the first answer, ``majority`` the most frequent one (for a multi-label task,
    each label given by more than half of the annotators). ``soft`` does the same, but leaves a tie
    unanswered (see ``shares``). ``error`` requires that all agree. An annotator without an answer
    to a task has no vote in it. Raises ``Skip`` if nobody answered any task or a majority is tied,
    and ``Fault`` if they differ under ``error``.
    """
    settled: dict[str, Answer] = {}
    for task in scheme:
        if not (given := [vote[task.name] for vote in votes if vote.get(task.name) is not None]):
            settled[task.name] = None
        elif policy == "first" or len(set(given)) == 1:
            settled[task.name] = given[0]
        elif policy == "error":
            differ = f"{len(given)} annotators disagree on {task.name}: {_votes(given)}"
            raise Fault("disagreement", f"{differ}; set annotators=majority, first or soft")
        elif task.kind == "multi":
            count = Counter(label for labels in given if isinstance(labels, tuple) for label in labels)
            settled[task.name] = tuple(label for label in task.ids if count[label] * 2 > len(given))
        else:
            (top, most), (_, second) = Counter(given).most_common(2)
            if most == second and policy != "soft":
                raise Skip("disagreement", f"{len(given)} annotators are tied on {task.name}: {_votes(given)}")
            settled[task.name] = top if most > second else None
    if all(value is None for value in settled.values()) and not shares(votes, scheme, policy):
        raise Skip("unlabelled", "nobody has labelled it")
    return settled


def shares(votes: Sequence[Mapping[str, Answer]], scheme: Scheme, policy: str) -> dict[str, dict[str, float]]:
    """Return the share of annotators per label for tasks in which they differ, if ``soft``."""
    out: dict[str, dict[str, float]] = {}
    for task in scheme if policy == "soft" else ():
        given = [label_ids(vote[task.name]) for vote in votes if vote.get(task.name) is not None]
        if len(set(given)) > 1:
            count = Counter(label for labels in given for label in labels)
            out[task.name] = {label: count[label] / len(given) for label in task.ids if count[label]}
    return out


def _votes(given: Sequence[Answer]) -> str:
    return listed(value if isinstance(value, str) else "+".join(value or ("none",)) for value in given)
