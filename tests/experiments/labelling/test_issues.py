"""Labels that are probably wrong: which, why, and files to correct them in a corpus."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import yaml

import tiny
from command_line import run_here
from haltung.corpus.readers.sheet import Sheet
from haltung.errors import UserError
from haltung.evaluation.predictions import score
from haltung.experiments.labelling.issues import PAGE, ROWS, SHEET, write
from haltung.models import bundle
from haltung.models.linear import fit
from haltung.models.predictor import predictions
from haltung.models.spec import LinearSpec

SCHEME = tiny.scheme()
WRONG = 5


@pytest.fixture
def judged():
    """Segments, one with a wrong stance; confident correct predictions; the correct stance."""
    segments = tiny.segments(60)
    right = segments[WRONG].labels["stance"]
    tables = {task.name: np.full((60, len(task)), 0.05) for task in SCHEME}
    for row, segment in enumerate(segments):
        for task in SCHEME:
            tables[task.name][row, task.index(segment.labels[task.name])] = 0.9
    other = next(label for label in SCHEME["stance"].ids if label != right)
    segments[WRONG] = replace(segments[WRONG], labels={**segments[WRONG].labels, "stance": other})
    answers = predictions([one.id for one in segments], tables, SCHEME)
    return segments, score(segments, answers, SCHEME, "tiny", "folds"), right


def test_a_wrong_label_is_found_and_taken_out(judged, tmp_path):
    """The page shows the prediction; the sheet has the segment first, without its label."""
    segments, split, right = judged
    assert write(tmp_path / "issues", split, segments, 10, "en", {}, {}) == 1
    page = (tmp_path / "issues" / PAGE).read_text(encoding="utf-8")
    assert "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri" in page
    assert segments[WRONG].text in page
    assert f"→ {right}?" in page
    assert f"{right} 0.90" in page
    read = Sheet(str(tmp_path / "issues" / SHEET), label=["topic", "stance"]).read(SCHEME).segments
    assert read[0].id == segments[WRONG].id
    assert read[0].labels == {"topic": segments[WRONG].labels["topic"], "stance": None}
    assert {one.id: one.labels for one in read[1:]} == {one.id: one.labels for one in segments if one.id != read[0].id}
    (row,) = map(json.loads, (tmp_path / "issues" / ROWS).read_text(encoding="utf-8").splitlines())
    assert (row["id"], "stance" in row, row["topic"]) == (read[0].id, False, segments[WRONG].labels["topic"])


def test_the_words_that_spoke_for_the_models_label_are_shown(judged, tmp_path):
    """Only by the model of the fold that held the segment out."""
    segments, split, _ = judged
    others = [one for one in segments if one.id != segments[WRONG].id]
    own = bundle.save(fit(others, SCHEME, LinearSpec(), 0), tmp_path / "own")
    write(tmp_path / "issues", split, segments, 10, "en", {}, {own: [segments[WRONG].id]})
    page = (tmp_path / "issues" / PAGE).read_text(encoding="utf-8")
    (shown,) = re.findall(r"left out one by one\): (.*)</p>", page)
    verb = segments[WRONG].text.split()[1]
    assert shown.split(" · ")[0] == verb
    write(tmp_path / "unknown", split, segments, 10, "en", {}, {own: [others[0].id]})
    assert "left out one by one" not in (tmp_path / "unknown" / PAGE).read_text(encoding="utf-8")


def test_neighbours_are_of_other_articles(judged, tmp_path):
    """The model has not learned from sentences of the same article."""
    segments, split, _ = judged
    twin = replace(segments[WRONG], id="twin")
    here = [*segments, twin]
    tables = {name: np.vstack([values, values[WRONG]]) for name, values in split.probabilities.items()}
    split = score(here, predictions([one.id for one in here], tables, SCHEME), SCHEME)
    write(tmp_path / "issues", split, here, 1, "de", {}, {})
    page = (tmp_path / "issues" / PAGE).read_text(encoding="utf-8")
    assert "Labels zum Nachsehen" in page
    assert page.count("<li>") == 3
    assert f": {twin.text}</li>" not in page


def test_another_corpus_is_refused(judged, tmp_path):
    """Its labels are not those of the run."""
    segments, split, _ = judged
    with pytest.raises(UserError, match="the corpus has changed since the run was made"):
        write(tmp_path / "issues", split, segments[1:], 10, "en", {}, {})


def test_a_task_of_several_labels_is_not_passed_over_in_silence(tmp_path):
    """Terminal and page say that it was not examined."""
    scheme = {"name": "themes", "tasks": {"themes": {"kind": "multi", "en": "Themes", "labels": ["heer", "zoll"]}}}
    rows = [
        {"id": one.id, "text": f"{one.text} {number}", "article": one.article, "themes": ["heer"] if number % 2 else ["zoll"]}
        for number, one in enumerate(tiny.segments(40, articles=20))
    ]
    (tmp_path / "themes.yaml").write_text(yaml.safe_dump(scheme), encoding="utf-8")
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    corpus = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=themes.yaml", "corpus.rules.near=0")
    trained = run_here("train", *corpus, "model=linear", "folds=2", "name=cv", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    done = run_here("issues", "run=cv-folds-42", "output=doubts", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = "not looked at, since there may be several labels: Themes"
    assert said in done.stdout.splitlines()
    assert said in (tmp_path / "doubts" / PAGE).read_text(encoding="utf-8")
