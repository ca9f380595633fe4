"""What coders have to label and settle, and the file of answers, which survives being killed."""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from haltung.actors.candidates import candidates
from haltung.actors.finder import Actors
from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.lines import json_object, lines
from haltung.corpus.parsing.rows import Fault, Intake, Reading, SourceRow
from haltung.errors import UserError, kind, listed, writing
from haltung.evaluation.metrics.agreement import agreement
from haltung.files import atomic_file
from haltung.labels import NEUTRAL, STANCE, Scheme
from haltung.records import Segment, by_group, label_ids

# An answer: a corpus's row with labels, null in all tasks if it was skipped, and these columns.
Row = Mapping[str, Any]
COLUMNS = ("coder", "time", "comment", "judge")


def read(path: Path, scheme: Scheme) -> dict[str, Row]:
    """Return the answers of a file by id, in its order, without an incomplete last line;
    ``UserError`` if the file can't be read or a row is no valid answer in the scheme.
    """
    intake, found = Intake(scheme, str(path)), dict[str, Row]()
    for number, line in enumerate((line for line in lines(path) if line.endswith("\n")), 1):
        row = SourceRow(f"{path}, line {number}", f"{path.stem}-{number}", {})
        with intake.row(row):
            fields = Fields(json_object(line), {})
            intake.add(segment := fields.segment(scheme, row))
            found[segment.id] = {**fields.data, **segment.labels, **{name: fields.text(name) for name in COLUMNS}}
    return found


def collect(reading: Reading, scheme: Scheme, paths: Sequence[Path]) -> dict[str, dict[str, Row]]:
    """Return the answers to each segment by coder of the corpus or by file, without skips.
    Where the corpus's coders agree in a task, or its own column decides it, all have that answer.
    Raises ``UserError`` like ``read``, and if a file has an answer to another text.
    """
    found = {segment.id: _in_corpus(segment, reading, scheme) for segment in reading.segments if reading.votes}
    for path in paths:
        for id, row in _checked(path, read(path, scheme), reading).items():
            found.setdefault(id, {})[str(path.with_suffix(""))] = row
    return {id: {who: row for who, row in rows.items() if not _is_skip(row, scheme)} for id, rows in found.items()}


def voted(reading: Reading, answers: Mapping[str, Mapping[str, Row]]) -> Reading:
    """Return a corpus with answers (see ``collect``) and its own for those segments as votes."""
    votes = {id: {**{who: row for who, row in rows.items() if who}, **reading.votes.get(id, {})} for id, rows in answers.items() if rows}
    times = {id: max((row["time"] for row in rows.values()), default="") for id, rows in answers.items()}
    return replace(reading, votes=votes, times=times)


class AnswersFile:
    """The answers of one coder, locked for this process; ``mended`` reports an incomplete last line
    that was removed. ``UserError`` if another process has it open, or like ``read``.
    """

    def __init__(self, path: Path, scheme: Scheme) -> None:
        self.path, self.mended = path, ""
        with writing(path):
            try:
                self._lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0).acquire().lock
            except Timeout:
                raise UserError(f"{path} is open in another haltung annotate; stop that one, or name another coder= or output=") from None
            path.touch()
            data = path.read_bytes()
            if last := data[data.rfind(b"\n") + 1 :]:
                try:
                    json_object(last.decode())
                    _append(path, b"\n")  # editors may leave it out
                except (Fault, UnicodeDecodeError):
                    if last[:8] != b'{"id": "'[: len(last)]:
                        raise UserError(f"{path} contains something other than answers; name another file with output=") from None
                    os.truncate(path, len(data) - len(last))
                    self.mended = f"the last line of {path} was cut off and is removed ({len(last)} bytes); its sentence is asked again"
        self.rows: Mapping[str, Row] = read(path, scheme)
        self._size = path.stat().st_size

    def save(self, rows: Mapping[str, Row]) -> None:
        """Save these as the answers, synchronised to disk; on ``UserError`` the old ones stay."""
        kept = len(self.rows) if list(self.rows.items()) == list(rows.items())[: len(self.rows)] else 0
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in list(rows.values())[kept:]).encode()
        with writing(self.path):
            if self.path.stat().st_size != self._size:
                raise OSError(errno.EBUSY, "another program has changed it, so stop haltung annotate and start it again")
            if kept == len(self.rows):
                _append(self.path, data)
            else:  # one was changed or removed
                with atomic_file(self.path) as scratch:
                    _append(scratch, data)
            self.rows, self._size = dict(rows), self.path.stat().st_size


