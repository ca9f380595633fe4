"""Exports of Label Studio, doccano and Prodigy, in the formats of those tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from haltung import labels
from haltung.corpus.parsing.rows import Reading
from haltung.corpus.readers.flat import FlatLabels
from haltung.corpus.readers.label_studio import LabelStudio
from haltung.errors import UserError
from haltung.labels import Scheme

# "neutral" is a label of both tasks, as in the scheme of the embedded corpus.
SCHEME = labels.parse(
    {
        "name": "two",
        "tasks": {"topic": {"labels": ["security", "economy", "neutral"]}, "stance": {"labels": ["warning", "threat", "neutral"]}},
    }
)


@pytest.fixture
def scheme() -> Scheme:
    """A scheme with two tasks that share a label."""
    return SCHEME


def export(path: Path, items: object) -> str:
    """Write a JSON document."""
    path.write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    return str(path)


def jsonl(path: Path, *rows: Mapping[str, Any]) -> str:
    """Write one object per line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def choice(name: str, *chosen: str) -> dict[str, Any]:
    """Return an answered ``<Choices>`` of Label Studio."""
    return {"from_name": name, "to_name": "text", "type": "choices", "origin": "manual", "value": {"choices": list(chosen)}}


def item(id: int, *annotations: Mapping[str, Any], **data: Any) -> dict[str, Any]:
    """Return an item of Label Studio's JSON export."""
    return {
        "id": id,
        "data": {"text": f"Satz {id}.", **data},
        "annotations": list(annotations),
        "predictions": [{"result": [choice("stance", "threat")]}],
    }


