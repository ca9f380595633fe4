"""Records that all packages share: ``Segment``, ``Dyad``, ``Prediction``; columns of a corpus."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from haltung.errors import UserError
from haltung.labels import Scheme

if TYPE_CHECKING:
    from datasets import Features
    from pydantic import ValidationError

Record = TypeVar("Record")
Key = TypeVar("Key")
Item = TypeVar("Item")
Span = tuple[int, int]  # of a text: the start and end offset of its characters, end excluded
Answer = str | tuple[str, ...] | None  # a label, several (multi-label), or None if unlabelled
Shares = Mapping[str, Mapping[str, float]]  # of annotators, by task and label
# The text columns of every corpus; ``position`` and one column per task of its scheme are added.
TEXT_COLUMNS = ("id", "text", "context", "target", "article", "headline", "date", "source", "genre")
MULTI_THRESHOLD = 0.5  # the least probability of a predicted label of a multi-label task


@dataclass(frozen=True)
class Dyad:
    """Who (``source``) takes which ``stance`` towards whom: codes of the label standard, or ""."""

    source: str
    target: str
    stance: str


@dataclass(frozen=True)
class Segment:
    """One labelled (or unlabelled) unit of text, with an id unique in its corpus.

    ``labels`` has each task's answer, ``context`` what precedes the text (see ``in_context``),
    ``target`` the question or entity that the stance is towards, ``article`` a group that a split
    must not divide, ``date`` an ISO date, ``source`` a corpus or medium, ``split`` as given by the
    source, ``where`` file and line for messages; "" is none. ``position`` orders the segments of an
    article, below its ``headline``; a segment without one (None) is read alone, after its context.
    ``soft`` has the shares of annotators that training learns from instead of labels.
    """

    id: str
    text: str
    labels: Mapping[str, Answer] = field(default_factory=dict)
    context: str = ""
    target: str = ""
    article: str = ""
    date: str = ""
    source: str = ""
    genre: str = ""
    dyads: tuple[Dyad, ...] = ()
    split: str = ""
    headline: str = ""
    position: int | None = None
    soft: Shares = field(default_factory=dict)
    where: str = field(default="", compare=False)

    @property
    def group(self) -> str:
        """The unit that a split must not divide: the article, or the segment if it has none."""
        # The prefixes keep an id from matching another segment's article of the same name.
        return f"article {self.article}" if self.article else f"segment {self.id}"

    def to_row(self, scheme: Scheme) -> dict[str, Any]:
        """Return the segment as a row with the scheme's task columns (see ``features``)."""
        row: dict[str, Any] = {name: getattr(self, name) for name in (*TEXT_COLUMNS, "position")}
        for task in scheme:
            answer = self.labels.get(task.name)
            row[task.name] = list(answer) if isinstance(answer, tuple) else answer
        row["dyads"] = [asdict(dyad) for dyad in self.dyads]
        row["soft"] = json.dumps(self.soft) if self.soft else ""
        return row


def label_ids(answer: Answer) -> tuple[str, ...]:
    """Return the label ids of an answer, none if the row is not labelled."""
    return (answer,) if isinstance(answer, str) else tuple(answer or ())


def by_key(pairs: Iterable[tuple[Key, Item]]) -> dict[Key, list[Item]]:
    """Return the values of each key; both are in the order of the pairs."""
    out: dict[Key, list[Item]] = {}
    for key, value in pairs:
        out.setdefault(key, []).append(value)
    return out


def by_group(segments: Iterable[Segment]) -> dict[str, list[Segment]]:
    """Return the segments of each group (see ``Segment.group``), in order."""
    return by_key((segment.group, segment) for segment in segments)


def in_context(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments with their context, for models that read one segment at a time.

    The context is the headline, the article's first segment, and the preceding one. A segment that
    has a context keeps it; one without a position in an article gets none.
    """
    articles = by_key((one.article, row) for row, one in enumerate(segments) if one.article and one.position is not None)
    out = list(segments)
    for rows in articles.values():
        rows.sort(key=lambda row: segments[row].position or 0)
        for number, row in enumerate(rows):
            if not segments[row].context:
                # One segment may be both the first and the one before.
                earlier = [rows[place] for place in sorted({0, number - 1}) if 0 <= place < number]
                parts = (segments[row].headline, *(segments[other].text for other in earlier))
                out[row] = replace(segments[row], context=" ".join(filter(None, map(str.strip, parts))))
    return out


def well_formed(text: str) -> str:
    """Replace lone surrogates by U+FFFD and join paired ones, as JavaScript's ``toWellFormed``.

    JSON escapes, shells and JavaScript strings can contain them; no tokenizer accepts them.
    """
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@dataclass(frozen=True)
class ActorAnswer:
    """The probabilities that an actor is source or target of a segment's dyads, in each role.

    ``code`` is "" for nobody, ``spans`` are where the segment names the actor, and ``source`` and
    ``target`` map each role to its probability (see ``haltung.actors.candidates``).
    """

    code: str
    spans: tuple[Span, ...]
    source: Mapping[str, float]
    target: Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """A classifier's output for one segment: label(s) per task, and all probabilities.

    ``actors`` are the candidates for a side of its dyads, nobody first; empty if the model reads no
    actors, or the article names nobody.
    """

    id: str
    labels: Mapping[str, str | tuple[str, ...]]
    probabilities: Mapping[str, Mapping[str, float]]
    actors: tuple[ActorAnswer, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"id": …, "topic": …, "stance": …, "probabilities": {"topic": {…}, …}}``."""
        labels = {task: list(label) if isinstance(label, tuple) else label for task, label in self.labels.items()}
        return {"id": self.id, **labels, "probabilities": {task: dict(values) for task, values in self.probabilities.items()}}


def read_record(path: Path, cls: type[Record], what: str, remedy: str, version: int = 1) -> Record:
    """Return the dataclass in a JSON file; ``UserError``, with ``remedy``, if it is not one."""
    from pydantic import TypeAdapter, ValidationError

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if (found := data.get("format") if isinstance(data, dict) else None) != version:
            raise UserError(f"{path} is of format {found}, this version reads {version}; {remedy}")
        return TypeAdapter(cls).validate_python(data)
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); {remedy}") from None
    except ValidationError as error:
        raise UserError(f"{path} is not a valid {what} written by Haltung: {faults_of(error)}; {remedy}") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); {remedy}") from None


def faults_of(error: "ValidationError") -> str:
    """Return the first three faults of data that fail validation: ``field (message), …``."""
    return ", ".join(f"{'.'.join(map(str, fault['loc']))} ({fault['msg']})" for fault in error.errors()[:3])


def features(scheme: Scheme) -> "Features":
    """Return the columns of a corpus, as declared to ``datasets`` and written to Parquet.

    Text columns are never null, ``position`` may be; a single-label task is a string or null, a
    multi-label task a list of strings or null. ``soft`` is JSON.
    """
    from datasets import Features, List, Value

    columns: dict[str, Any] = {**{name: Value("string") for name in TEXT_COLUMNS}, "position": Value("int32")}
    for task in scheme:
        columns[task.name] = Value("string") if task.kind == "single" else List(Value("string"))
    columns["dyads"] = List({"source": Value("string"), "target": Value("string"), "stance": Value("string")})
    return Features({**columns, "soft": Value("string")})
