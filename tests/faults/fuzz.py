"""Feed readers, schemes, configs, bundles and the server with randomly broken inputs.

    make fuzz                                            # 100,000 cases, some minutes of one core
    make fuzz ARGS='--cases 2000 --only jsonl,scheme --seed 7'

Each case is a small valid input with one to four changes: flipped, missing or repeated bytes, or
unusual values in its JSON or YAML. A child process per target, replaced if it dies, has 5 s a
case and 1 GB. Anything but a result or a sentence (a traceback, a status of 500, a process that
hangs or dies) is a finding: one input of each kind is kept in build/fuzz, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter
import yaml

import archives
import exported
import tiny
from attacks import Target, attack
from haltung import labels
from haltung.cli import main as command
from haltung.corpus.readers.articles import Articles, Pairs
from haltung.corpus.readers.flat import FlatLabels
from haltung.corpus.readers.label_studio import LabelStudio
from haltung.corpus.readers.published import GerNTSA, Gnad10
from haltung.corpus.readers.sheet import Sheet
from haltung.corpus.readers.standoff import Standoff
from haltung.corpus.readers.tables import Csv, Jsonl, Parquet
from haltung.corpus.readers.xstance import XStance
from haltung.events.archive import read as archive
from haltung.events.text import read as articles
from haltung.experiments import predict
from haltung.inference.client import Classifier
from haltung.models import bundle
from haltung.serving import app
from haltung.serving.engine import Settings
from haltung.serving.service import Service

ROOT = Path(__file__).resolve().parents[2]

SCHEME = labels.parse(
    {
        "name": "all",
        "tasks": {
            "topic": {"labels": ["security", "economy"]},
            "stance": {"labels": ["warning", "threat"]},
            "section": {"labels": ["Web", "Sport"]},
            "polarity": {"labels": ["positive", "negative"]},
        },
    }
)


def _json(*rows: object) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def _reader(make: Callable[[str], Any]) -> Callable[[Path], object]:
    return lambda path: make(str(path)).read(SCHEME)


def _parquet(rows: Sequence[Mapping[str, object]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), file)
    return file.getvalue()


def _workbook(rows: Sequence[Sequence[object]]) -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        book.set_properties({"created": datetime(2024, 1, 1, tzinfo=UTC)})  # the same bytes each time
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return file.getvalue()


def _archive() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return archives.lines(Path(folder) / "a.jsonl").read_bytes()


def _config(path: Path) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        code = command(["train", "corpus=theirs", "--config-dir", str(path.parents[1]), "--cfg"])
    assert code == 0 or (code == 2 and said.getvalue().count("\n") == 1), said.getvalue()


def _words(path: Path) -> None:
    words = [word for word in path.read_text(encoding="utf-8", errors="surrogateescape").split("\n") if word]
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        code = command(["train", *words, "--cfg"])
    assert code == 0 or (code == 2 and said.getvalue().strip()), said.getvalue()


def _trained(path: Path) -> None:
    bundle.load_trained(path.parent).predict(tiny.segments(1))


def _described(path: Path) -> None:
    bundle.load(path.parent, graph=True).predict(tiny.segments(1))


def _replayed(path: Path) -> None:
    Classifier(path.parent).verify()


def _exported(folder: Path) -> None:
    _load_libraries()
    exported.write(folder)


def _old(folder: Path) -> None:
    _load_libraries()
    shutil.copytree(ROOT / "tests/data/bundle_0.1.0", folder, dirs_exist_ok=True)
    # Otherwise changed files are refused because their digests differ.
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    description.pop("files", None)
    (folder / "haltung.json").write_text(json.dumps(description), encoding="utf-8")


def _load_libraries() -> None:
    """Import the libraries that read networks, so that no case is charged for these seconds."""
    for name in ("haltung.models.article", "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto"):
        import_module(name)


@cache
def _client() -> Any:
    from starlette.testclient import TestClient

    folder = exported.write(Path(tempfile.mkdtemp(prefix="haltung-fuzz-")) / "bundle")
    # Entered once: its thread lives as long as this process.
    return TestClient(app.application(Service(Settings(folder, runtime="onnxruntime", threads=1, texts=8, characters=400)))).__enter__()


def _asked(endpoint: str, path: Path) -> None:
    answer = _client().post(endpoint, content=path.read_bytes())
    assert answer.status_code in (200, 413, 422), answer.text
    assert answer.status_code == 200 or list(answer.json()) == ["error"], answer.text


def targets() -> dict[str, Target]:
    """Return the targets by name."""
    rows = [{"id": "1", "text": "Es regnet.", "context": "Nass.", "article": "a", "topic": "security", "stance": "warning"}]
    rows += [{**rows[0], "id": "2", "text": "Es „schneit“; sehr.", "stance": "threat"}]
    table = [list(rows[0]), *([*row.values()] for row in rows)]
    lines = "\n".join(",".join(f'"{cell}"' for cell in row) for row in table).encode()
    choice = {"from_name": "stance", "to_name": "text", "type": "choices", "value": {"choices": ["warning"]}}
    studio = {"id": 1, "data": {"text": "Es regnet."}, "annotations": [{"id": 3, "completed_by": 1, "result": [choice]}]}
    segments = [
        {"text": "Es regnet.", "topic": "security", "stance": "warning", "dyads": [{"source": "USA", "target": "RUS", "stance": "warning"}]}
    ] * 2
    embedded = {"article": "a1", "date": "2024-01-05", "genre": "news", "title": "Titel", "segments": segments}
    pair = {"pair": "p1", "phenomenon": "negation", "context": "", "segments": segments}
    swiss = {
        "id": 1,
        "question_id": 1,
        "question": "Soll das sein?",
        "comment": "Ja.",
        "label": "warning",
        "topic": "economy",
        "language": "de",
    }
    opinion = [{"id": "1", "opinion_snippet": "Ada lacht.", "target": "Ada", "sentiment": {"polarity": "positive"}}]
    mark = {"id": "1", "row": 0, "start": 0, "end": 10, "sha1": "3ea8f55f5f", "topic": "security", "stance": "warning", "split": "train"}
    article = {"id": "a", "text": "Titel\nDie USA warnen Russland.", "headline": "Titel", "date": "2024-01-05", "source": "Blatt"}

    def beside(folder: Path) -> None:
        (folder / "texte.jsonl").write_text('{"title": "Titel", "text": "Es regnet."}\n', encoding="utf-8")

    def wikinews(path: str) -> Standoff:
        return Standoff(path, str(Path(path).parent / "texte.jsonl"), "wikinews")

    def swiss_corpus(path: str) -> XStance:
        return XStance(str(Path(path).parent), split_files={"train": [Path(path).name]})

    with tempfile.TemporaryDirectory() as scratch:
        made = exported.write(Path(scratch) / "bundle")
        description, tokenizer = ((made / name).read_bytes() for name in ("haltung.json", "tokenizer.json"))
    old = ROOT / "tests/data/bundle_0.1.0"
    scheme = yaml.safe_dump(tiny.SCHEME, allow_unicode=True, sort_keys=False).encode()
    bodies = (
        _json({"text": "Peru lobt ."}),
        _json({"segments": [{"text": "Peru", "context": "x", "id": "1"}, {"text": "Nepal"}], "abstain": None}),
    )
    story = (_json({"text": "Titel\nDie USA warnen Russland. Peru lobt .", "headline": "Titel", "date": "2024-01-05"}),)
    return {
        "jsonl": Target("a.jsonl", _reader(Jsonl), (_json(*rows),)),
        "csv": Target("a.csv", _reader(Csv), (lines,)),
        "parquet": Target("a.parquet", _reader(Parquet), (_parquet(rows),)),
        "sheet": Target("a.csv", _reader(Sheet), (lines, lines.replace(b",", b";"))),
        "workbook": Target("a.xlsx", _reader(Sheet), (_workbook(table),)),
        "label_studio": Target("a.json", _reader(LabelStudio), (_json([studio, studio | {"id": 2}]),)),
        "doccano": Target("a.jsonl", _reader(FlatLabels), (_json({"id": 1, "text": "Es regnet.", "label": ["warning"]}),)),
        "xstance": Target("a.jsonl", _reader(swiss_corpus), (_json(swiss),)),
        "gnad10": Target("a.csv", _reader(Gnad10), (b"Sport;'Es regnet.'\nWeb;Es schneit.\n",)),
        "gerntsa": Target("a.json", _reader(GerNTSA), (_json(opinion),)),
        "articles": Target("a.jsonl", _reader(Articles), (_json(embedded, embedded | {"article": "a2"}),)),
        "pairs": Target("a.jsonl", _reader(Pairs), (_json(pair),)),
        "standoff": Target("a.jsonl", _reader(wikinews), (_json(mark),), beside),
        "archive": Target("a.jsonl", lambda path: archive.read([path]), (_archive(),)),
        "texts": Target("a.jsonl", lambda path: list(articles.read([path])), (_json(article, article | {"id": "b"}),)),
        "text": Target("a.txt", lambda path: list(articles.read([path])), ("Titel\n\nDie USA warnen Rußland.\n".encode("latin-1"),)),
        "predicted": Target("a.jsonl", lambda path: list(predict.windows(predict.rows_of(path), 2)), (_json(*rows),)),
        "predicted_csv": Target("a.csv", lambda path: list(predict.windows(predict.rows_of(path), 2)), (lines,)),
        "predicted_parquet": Target("a.parquet", lambda path: list(predict.windows(predict.rows_of(path), 2)), (_parquet(rows),)),
        "scheme": Target("a.yaml", lambda path: json.dumps(labels.load(path).to_dict(), ensure_ascii=False).encode(), (scheme,)),
        "config": Target("corpus/theirs.yaml", _config, ((ROOT / "configs/corpus/jsonl.yaml").read_bytes(),)),
        "words": Target("words", _words, (b"seed=1,2\ncorpus=jsonl\ncorpus.reader.path='a b.jsonl'\ncorpus.tasks=[stance]\n",)),
        "description": Target("haltung.json", _described, (description,), _exported),
        "tokenizer": Target("tokenizer.json", _described, (tokenizer,), _exported),
        "trained": Target("haltung.json", _trained, ((old / "haltung.json").read_bytes(),), _old),
        "weights": Target("linear.safetensors", _trained, ((old / "linear.safetensors").read_bytes(),), _old),
        "vocabulary": Target("vocabulary.json", _described, ((old / "vocabulary.json").read_bytes(),), _old),
        "golden": Target("golden.jsonl", _replayed, ((old / "golden.jsonl").read_bytes(),), _old),
        **{endpoint: Target("body.json", partial(_asked, f"/{endpoint}"), bodies) for endpoint in ("classify",)},
        **{endpoint: Target("body.json", partial(_asked, f"/{endpoint}"), story) for endpoint in ("article", "events")},
    }  # fmt: skip


def main() -> int:
    """Attack all targets, or those given; return 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--only", default="", help="targets, as in jsonl,scheme")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that are findings")
    given = parser.parse_args()
    shutil.rmtree(given.keep, ignore_errors=True)
    given.keep.mkdir(parents=True)
    chosen = {name: one for name, one in targets().items() if not given.only or name in given.only.split(",")}
    each, total = math.ceil(given.cases / len(chosen)), Counter[str]()
    for name, target in chosen.items():
        start = time.process_time()
        found = attack(name, target, given.seed, range(each), given.keep)
        total += found
        seconds = time.process_time() - start + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        print(f"{name}: {each:,} cases, {found.total()} findings ({seconds:.0f} s of processor so far)", flush=True)
    print(f"{each * len(chosen):,} cases, {total.total()} findings of {len(total)} kinds")
    return int(bool(total))


if __name__ == "__main__":
    sys.exit(main())
