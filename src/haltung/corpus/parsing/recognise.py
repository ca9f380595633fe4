"""Recognise the columns of a user's sheet, by name or else by their cells."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

from haltung.corpus.parsing.fields import Fields
from haltung.corpus.parsing.rows import Fault
from haltung.errors import UserError, listed, short
from haltung.files import table
from haltung.labels import STANCE

TASKS = (STANCE, "topic", "label")
_MOST_LABELS, _ROWS_A_LABEL, _LONG = 12, 10, 20  # most labels of a column, least rows per label; mean characters of a text


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


_KNOWN = {_plain(name): kind for kind, names in table("haltung.corpus", "columns.tsv") for name in names.split(",")}


def kind_of(column: str) -> str:
    """Return the field or task that a column's name means, "-" if none, "" if unknown."""
    return _KNOWN.get(_plain(column), "")


def one_each(found: Iterable[tuple[str, str]], option: str = "") -> dict[str, str]:
    """Return the column of each field or task; ``UserError`` if one has two candidates."""
    out: dict[str, str] = {}
    for key, column in found:
        if key in out:
            named = f"name one of them: {option or key}={short(out[key])}"
            raise UserError(f"the columns {listed([out[key], column])} could both be {key}; {named}")
        out[key] = column
    return out


def by_cells(columns: Mapping[str, Sequence[str]], missing: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield field, column and reason for each ``missing`` field (text, date, label) that just one
    column looks like. Raises ``UserError`` if one looks like the article, or two like the text.
    """
    looks = {name: _looks_like(cells, missing) for name, cells in columns.items()}
    for key in missing:
        # A headline column is considered for the article only.
        found = {name: reason for name, (look, reason) in looks.items() if look == key and (key == "article" or not kind_of(name))}
        if key == "article" and found:
            ((name, reason), *_) = found.items()
            raise UserError(f"is the column '{short(name)}' the article? It has {reason}; set article={short(name)}, or article=none")
        if key == "text" and found:
            means = {name: sum(map(len, columns[name])) / len(columns[name]) for name in found}
            longest = max(means.values())
            found = one_each((key, name) for name, mean in means.items() if mean > 0.8 * longest)
            found = dict.fromkeys(found.values(), f"its texts have {longest:.0f} characters on average, the most")
        if len(found) == 1:
            yield key, *next(iter(found.items()))


def _looks_like(cells: Sequence[str], missing: Collection[str]) -> tuple[str, str]:
    """Return what a column looks like (date, article, text, label or ""), and the reason."""
    values, count, full = set(cells) - {""}, len(cells), [cell for cell in cells if cell]
    blocks, words = 1 + sum(one != other for one, other in pairwise(full)), sum(" " in cell for cell in cells)
    if 2 * len(full) >= count and all(map(_is_date, values)):
        return "date", "all its cells are dates"
    if "article" in missing and 3 <= len(values) <= len(full) / 1.5 and blocks <= 1.1 * len(values):
        return "article", f"{len(values):,} values in {count:,} rows, each in consecutive rows"
    if 2 * min(words, len(values)) >= count and sum(map(len, cells)) >= _LONG * count:
        return "text", ""
    if 2 <= len(values) <= min(_MOST_LABELS, count / _ROWS_A_LABEL) and max(map(len, values)) <= 2 * _LONG:
        return "label", f"it has {len(values)} different values in {count:,} rows"
    return "", ""


def _is_date(cell: str) -> bool:
    with suppress(Fault):
        return not cell.isdigit() and bool(Fields({"date": cell}, {}).date())
    return False