def annotation(*results: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return an annotation of Label Studio's JSON export."""
    return {"id": 1, "completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": list(results), **more}


def prodigy(path: str, **more: Any) -> FlatLabels:
    """Return a reader with the settings of ``corpus=prodigy``."""
    return FlatLabels(path, chosen=("accept", "label"), key="_input_hash", annotator=("_annotator_id", "_session_id"), **more)


def stances(reading: Reading) -> dict[str, object]:
    """Return the stance of each segment."""
    return {segment.id: segment.labels["stance"] for segment in reading.segments}


def dropped(reading: Reading) -> list[tuple[str, str]]:
    """Return id and reason of each dropped row."""
    return [(entry.id, entry.reason) for entry in reading.dropped]


def test_label_studio_json_is_read_with_its_data(tmp_path: Path, scheme: Scheme) -> None:
    """Each choice becomes the label of the task with its name; other imported data are read by the
    mapped columns.
    """
    path = export(
        tmp_path / "a.json", [item(5, annotation(choice("topic", "security"), choice("stance", "neutral")), doc="d1", key="mine")]
    )
    (segment,) = LabelStudio(path, columns={"article": "doc"}).read(scheme).segments
    assert (segment.id, segment.text, segment.article) == ("5", "Satz 5.", "d1")
    assert segment.labels == {"topic": "security", "stance": "neutral"}
    (own,) = LabelStudio(path, columns={"id": "key"}).read(scheme).segments
    assert own.id == "mine"


def test_label_studio_items_without_an_id_get_one_of_their_place(tmp_path: Path, scheme: Scheme) -> None:
    """As if the key were missing: null is no id, even if several items have it."""
    items = [item(0, annotation(choice("stance", "neutral"))) | {"id": None} for _ in range(2)]
    reading = LabelStudio(export(tmp_path / "a.json", items)).read(scheme)
    assert [segment.id for segment in reading.segments] == ["a-1", "a-2"]


def test_votes_in_label_studio_are_those_of_annotators_with_ids(tmp_path: Path, scheme: Scheme) -> None:
    """Ids are numbers, or objects with one; annotators that can't be distinguished have no vote."""
    warning, threat = choice("stance", "warning"), choice("stance", "threat")
    coders = [(1, {"id": 2, "email": "b@x.de"}), (1, 1), (1, None)]
    items = [
        item(number, annotation(warning, completed_by=one), annotation(threat, completed_by=two))
        for number, (one, two) in enumerate(coders)
    ]
    votes = LabelStudio(export(tmp_path / "a.json", items)).read(scheme).votes
    assert votes == {"0": {"1": {"stance": "warning"}, "2": {"stance": "threat"}}}


def test_a_multi_label_choice_is_read(tmp_path: Path) -> None:
    """Several selected choices are several labels, in the order of the scheme."""
    scheme = labels.parse({"name": "m", "tasks": {"flags": {"kind": "multi", "labels": ["a", "b", "c"]}}})
    whole = export(tmp_path / "a.json", [item(1, annotation(choice("flags", "c", "a")))])
    assert LabelStudio(whole).read(scheme).segments[0].labels == {"flags": ("a", "c")}


def test_cancelled_and_missing_annotations_are_dropped_with_their_reason(tmp_path: Path, scheme: Scheme) -> None:
    """Skipped items are counted, and a prediction does not count as an annotation."""
    items = [
        item(1),
        item(2, annotation(choice("stance", "threat"), was_cancelled=True)),
        item(3, annotation()),
        item(4, annotation(choice("stance", "threat"))),
    ]
    reading = LabelStudio(export(tmp_path / "a.json", items)).read(scheme)
    assert stances(reading) == {"4": "threat"}
    assert dropped(reading) == [("1", "unlabelled"), ("2", "cancelled"), ("3", "unlabelled")]


def test_ground_truth_outweighs_every_other_annotation(tmp_path: Path, scheme: Scheme) -> None:
    """An annotation marked as ground truth overrules a majority."""
    items = [item(1, *[annotation(choice("stance", "threat"))] * 2, annotation(choice("stance", "warning"), ground_truth=True))]
    assert stances(LabelStudio(export(tmp_path / "a.json", items), annotators="majority").read(scheme)) == {"1": "warning"}


def test_several_annotators_are_settled_as_asked(tmp_path: Path, scheme: Scheme) -> None:
    """By first, majority or unanimity; a tie is dropped with its reason."""
    votes = [annotation(choice("stance", label)) for label in ("warning", "threat", "threat")]
    path = export(tmp_path / "a.json", [item(1, *votes), item(2, *votes[:2]), item(3, votes[0])])
    assert stances(LabelStudio(path, annotators="first").read(scheme)) == {"1": "warning", "2": "warning", "3": "warning"}
    majority = LabelStudio(path, annotators="majority").read(scheme)
    assert (stances(majority), dropped(majority)) == ({"1": "threat", "3": "warning"}, [("2", "disagreement")])
    with pytest.raises(
        UserError, match=r"item 1: 3 annotators disagree on stance: warning, threat, threat; set annotators=majority, first or soft"
    ):
        LabelStudio(path, annotators="error").read(scheme)
    with pytest.raises(UserError, match=r"annotators is 'most'; choose from first, majority, soft, error"):
        LabelStudio(path, annotators="most").read(scheme)


def test_choices_of_another_name_are_reported(tmp_path: Path, scheme: Scheme) -> None:
    """For a typing error in ``tasks``, the message lists the choices in the file."""
    path = export(tmp_path / "a.json", [item(1, annotation(choice("haltung", "warning")))])
    with pytest.raises(UserError, match=r"no choices called 'haltun' \(for stance\), did you mean 'haltung'\?; there are haltung"):
        LabelStudio(path, tasks={"stance": "haltun"}).read(scheme)
    with pytest.raises(
        UserError, match=r"no choices have the name of a task in the scheme two \(topic, stance\); there are haltung; map them with tasks:"
    ):
        LabelStudio(path).read(scheme)
    with pytest.raises(UserError, match=r"unknown task 'stanse', did you mean 'stance'\?"):
        LabelStudio(path, tasks={"stanse": "haltung"}).read(scheme)


def test_a_choice_in_plain_german_is_mapped(tmp_path: Path, scheme: Scheme) -> None:
    """Annotators see German words, the scheme has ids."""
    path = export(tmp_path / "a.json", [item(1, annotation(choice("stance", "Warnung")))])
    assert stances(LabelStudio(path, labels={"Warnung": "stance/warning"}).read(scheme)) == {"1": "warning"}
    with pytest.raises(
        UserError, match=r"item 1: unknown stance 'Warnung', did you mean 'warning'\?; this scheme has warning, threat, neutral"
    ):
        LabelStudio(path).read(scheme)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"id": 1}, r"a.json is an object; expected a Label Studio export"),
        ([], r"a.json has no rows"),
        ([{"id": 1, "text": "Satz.", "stance": "threat"}], r"so this is Label Studio's JSON-MIN; export JSON"),
        ([3], r"item 1: the item is a number; expected an object"),
        (
            [{"id": 1, "data": 3, "annotations": [annotation(choice("stance", "threat"))]}],
            r"item 1: 'data' is a number; expected an object",
        ),
        ([{"id": 1, "data": {"text": "x"}, "annotations": 3}], r"item 1: 'annotations' is a number; expected a list"),
        ([item(1, annotation(choice("stance", "threat")), text=3)], r"item 1: 'text' is a number \(3\); expected text"),
        ([item(1, annotation(choice("stance", "threat", "warning")))], r"item 1: 2 labels for stance"),
        ([item(1, annotation(choice("stance", "threat")))] * 2, r"item 2: the id '1' is already used at .*item 1"),
    ],
)
def test_a_broken_label_studio_export_is_reported(tmp_path: Path, scheme: Scheme, items: object, message: str) -> None:
    """Any deviation from Label Studio's format gives one sentence."""
    path = tmp_path / "a.json"
    text = json.dumps(items).replace('"text": "Satz 1.", "text": 3', '"text": 3')
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        LabelStudio(str(path)).read(scheme)


