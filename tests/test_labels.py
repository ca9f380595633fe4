"""Label schemes: the shipped ones load, and all errors of an invalid one are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from haltung import labels
from haltung.errors import UserError
from haltung.labels import Scheme


@pytest.fixture(scope="module")
def diplomacy(root: Path) -> Scheme:
    """The scheme of the embedded corpus."""
    return labels.load(root / "configs" / "labels" / "diplomacy.yaml")


def broken(tmp_path: Path, text: str) -> Path:
    """Write the YAML of a scheme; return its path."""
    path = tmp_path / "scheme.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("diplomacy", {"topic": 11, "stance": 10}),
        ("xstance", {"topic": 12, "stance": 2}),
        ("gnad10", {"section": 9}),
        ("gerntsa", {"polarity": 3}),
    ],
)
def test_a_shipped_scheme_loads_with_its_labels(root: Path, name: str, sizes: dict[str, int]) -> None:
    """Tasks and numbers of labels are those of the data."""
    scheme = labels.load(root / "configs" / "labels" / f"{name}.yaml")
    assert {task.name: len(task) for task in scheme} == sizes


def test_every_shipped_label_has_a_german_and_an_english_name(root: Path) -> None:
    """No name is just the lower-case id of its label, so tables read well in both languages."""
    for path in sorted((root / "configs" / "labels").glob("*.yaml")):
        for task in labels.load(path):
            for label in task.labels:
                assert label.de[0].isupper(), f"{path.name}: {task.name} {label.id}"
                assert label.en[0].isupper(), f"{path.name}: {task.name} {label.id}"


def test_the_labels_of_diplomacy_stand_in_the_order_of_the_standard(diplomacy: Scheme) -> None:
    """The order is part of the scheme, since model outputs have it."""
    assert diplomacy.stance.ids == (
        "support",
        "cooperation",
        "concession",
        "request",
        "warning",
        "threat",
        "criticism",
        "rejection",
        "coercion",
        "neutral",
    )
    assert diplomacy.topic.ids == (
        "security",
        "diplomacy",
        "government",
        "economy",
        "energy",
        "environment",
        "migration",
        "rights",
        "humanitarian",
        "technology",
        "society",
    )


def test_every_label_of_diplomacy_is_defined(diplomacy: Scheme) -> None:
    """Human coders need to know what each label means."""
    assert [label.id for task in diplomacy for label in task.labels if not label.definition] == []


def test_the_crosswalk_leads_to_all_plover_events_but_none_twice(diplomacy: Scheme) -> None:
    """Each of PLOVER's sixteen events belongs to exactly one stance."""
    events = [event for label in diplomacy.stance.labels for event in label.plover]
    expected = "ACCUSE AGREE AID ASSAULT COERCE CONCEDE CONSULT COOPERATE MOBILIZE PROTEST REJECT REQUEST RETREAT SANCTION SUPPORT THREATEN"
    assert sorted(events) == expected.split()


def test_a_name_is_reported_in_both_languages(diplomacy: Scheme) -> None:
    """Tables and pages ask for a name in one language."""
    warning = diplomacy.stance.labels[diplomacy.stance.index("warning")]
    assert (warning.name("de"), warning.name("en")) == ("Warnung", "Warning")


def test_an_unknown_label_is_answered_with_the_nearest_and_all(diplomacy: Scheme) -> None:
    """So there is no need to look up its spelling."""
    with pytest.raises(
        UserError, match=r"unknown stance 'warnin', did you mean 'warning'\?; this scheme has support, cooperation, .*neutral"
    ):
        diplomacy.stance.index("warnin")


def test_an_unknown_task_is_answered_with_the_nearest(diplomacy: Scheme) -> None:
    """The message also lists all tasks of the scheme."""
    with pytest.raises(UserError, match=r"unknown task 'stanse', did you mean 'stance'\?; the scheme diplomacy has topic, stance"):
        diplomacy["stanse"]


def test_a_scheme_can_be_cut_to_some_of_its_tasks(diplomacy: Scheme) -> None:
    """Tasks keep their order, and the digest changes; unknown, repeated or no tasks are refused."""
    stance = diplomacy.only(["stance"])
    assert (stance.names, stance.name, stance.stance) == (("stance",), "diplomacy", diplomacy.stance)
    assert stance.digest() != diplomacy.digest()
    assert diplomacy.only(["stance", "topic"]) == diplomacy
    for names, message in [([], r"tasks is \(none\)"), (["stance", "stance"], "each once"), (["stanse"], "did you mean 'stance'")]:
        with pytest.raises(UserError, match=message):
            diplomacy.only(names)


