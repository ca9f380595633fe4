"""The README shows the actual predictions of the linear model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from haltung import cli
from haltung.models import bundle
from haltung.records import Segment

# A row of the table of sentences; the last column has stance and probability.
ROW = re.compile(r"^\| ([^|]*\.) \|.*\| (\w+) (\d\.\d\d)(?: \(wrong\))? \|$", re.MULTILINE)
PRIMER = re.compile(r"the linear model (\d+), (\d\.\d{3}) \[")


@pytest.mark.slow
def test_the_linear_model_says_what_the_readme_shows(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained with the README's command: labels, probabilities to two decimals, and the primer."""
    text = (root / "README.md").read_text(encoding="utf-8")
    rows = ROW.findall(text)
    assert len(rows) >= 6
    line = next(line for line in text.splitlines() if line.startswith("haltung train model=linear"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(line)[1:]) == 0
    shown = PRIMER.search(text)
    assert shown
    assert f"{shown[1]} of 200, {shown[2]}" in " ".join(capsys.readouterr().out.split())
    model = bundle.load(next(tmp_path.glob("experiments/runs/*/bundle")))
    predictions = model.predict([Segment(str(number), sentence) for number, (sentence, _, _) in enumerate(rows)])
    for (_, label, probability), prediction in zip(rows, predictions, strict=True):
        assert prediction.labels["stance"] == label
        assert prediction.probabilities["stance"][label] == pytest.approx(float(probability), abs=0.006)
