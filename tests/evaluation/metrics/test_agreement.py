"""Agreement of coders: compared with reference libraries, and computed from sheets of coders."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import krippendorff
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from command_line import run_here
from haltung import labels
from haltung.corpus.parsing.rows import Reading
from haltung.corpus.readers.sheet import Sheet
from haltung.errors import UserError
from haltung.evaluation.metrics.agreement import Coefficient, agreement, differing
from haltung.records import Answer, Segment

LABELS = ("1", "2", "4", "9")
STANCES = ("dafür", "dagegen", "neutral")


def scheme(kind: str = "single", ids: tuple[str, ...] = LABELS) -> labels.Scheme:
    """Return a scheme with one task."""
    task = {"kind": kind, "de": "Label", "en": "label", "labels": {id: {"de": id, "en": id} for id in ids}}
    return labels.parse({"name": "own", "version": 1, "tasks": {"label": task}}, "own")


def coded(answers: list[list[Answer]], articles: int = 60) -> Reading:
    """Return a reading of answers, with a row per segment and a column per coder."""
    segments = tuple(Segment(str(n), f"Satz {n}.", article=f"a{n % articles}" if articles else "") for n in range(len(answers)))
    return Reading(segments, (), {str(n): {f"c{at}": {"label": one} for at, one in enumerate(row)} for n, row in enumerate(answers)})


def codes(coders: int, missing: float, seed: int = 1) -> np.ndarray:
    """Return indices of labels, ``[300, coders]``, -1 for missing ones."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, len(LABELS), (300, 1))
    guessed = rng.integers(0, len(LABELS), (300, coders))
    found = np.where(rng.random(guessed.shape) < 0.7, truth, guessed)
    return np.where(rng.random(found.shape) < missing, -1, found)


def answered(found: np.ndarray) -> list[list[Answer]]:
    """Return codes as labels, None for missing ones."""
    return [[LABELS[code] if code >= 0 else None for code in row] for row in found]


def alpha_of(values: np.ndarray) -> float:
    """Return Krippendorff's alpha as computed by the package krippendorff."""
    return float(krippendorff.alpha(reliability_data=values.T, level_of_measurement="nominal"))


@pytest.mark.parametrize(("coders", "missing"), [(2, 0.0), (2, 0.1), (3, 0.0), (4, 0.2)])
def test_the_coefficients_are_those_of_the_libraries(coders: int, missing: float) -> None:
    """Alpha of the task and of a label, and both kappas, also with missing answers."""
    found = codes(coders, missing)
    numbers = np.where(found < 0, np.nan, np.array([float(label) for label in LABELS])[found])
    task = agreement("own", coded(answered(found)), scheme()).tasks["label"]
    assert task.measures["alpha"].value == pytest.approx(alpha_of(numbers))
    assert task.labels["4"]["alpha"].value == pytest.approx(alpha_of(np.where(found < 0, np.nan, found == 2)))
    whole = found[(found >= 0).all(1)]
    kappa = cohen_kappa_score(*whole.T) if coders == 2 else fleiss_kappa(aggregate_raters(whole)[0])
    assert (task.measures["kappa"].value, task.complete) == (pytest.approx(kappa), len(whole))
    assert task.missing == {f"c{at}": count for at, count in enumerate((found < 0).sum(0).tolist())}


def test_shares_are_those_counted_by_hand() -> None:
    """Three of four pairs agree; of five labels "1" in pairs, four agree."""
    task = agreement("own", coded([["1", "1"], ["1", "1"], ["1", "2"], ["2", "2"], ["1", None]]), scheme()).tasks["label"]
    assert (task.n, task.measures["percent"].value) == (4, 0.75)
    assert [task.labels[label]["specific"].value for label in LABELS] == [pytest.approx(4 / 5), pytest.approx(2 / 3), None, None]
    assert task.confusion[0][:2] == (2, 1)
    assert task.confusion[1][:2] == (0, 1)
    assert task.counts == {"c0": (3, 1, 0, 0), "c1": (2, 2, 0, 0)}


def test_several_labels_are_each_taken_against_the_rest() -> None:
    """The task has their mean; a missing answer differs from an answer without labels."""
    found = codes(2, 0.0)
    rows: list[list[Answer]] = [[tuple(LABELS[at] for at in range(4) if code != at) for code in row] for row in found]
    task = agreement("own", coded([*rows, [None, ("1",)]]), scheme("multi")).tasks["label"]
    alphas = [alpha_of((found != at).astype(float)) for at in range(4)]
    assert task.measures["alpha"].value == pytest.approx(np.mean(alphas))
    assert task.measures["kappa"].value == pytest.approx(np.mean([cohen_kappa_score(*(found != at).T) for at in range(4)]))
    assert (task.n, task.missing, task.confusion) == (300, {"c0": 1, "c1": 0}, ())


