"""The comparison with other tools: their input, how their runs are measured and stored, and their
scores.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest

import tiny
from haltung.corpus.clean import CleaningRules
from haltung.corpus.parsing.rows import Reading
from haltung.corpus.prepare import prepare
from haltung.corpus.split import Given
from haltung.corpus.store import Prepared
from haltung.errors import UserError
from haltung.labels import Scheme
from haltung.records import Segment

NAMES = ("train", "dev", "test")


@dataclass(frozen=True)
class Fixed:
    """A reader of segments made in the test."""

    segments: tuple[Segment, ...]

    def read(self, scheme: Scheme) -> Reading:
        """Return the given segments."""
        return Reading(self.segments)

    def files(self) -> tuple[Path, ...]:
        """Return no files."""
        return ()


def _prepared(work: Path, segments: Sequence[Segment]) -> Prepared:
    # Sentences from so few words have duplicates.
    rules = CleaningRules(exact=False, near=0, conflicts="keep", leakage=False)
    return prepare("tiny", Fixed(tuple(segments)), tiny.scheme(), rules, Given(), work / "data" / "prepared")


def _segments() -> list[Segment]:
    return [replace(one, split=name) for seed, name in enumerate(NAMES) for one in tiny.segments(120, seed=seed, articles=12)]


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch, root: Path) -> dict[str, ModuleType]:
    """The modules of the benchmark, which is not a package."""
    monkeypatch.syspath_prepend(root / "benchmarks" / "peers")
    found = {name: importlib.import_module(name) for name in ("run", "table", "export", "results")}
    monkeypatch.setitem(found["run"].TASKS, "tiny", ("stance",))
    return found


@pytest.fixture
def work(tmp_path: Path, peers: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder with an exported tiny corpus; peers run in the environment of the tests."""
    peers["export"].write_splits(_prepared(tmp_path, _segments()), tmp_path / "splits" / "tiny")
    monkeypatch.setattr(peers["run"], "environment", lambda peer, work: Path(sys.executable))
    return tmp_path


@pytest.fixture
def done(work: Path, peers: dict[str, ModuleType]) -> Path:
    """The same after scikit-learn has run with one seed."""
    assert peers["run"].perform(peers["run"].Job("sklearn", "tiny", "stance", 1), work, work / "results", threads=1)
    return work


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_peer_is_given_the_very_splits_with_every_label(work: Path) -> None:
    """Peers get the same segments as Haltung, in the same order."""
    from haltung.corpus.store import load

    ready = load(work / "data" / "prepared" / "tiny")
    for name in NAMES:
        rows = _rows(work / "splits" / "tiny" / f"{name}.jsonl")
        columns = ("id", "text", "context", "article", "position", "headline")
        expected = [(*(getattr(one, column) for column in columns), one.labels["stance"]) for one in ready.segments(name)]
        assert [tuple(row[column] for column in (*columns, "stance")) for row in rows] == expected


def test_a_segment_without_a_label_is_not_given_to_peers(tmp_path: Path, peers: dict[str, ModuleType]) -> None:
    """A tool without support for missing labels would learn "None" as a label."""
    bare = [replace(one, labels={**one.labels, "stance": None}) if place == 7 else one for place, one in enumerate(_segments())]
    with pytest.raises(UserError, match="has no stance; the peers need every label"):
        peers["export"].write_splits(_prepared(tmp_path, bare), tmp_path / "splits" / "tiny")


def test_a_run_says_what_it_took(done: Path, peers: dict[str, ModuleType]) -> None:
    """CPU time, wall time and peak memory of the peer's own process, and the machine."""
    cost = peers["results"].read(done / "results" / "tiny" / "stance" / "sklearn-1.json").cost
    assert cost.cpu_seconds > 0.1
    assert cost.peak_bytes > 20e6
    assert "cores" in cost.machine


def test_a_finished_run_is_not_run_again(done: Path, peers: dict[str, ModuleType]) -> None:
    """So a killed comparison resumes where it stopped."""
    run = peers["run"]
    job = run.Job("sklearn", "tiny", "stance", 1)
    before = (job.folder(done) / "output.txt").stat().st_mtime_ns
    assert run.perform(job, done, done / "results", threads=1)
    assert (job.folder(done) / "output.txt").stat().st_mtime_ns == before


def test_a_failed_run_counts_as_not_done(work: Path, peers: dict[str, ModuleType], capfd: pytest.CaptureFixture[str]) -> None:
    """The failure is reported with the path of its output, and there is no result."""
    run = peers["run"]
    job = run.Job("sklearn", "tiny", "mood", 1)
    assert not run.perform(job, work, work / "results", threads=1)
    assert not job.result(work / "results").exists()
    assert "sklearn tiny mood seed 1: failed with exit code 1; see" in capfd.readouterr().err


