"""Whether a training, an evaluation, a comparison or an exported model writes sentences of a corpus
to MLflow or the terminal.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import CORPUS, files_with_texts, run_here, write_corpus
from haltung.tracking import Store

# Files with sentences if tracking.log_texts=true; MLflow writes a model's example twice.
SHOWN = {"examination.json", "report.html", "input_example.json", "serving_input_example.json"}


@pytest.mark.slow
@pytest.mark.parametrize("asked", [False, True])
def test_no_sentence_reaches_mlflow_unless_asked_for(tmp_path: Path, new_store: Callable[[Path], Store], asked: bool) -> None:
    """Texts and contexts are searched for in all artifacts, in the database and in the output; the
    report in its folder always shows them.
    """
    path = write_corpus(tmp_path, 80)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in [row for row in rows if row["split"] == "dev"][::3]:  # errors, which the report shows
        row["stance"] = "warning" if row["stance"] != "warning" else "support"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    new_store(tmp_path)
    commands = [
        ("train", *CORPUS, "model=linear", "name=quiet", "seed=1,2"),
        ("evaluate", "run=quiet-1", "split=dev"),
        ("compare", "runs=[quiet-1,quiet-2]", "split=dev", "draws=200"),
        ("export", "run=quiet-1", "to=model", "register=true"),
    ][: 2 if asked else 4]
    with (tmp_path / "printed.txt").open("w", encoding="utf-8") as printed:
        for words in commands:
            done = run_here(*words, *(["tracking.log_texts=true"] if asked else []), cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            printed.write(done.stdout + done.stderr)
    stored = {path.name for path in (tmp_path / "experiments/artifacts").rglob("*")}
    others = {"summary.json", "predictions.parquet", "manifest.json"} | ({"comparison.html", "golden.jsonl"} if not asked else set())
    assert others | SHOWN < stored
    assert files_with_texts(tmp_path, "experiments/artifacts", "experiments/mlflow.db", "printed.txt") == (SHOWN if asked else set())
    assert files_with_texts(tmp_path, "experiments/reports") == {"examination.json", "report.html", "predictions.parquet"}
