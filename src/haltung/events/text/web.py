"""The main text of a web page, by trafilatura (Barbaresi 2021, "Trafilatura: A Web Scraping Library and Command-Line Tool", ACL Demos)."""

from __future__ import annotations

from dataclasses import dataclass

from haltung.errors import UserError

# Of a page without an article, the library takes the menu for one; no article is so short.
_LEAST = 50


@dataclass(frozen=True)
class Page:
    """What a page says of itself; ``date`` is an ISO date, and what is not told is ""."""

    text: str
    title: str
    date: str
    url: str
    site: str


def main_text(html: str) -> Page | None:
    """Return the page's article without menus, advertising and comments; None where no main text is found.

    Raises:
        UserError: trafilatura is not installed, or not all that it needs.
    """
    try:
        from trafilatura import bare_extraction
    except ImportError as error:
        raise UserError(f"reading HTML needs trafilatura, which can't be imported ({error}); pip install 'haltung[events]'") from None
    found = bare_extraction(html, favor_precision=True, include_comments=False, include_tables=False, with_metadata=True)
    text, title, date, url, site = (str(getattr(found, name, "") or "") for name in ("text", "title", "date", "url", "sitename"))
    if len(text.strip()) < _LEAST:
        return None
    return Page(text, " ".join(title.split()), date[:10], url, site)
