"""The methods section of a run: its numbers are the run's; three formats and two languages."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import docx
import pytest
import yaml

from command_line import LINEAR, find_run, run_here, write_corpus
from haltung.corpus.store import Manifest
from haltung.errors import UserError
from haltung.evaluation.metrics.dyads import WHOLE, Match
from haltung.evaluation.report.i18n import count, estimate, number
from haltung.evaluation.statistics.bootstrap import Interval
from haltung.experiments.methods import _dyads, methods
from haltung.models import bundle
from haltung.records import read_record
from haltung.tracking import RunRecord, Store, bundle_folder, children

ROOT = Path(__file__).resolve().parents[2]
CODED = ("table=codes.csv", "coders=[Anna,Ben]", "label=Haltung")
DYADS = (Match(4, 4, 2, Interval(0.25, 0.75)), Match(4, 4, 4, Interval(0.5, 1.0)))
NUMBER = re.compile(r"(?<![\w.,-])−?\d+(?:[.,]\d+)*(?![\w-])")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], Store]) -> Path:
    """A folder with two seeds and two cross-validations, evaluated and compared, and two trainings
    that were not evaluated on test, one with labels of two coders.
    """
    folder = tmp_path_factory.mktemp("methods")
    segments = map(json.loads, write_corpus(folder, 240).read_text(encoding="utf-8").splitlines())
    rows = ["Satz;Artikel;Anna;Ben"]
    for at, one in enumerate(segments):
        other = "threat" if one["stance"] == "neutral" else "neutral"
        rows.append(f"{one['text']};{one['article']};{one['stance']};{one['stance'] if at % 6 else other}")
    (folder / "codes.csv").write_text("\n".join(rows), encoding="utf-8")
    new_store(folder)
    for words in (
        ("train", *LINEAR, "name=own", "seed=1,2", "folds=1"),
        ("train", *LINEAR, "name=fresh", "folds=1"),
        ("train", *LINEAR, "name=cv", "folds=2"),
        ("train", *LINEAR, "name=part", "folds=2", "corpus.tasks=[stance]"),
        ("train", *CODED, "annotators=majority", "corpus.rules.near=0", "model=linear", "name=coded", "folds=1"),
        ("evaluate", "run=own", "split=test", "error_analysis=false"),
        ("compare", "runs=[own-1,own-2]"),
        ("compare", "runs=[cv-folds-42,part-folds-42]", "split=folds", "correction=none"),
    ):
        done = run_here(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def _leaves(value: object) -> Iterator[object]:
    """Yield the values of nested data, the sums of counts, and the sizes of lists and mappings."""
    if isinstance(value, dict | list):
        members = list(value.values()) if isinstance(value, dict) else value
        yield len(members)
        if members and all(isinstance(one, int) for one in members):
            yield sum(members)
        for one in members:
            yield from _leaves(one)
    else:
        yield value


def _stored(home: Path, run: RunRecord) -> set[str]:
    """Return all values stored with a run, its children and comparisons, as formatted in papers."""
    records = [run, *children(run)]
    folders = [home / "experiments/artifacts" / record.id for record in records]
    folders += [path.parents[1] for path in (home / "experiments/artifacts").rglob("comparison/comparison.json")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".json", ".yaml")]
    members = [record for record in records if "haltung.bundle" in record.tags]
    files += [bundle_folder(record) / "haltung.json" for record in members]
    read = {".json": json.loads, ".yaml": yaml.safe_load}
    values = [one for path in files for one in _leaves(read[path.suffix](path.read_text(encoding="utf-8")))]
    out = {"95", str(len(members)), *(str(value) for record in records for value in record.tags.values())}
    for value in [*values, *(value for record in records for value in record.metrics.values())]:
        if isinstance(value, int | float):
            out |= {number(value), number(abs(value)), f"{value:g}", str(value)}
            out |= {count(int(value))} if float(value).is_integer() else set()
    return out


@pytest.mark.parametrize("name", ["own-1", "own", "cv-folds-42", "part-folds-42", "coded-42"])
def test_every_number_is_stored_with_the_run(home: Path, name: str) -> None:
    """For one training, two seeds and a cross-validation; years of references are excepted."""
    run = find_run(home, name)
    text, stored = methods(run), _stored(home, run)
    body = re.sub(r"\([^()]*(?:et al\.|[A-Z][a-z]+), (?:19|20)\d\d[^()]*\)", "", text.partition("## References")[0])
    software = re.search(r"## Software\n(.*?)\n## ", body, re.DOTALL)[1]
    found = NUMBER.findall(body.replace(software, ""))
    assert len(found) > 15
    assert [one for one in found if one.replace(",", "") not in stored and one not in stored] == []
    for key in ("haltung.version.haltung", "haltung.version.python", "haltung.version.scikit-learn"):
        assert run.tags[key] in software


def test_seeds_give_mean_and_spread_and_folds_their_own(home: Path) -> None:
    """For seeds, with the interval of the mean that the evaluation has stored."""
    assert re.search(r"\| Stance \| test \|.* ± \d\.\d{3} \[", methods(find_run(home, "own")), re.IGNORECASE)
    text = methods(find_run(home, "cv-folds-42"))
    assert "2-fold cross-validation" in text
    assert "standard deviation across folds" in text
    assert "without correction for multiple testing" in text
    assert "minus *part-folds-42*" in text
    assert "minus *part-folds-42*" in methods(dataclasses.replace(find_run(home, "cv-folds-42"), name="renamed"))


def test_dyads_of_several_runs_have_mean_and_deviation() -> None:
    """A single run has an interval; if a run has no dyads, there is no result."""
    one, other, none = (SimpleNamespace(dyads=found and SimpleNamespace(parts={WHOLE: found})) for found in (*DYADS, None))
    assert _dyads([one]).interval == DYADS[0].interval
    assert (_dyads([one, other]).mean, _dyads([one, other]).interval) == (0.75, None)
    assert _dyads([one, none]) is None


def test_the_source_of_each_split_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Including additional sources of train; articles with one segment count as articles."""

    def given(path: Path, kind: type, *more: object) -> object:
        found = read_record(path, kind, *more)
        split = {"kind": "Given", "dev": 0.1, "seed": 42}
        return dataclasses.replace(found, articles=found.segments, split=split) if kind is Manifest else found

    monkeypatch.setattr("haltung.experiments.methods.read_record", given)
    monkeypatch.setattr(RunRecord, "config", {"corpus": {"reader": {"beside": ["texts"]}}})
    text = methods(find_run(home, "fresh-42"))
    assert "240 segments of text from 240 articles" in text
    assert "so is the development set, if the source has one; otherwise" in text
    assert "Part of the training set comes from other sources" in text
    assert "Ein Teil der Trainingsmenge stammt aus weiteren Quellen" in methods(find_run(home, "fresh-42"), "de")


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_agreement_of_coders_is_that_of_the_source(home: Path, language: str) -> None:
    """Including segments dropped for disagreement; without coders, the author has to add it."""
    done = run_here("agree", *CODED, "output=agreed", cwd=home)
    assert done.returncode == 0, done.stderr
    stored = json.loads((home / "agreed/agreement.json").read_text(encoding="utf-8"))["tasks"]["stance"]
    alpha, interval = stored["measures"]["alpha"]["value"], Interval(**stored["measures"]["alpha"]["interval"])
    text, asked = methods(find_run(home, "coded-42"), language), {"en": "with what agreement", "de": "mit welcher Übereinstimmung"}
    assert f"{estimate(alpha, interval, language)} (Haltung, 240 " in text
    assert {"en": "by 2 coders", "de": "haben 2 Kodierende"}[language] in text
    assert {"en": "40 (annotators differ", "de": "40 (die Kodierenden sind uneins"}[language] in text
    assert {"en": "segments without a majority were excluded", "de": "Segmente ohne Mehrheit wurden ausgeschlossen"}[language] in text
    assert "Krippendorff, K. (2004)" in text
    assert asked[language] not in text
    assert asked[language] in methods(find_run(home, "fresh-42"), language)


