"""Feed readers, schemes, configs, bundles and the server with inputs that are broken at random.

    make fuzz                                            # 100,000 cases, some minutes of one core
    make fuzz ARGS='--cases 2000 --only jsonl,scheme --seed 7'

Each case is a small sound input with one to four changes: flipped, lost or repeated bytes, or odd
values in its JSON or YAML. It runs in a process of its own kind with 5 s and 1 GB to spare.
Whatever is no answer and no sentence to the user (a traceback, a status of 500, a process that
hangs or dies) is a finding: its input is kept in build/fuzz, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xlsxwriter
import yaml

import archives
import exported
import tiny
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
from haltung.errors import UserError
from haltung.events.archive import read as archive
from haltung.events.text import read as articles
from haltung.experiments import predict
from haltung.inference.client import BundleError, Classifier
from haltung.models import bundle
from haltung.serving import app
from haltung.serving.engine import Settings
from haltung.serving.service import Service

SECONDS, BYTES = 5, 2**30

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

# What stands in for a value of JSON or YAML.
ODD = (
    None, True, 0, -1, 2**70, 1e308, float("nan"), float("inf"), 0.5, "", " ", "\x00", "\r", "a\rb", "\ud800", "\ufeff", "\u202e", "ﬁ",
    "😀" * 50, "x" * 200_000, "../../x", "${oc.env:HOME}", "null", "1e999", "=1+1",
    [], {}, [[]], {"": ""}, {"a": {"b": {}}}, [None], ["\ud83d"],
)  # fmt: skip
# What is put between bytes.
BITS = (
    b"\x00", b"\xff", b"\r", b"\n\n", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b"'", b"\\", b"\\ud800",
    b"{", b"}", b"[", b"]", b",", b":", b";",
    b"\t", b"-", b"&a *a", b"!!python/name:os.system", b"NaN", b"1e999", b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"a" * 100_000,
    "\u2028".encode(), "ß".encode("latin-1"),
)  # fmt: skip


class Hang(BaseException):
    """A case has taken too long; no handler of errors takes it for one."""


@dataclass(frozen=True)
class Target:
    """What reads ``file`` in a folder, and sound contents of it."""

    file: str
    run: Callable[[Path], object]
    seeds: tuple[bytes, ...]
    # Files that lie beside it.
    beside: Callable[[Path], object] = lambda folder: None


def mutated(data: bytes, file: str, pick: random.Random) -> bytes:
    """Return the data with one to four changes."""
    changed = data
    if pick.random() < 0.6 and file.endswith((".json", ".jsonl", ".yaml")):
        with contextlib.suppress(ValueError, yaml.YAMLError):
            changed = _with_odd_values(data, file, pick)
    for _ in range(pick.randint(changed == data, 3) if pick.random() < 0.5 or changed == data else 0):
        changed = _with_odd_bytes(changed, pick)
    return changed


def _with_odd_values(data: bytes, file: str, pick: random.Random) -> bytes:
    if file.endswith(".yaml"):
        # Written as JSON, which is YAML too.
        tree = _changed(yaml.safe_load(data), pick)
        return json.dumps(tree, ensure_ascii=pick.random() < 0.5).encode("utf-8", "surrogatepass")
    rows = [json.loads(line) for line in data.splitlines()] if file.endswith(".jsonl") else [json.loads(data)]
    row = pick.randrange(len(rows))
    rows[row] = _changed(rows[row], pick)
    return "\n".join(json.dumps(one, ensure_ascii=pick.random() < 0.5) for one in rows).encode("utf-8", "surrogatepass")


def _changed(tree: Any, pick: random.Random) -> Any:
    """Return a copy of plain data in which one to three parts are replaced, lost or renamed."""
    tree = copy.deepcopy(tree)
    for _ in range(pick.randint(1, 3)):
        spots: list[tuple[Any, Any]] = []

        def walk(node: Any, spots: list[tuple[Any, Any]] = spots) -> None:
            for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
                spots.append((node, key))
                walk(node[key])

        walk(tree)
        if not spots:
            return copy.deepcopy(pick.choice(ODD))
        node, key = pick.choice(spots)
        match pick.randrange(6):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[pick.choice(["", "x", "id", "text", key + " ", key.upper(), "\ud800"]) if isinstance(key, str) else "x"] = node.pop(
                    key
                )
            case 2:
                node[key] = copy.deepcopy(pick.choice(spots)[0])
            case _:
                node[key] = copy.deepcopy(pick.choice(ODD))
    return tree


def _with_odd_bytes(data: bytes, pick: random.Random) -> bytes:
    at, to = sorted(pick.randint(0, len(data)) for _ in range(2))
    to = min(to, at + 40)
    match pick.randrange(6):
        case 0:
            return data[:at] + bytes([pick.randrange(256)]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[to:]
        case 3:
            return data[:to] + data[at:to] * pick.choice([1, 2, 50]) + data[to:]
        case 4:
            return data[:at] + bytes(byte ^ 1 << pick.randrange(8) for byte in data[at:to]) + data[to:]
        case _:
            return data[:at] + pick.choice(BITS) + data[at:]


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


def _old(folder: Path) -> None:
    shutil.copytree(ROOT / "tests/data/bundle_0.1.0", folder, dirs_exist_ok=True)
    # Otherwise whatever has changed is refused for its digest.
    description = json.loads((folder / "haltung.json").read_text(encoding="utf-8"))
    description.pop("files", None)
    (folder / "haltung.json").write_text(json.dumps(description), encoding="utf-8")


@cache
def _client() -> Any:
    from starlette.testclient import TestClient

    folder = exported.write(Path(tempfile.mkdtemp(prefix="haltung-fuzz-")) / "bundle")
    # Not entered twice: its thread lives as long as this process.
    return TestClient(app.application(Service(Settings(folder, runtime="onnxruntime", threads=1, texts=8, characters=400)))).__enter__()


def _asked(endpoint: str, path: Path) -> None:
    answer = _client().post(endpoint, content=path.read_bytes())
    assert answer.status_code in (200, 413, 422), answer.text
    assert answer.status_code == 200 or list(answer.json()) == ["error"], answer.text


def targets() -> dict[str, Target]:
    """Return what is attacked, by name."""
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
        "description": Target("haltung.json", _described, (description,), exported.write),
        "tokenizer": Target("tokenizer.json", _described, (tokenizer,), exported.write),
        "trained": Target("haltung.json", _trained, ((old / "haltung.json").read_bytes(),), _old),
        "weights": Target("linear.safetensors", _trained, ((old / "linear.safetensors").read_bytes(),), _old),
        "vocabulary": Target("vocabulary.json", _described, ((old / "vocabulary.json").read_bytes(),), _old),
        "golden": Target("golden.jsonl", _replayed, ((old / "golden.jsonl").read_bytes(),), _old),
        **{endpoint: Target("body.json", partial(_asked, f"/{endpoint}"), bodies) for endpoint in ("classify",)},
        **{endpoint: Target("body.json", partial(_asked, f"/{endpoint}"), story) for endpoint in ("article", "events")},
    }  # fmt: skip


def case_of(target: Target, name: str, seed: int, number: int) -> bytes:
    """Return the input of a case, the same each time."""
    pick = random.Random(f"{name} {seed} {number}")
    return mutated(pick.choice(target.seeds), target.file, pick)


def tried(target: Target, data: bytes, folder: Path) -> str:
    """Run a case, and return what is wrong, "" if nothing is."""
    path = folder / target.file
    path.write_bytes(data)

    def late(*_: object) -> None:
        raise Hang

    # Processor time, of which a busy machine takes none away.
    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        target.run(path)
    except (UserError, BundleError) as error:
        return "" if str(error).strip() else "an empty sentence"
    except Hang:
        return f"it takes over {SECONDS} s"
    except BaseException as error:  # noqa: BLE001 -- any other is a finding
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:200]!r}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return ""


def prepared(target: Target, folder: Path) -> None:
    """Make a folder ready for the cases of a target, whose sound inputs have to be read there."""
    (folder / target.file).parent.mkdir(parents=True, exist_ok=True)
    target.beside(folder)
    for sound in target.seeds:
        (folder / target.file).write_bytes(sound)
        target.run(folder / target.file)


def attack(name: str, target: Target, seed: int, numbers: range, keep: Path) -> Counter[str]:
    """Try cases in a process that is replaced when it dies; return the findings, each kind once."""
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="haltung-fuzz-") as folder:
        marker, first = Path(folder, ".at"), numbers.start
        while first < numbers.stop:
            marker.write_text(f"{first}\n", encoding="utf-8")
            child = os.fork()
            if not child:
                try:
                    _work(name, target, seed, range(first, numbers.stop), Path(folder), keep, marker)
                except BaseException:  # noqa: BLE001 -- a child must not go on as its parent
                    traceback.print_exc()
                finally:
                    os._exit(1)
            status, waited, at = 0, time.monotonic(), first
            while not (done := os.waitpid(child, os.WNOHANG))[0]:
                time.sleep(0.05)
                if (now := int(marker.read_text() or at)) != at:
                    waited, at = time.monotonic(), now
                elif time.monotonic() - waited > max(60, 60 * SECONDS):  # native code that no signal ends
                    os.kill(child, signal.SIGKILL)
            status, at = done[1], int(marker.read_text() or at)
            if not status:
                break
            found[_kept(name, target, seed, at, f"the process ends with status {status}", keep)] += 1
            first = at + 1
    for line in (keep / f"{name}.txt").read_text(encoding="utf-8").splitlines() if (keep / f"{name}.txt").exists() else ():
        found[line] += 1
    return found


def _work(name: str, target: Target, seed: int, numbers: range, folder: Path, keep: Path, marker: Path) -> None:
    prepared(target, folder)
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for number in numbers:
        marker.write_text(f"{number}\n", encoding="utf-8")
        if wrong := tried(target, case_of(target, name, seed, number), folder):
            with (keep / f"{name}.txt").open("a", encoding="utf-8") as file:
                file.write(_kept(name, target, seed, number, wrong, keep) + "\n")
    os._exit(0)


def _kept(name: str, target: Target, seed: int, number: int, wrong: str, keep: Path) -> str:
    """Store the first input of a kind of finding; return that kind."""
    kind = f"{name}: {wrong.encode('ascii', 'backslashreplace').decode()}"
    place = keep / f"{name}-{zlib.crc32(wrong.partition(':')[0].encode()):08x}{Path(target.file).suffix}"
    if not place.exists():
        place.write_bytes(case_of(target, name, seed, number))
        print(f"{kind}\n  case {number} of seed {seed}: {place}", flush=True)
    return kind


def main() -> int:
    """Attack all targets, or some; 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--only", default="", help="targets, as in jsonl,scheme")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that are findings")
    given = parser.parse_args()
    shutil.rmtree(given.keep, ignore_errors=True)
    given.keep.mkdir(parents=True)
    chosen = {name: one for name, one in targets().items() if not given.only or name in given.only.split(",")}
    each, total = given.cases // len(chosen), Counter[str]()
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
