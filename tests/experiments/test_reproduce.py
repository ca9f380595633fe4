"""``reproduce``: training a run again from its record, what is compared, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from command_line import run_here, store_in
from haltung import tracking
from haltung.errors import UserError
from haltung.tracking import Store
from haltung.tracking.read import list_runs
from haltung.tracking.reproduction import Reproduction, trainings
from tiny import segments


@contextmanager
def _tagged(home: Path, name: str, values: Mapping[str, str]) -> Iterator[None]:
    """Replace tags of a run within the block."""
    record = tracking.find(store_in(home), name)
    try:
        tracking.attach(record).tags(values)
        yield
    finally:
        tracking.attach(record).tags({key: record.tags.get(key, "") for key in values})


@pytest.mark.slow
def test_a_run_is_reproduced_to_the_bit(linear_home: Path) -> None:
    """A new run on the same share of train names the old one and stores the comparison."""
    done = run_here("reproduce", "run=plain-0.5-1", cwd=linear_home)
    assert done.returncode == 0, done.stderr + done.stdout
    old, new = (tracking.find(store_in(linear_home), name) for name in ("plain-0.5-1", "plain-0.5-again-1"))
    assert new.tags["haltung.reproduces"] == old.id
    found = json.loads(tracking.artifact(new, "reproduction.json").read_text(encoding="utf-8"))
    assert (found["run"], found["reproduces"], found["differences"]) == (new.id, old.id, {})
    assert found["weights"][0] == found["weights"][1]
    assert found["figures"]["dev/stance_macro_f1"][0] == old.metrics["dev/stance_macro_f1"]
    assert all(then == now for then, now in found["figures"].values())
    assert found["labels"] == {"dev/topic": 0, "dev/stance": 0}


@pytest.mark.slow
def test_figures_that_are_not_those_of_the_training_are_found(linear_home: Path) -> None:
    """A metric was changed in the store; with anyway=true, other code is allowed but reported."""
    record = tracking.find(store_in(linear_home), "plain-0.5-2")
    figure = record.metrics["dev/stance_macro_f1"]
    try:
        tracking.attach(record).metrics({"dev": {"stance_macro_f1": figure - 0.125}})
        with _tagged(linear_home, record.id, {"haltung.code": "0" * 64, "haltung.version.numpy": "1.0"}):
            done = run_here("reproduce", "run=plain-0.5-2", "anyway=true", cwd=linear_home)
    finally:
        tracking.attach(record).metrics({"dev": {"stance_macro_f1": figure}})
    assert done.returncode == 1, done.stderr
    for told in ("since code was 00000", "since version.numpy was 1.0 and is ", "+0.12", "not reproduced, weights equal to the bit"):
        assert told in done.stdout


@pytest.mark.slow
def test_other_data_are_refused_by_their_digests(linear_home: Path) -> None:
    """Both digests are named, and nothing is trained."""
    path = linear_home / "texts.jsonl"
    before = path.read_text(encoding="utf-8")
    then = tracking.find(store_in(linear_home), "plain-1").tags["haltung.corpus_digest"]
    try:
        path.write_text(before.replace(" am 3. Mai ", " am 4. Juni "), encoding="utf-8")
        done = run_here("reproduce", "run=plain-1", "prepared=elsewhere", cwd=linear_home)
        now = json.loads((linear_home / "elsewhere/jsonl/manifest.json").read_text(encoding="utf-8"))["digest"]
    finally:
        path.write_text(before, encoding="utf-8")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"corpus_digest was {then[:40]} and is {now[:40]}" in done.stderr
    assert "restore source" in done.stderr
    assert now != then
    assert list_runs(store_in(linear_home), name="plain-again") == []


@pytest.mark.slow
def test_other_code_is_refused_with_its_commit(linear_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In a process with the run's number of threads, which is not the current one here."""
    other = {"haltung.code": "0" * 64, "haltung.hardware.threads": "3", "haltung.git.commit": "1" * 40, "haltung.git.dirty": "false"}
    with _tagged(linear_home, "plain-2", other):
        done = run_here("reproduce", "run=plain-2", cwd=linear_home)
    told = capfd.readouterr().err
    assert (done.returncode, told.count("\n")) == (2, 1), told
    assert "code was 0000" in told
    assert f"git checkout {'1' * 40}" in told