def test_doccano_lines_are_read_with_labels_of_both_tasks(tmp_path: Path, scheme: Scheme) -> None:
    """One list has the labels of both tasks; a label of a single task needs no mapping, and
    metadata are read.
    """
    path = jsonl(
        tmp_path / "a.jsonl",
        {"id": 1, "text": "Satz 1.", "label": ["security", "warning"], "Comments": [], "article": "d1"},
        {"id": 2, "text": "Satz 2.", "label": ["stance/neutral"], "Comments": ["gut"]},
        {"id": 3, "text": "Satz 3.", "label": []},
    )
    reading = FlatLabels(path).read(scheme)
    assert [segment.labels for segment in reading.segments] == [
        {"topic": "security", "stance": "warning"},
        {"topic": None, "stance": "neutral"},
    ]
    assert reading.segments[0].article == "d1"
    assert dropped(reading) == [("3", "unlabelled")]


@pytest.mark.parametrize(
    "row", [{"text": "Satz.", "labels": ["threat"]}, {"text": "Satz.", "cats": ["threat"]}, {"data": "Satz.", "label": ["threat"]}]
)
def test_older_doccano_exports_are_read(tmp_path: Path, scheme: Scheme, row: dict[str, object]) -> None:
    """The fields were renamed more than once."""
    (segment,) = FlatLabels(jsonl(tmp_path / "a.jsonl", {"id": 1, **row})).read(scheme).segments
    assert (segment.text, segment.labels["stance"]) == ("Satz.", "threat")