def _append(path: Path, data: bytes) -> None:
    """Append to a file and synchronise it; ``OSError`` leaves it as it was."""
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


class Work:
    """The segments of a corpus in the order of labelling, and a coder's answers so far. With files
    to ``settle`` or votes in the corpus, only differences are asked; without ``actors`` no dyads.
    """

    def __init__(
        self, scheme: Scheme, reading: Reading, coder: str, file: AnswersFile, settle: Sequence[Path], actors: Actors | None
    ) -> None:
        if taken := {*COLUMNS}.intersection(scheme.names):
            raise UserError(f"the label scheme {scheme.name} has a task called {listed(taken)}, also a column of the answers; rename it")
        self.scheme, self.reading, self.coder, self.file, self.settle, self.actors = scheme, reading, coder, file, settle, actors
        self.segments, self.settles = reading.segments, bool(settle or reading.votes)
        self._number = {segment.id: number for number, segment in enumerate(self.segments)}
        self._articles = {group: sorted(rows, key=lambda one: one.position or 0) for group, rows in by_group(self.segments).items()}
        self.refresh()

    def refresh(self) -> None:
        """Read new answers of coders and save undisputed ones; ``UserError`` if they don't fit."""
        self._votes = collect(self.reading, self.scheme, self.settle)
        rows = _checked(self.file.path, self.file.rows, self.reading)
        owners = {row.get("judge") or row["coder"] for row in rows.values()}
        coders = {name for said in self._votes.values() for row in said.values() for name in row["coder"].split(", ")}
        if self.coder in coders or owners - {self.coder}:
            raise UserError(f"coder={self.coder} can't settle their own answers or change others' in {self.file.path}; name another coder=")
        taken = {id: _joined(*said.values(), judge=self.coder) for id, said in self._votes.items() if said and not self._is_asked(id)}
        kept = taken | {id: row for id, row in rows.items() if self._own(id)}
        self.file.save({id: kept[id] for id in dict.fromkeys([*rows, *taken]) if id in kept})

    def described(self) -> dict[str, Any]:
        """Return what is asked of whom, what is answered, in order, and how far coders agree."""
        self.refresh()
        votes = {id: said for id, said in self._votes.items() if len(said) > 1}
        tasks = asdict(agreement("", voted(self.reading, votes), self.scheme))["tasks"] if votes else {}
        return {
            "coder": self.coder, "file": self.file.path.name, "scheme": self.scheme.name, "tasks": self.scheme.to_dict()["tasks"],
            "dyads": self.actors is not None, "settles": self.settles,
            "agreement": [{"task": name, "n": one["n"], "course": one["course"]} | one["measures"]["alpha"] for name, one in tasks.items()],
            "numbers": [number for number, segment in enumerate(self.segments) if self._is_asked(segment.id)],
            "answered": [(self._number[id], _is_skip(row, self.scheme)) for id, row in self.file.rows.items() if self._own(id)],
        }  # fmt: skip

    def view(self, number: int) -> dict[str, Any]:
        """Return a segment in its article, with its actors, its answer, and those of others."""
        segment = self.segments[number]
        article = self._articles[segment.group]
        here, texts = article.index(segment), [one.text for one in article]
        mentions = self.actors.article(texts, segment.date, segment.headline) if self.actors else [[] for _ in texts]
        return {
            **{name: getattr(segment, name) for name in ("headline", "date", "source", "target", "context")},
            "here": here, "sentences": [{"number": self._number[one.id], "text": one.text} for one in article],
            "actors": [asdict(one) for one in mentions[here]], "codes": [one.code for one in candidates(texts, mentions, here) if one.code],
            "answer": self._own(segment.id), "said": self._said(segment.id),
            "comments": sorted(row["comment"] for row in self._votes.get(segment.id, {}).values() if row["comment"]),
        }  # fmt: skip

    def answer(self, number: int, given: Mapping[str, Any]) -> None:
        """Save an answer: ``labels`` by task (empty to skip, null to undo), ``dyads``, ``comment``,
        and as ``seen`` the time of the answer it replaces. Raises ``Fault`` if it is not valid.
        """
        segment, labels, fields = self.segments[number], given.get("labels", ""), Fields(given, {})
        own, rows = self._own(segment.id), {id: row for id, row in self.file.rows.items() if id != segment.id}
        if (own and own["time"]) != given.get("seen"):
            raise Fault("changed", "this sentence has been answered in another window; load the page again to see how")
        if not isinstance(labels, dict | None):
            raise Fault("wrong_type", f"labels is {kind(labels)}; expected an object with a label for each task, or null")
        if labels is not None:
            said = {task.name: Fields(labels, {}).answer(task) for task in self.scheme}
            coded = replace(segment, labels=said, dyads=tuple(dict.fromkeys(fields.dyads(self.scheme))))
            mark = {"coder": self.coder, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "comment": fields.text("comment")}
            rows[segment.id] = _row(coded, self.scheme, mark)
        self.file.save(rows)

    def _own(self, id: str) -> Row | None:
        row = self.file.rows.get(id)
        return row if row and row["coder"] == self.coder else None

    def _is_asked(self, id: str) -> bool:
        return not self.settles or self._own(id) is not None or any(len(answers) > 1 for answers in self._said(id).values())

    def _said(self, id: str) -> dict[str, list[Any]]:
        """Return the distinct answers to each task, and dyads; sorted, which hides the coders."""
        rows = self._votes.get(id, {}).values()
        said = {task: {row[task] for row in rows} - {None} for task in self.scheme.names}
        if self.actors:
            said["dyads"] = {_pairs(row) for row in rows if row[STANCE] != NEUTRAL}
        return {name: sorted(answers, key=str) for name, answers in said.items()}


