"""Convert Markdown to LaTeX and Word documents, and data frames to Excel workbooks."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haltung.evaluation.report.tables import Grid
from haltung.files import atomic_file, rendered, write_text

if TYPE_CHECKING:
    import pandas as pd
    from markdown_it.tree import SyntaxTreeNode

ENDINGS = (".md", ".tex", ".docx")
_STYLES = ("strong", "em")
_LOCALES = {"en": "en-GB", "de": "de-DE"}
_Line = list[tuple[str, str]]  # pieces of text with their style; a block is a tag and a line or table


def write(path: Path, text: str, language: str = "en") -> None:
    """Write Markdown as ``.md``, ``.tex`` (to include in a paper) or ``.docx``.

    It may have headings, lists, tables, bold, italics; a bold paragraph before a table titles it.
    """
    if path.suffix.lower() == ".docx":
        with atomic_file(path) as scratch:
            _write_word(scratch, text, language)
    else:
        write_text(path, latex(text) if path.suffix.lower() == ".tex" else text)


def latex(text: str) -> str:
    """Return Markdown as LaTeX, with the required packages in a comment."""
    return rendered("haltung.evaluation.report", "document.tex.j2", blocks=list(_blocks(text)))


def write_workbook(path: Path, pages: Mapping[str, "pd.DataFrame"], colours: Mapping[str, Mapping[str, str]]) -> None:
    """Write frames as sheets; ``colours`` of the first by column and value ("" for empty cells)."""
    import pandas as pd

    # Text is never interpreted as a formula, link or number.
    options = dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False)
    settings = {"engine": "xlsxwriter", "datetime_format": "dd.mm.yyyy", "date_format": "dd.mm.yyyy", "engine_kwargs": {"options": options}}
    with path.open("wb") as file, pd.ExcelWriter(file, **settings) as book:
        for name, frame in pages.items():
            frame.map(plain).to_excel(book, sheet_name=name, index=False)
            page, (rows, columns) = book.sheets[name], frame.shape
            page.freeze_panes(1, 0)
            page.autofilter(0, 0, rows, columns - 1)
            page.autofit(450)
            for column, colour_of in colours.items() if page.index == 0 else ():
                place = frame.columns.get_loc(column)
                for label, colour in colour_of.items():
                    text = label.replace('"', '""')
                    rule = {"type": "cell", "criteria": "==", "value": f'"{text}"', "format": book.book.add_format({"bg_color": colour})}
                    page.conditional_format(1, place, rows, place, rule if label else {**rule, "type": "blanks"})


def plain(cell: Any) -> Any:
    """Return a cell's value in a form that a workbook can store."""
    if isinstance(cell, list):
        return ";".join(map(str, cell))
    is_odd = isinstance(cell, dt.date) and (cell.year < 1900 or getattr(cell, "tzinfo", None) is not None)
    return str(cell) if is_odd else cell


def _write_word(path: Path, text: str, language: str) -> None:
    import docx
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    document = docx.Document()
    document.core_properties.author, document.core_properties.comments = "", ""
    for setting in document.styles.element.xpath("//w:lang"):
        setting.set(f"{{{setting.nsmap['w']}}}val", _LOCALES[language])
    for kind, content in _blocks(text):
        if isinstance(content, Grid):
            document.add_paragraph(content.title, "Caption").paragraph_format.keep_with_next = True
            table = document.add_table(0, len(content.columns), "Light List")
            for row in (content.columns, *content.rows):
                for index, (cell, value) in enumerate(zip(table.add_row().cells, row, strict=True)):
                    cell.text = value
                    if index >= content.left:
                        cell.paragraphs[0].alignment = WD_ALIGN_PARAGRAPH.RIGHT
            document.add_paragraph()
            continue
        paragraph = document.add_paragraph(style={"li": "List Bullet", "p": "Normal"}.get(kind, f"Heading {kind[-1]}"))
        for piece, weight in content:
            run = paragraph.add_run(piece)
            run.bold, run.italic = weight == "strong" or None, weight == "em" or None
    document.save(str(path))


def _blocks(text: str) -> Iterator[tuple[str, _Line | Grid]]:
    """Yield the blocks of Markdown with their HTML tags; each item of a list is a block."""
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    title = ""
    for node in SyntaxTreeNode(MarkdownIt("commonmark", {"html": False}).enable("table").parse(text)).children:
        if node.type == "table":
            cells = [row.children for part in node.children for row in part.children]
            left = sum("right" not in str(cell.attrs.get("style", "")) for cell in cells[0])
            columns, *rows = (tuple(_words(_pieces(cell.children[0])) for cell in row) for row in cells)
            yield "table", Grid(title, columns, tuple(rows), left)
        elif node.type == "bullet_list":
            yield from (("li", list(_pieces(item.children[0].children[0]))) for item in node.children)
        else:
            line, after = list(_pieces(node.children[0])), node.next_sibling
            if after and after.type == "table" and all(style == "strong" for piece, style in line if piece):
                title = _words(line)
            else:
                yield node.tag, line


def _pieces(node: "SyntaxTreeNode", style: str = "") -> Iterator[tuple[str, str]]:
    """Yield the text of an inline node in pieces, each with its style."""
    if not node.children:
        yield " " if node.type == "softbreak" else node.content, style
    for child in node.children:
        yield from _pieces(child, child.type if child.type in _STYLES else style)


def _words(pieces: Iterable[tuple[str, str]]) -> str:
    return "".join(piece for piece, _ in pieces)
