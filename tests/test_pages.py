"""README and docs: every command that they show is run in the order of the page, or at least its
config is composed.

Blocks marked ``sh`` are run, line by line. Blocks marked ``sh composed`` need the hub, real texts
or much time, so only the configs of their commands are composed. All pages run in one folder on a
tenth of the written corpora, the README first, and each command once. A server runs until the next
one starts or the page ends; coders answer all segments that they are asked.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
from omegaconf import OmegaConf

import tiny
from annotated import Server
from haltung import cli
from haltung.cli.config import combinations, compose, shipped_path, with_table

ROOT = Path(__file__).resolve().parents[1]
# Each page with the pages whose runs and files it uses.
PAGES = {
    "README.md": (),
    "docs/sheets.md": (),
    "docs/tutorial.md": (),
    "docs/recipes.md": ("docs/tutorial.md",),
    "docs/labelling.md": ("docs/sheets.md",),
    "docs/corpora.md": (),
    "docs/reliability.md": (),
    "docs/annotation.md": ("docs/tutorial.md",),
    "docs/training.md": ("README.md",),
    "docs/evaluation.md": ("docs/training.md",),
    "docs/export.md": ("docs/training.md",),
    "docs/events.md": ("docs/export.md",),
    "docs/serving.md": ("README.md",),
    "docs/bundle.md": (),
    "docs/python.md": (),
    "docs/architecture.md": (),
    "docs/scaling.md": (),
    "docs/glossary.md": (),
    "docs/concepts.md": (),
    "docs/commands.md": (),
    "docs/api.md": (),
    "docs/index.md": (),
}
WRITTEN = ("data/diplomacy", "data/contrast")  # the default corpora
# For corpora of few articles, which by default are cross-validated in five folds.
QUICKLY = {"docs/corpora.md": ("folds=1",), "docs/sheets.md": ("folds=2", "final=true"), "docs/recipes.md": ("folds=1",)}
# On these pages, a BERT of two layers is trained for one epoch instead of the embedded encoder.
SMALL = ("docs/tutorial.md", "docs/recipes.md")
SMALLER = ("encoder=local", "encoder.path=bert", "corpus.max_length=64", "training.epochs=1")
# Commands that run until they are stopped, and arguments that make them stop at once.
SERVERS: dict[str, tuple[str, ...]] = {"annotate": (), "serve": ("drain=0",)}
# Even a model trained on a tenth of the corpora finds a dyad in it.
ARTICLE = (
    "Die USA haben Russland kritisiert. Russland wies die Kritik der USA zurück. Die USA fordern Russland zum Abzug auf. "
    "Die Bundesregierung begrüßte den Schritt. China hat die USA scharf kritisiert. Die USA lehnten Forderungen Chinas ab.\n"
)


def blocks(page: str, kind: str) -> list[str]:
    """Return the fenced blocks of a page with this marker."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: str, kind: str) -> list[list[str]]:
    """Return the words of each command, without comments: of ``haltung`` without that word, and of
    ``curl``.
    """
    lines = [line for block in blocks(page, kind) for line in block.splitlines()]
    every = [shlex.split(line, comments=True) for line in lines if line.startswith(("haltung ", "curl "))]
    return [words[words[0] == "haltung" :] for words in every]


