"""Markdown as LaTeX and Word: users' names are plain text, whatever characters they have."""

from __future__ import annotations

from pathlib import Path

import docx
import pytest

from haltung.evaluation.report import documents
from haltung.experiments.methods import _plain

NAMES = [
    "50 % & mehr",
    "a_b",
    "_c_",
    "*wichtig*",
    "[x]",
    "`code`",
    r"\input{x}",
    "<b>fett</b>",
    "=1+1",
    "a|b",
    "$x^2$ ~ {}",
    '"so"',
    "&amp;",
    "1. Frage",
    "2) Frage",
    "# Thema",
    "- x",
    "+ x",
    "> x",
    "~~~ x",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_itself_in_word(name: str, tmp_path: Path) -> None:
    """In a paragraph or at its start, in a table and in a list."""
    plain = _plain(name)
    text = f"# T\n\nDas *{plain}* da.\n\n**Titel {plain}**\n\n| a | b |\n|---|---:|\n| {plain} | 1 |\n\n{plain}, da\n\n- {plain}\n"
    documents.write(tmp_path / "x.docx", text, "de")
    document = docx.Document(str(tmp_path / "x.docx"))
    assert [one.text for one in document.paragraphs] == ["T", f"Das {name} da.", f"Titel {name}", "", f"{name}, da", name]
    assert [cell.text for cell in document.tables[0].rows[1].cells] == [name, "1"]


def test_latex_takes_nothing_for_a_command() -> None:
    """Not even a bracket at the start of a row, which would be an option of the line break."""
    text = "| a | b |\n|---|---:|\n| " + _plain("[50 % & a_b]") + r" | 1 |" + f"\n\n- {_plain('[x]')}\n\n{_plain('$x^2$ ~ {}')} " + '"a\n'
    latex = documents.latex(text)
    assert r"{}[50 \% \& a\_b] & 1 \\" in latex
    assert r"\item {}[x]" in latex
    assert r"\$x\textasciicircum{}2\$ \textasciitilde{} \{\} \textquotedbl{}a" in latex


def test_a_bold_line_before_a_table_is_its_caption() -> None:
    """A list is closed before the text that follows."""
    latex = documents.latex("- one\n- two\n\n**Figures**\n\n| a |\n|---|\n| 1 |\n\nEnd of *it*.\n")
    assert r"\caption{Figures}" in latex
    assert latex.index(r"\end{itemize}") < latex.index(r"\begin{table}")
    assert latex.count(r"\begin{itemize}") == latex.count(r"\end{itemize}") == 1
    assert r"End of \emph{it}." in latex