def test_all_systems_are_scored_by_the_same_figures(done: Path, peers: dict[str, ModuleType]) -> None:
    """Macro-F1 and accuracy equal scikit-learn's on the peer's predictions."""
    from sklearn.metrics import accuracy_score, f1_score

    found = peers["table"].tabulate(done, done / "results", "tiny", "stance")
    gold = [row["stance"] for row in _rows(done / "splits" / "tiny" / "test.jsonl")]
    said = [row["stance"] for row in _rows(done / "runs" / "sklearn" / "tiny" / "stance" / "1" / "predictions.jsonl")]
    assert found.rows[0].macro_f1["tiny"].value == pytest.approx(f1_score(gold, said, average="macro"))
    assert found.rows[0].accuracy == pytest.approx(accuracy_score(gold, said))


def test_a_peer_that_says_the_same_is_not_told_apart(done: Path, peers: dict[str, ModuleType]) -> None:
    """Haltung against its own answers: difference 0; missing seeds are named with their command."""
    results = done / "results"
    ours, theirs = (peers["run"].Job(*words, 1).result(results) for words in (("haltung", "tiny", "all"), ("sklearn", "tiny", "stance")))
    peers["results"].write(ours, peers["results"].read(theirs))
    found = peers["table"].tabulate(done, results, "tiny", "stance")
    assert [(pair.peer, pair.macro_f1.value, pair.verdict) for pair in found.pairs] == [("sklearn", 0.0, "not distinguishable")]
    told = peers["table"].markdown(found)
    assert "`sklearn` 2, 3;" in told
    assert "`python benchmarks/peers/run.py --corpora tiny --tasks stance` makes them." in told


def test_an_unanswered_segment_is_an_error(done: Path, peers: dict[str, ModuleType]) -> None:
    """So peers can't improve their scores by omitting hard segments."""
    ids = [row["id"] for row in peers["run"].tested(done / "splits" / "tiny")]
    path = done / "runs" / "sklearn" / "tiny" / "stance" / "1" / "predictions.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match=f"no answer for 1 of {len(ids)} segments, the first of them {ids[0]}"):
        peers["results"].answers(path, ids, ["stance"])
    path.write_text("".join([*lines, lines[0]]))
    with pytest.raises(ValueError, match=f"line {len(lines) + 1}: the id '{ids[0]}' has been answered before"):
        peers["results"].answers(path, ids, ["stance"])