@pytest.mark.parametrize(
    ("found", "english", "german"),
    [
        ({"settled": "soft"}, "differed, the model was trained on the shares of", "unterschieden, wurde mit den Anteilen ihrer"),
        ({"settled": "first"}, "differed, the label of the coder who comes first", "unterschieden, galt das Label der Person"),
        ({"settled": "first", "decided": True}, "otherwise the label of the coder", "sonst galt das Label der Person"),
        ({"settled": "error", "decided": True}, "differed, the decision recorded in the data", "unterschieden, galt die in den Daten"),
        ({"settled": "error"}, "(Haltung, 240 segments). Brackets", "(Haltung, 240 Segmente). In eckigen"),
        ({"alone": True}, "from a bootstrap over segments.", "nach einem Bootstrap über Segmente."),
        ({"tasks": {"stance": {"n": 240, "value": None, "interval": None}}}, "was not defined (Haltung,", "nicht definiert (Haltung,"),
    ],
)
def test_how_coders_are_settled_is_said(
    home: Path, found: dict[str, object], english: str, german: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded decisions come first, if the source has any."""

    def changed(path: Path, kind: type, *more: object) -> object:
        read = read_record(path, kind, *more)
        return dataclasses.replace(read, agreement={**read.agreement, **found}) if kind is Manifest else read

    monkeypatch.setattr("haltung.experiments.methods.read_record", changed)
    run = find_run(home, "coded-42")
    english_text, german_text = methods(run), methods(run, "de")
    assert english in english_text
    assert german in german_text
    said = "Where coders differed" in english_text, "Wo Kodierende sich" in german_text
    assert said == ((found != {"settled": "error"},) * 2)


def test_a_test_split_that_was_not_opened_is_not_hidden(home: Path) -> None:
    """The text also says that results on dev are optimistic."""
    text = methods(find_run(home, "fresh-42"))
    assert "The test set has not been evaluated" in text
    assert "results on it are optimistic" in text


def test_german_has_commas_and_no_english(home: Path) -> None:
    """The figures are the same, with decimal commas."""
    run = find_run(home, "own-1")
    english, german = methods(run), methods(run, "de")
    table = re.findall(r"\| \d\.\d{3}", english)
    assert table
    assert [one.replace(".", ",") for one in table] == re.findall(r"\| \d,\d{3}", german)
    body = german.partition("## Literatur")[0]
    assert not re.search(r"\b(the|were|with|segments|training set|without)\b", body)


@pytest.mark.parametrize("ending", ["md", "tex", "docx"])
def test_the_command_writes_each_format(home: Path, ending: str) -> None:
    """Each has mean and standard deviation."""
    done = run_here("report", "run=own", f"output=methods.{ending}", cwd=home)
    assert done.returncode == 0, done.stderr
    path = home / f"methods.{ending}"
    if ending == "docx":
        document = docx.Document(str(path))
        text = "\n".join(cell.text for table in document.tables for row in table.rows for cell in row.cells)
        assert document.paragraphs[0].style.name == "Heading 1"
    else:
        text = path.read_text(encoding="utf-8")
    assert (" ± " in text) if ending != "tex" else (r" $\pm$ " in text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the run to write about"),
        (("run=nobody",), "there is no run 'nobody'"),
        (("run=own", "output=methods.pdf"), "the ending of output is '.pdf'; choose from .md, .tex, .docx"),
        (("run=own", "output=nowhere/methods.md"), "no such folder"),
        (("run=own", "format=poem"), "format is 'poem'; choose from methods"),
        (("run=compare-own-1-own-2",), "is a comparison and has no model"),
    ],
)
def test_what_can_not_be_written_is_one_sentence(home: Path, words: tuple[str, ...], message: str) -> None:
    """With exit code 2, and no file is written."""
    done = run_here("report", *words, cwd=home)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr


def test_a_run_that_says_less_is_one_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of earlier versions may lack what the section needs."""
    describe = bundle.describe
    monkeypatch.setattr(bundle, "describe", lambda folder: {**describe(folder), "model": {}})
    with pytest.raises(UserError, match=r"fresh-42 \(\w{8}\) does not record everything that the section reports"):
        methods(find_run(home, "fresh-42"))


def test_the_citation_is_that_of_the_reports() -> None:
    """CITATION.cff has the current version, and author, title and license as in reports."""
    from haltung import __version__

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    table = (ROOT / "src/haltung/experiments/references.tsv").read_text(encoding="utf-8")
    (entry,) = (line.split("\t")[2] for line in table.splitlines() if line.startswith("haltung\t"))
    assert cited["version"] == __version__
    assert cited["authors"][0]["name"] in entry
    assert cited["title"] in entry
    assert cited["license"] in entry
