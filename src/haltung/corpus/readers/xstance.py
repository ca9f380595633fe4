"""x-stance: comments of Swiss candidates on political questions, with topic and stance."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import existing, hub_rows, json_rows
from haltung.corpus.parsing.rows import SPLITS, Intake, Reading
from haltung.errors import UserError, listed, one_of
from haltung.labels import Scheme

# The parts of the published test split.
TEST_SETS = ("new_comments", "new_questions", "new_topics", "all")
_COLUMNS = {"text": "comment", "target": "question", "stance": "label"}
_PUBLIC = "x-stance is at github.com/ZurichNLP/xstance, and on the hub (corpus=xstance_hub)"
_LOCAL = {"train": ("valid.jsonl", "train_fewshot.jsonl"), "test": ("test_new_comments.jsonl",)}


@dataclass(frozen=True)
class XStance:
    """x-stance, from a folder of JSONL files (``path``) or from the hub (``hub``).

    ``split_files`` names the files of each split. The question is the ``target``, the comment the
    text. Rows are grouped by their author, who comments on many questions, or (``train_fewshot``)
    by their question; for held-out questions, split by ``target``. ``test_set`` selects the part of
    the published test split; the hub's copy lacks that column, so it is derived: topics and
    questions that do not occur in training are new.
    """

    path: str | None = None
    hub: str | None = None
    revision: str | None = "refs/convert/parquet"
    split_files: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(_LOCAL))
    language: str = "de"
    test_set: str = "new_comments"
    on_error: str = "stop"

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read (see ``Reader``); none from the hub."""
        return tuple(path for _, path in self._local()) if self.path is not None else ()

    def read(self, scheme: Scheme) -> Reading:
        """Read all rows of the language (see ``Reader``); ``UserError`` if the hub fails."""
        if (self.path is None) == (self.hub is None):
            raise UserError("x-stance is read from a folder (path) or from the hub (hub); give exactly one of the two")
        one_of("test_set", self.test_set, TEST_SETS)
        if self.hub is not None:
            rows = list(hub_rows(self.hub, self.revision))
        else:
            rows = [replace(row, split=split) for split, path in self._local() for row in json_rows(path)]
        trained = [row.data for row in rows if row.split == "train"]
        questions, topics = {str(data.get("question_id")) for data in trained}, {str(data.get("topic")) for data in trained}
        intake = Intake(scheme, self.path or self.hub or "", self.on_error)
        for row in rows:
            with intake.row(row):
                data = row.fields()
                is_other = row.split == "test" and self.test_set not in ("all", _test_set(data, questions, topics))
                if is_other or data.get("language", self.language) != self.language:
                    continue
                group = f"author-{data['author']}" if data.get("author") else f"question-{data.get('question_id')}"
                # The id of a row without one must not depend on the row's position.
                content = f"{data.get('question_id')}\n{data.get('comment')}".encode("utf-8", "surrogatepass")
                made = replace(row, made_id="fewshot-" + hashlib.sha1(content).hexdigest()[:12])
                intake.add(Fields({**data, "article": group, "source": "xstance"}, _COLUMNS).segment(scheme, made))
        return intake.reading(hint=f"is there any row in the language '{self.language}'?")

    def _local(self) -> list[tuple[str, Path]]:
        folder = Path(self.path or "").expanduser()
        if not folder.is_dir():
            names = listed(name for part in self.split_files.values() for name in part)
            raise UserError(f"{folder} is not a folder; expected one with {names}; {_PUBLIC}")
        splits = {split: SPLITS[one_of("a split in split_files", split, SPLITS)] if split else "" for split in self.split_files}
        return [(splits[split], existing(folder / name, _PUBLIC)) for split, names in self.split_files.items() for name in names]


def _test_set(data: Mapping[str, object], questions: set[str], topics: set[str]) -> str:
    if isinstance(given := data.get("test_set"), str):
        return given.rpartition("_")[0]  # new_comments_defr, new_topics_it, …
    if str(data.get("topic")) not in topics:
        return "new_topics"
    return "new_comments" if str(data.get("question_id")) in questions else "new_questions"