def test_a_scheme_survives_the_way_through_plain_data(diplomacy: Scheme) -> None:
    """Bundles store schemes as JSON and read them back unchanged."""
    assert labels.parse(diplomacy.to_dict()) == diplomacy


def test_the_digest_ignores_names_and_definitions(diplomacy: Scheme) -> None:
    """So a corrected translation does not make old runs incomparable."""
    data = diplomacy.to_dict()
    data["tasks"]["stance"]["labels"]["warning"].update(de="Mahnung", en="Caution", definition="Anders gesagt.")
    data["tasks"]["topic"]["de"] = "Sachgebiet"
    assert labels.parse(data).digest() == diplomacy.digest()


def test_the_digest_knows_the_order_of_the_labels() -> None:
    """If the order differs, index 0 is another label."""
    first = labels.parse({"name": "a", "tasks": {"stance": {"labels": ["pro", "contra"]}}})
    second = labels.parse({"name": "a", "tasks": {"stance": {"labels": ["contra", "pro"]}}})
    assert first.digest() != second.digest()


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    """So that one correction is enough."""
    text = """
nam: x
tasks:
  topic: {kind: multiple, labels: [a, a]}
  text: {labels: [a, b]}
  2nd: {labels: [a]}
  stance: {label: [a, b]}
"""
    with pytest.raises(UserError, match="the label scheme has") as caught:
        labels.load(broken(tmp_path, text))
    message = str(caught.value)
    for fault in (
        "unknown key 'nam', did you mean 'name'?",
        "'name' is missing",
        "kind is 'multiple', expected one of single, multi",
        "label 'a' occurs twice",
        "task 'text': this name is reserved",
        "task '2nd': a task's name",
        "task '2nd': 1 labels, a single-label task needs at least 2",
        "task 'stance': unknown key 'label', did you mean 'labels'?",
        "task 'stance': 'labels' is missing",
    ):
        assert fault in message


@pytest.mark.parametrize(
    ("written", "read"), [("no", "False"), ("yes", "True"), ("1", "1"), ("null", "None"), ("2024-01-01", "datetime.date")]
)
def test_a_label_that_yaml_reads_as_something_else_must_be_quoted(tmp_path: Path, written: str, read: str) -> None:
    """YAML reads an unquoted no as false, and 1 as a number; an error is better than a label
    'False'.
    """
    with pytest.raises(UserError, match=rf"label {read}.* write it in quotes"):
        labels.load(broken(tmp_path, f"name: x\ntasks:\n  stance:\n    labels: [{written}, maybe]\n"))


def test_quoted_yes_and_no_are_good_labels(tmp_path: Path) -> None:
    """Quoted values are strings."""
    scheme = labels.load(broken(tmp_path, "name: x\ntasks:\n  stance:\n    labels: ['yes', 'no']\n"))
    assert scheme.stance.ids == ("yes", "no")


def test_a_multi_label_task_may_have_a_single_label(tmp_path: Path) -> None:
    """Whether a single label is present is a valid task."""
    scheme = labels.load(broken(tmp_path, "name: x\ntasks:\n  flags: {kind: multi, labels: [ironic]}\n"))
    assert (scheme["flags"].kind, len(scheme["flags"])) == ("multi", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", r"scheme.yaml, line \d+: not YAML"),
        (b"name: M\xfcll", r"scheme.yaml is not UTF-8 \(byte 7\)"),
        (b"", "a label scheme must be a mapping with 'name' and 'tasks', found null"),
        (b"- a\n- b\n", "found a list"),
        (b"name: x\ntasks: {}\n", "'tasks' is missing or empty"),
    ],
)
def test_a_file_that_is_no_scheme_is_refused_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    """Instead of a traceback."""
    path = tmp_path / "scheme.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        labels.load(path)


def test_a_huge_file_is_no_scheme_and_is_not_read(tmp_path: Path) -> None:
    """Its size is checked first, since parsing the YAML would take minutes."""
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"# x\n" * 300_000)
    with pytest.raises(UserError, match=r"huge\.yaml has 1,200,000 bytes, too large for a label scheme"):
        labels.load(path)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    """A missing file and a directory."""
    with pytest.raises(UserError, match=r"none\.yaml: .*No such file"):
        labels.load(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"(?i)is a directory"):
        labels.load(tmp_path)