def test_intervals_are_wider_where_segments_of_an_article_go_together() -> None:
    """With each segment repeated five times, only the bootstrap by article gives wide intervals."""
    rows = answered(codes(2, 0.0)[:60]) * 5

    def width(articles: int) -> float:
        interval = agreement("own", coded(rows, articles), scheme()).tasks["label"].measures["alpha"].interval
        assert interval is not None
        return interval.high - interval.low

    assert width(60) > 1.8 * width(0)


def test_the_course_of_coding_is_that_of_time_else_of_rows() -> None:
    """Each part alone, and all up to it; the last value equals alpha of the task."""
    found = codes(2, 0.0)
    rows = [[LABELS[0]] * 2 if n < 30 and n % 3 else row for n, row in enumerate(answered(found[:150]))]
    reading = coded(rows, articles=150)
    task = agreement("own", reading, scheme()).tasks["label"]
    numbers = np.array([[LABELS.index(str(one)) for one in row] for row in rows])
    assert list(task.course) == list(range(15, 151, 15))
    assert task.course[45]["part"].value == pytest.approx(alpha_of(numbers[30:45]))
    assert task.course[45]["so_far"].value == pytest.approx(alpha_of(numbers[:45]))
    assert task.course[150]["so_far"].value == task.measures["alpha"].value
    assert [part["part"].interval is None for part in task.course.values()] == [False] * 10
    backwards = replace(reading, times={str(n): f"2026-12-{31 - n // 5:02d}" for n in range(150)})
    first = agreement("own", backwards, scheme()).tasks["label"].course[15]
    assert first["part"].value == first["so_far"].value == pytest.approx(alpha_of(numbers[-15:]))
    assert agreement("own", coded(rows[:19]), scheme()).tasks["label"].course == {}


def test_what_is_undefined_has_no_value() -> None:
    """Alpha if all labels are the same, kappa if no segment is coded by all."""
    same = agreement("own", coded([["1", "1"]] * 30), scheme()).tasks["label"]
    assert same.measures["alpha"] == Coefficient(None, None)
    assert same.measures["percent"].value == 1
    apart = agreement("own", coded([["1", "2", None], [None, "1", "1"]] * 10), scheme()).tasks["label"]
    assert (apart.complete, apart.measures["kappa"].value) == (0, None)
    assert apart.measures["alpha"].value is not None


def test_what_divides_coders_most_comes_first() -> None:
    """Ties before majorities, and among ties those of the most confused labels."""
    rows: list[list[Answer]] = [["1", "1", "2"], ["1", "1", "1"], ["2", "4", None], ["1", "9", None], ["9", "1", None]]
    assert differing(coded(rows), scheme()["label"]) == ["3", "4", "2", "0"]


def test_one_coder_agrees_with_nobody() -> None:
    """The message says how to name several coders."""
    with pytest.raises(UserError, match=r"own: no segment has labels of two coders; name their columns, as in coders=\[Anna,Ben\]"):
        agreement("own", coded([["1", None], [None, "2"]]), scheme())


def sheet(folder: Path, seed: int = 3) -> pd.DataFrame:
    """Return 60 sentences on wolves with labels of three coders, one of them incomplete."""
    rng = random.Random(seed)
    rows = []
    for number in range(60):
        stance = rng.choice(STANCES)
        given = [stance if rng.random() < 0.8 else rng.choice(STANCES) for _ in range(3)]
        text = "=1+1" if number == 5 else f"Kreis {number} äußert sich zum Wolf, {rng.choice(['knapp', 'lang', 'laut'])} und {stance}."
        rows.append((text, f"A{number // 3}", given[0], given[1] if number % 9 != 8 else "", given[2]))
    rows[5] = ("=1+1", "A1", "dafür", "dagegen", "neutral")
    frame = pd.DataFrame(rows, columns=["Satz", "Artikel", "Anna", "Ben", "Çem"])
    frame.to_csv(folder / "wolf.csv", sep=";", index=False, encoding="cp1252")
    return frame