def test_a_run_that_answers_in_part_counts_as_not_done(
    work: Path, peers: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It leaves no result, and the fault is reported."""
    script = tmp_path / "peer.py"
    script.write_text('import sys, pathlib\npathlib.Path(sys.argv[2]).write_text(\'{"id": "x"}\\n\')\n')
    monkeypatch.setattr(peers["run"], "script", lambda peer: script)
    job = peers["run"].Job("sklearn", "tiny", "stance", 1)
    assert not peers["run"].perform(job, work, work / "results", threads=1)
    assert not job.result(work / "results").exists()
    assert "line 1: expected a row with id and stance, found one without stance" in capfd.readouterr().err


def test_a_finished_run_is_held_against_always_saying_the_commonest_label(peers: dict[str, ModuleType]) -> None:
    """A peer below that baseline is recognised at once."""
    told = peers["run"].sanity("stance", ["a", "a", "b", "c"], ["a", "b", "a", "a"])
    assert told == "stance 0.250 right, always the commonest label 0.750"


def test_a_result_is_kept_whole_in_a_small_file(done: Path, peers: dict[str, ModuleType]) -> None:
    """One character per answer, from which the peer's answers are restored; other files are refused
    by name.
    """
    path = done / "results" / "tiny" / "stance" / "sklearn-1.json"
    kept = peers["results"].read(path)
    rows = _rows(done / "runs" / "sklearn" / "tiny" / "stance" / "1" / "predictions.jsonl")
    assert list(kept.said["stance"]) == [row["stance"] for row in rows]
    assert path.stat().st_size < 1000 + len(rows)
    path.write_text('{"tasks": {}}')
    with pytest.raises(ValueError, match=r"is no result of run\.py .*delete it, and run the peer again"):
        peers["results"].read(path)


def test_a_result_of_another_test_split_is_refused(done: Path, peers: dict[str, ModuleType]) -> None:
    """Stored answers have no ids but positions, so the test split has to be the same."""
    path = done / "results" / "tiny" / "stance" / "sklearn-1.json"
    peers["results"].write(path, replace(peers["results"].read(path), ids="0123456789abcdef"))
    with pytest.raises(UserError, match="of another test split than the one that is prepared"):
        peers["table"].tabulate(done, done / "results", "tiny", "stance")


def test_every_peer_has_a_script_and_pins_its_versions(peers: dict[str, ModuleType]) -> None:
    """So a row of the table can be reproduced with the same releases."""
    run = peers["run"]
    for peer in set(run.SYSTEMS) - set(run.OURS):
        wanted = (run.HERE / f"requirements-{peer}.txt").read_text().split()
        assert run.script(peer).is_file(), peer
        assert wanted, peer
        assert all("==" in one for one in wanted), peer


def test_lines_are_counted_without_comments_and_docstring(peers: dict[str, ModuleType], tmp_path: Path, monkeypatch) -> None:
    """Only code counts as what a user has to write."""
    path = tmp_path / "peer.py"
    path.write_text('"""What it is.\n\nAnd more.\n"""\n\n# why\nimport json\n\nprint(json)  # so\n')
    monkeypatch.setattr(peers["run"], "script", lambda peer: path)
    assert peers["run"].lines("any") == 2


def test_the_page_gets_the_tables_between_its_marks(root: Path, tmp_path: Path, peers: dict[str, ModuleType]) -> None:
    """Text around the tables is kept; pages without markers are refused."""
    table, page = peers["table"], tmp_path / "page.md"
    page.write_text("before\nafter\n")
    program = [sys.executable, root / "benchmarks" / "peers" / "table.py", "--work", tmp_path, "--page", page]
    refused = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (refused.returncode, page.read_text()) == (2, "before\nafter\n")
    assert "the page has no place for the tables" in refused.stderr
    kept = table.replaced(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", "new")
    assert kept == f"before\n{table.BEGIN}\n\nnew\n{table.END}\nafter\n"


def test_haltung_learns_all_tasks_in_one_training_and_a_peer_one_in_each(peers: dict[str, ModuleType]) -> None:
    """All systems run with the first seed before any runs with the second."""
    found = list(peers["run"].jobs(["sklearn", "haltung"], ["real_news"], ["stance", "topic"], [1, 2]))
    first = [("sklearn", "stance", 1), ("sklearn", "topic", 1), ("haltung", "all", 1)]
    assert [(job.peer, job.task, job.seed) for job in found] == first + [(peer, task, 2) for peer, task, _ in first]


def test_a_share_of_train_is_the_part_that_haltung_trains_on(work: Path, peers: dict[str, ModuleType]) -> None:
    """Peers get the articles that ``haltung train share=`` draws with the same seed, and all of dev
    and test.
    """
    from haltung.corpus.store import load
    from haltung.corpus.stratify import subsample

    ready = load(work / "data" / "prepared" / "tiny")
    job = peers["run"].Job("sklearn", "tiny", "stance", 3, 0.25)
    peers["export"].write_splits(ready, job.splits(work), 0.25, 3)
    found = {name: [row["id"] for row in _rows(job.splits(work) / f"{name}.jsonl")] for name in NAMES}
    assert found["train"] == [one.id for one in subsample(ready.segments("train"), 0.25, 3)]
    assert 0 < len(found["train"]) < len(ready.segments("train")) / 2
    assert {name: found[name] for name in ("dev", "test")} == {name: [one.id for one in ready.segments(name)] for name in ("dev", "test")}


def test_runs_on_a_share_have_a_table_of_their_own(done: Path, peers: dict[str, ModuleType]) -> None:
    """They are not mixed with runs on the whole train split; commands for missing runs name the
    share.
    """
    from haltung.corpus.store import load

    run, table = peers["run"], peers["table"]
    job = run.Job("sklearn", "tiny", "stance", 1, 0.25)
    peers["export"].write_splits(load(done / "data" / "prepared" / "tiny"), job.splits(done), 0.25, 1)
    results = done / "results"
    assert run.perform(job, done, results, threads=1)
    assert table.shares(results, "tiny") == [1.0, 0.25]
    found = {share: table.tabulate(done, results, "tiny", "stance", share) for share in (1.0, 0.25)}
    assert found[1.0].rows[0].macro_f1["tiny"].value > found[0.25].rows[0].macro_f1["tiny"].value
    told = table.markdown(found[0.25])
    assert "`tiny`, trained on 0.25 of it, stance" in told
    assert "--corpora tiny --tasks stance --share 0.25` makes them" in told
