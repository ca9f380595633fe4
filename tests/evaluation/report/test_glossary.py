"""The glossary: one table is the source of the manual's page and of the explanations in reports.

``python tests/evaluation/report/test_glossary.py`` writes docs/glossary.md.
"""

from __future__ import annotations

import re
from pathlib import Path

from haltung.evaluation.metrics import classification
from haltung.evaluation.report import page
from haltung.evaluation.report.i18n import glossary
from haltung.files import rendered
from scored_runs import scored_split

PAGE = Path(__file__).resolve().parents[3] / "docs/glossary.md"


def written() -> str:
    """Return the page rendered from the table."""
    english, german = ({term.key: term for term in glossary(language).values()} for language in ("en", "de"))
    return rendered("haltung.evaluation.report", "glossary.md.j2", english=english, german=german)


def test_the_page_is_made_of_the_table() -> None:
    """After a change of the table, the page has to be written again."""
    assert PAGE.read_text(encoding="utf-8") == written()


def test_every_term_is_explained_in_both_languages_briefly() -> None:
    """In at most four sentences or clauses."""
    for language in ("en", "de"):
        for term in glossary(language).values():
            assert term.explanation.endswith("."), term
            assert 1 <= len(re.findall(r"[.:;](?:\s|$)", term.explanation)) <= 4, term


def test_words_of_a_report_lead_to_their_explanation(tmp_path: Path) -> None:
    """All links are to anchors within the page, and none is broken."""
    scored = scored_split(0.8)
    page.write(tmp_path / "report", classification.evaluate(scored), scored, language="de")
    text = (tmp_path / "report" / page.PAGE).read_text(encoding="utf-8")
    targets = set(re.findall(r'href="#(term-[\w-]+)"', text))
    assert {"term-macro-f1", "term-majority", "term-log-loss"} <= targets
    assert targets <= set(re.findall(r'id="(term-[\w-]+)"', text))
    assert 'href="http' not in text


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