def _checked(path: Path, rows: Mapping[str, Row], reading: Reading) -> Mapping[str, Row]:
    texts = {segment.id: segment.text for segment in reading.segments}
    for id, row in rows.items():
        if texts.get(id) != row["text"]:
            raise UserError(f"{path} has an answer to '{id}', which the corpus lacks or has with another text; name the corpus it is for")
    return rows


def _in_corpus(segment: Segment, reading: Reading, scheme: Scheme) -> dict[str, Row]:
    votes = {coder: vote for coder, vote in reading.votes.get(segment.id, {}).items() if any(one is not None for one in vote.values())}
    mark, out = {"time": reading.times.get(segment.id, ""), "comment": ""}, dict[str, Row]()
    for coder, vote in (votes or {"": {}}).items():
        labels = {task: vote.get(task) if task in segment.soft else answer for task, answer in segment.labels.items()}
        out[coder] = _row(replace(segment, labels=labels), scheme, {"coder": coder, **mark})
    return out


def _row(segment: Segment, scheme: Scheme, mark: Mapping[str, str]) -> Row:
    row = {**replace(segment, soft={}).to_row(scheme), **segment.labels, "split": segment.split, **mark}
    return {name: cell for name, cell in row.items() if cell not in ("", None) or name in (*scheme.names, *COLUMNS)}


def _is_skip(row: Row, scheme: Scheme) -> bool:
    return all(row[task] is None for task in scheme.names)


def _pairs(row: Row) -> tuple[tuple[str, str, str], ...]:
    """Return the dyads, sorted, with "" for a stance that is the sentence's own."""
    own, dyads = label_ids(row[STANCE]), row.get("dyads", [])
    return tuple(sorted((one["source"], one["target"], "" if one["stance"] in own else one["stance"]) for one in dyads))


def _joined(*rows: Row, judge: str) -> Row:
    coders, comments = ([row[name] for row in rows if row[name]] for name in ("coder", "comment"))
    said = {name: cell for row in reversed(rows) for name, cell in row.items() if cell}  # of each column, the first value that is not empty
    return {**rows[0], **said, "coder": ", ".join(coders), "comment": " / ".join(comments), "judge": judge}
