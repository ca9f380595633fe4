"""The manual: links, what the site adds to the pages, sources of figures, the notebook."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from haltung.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    """The configuration of the site, which can be imported without Sphinx."""
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs/conf.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page: its own, and those that GitHub and the site give headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings} | set(re.findall(r'<a id="([^"]+)">', text))


def _links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the anchor of each relative link."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        text = "".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            yield target.partition("#")[0], target.partition("#")[2]


@pytest.mark.parametrize("page", [*DOCS, ROOT / "README.md", ROOT / "docs/tutorial.ipynb"], ids=lambda page: page.name)
def test_a_link_leads_to_a_heading(page: Path) -> None:
    """Target files exist and have the headings."""
    broken = []
    for path, anchor in _links(page):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(f"{path}#{anchor}")
    assert broken == []


def test_the_site_lists_every_page_once(conf: ModuleType) -> None:
    """Pages that the index does not name are listed with the how-tos."""
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = [path.stem for path in DOCS]
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", conf.contents(index, [*pages, "unlisted"]), re.MULTILINE | re.DOTALL)
    named = [[line for line in tree.splitlines() if line and not line.startswith(":")] for tree in trees]
    assert sorted(page for tree in named for page in tree if not page.startswith("..")) == sorted({*pages, "unlisted"} - {"index"})
    assert "unlisted" in next(names for names in named if "sheets" in names)


def test_the_reference_has_every_command_with_its_keys(conf: ModuleType) -> None:
    """It is generated from the configs, so it is never out of date."""
    text = "\n".join(conf.commands())
    assert [name for name in COMMANDS if f"## haltung {name}\n" not in text] == []
    assert "seed: 42 # of the training" in text
    assert "### encoder=gbert_base" in text


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('<script src="https://cdn.example/x.js"></script>', 1),
        ('<script async src="//cdn.example/x.js"></script>', 1),
        ('<link href="https://fonts.example/css" rel="stylesheet">', 1),
        ("<link rel='preconnect' href='https://fonts.example'>", 1),
        ("@font-face { src: url(https://fonts.example/a.woff2) } @import '//x.example/y.css';", 2),
        ('<img alt="badge" src="https://img.example/badge.svg">', 1),
        ('<a href="https://example.org/">text</a> <link rel="canonical" href="https://example.org/">', 0),
        ('<script src="_static/x.js"></script><img src="../a.png"> url(data:font/woff2;base64,AA)', 0),
    ],
)
def test_a_page_that_asks_another_host_is_found(conf: ModuleType, text: str, asked: int) -> None:
    """Links that a reader may click don't count."""
    assert len(conf.fetched(text)) == asked


def test_the_figures_of_the_recipes_stand_on_the_pages_that_they_name() -> None:
    """For each row: numbers with three decimals, intervals and seconds."""
    rows = [line for line in (ROOT / "docs/recipes.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    checked = 0
    for row in rows:
        figures = re.findall(r"0\.\d{3}(?: \[0\.\d{3}, 0\.\d{3}\]| ± 0\.\d{3})?", row) + re.findall(r"\b(\d+) s\b", row)
        sources = [ROOT / "docs" / path for path in re.findall(r"\]\(([^)]+)\)", row)]
        text = "".join(path.read_text(encoding="utf-8").replace("*", "") for path in sources)
        assert not figures or "not measured" not in row.split("|")[4], row
        assert [figure for figure in figures if figure not in text] == [], row
        checked += len(figures)
    assert checked > 20


def _notebook() -> dict[str, list[dict[str, object]]]:
    return json.loads((ROOT / "docs/tutorial.ipynb").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_the_notebook_is_stored_without_outputs() -> None:
    """So that diffs show only changes of its source."""
    assert [cell for cell in _notebook()["cells"] if cell["cell_type"] == "code" and (cell["outputs"] or cell["execution_count"])] == []


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """From top to bottom, in a new kernel."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "docs/tutorial.ipynb", 4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "friendly.pdf").is_file()
    assert "ipywidgets" not in json.dumps([cell.get("outputs") for cell in notebook.cells])  # progress bars work without it