def long(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per sentence and coder."""
    parts = [frame[["Satz", "Artikel"]].assign(Item=frame.index, Kodiererin=who, Haltung=frame[who]) for who in ("Anna", "Ben", "Çem")]
    return pd.concat(parts).query("Haltung != ''")


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_sheet_of_coders_becomes_a_page_and_a_sheet_to_settle(language: str, tmp_path: Path) -> None:
    """They agree; the sheet has no formula, is never overwritten, and can be trained on."""
    frame = sheet(tmp_path)
    words = ("agree", "table=wolf.csv", "coders=[Anna,Ben]", "label=Haltung", "settle=rows.xlsx", f"language={language}")
    done = run_here(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    both = frame[frame.Ben != ""]
    folder = tmp_path / "experiments/reports/agreement-wolf_Haltung"
    stored = json.loads((folder / "agreement.json").read_text(encoding="utf-8"))["tasks"]["stance"]
    assert stored["measures"]["percent"]["value"] == pytest.approx((both.Anna == both.Ben).mean())
    page = (folder / "agreement.html").read_text(encoding="utf-8")
    assert "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri" in page
    assert (page.count("data:image/png"), "Krippendorff (2004" in page) == (2, True)
    until, part = list(stored["course"].items())[1]
    assert until == str(stored["n"] * 2 // (stored["n"] // 10))
    ends = f"{part['part']['value']:.3f}", f"{part['so_far']['value']:.3f}"
    assert [end.replace(".", "," if language == "de" else ".") in page for end in ends] == [True, True]
    assert f"<dt>{'Befehl' if language == 'de' else 'command'}</dt>" in page
    assert f"{stored['measures']['alpha']['value']:.3f}".replace(".", "," if language == "de" else ".") in page
    rows = pd.read_excel(tmp_path / "rows.xlsx", engine="calamine", keep_default_na=False)
    open_ = int((both.Anna != both.Ben).sum())
    assert list(rows.columns) == ["id", "text", "article", "Anna", "Ben", "stance", "Çem"]
    assert rows.stance.eq("").tolist() == [True] * open_ + [False] * (60 - open_)
    assert f"{open_} rows at the top of rows.xlsx" in done.stdout
    assert "=1+1" in rows.text[:open_].tolist()
    done = run_here(*words, cwd=tmp_path)
    assert (done.returncode, "an existing one may contain decisions" in done.stderr) == (2, True)
    rows.loc[: open_ - 1, "stance"] = "neutral"
    rows.to_excel(tmp_path / "settled.xlsx", index=False, engine="xlsxwriter", engine_kwargs={"options": {"strings_to_formulas": False}})
    decided = Sheet(str(tmp_path / "settled.xlsx"), coders=["Anna", "Ben"], label=["stance"])
    decided.draft(str(tmp_path / "again.yaml"), "again")
    found = decided.read(labels.load(tmp_path / "again.yaml"))
    assert [segment.labels["stance"] for segment in found.segments[:open_]] == ["neutral"] * open_
    assert run_here("prepare", "table=settled.xlsx", "label=[stance]", cwd=tmp_path).returncode == 0


def test_a_row_for_each_coder_is_the_same_as_a_column(tmp_path: Path) -> None:
    """It is recognised by a column of coders and one of ids."""
    frame = sheet(tmp_path)
    long(frame).to_csv(tmp_path / "long.csv", index=False)
    wide, tall = Sheet(str(tmp_path / "wolf.csv"), coders=["Anna", "Ben", "Çem"], annotators="first"), Sheet(str(tmp_path / "long.csv"))
    wide.draft(str(tmp_path / "wide.yaml"), "wide")
    tall.draft(str(tmp_path / "tall.yaml"), "tall")
    first = agreement("own", wide.read(labels.load(tmp_path / "wide.yaml")), labels.load(tmp_path / "wide.yaml"))
    reading = Sheet(str(tmp_path / "long.csv"), annotators="first").read(labels.load(tmp_path / "tall.yaml"))
    second = agreement("own", reading, labels.load(tmp_path / "tall.yaml"))
    assert first.coders == second.coders
    assert first.tasks["label"] == second.tasks["stance"]


@pytest.mark.parametrize("table", ["wolf.csv", "long.csv"])
def test_coders_who_differ_are_settled_as_told(table: str, tmp_path: Path) -> None:
    """A majority wins, ties are dropped with a reason, and without a setting the command stops."""
    frame = sheet(tmp_path)
    long(frame).to_csv(tmp_path / "long.csv", index=False)
    words = ("prepare", f"table={table}", *(["coders=[Anna,Ben,Çem]"] if table == "wolf.csv" else []), "corpus.rules.near=0")
    done = run_here(*words, cwd=tmp_path)
    rows = sum(len(set(filter(None, row))) > 1 for row in frame[["Anna", "Ben", "Çem"]].to_numpy().tolist())
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, f"haltung: {table} has faults in {rows} rows; marked in" in last) == (2, True)
    assert (tmp_path / table.replace(".csv", ".faults.xlsx")).is_file()
    assert "3 annotators disagree on" in done.stderr
    assert "set annotators=majority, first or soft" in done.stderr
    done = run_here(*words, "annotators=majority", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "data/prepared" / table.partition(".")[0]
    dropped = [json.loads(line) for line in (folder / "dropped.jsonl").read_text(encoding="utf-8").splitlines()]
    given = [[one for one in row if one] for row in frame[["Anna", "Ben", "Çem"]].to_numpy().tolist()]
    ties = sum(len(set(row)) == len(row) for row in given)
    assert [one["reason"] for one in dropped] == ["disagreement"] * ties
    assert ties > 0
    numbers = frame[["Anna", "Ben", "Çem"]].replace({"": np.nan, **{name: at for at, name in enumerate(STANCES)}}).to_numpy(float)
    told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["agreement"]
    (task,) = told.pop("tasks").values()
    assert told == {"coders": 3, "settled": "majority", "decided": False, "alone": False}
    assert (task["n"], task["value"]) == (60, pytest.approx(alpha_of(numbers)))
    assert task["interval"]["low"] < task["value"] < task["interval"]["high"]
    prepared = pd.concat(pd.read_parquet(folder / f"{split}.parquet") for split in ("train", "dev", "test"))
    found: Mapping[str, str] = dict(zip(prepared.text, prepared["label" if table == "wolf.csv" else "stance"], strict=True))
    assert len(found) == 60 - ties
    assert all(row.count(found[text]) * 2 > len(row) for text, row in zip(frame.Satz, given, strict=True) if text in found)


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ("Satz;Anna;Ben\nJa.;pro;contra\nNein.;contra;pro", ["coders=[Anna,Bn]"], r"coders is 'Bn', did you mean 'Ben'\?"),
        ("Satz;Anna;Ben\nJa.;pro;\nNein.;;contra", ["coders=[Anna,Ben]"], "no segment has labels of two coders"),
        ("Satz;Coder;Label\nJa.;A;pro\nJa.;B;contra", [], "no segment has labels of two coders.*columns called Coder and ID"),
        ("ID;Satz;Coder;Label\na;Ja.;A;pro\na;Ja.;A;contra", [], r"line 3: the id 'a' has no coder here, or 'A' twice, or a changed text"),
        ("ID;Satz;Coder;Label\na;Ja.;A;pro\na;Nein.;B;contra", [], r"line 3: the id 'a' has .* a changed text"),
        ("ID;Satz;Coder;Label\na;Ja.;A;pro\na;Ja.;;contra", [], r"line 3: the id 'a' has no coder here"),
        (
            "ID;Satz;Coder;Code\na;Ja.;A;pro\na;Ja.;B;contra",
            ["label=Cod"],
            "label is 'Cod', did you mean 'Code'.*choose from ID, Satz, Coder",
        ),
        ("Satz;A;B\nJa.;pro;contra", ["coders=[A,B]", "settle=rows.csv"], "settle=rows.csv: expected a new file that ends with .xlsx"),
    ],
)
def test_a_mistake_gets_one_sentence(rows: str, words: list[str], message: str, tmp_path: Path) -> None:
    """The message says what was found and what to do, and nothing is written."""
    (tmp_path / "a.csv").write_text(rows + "\n", encoding="utf-8")
    done = run_here("agree", "table=a.csv", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    with pytest.raises(UserError, match=message):
        raise UserError(done.stderr.strip())
    assert not (tmp_path / "experiments").exists()


def test_one_row_is_told_with_its_cautions(tmp_path: Path) -> None:
    """It has no interval, and the output says why."""
    (tmp_path / "a.csv").write_text("Satz;A;B\nJa.;pro;contra\n", encoding="utf-8")
    done = run_here("agree", "table=a.csv", "coders=[A,B]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "No segment names an article" in told
    assert "Only 1 segments are drawn from: below 20" in told