class Reader:
    """A user who runs the commands of pages in a new folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.read, self.ran = folder, set[str](), set[tuple[str, ...]]()
        self.server: Server | None = None
        (folder / "article.txt").write_text(ARTICLE, encoding="utf-8")

    def goes_through(self, page: str) -> None:
        """Run the commands of a page once, after those of the pages that it builds on. All pages
        but the README need the files of ``_write_files``.
        """
        if page in self.read:
            return
        for earlier in PAGES[page]:
            self.goes_through(earlier)
        if page != "README.md" and not (self.folder / "mine.jsonl").exists():
            _write_files(self.folder)
        try:
            for words in commands(page, "sh"):
                if words[0] == "train":
                    words += QUICKLY.get(page, ())
                    words += SMALLER if page in SMALL and "model=linear" not in words else ()
                if tuple(words) not in self.ran:
                    self._runs(page, words)
                self.ran.add(tuple(words))
        finally:
            self._stops_the_server()
        self.read.add(page)

    def _runs(self, page: str, words: list[str]) -> None:
        if words[0] in SERVERS:
            self._stops_the_server()
            free = [word for word in words if not word.startswith("port=")]
            self.server = Server(self.folder, words[0], *free, "port=0", *SERVERS[words[0]])
            if words[0] == "annotate":
                _answer(self.server.address)
        elif words[0] == "curl":
            assert self.server
            asked = [word.replace("localhost:8000", self.server.address) for word in words]
            done = subprocess.run([*asked, "--silent", "--show-error", "--noproxy", "*"], capture_output=True, text=True, check=True)
            assert "error" not in json.loads(done.stdout), f"{page}: {shlex.join(words)}: {done.stdout}"
        else:
            assert cli.main(words) == 0, f"{page}: haltung {shlex.join(words)}"

    def _stops_the_server(self) -> None:
        if self.server:
            self.server.end()
        self.server = None


def _answer(address: str) -> None:
    """Label all segments that a page asks a coder for; coders disagree on some of them."""
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        work = client.get("/work").json()
        assert work["numbers"], f"{work['coder']} is asked nothing"
        for turn, number in enumerate(work["numbers"]):
            labels: dict[str, str | list[str]] = {}
            for name, task in work["tasks"].items():
                ids = [*task["labels"]]
                label = ids[turn % len(work["coder"]) % len(ids)]
                labels[name] = [label] if task["kind"] == "multi" else label
            client.post(f"/items/{number}", json={"labels": labels, "seen": None}).raise_for_status()


def _write_files(folder: Path) -> None:
    """Write the files that the pages mention."""
    rows = [
        {"id": str(n), "text": f"{actor} {verb} den Ausbau der {thing} .", "article": f"a{n % 12}", "stance": label, "themes": [theme]}
        for n, (actor, (verb, label), (thing, theme)) in enumerate(
            (actor, verb, thing)
            for actor in ("Chile", "Peru", "Ghana", "Nepal", "Malta", "Island")
            for verb in (("begrüßt", "support"), ("verwirft", "rejection"))
            for thing in (("Windkraft", "energy"), ("Asylheime", "migration"), ("Union", "europe"))
        )
    ]
    scheme = next(block for block in blocks("docs/corpora.md", "yaml") if block.startswith("name:"))
    tiny.write_bert(folder / "bert")
    (folder / "mine.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (folder / "my_labels.yaml").write_text(scheme, encoding="utf-8")
    sheet = [f"Land {n} lobt den Vertrag {n}.,diplomacy,support\nLand {n} rügt den Plan {n}.,rights,criticism\n" for n in range(20)]
    (folder / "mine.csv").write_text("Satz,Thema,Haltung\n" + "".join(sheet), encoding="utf-8")
    said = {"lobt": "dafür", "rügt": "dagegen", "prüft": "neutral"}
    rows = [(f"Verband {n} {verb} die Rente mit {50 + n}.", label, f"A{n}") for n in range(50) for verb, label in said.items()]
    pd.DataFrame(rows, columns=["Satz", "Haltung", "Artikel"]).to_excel(folder / "pensions.xlsx", index=False, engine="xlsxwriter")
    coded = [(text, label, "dagegen" if n % 9 == 0 else label, article) for n, (text, label, article) in enumerate(rows)]
    pd.DataFrame(coded, columns=["Satz", "Anna", "Ben", "Artikel"]).to_excel(folder / "codes.xlsx", index=False, engine="xlsxwriter")
    papers = [(text, f"N{n // 5}", f"2026-0{1 + n % 4}-15", "Der Bote") for n, (text, *_) in enumerate(rows)]
    frame = pd.DataFrame(papers, columns=["Satz", "Artikel", "Datum", "Zeitung"])
    frame.to_excel(folder / "newspapers.xlsx", index=False, engine="xlsxwriter")
    speeches = [f"Frau {n} {verb} die Rente mit {60 + n},R{n}" for n in range(30) for verb in said]
    (folder / "speeches.csv").write_text("\n".join(["Satz,Artikel", *speeches]) + "\n", encoding="utf-8")
    texts = ("Die USA warnen Russland.", "China droht Taiwan.")
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    articles = [{"id": f"n{n}", "text": ARTICLE, "date": f"2024-0{1 + n % 3}-01"} for n in range(6)]
    (folder / "articles.jsonl").write_text("".join(json.dumps(row) + "\n" for row in articles), encoding="utf-8")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader with a tenth of the written corpora, to which ``${shipped:data/diplomacy}`` and
    contrast resolve in this module.
    """
    written = tmp_path_factory.mktemp("written")
    for path in sorted(path for name in WRITTEN for path in (ROOT / name).glob("articles-*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (written / "data" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (written / "data" / path.parent.name / path.name).write_text("".join(lines[::10]), encoding="utf-8")

    def resolve(path: str) -> str:
        return str(written / path) if path in WRITTEN else shipped_path(path)

    OmegaConf.register_new_resolver("shipped", resolve, replace=True)
    yield Reader(tmp_path_factory.mktemp("pages"))
    OmegaConf.register_new_resolver("shipped", shipped_path, replace=True)


def test_no_page_is_left_out() -> None:
    """New pages have to be added to ``PAGES``."""
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")} | {"README.md"} == set(PAGES)


@pytest.mark.slow
def test_the_commands_of_the_readme_run(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first training to events; it runs first, since it needs an empty folder."""
    monkeypatch.chdir(reader.folder)
    assert [path.name for path in reader.folder.iterdir()] == ["article.txt"]
    reader.goes_through("README.md")
    assert (reader.folder / "model" / "haltung.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [pytest.param(one, marks=pytest.mark.system("curl") if "serving" in one else ()) for one in PAGES if one != "README.md"],
)
def test_the_commands_of_a_page_run(page: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command ends with exit code 0 and writes what the next one reads."""
    monkeypatch.chdir(reader.folder)
    reader.goes_through(page)


@pytest.mark.parametrize("page", PAGES)
def test_the_other_commands_of_a_page_compose(page: str) -> None:
    """Their keys and choices exist, although they are not run."""
    for command, *words in commands(page, "sh composed"):
        for overrides in combinations(with_table(command, words)):
            assert compose(command, overrides)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/tutorial.md", "docs/training.md", "docs/events.md", "docs/python.md"])
def test_the_python_of_a_page_runs(page: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks in order, in the folder of the runs."""
    import mlflow

    monkeypatch.chdir(reader.folder)
    reader.goes_through(page)
    try:
        exec("\n".join(blocks(page, "python")), {"__name__": "__main__"})
    finally:
        mlflow.set_tracking_uri(None)


def test_the_readme_is_short() -> None:
    """Longer explanations belong in docs."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
