"""The manual as a site: ``make docs`` builds it with Sphinx, strictly, into build/site.

The pages are Markdown that GitHub displays unchanged. This file adds what only the site has: the
table of contents, from the lists in index.md; the commands, from their configs; and the Python
interface, from its docstrings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

project = "Haltung"
copyright = "Haltung contributors"  # noqa: A001 -- Sphinx's name
html_title = "Haltung"
# Pages outside docs are reached by links; those of experiments are not edited.
suppress_warnings = ["toc.not_included", "myst.header"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_show_copyright = False
html_copy_source = False
root_doc = "docs/index"
# The source is the whole checkout, so that links from the manual to other pages work as on GitHub.
include_patterns = ["README.md", "CHANGELOG.md", "docs/*.md", "experiments/*.md", "benchmarks/**.md", "clients/**.md", "data/**.md"]
exclude_patterns = [
    ".*",
    "build",
    "dist",
    "outputs",
    "src",
    "tests",
    "configs",
    "data/prepared",
    "data/sources",
    "data/models/*/bundle",
    "**/node_modules",
]
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = True
nitpicky = True
# Names of other packages can't be resolved without requests to other hosts.
nitpick_ignore_regex = [("py:.*", r"(?!haltung\.api).*")]

# Opening a page must not cause requests to other hosts: this matches what a browser would fetch.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|audio|video|embed)\b[^>]*?\s(?:src|srcset)=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\srel=["']?(?:stylesheet|preload|prefetch|preconnect|dns-prefetch|modulepreload|icon|shortcut|manifest))[^>]*?\shref=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|(?:@import\s+(?:url\()?|url\()\s*["']?(?:https?:)?//[^"')\s]+""",
    re.IGNORECASE,
)


def fetched(text: str) -> list[str]:
    """Return what a browser would fetch from other hosts when it opens this HTML or CSS."""
    return _FETCHED.findall(text)


def contents(index: str, pages: list[str]) -> str:
    """Return the index with a table of contents for each section that lists pages.

    ``pages`` that no section lists are added to the section of how-tos.
    """
    listed = set(re.findall(r"\]\((\w+)\.md\)", index))
    others = [page for page in pages if page not in listed and page != "index"]
    out = []
    for section in re.split(r"(?m)^(?=## )", index):
        names = re.findall(r"^- \[[^\]]+\]\(((?:\.\./)?[\w/.-]+)\.md\)", section, re.MULTILINE)
        title = section.partition("\n")[0].removeprefix("## ")
        names += others if title.startswith("How-to") else []
        tree = "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *names, "```"])
        out.append(f"{section.rstrip()}\n\n{tree}\n\n" if names else section)
    return "".join(out)


def commands() -> Iterator[str]:
    """Yield the reference of commands as Markdown: the keys of each command, then all choices."""
    from haltung import cli
    from haltung.cli.config import choices

    configs = ROOT / "configs"
    for name, text in cli.COMMANDS.items():
        comment, _, reads = cli._help(name).partition("\n")[2].partition("usage: ")
        comment = re.sub(r"([\\`*_\[\]<>|])", r"\\\1", comment.strip())
        yield f"## haltung {name}\n\n{text[0].upper()}{text[1:]}.\n\n{comment}\n\n```text\n{reads.strip()}\n```\n"
    for group in sorted(path.name for path in configs.iterdir() if path.is_dir()):
        yield f"## Choices of {group}\n"
        for choice in choices(group):
            path = configs / group / f"{choice}.yaml"
            body = path.read_text(encoding="utf-8").rstrip() if group != "labels" else _first_lines(path)
            yield f"### {group}={choice}\n\n```yaml\n{body}\n```\n"


def _first_lines(path: Path) -> str:
    """Return the comment and the tasks of a label scheme, without its pages of definitions."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if line.startswith("#") or re.match(r"\w|  \w|    (?:kind|de|en):", line))


def interface() -> str:
    """Return directives from which Sphinx builds the reference of the Python interface."""
    functions = ("load", "train", "evaluate", "compare")
    classes = ("LoadedModel", "TextResult", "ArticleResult", "TrainedRun", "EvaluatedRun", "ComparedRuns")
    lines = [f".. autofunction:: haltung.{name}" for name in functions]
    lines += [f".. autoclass:: haltung.{name}\n   :members:" for name in classes]
    return "\n".join(["```{eval-rst}", *lines, ".. autoexception:: haltung.UserError", "```"])


def _complete(_: Any, page: str, source: list[str]) -> None:
    if page == root_doc:
        source[0] = contents(source[0], sorted(path.stem for path in (ROOT / "docs").glob("*.md")))
    elif page == "docs/commands":
        source[0] += "\n" + "\n".join(commands())
    elif page == "docs/api":
        source[0] += "\n" + interface()
    elif page == "experiments/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n:reversed:\n\n20*\n```\n"


def _finish(app: Any, error: Exception | None) -> None:
    """Redirect index.html to the manual, and refuse pages that send requests to other hosts."""
    from sphinx.errors import ExtensionError

    if error:
        return
    site = Path(app.outdir)
    (site / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html">\n', encoding="utf-8")
    pages = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    if found := {str(path.relative_to(site)): asked for path in pages if (asked := fetched(path.read_text(encoding="utf-8")))}:
        raise ExtensionError(f"these pages would ask other hosts: {found}")


def setup(app: Any) -> None:
    """Register the hooks; Sphinx calls this function."""
    app.connect("source-read", _complete)
    app.connect("build-finished", _finish)