def test_a_label_of_two_tasks_must_say_which(tmp_path: Path, scheme: Scheme) -> None:
    """A guess could mislabel every neutral sentence; a mapping resolves it."""
    path = jsonl(tmp_path / "a.jsonl", {"id": 1, "text": "Satz.", "label": ["neutral", "Krieg"]})
    with pytest.raises(
        UserError, match=r"line 1: the label 'neutral' is in several tasks \(topic, stance\); say which one with labels: \{neutral:"
    ):
        FlatLabels(path).read(scheme)
    mapped = FlatLabels(path, labels={"neutral": "stance/neutral", "Krieg": "topic/security"})
    assert mapped.read(scheme).segments[0].labels == {"topic": "security", "stance": "neutral"}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"Warnung": "warning"}, r"labels: 'Warnung' is mapped to 'warning'; expected TASK/LABEL, such as topic/security"),
        ({"Warnung": "stanse/warning"}, r"unknown task 'stanse', did you mean 'stance'\?"),
        ({"Warnung": "stance/warnin"}, r"unknown stance 'warnin', did you mean 'warning'\?"),
    ],
)
def test_a_mapping_to_nothing_is_reported(tmp_path: Path, scheme: Scheme, mapping: dict[str, str], message: str) -> None:
    """The targets of the mapping are checked before any line is read."""
    path = jsonl(tmp_path / "a.jsonl", {"id": 1, "text": "Satz.", "label": ["threat"]})
    with pytest.raises(UserError, match=message):
        FlatLabels(path, labels=mapping).read(scheme)


def test_doccano_files_of_several_annotators_are_settled(tmp_path: Path, scheme: Scheme) -> None:
    """Without collaborative annotation, doccano writes one file per annotator with all examples."""
    paths = [
        jsonl(tmp_path / f"{name}.jsonl", {"id": 1, "text": "Satz 1.", "label": first}, {"id": 2, "text": "Satz 2.", "label": second})
        for name, first, second in (("anna", ["warning"], []), ("ben", ["threat"], ["threat"]), ("cem", ["threat"], []))
    ]
    assert stances(FlatLabels(paths, annotators="majority").read(scheme)) == {"1": "threat", "2": "threat"}
    with pytest.raises(UserError, match=r"anna.jsonl, line 1: 3 annotators disagree on stance"):
        FlatLabels(paths, annotators="error").read(scheme)


def test_one_id_with_two_texts_in_two_files_is_refused(tmp_path: Path, scheme: Scheme) -> None:
    """The files are from two projects; otherwise a label would be assigned to the wrong text."""
    paths = [jsonl(tmp_path / f"{name}.jsonl", {"id": 1, "text": f"Satz {name}.", "label": ["threat"]}) for name in "ab"]
    with pytest.raises(UserError, match=r"b\.jsonl, line 1: the id '1' is already used at .*a\.jsonl, line 1 with another text"):
        FlatLabels(paths).read(scheme)


def test_a_line_without_a_column_of_labels_is_unlabelled(tmp_path: Path, scheme: Scheme) -> None:
    """The reason lists the columns that were searched for."""
    reading = prodigy(jsonl(tmp_path / "a.jsonl", {"text": "Satz.", "answer": "accept"})).read(scheme)
    assert [(row.reason, row.detail) for row in reading.dropped] == [
        ("unlabelled", "it has none of the columns accept, label, only text, answer")
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"id": 1, "text": "Satz.", "label": [[0, 3, "LOC"]]},
            r"line 2: a label is a list .*this is an export of spans, expected one of text classification",
        ),
        ({"id": 1, "text": "Satz.", "label": [3]}, r"line 2: a label is a number; expected text"),
        (
            {"id": 1, "text": "Satz.", "label": ["treat"]},
            r"line 2: unknown label 'treat', did you mean 'threat'\?; the scheme two has security",
        ),
        (
            {"id": 1, "text": "Satz.", "label": ["stance/treat"]},
            r"line 2: unknown stance 'treat', did you mean 'threat'\?; after 'stance/', expected one of",
        ),
        ({"id": 0, "text": "Satz.", "label": ["threat"]}, r"line 2: the id '0' is already used at .*line 1"),
        ({"id": 1, "label": ["threat"]}, r"line 2: no 'text'; this row has id, label"),
    ],
)
def test_a_broken_doccano_line_is_refused_or_dropped(tmp_path: Path, scheme: Scheme, row: dict[str, object], message: str) -> None:
    """Any deviation from doccano's format gives one sentence, or an entry in the list of dropped
    rows.
    """
    path = jsonl(tmp_path / "a.jsonl", {"id": 0, "text": "Gut.", "label": ["threat"]}, row)
    with pytest.raises(UserError, match=message):
        FlatLabels(path).read(scheme)
    reading = FlatLabels(path, on_error="drop").read(scheme)
    assert (len(reading.segments), len(reading.dropped)) == (1, 1)


