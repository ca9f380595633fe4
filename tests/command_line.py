"""The command line, run in this process or in a separate one, and a tiny corpus for it."""

from __future__ import annotations

import contextlib
import html
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

import tiny

if TYPE_CHECKING:
    from haltung.tracking import Store

SCHEME = yaml.safe_dump(tiny.SCHEME, allow_unicode=True, sort_keys=False)


def haltung(*words: str, cwd: Path, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a separate process, as a user does."""
    return subprocess.run([sys.executable, "-m", "haltung", *words], capture_output=True, text=True, cwd=cwd, check=False, **more)  # type: ignore[call-overload]


def run_here(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, to save the seconds that importing torch and MLflow takes."""
    from haltung.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def write_corpus(folder: Path, count: int = 160) -> Path:
    """Write a corpus as JSON Lines and its label scheme to a folder; return the corpus's path."""
    rows = []
    for number, segment in enumerate(tiny.segments(count, articles=max(1, count // 4))):
        split = ("train", "train", "dev", "test")[int(segment.article.rpartition("-")[2]) % 4]
        text = f"{segment.text[:-2]} am {number}. Mai ."
        rows.append(
            {"id": segment.id, "text": text, "context": segment.context, "article": segment.article, "split": split, **segment.labels}
        )
    (folder / "scheme.yaml").write_text(SCHEME, encoding="utf-8")
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


CORPUS = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=scheme.yaml", "splits@corpus.split=given", "corpus.rules.near=0")
# The same for the linear model, without the splits given in the file.
LINEAR = ("corpus=jsonl", "corpus.reader.path=texts.jsonl", "corpus.labels=scheme.yaml", "corpus.rules.near=0", "model=linear")


def recipe(bert: Path, *more: str) -> tuple[str, ...]:
    """Return the arguments of a command that trains the tiny BERT on the tiny corpus."""
    return (
        "train", *CORPUS, "encoder=local", f"encoder.path={bert}", "encoder.encoder_rate=2e-3", "encoder.head_rate=1e-2",
        "model.max_length=32", *(() if any(word.startswith("model=") for word in more) else ("model=network",)),
        "training.epochs=4", "training.precision=fp32", "name=tiny", *more,
    )  # fmt: skip


def store_in(home: Path) -> Store:
    """Return the local store that the default config sets for this working directory."""
    from haltung.tracking import Store

    return Store(uri=f"sqlite:///{home / 'experiments/mlflow.db'}", artifacts=str(home / "experiments/artifacts"))


def find_run(home: Path, name: str) -> object:
    """Return a run by its name, from the store in a folder."""
    from haltung import tracking

    return tracking.find(store_in(home), name)


def files_with_texts(home: Path, *places: str) -> set[str]:
    """Return the names of files that contain a text or context of the folder's corpus.

    Files at or below ``places`` are searched: HTML without tags and escapes, Parquet as rows.
    """
    from pyarrow import parquet

    rows = [json.loads(line) for line in (home / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    sentences, found = {row[part] for row in rows for part in ("text", "context")}, set()
    for path in (path for place in places for path in (home / place, *(home / place).rglob("*")) if path.is_file()):
        text = str(parquet.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_bytes().decode(errors="replace")
        text = html.unescape(re.sub("</?span[^>]*>", "", text)) if path.suffix == ".html" else text
        text = re.sub(r"\\u([0-9a-f]{4})", lambda sign: chr(int(sign[1], 16)), text)
        found |= {path.name for one in sentences if one in text}
    return found