@pytest.mark.slow
def test_seeds_and_folds_are_their_trainings_and_other_runs_are_refused(linear_home: Path) -> None:
    """Their trainings are found one by one; the message for other runs names their kind."""
    store = store_in(linear_home)
    parents = (tracking.find(store, "cv-folds-42"), list_runs(store, kind="seeds")[-1])
    names = [[one.name for one in trainings(parent)] for parent in parents]
    assert names == [["cv-fold-1-42", "cv-fold-2-42", "cv-fold-3-42"], ["plain-1", "plain-2"]]
    with (
        _tagged(linear_home, "plain-2", {"haltung.kind": "compare"}),
        pytest.raises(UserError, match=r"plain-2 \(compare\) can't be reproduced"),
    ):
        trainings(tracking.find(store, "plain-2"))


@pytest.mark.slow
def test_a_fold_is_made_anew_in_the_language_asked_for(linear_home: Path) -> None:
    """On the rows of the cross-validation; table, numbers and verdict are in German."""
    done = run_here("reproduce", "run=part-fold-2-42", "language=de", cwd=linear_home)
    assert done.returncode == 0, done.stderr + done.stdout
    old, new = (tracking.find(store_in(linear_home), name) for name in ("part-fold-2-42", "part-fold-2-again-42"))
    assert new.tags["haltung.reproduces"] == old.id
    assert f"Lauf {new.id}: {old.name} ist reproduziert, Gewichte aufs Bit gleich\n" in done.stdout
    assert re.search(r"Kennzahlen +damals +jetzt +Änderung", done.stdout)
    assert re.search(r"dev/stance_log_loss +\d,\d+ +\d,\d+ +\+0 *\n", done.stdout)


@pytest.mark.slow
def test_a_sheet_is_read_again_by_the_scheme_that_was_drafted_from_it(tmp_path: Path, new_store: Callable[[Path], Store]) -> None:
    """With an additional row, it is another corpus."""
    new_store(tmp_path)
    sheet, rows = tmp_path / "sheet.csv", [f"{one.text};{one.labels['stance']};{one.article}" for one in segments(80, articles=20)]
    sheet.write_text("\n".join(["Satz;Haltung;Artikel", *rows]), encoding="utf-8")
    trained = run_here("train", "table=sheet.csv", "label=Haltung", "model=linear", "folds=1", "name=sheet", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    done = run_here("reproduce", "run=sheet-42", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "sheet-42 is reproduced, weights equal to the bit" in done.stdout
    sheet.write_text("\n".join(["Satz;Haltung;Artikel", *rows, "Neu ist das.;support;neu"]), encoding="utf-8")
    other = run_here("reproduce", "run=sheet-42", cwd=tmp_path)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1), other.stderr
    assert "corpus_digest was " in other.stderr


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("tolerance=-0.01", "tolerance is -0.01: input should be greater than or equal to 0"),
        ("tolerance=no", "tolerance is 'no', expected a number"),
    ],
)
def test_a_tolerance_is_no_negative_number(word: str, told: str, tmp_path: Path) -> None:
    """It is checked before the store is opened."""
    done = run_here("reproduce", "run=x", word, cwd=tmp_path)
    assert (done.returncode, told in done.stderr, list(tmp_path.iterdir())) == (2, True, []), done.stderr


@pytest.mark.parametrize(
    ("now", "tolerance", "within"), [(0.5, 0.0, False), (0.5, 0.01, True), (0.52, 0.01, False), (float("nan"), 0.01, False)]
)
def test_a_tolerance_is_for_figures_and_for_other_weights(now: float, tolerance: float, within: bool) -> None:
    """Without a tolerance, other weights are not reproduced, whatever the figures."""
    result = Reproduction("new", "old", {}, ("a", "b"), {"dev/stance_macro_f1": (0.5, now)}, {})
    assert result.within(tolerance) is within