def test_prodigy_lines_are_read(tmp_path: Path, scheme: Scheme) -> None:
    """Selected options and binary answers are read; rejected or ignored ones are dropped with a
    reason.
    """
    options = [{"id": "warning", "text": "Warnung"}, {"id": "threat", "text": "Drohung"}]
    path = jsonl(
        tmp_path / "a.jsonl",
        {"text": "Satz 1.", "_input_hash": 1, "_task_hash": 1, "options": options, "accept": ["warning"], "answer": "accept"},
        {"text": "Satz 2.", "_input_hash": 2, "_task_hash": 2, "label": "threat", "answer": "accept"},
        {"text": "Satz 3.", "_input_hash": 3, "_task_hash": 3, "label": "threat", "answer": "reject"},
        {"text": "Satz 4.", "_input_hash": 4, "_task_hash": 4, "options": options, "accept": ["threat"], "answer": "ignore"},
        {"text": "Satz 5.", "_input_hash": 5, "_task_hash": 5, "options": options, "accept": [], "answer": "accept"},
    )
    reading = prodigy(path).read(scheme)
    assert stances(reading) == {"a-1": "warning", "a-2": "threat"}
    assert dropped(reading) == [("a-3", "rejected"), ("a-4", "ignored"), ("a-5", "unlabelled")]


def test_two_questions_to_one_annotator_make_one_segment(tmp_path: Path, scheme: Scheme) -> None:
    """Topic and stance may be annotated separately; the input hash shows that the
    text is the same.
    """
    path = jsonl(
        tmp_path / "a.jsonl",
        {"text": "Satz.", "_input_hash": 1, "accept": ["security"], "answer": "accept", "_session_id": "news-anna"},
        {"text": "Satz.", "_input_hash": 1, "accept": ["threat"], "answer": "accept", "_session_id": "news-anna"},
    )
    (segment,) = prodigy(path).read(scheme).segments
    assert segment.labels == {"topic": "security", "stance": "threat"}


def test_prodigy_annotators_are_settled(tmp_path: Path, scheme: Scheme) -> None:
    """Annotators of the same text vote."""
    rows = [
        {"text": "Satz.", "_input_hash": 1, "accept": [label], "answer": "accept", "_annotator_id": name}
        for name, label in (("a", "warning"), ("b", "threat"), ("c", "threat"))
    ]
    assert stances(prodigy(jsonl(tmp_path / "a.jsonl", *rows), annotators="majority").read(scheme)) == {"a-1": "threat"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "Satz.", "accept": 3, "answer": "accept"}, r"line 2: a label is a number; expected text"),
        ({"text": "Satz.", "accept": ["threat"], "answer": "acept"}, r"line 2: the answer is 'acept', did you mean 'accept'\?"),
        (
            {"text": "Anders.", "_input_hash": 1, "accept": ["threat"], "answer": "accept"},
            r"line 2: the _input_hash '1' is already used at .*line 1 with another",
        ),
        ({"accept": ["threat"], "answer": "accept"}, r"line 2: no 'text'"),
    ],
)
def test_a_broken_prodigy_line_is_refused_or_dropped(tmp_path: Path, scheme: Scheme, row: dict[str, object], message: str) -> None:
    """Any deviation from Prodigy's format gives one sentence, or an entry in the list of dropped
    rows.
    """
    path = jsonl(tmp_path / "a.jsonl", {"text": "Gut.", "_input_hash": 1, "accept": ["threat"], "answer": "accept"}, row)
    with pytest.raises(UserError, match=message):
        prodigy(path).read(scheme)
    reading = prodigy(path, on_error="drop").read(scheme)
    assert (len(reading.segments), len(reading.dropped)) == (1, 1)
