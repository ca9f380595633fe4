"""Whether the shipped corpora are spelt as in hunspell's dictionaries."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from haltung.records import Segment
from shipped_corpora import countries, segments_of

INSTALL = "on Debian and Ubuntu apt-get install hunspell-de-de hunspell-de-at hunspell-de-ch (make system does it)"


def read_words(path: Path) -> frozenset[str]:
    """Return the words of a file with one word per line, without comments."""
    return frozenset(word for word in map(str.strip, path.read_text(encoding="utf-8").splitlines()) if word and not word.startswith("#"))


def misspelt(texts: Sequence[str], dictionary: str) -> set[str]:
    """Return the words that a hunspell dictionary does not contain."""
    done = subprocess.run(
        ["hunspell", "-d", dictionary, "-i", "utf-8", "-l"],
        input="\n".join(texts) + "\n",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"hunspell has no dictionary {dictionary} ({done.stderr.strip()}); {INSTALL}"
    assert "open the dictionar" not in done.stderr, f"hunspell has no dictionary {dictionary}; {INSTALL}"
    return {word.strip(".") for word in done.stdout.split("\n") if word.strip(".-")}


def unknown_words(segments: Sequence[Segment], country_of: Mapping[str, str], allowed: frozenset[str]) -> list[str]:
    """Return the misspelt words that are not allowed, each with the id of the first segment that
    has it; ``country_of`` selects the dictionary of an article.
    """
    found: dict[str, str] = {}
    for country in ("DE", "AT", "CH"):
        rows = [segment for segment in segments if country_of.get(segment.article, "DE") == country]
        if not rows:
            continue
        first = {word: row.id for row in reversed(rows) for word in re.findall(r"\w+", row.text)}
        for word in misspelt([row.text for row in rows], f"de_{country}") - allowed - found.keys():
            # hunspell may split words differently; no word may be lost.
            found[word] = first.get(word) or next((row.id for row in rows if word in row.text), rows[0].id)
    return [f"{word} in {id}" for word, id in sorted(found.items())]


@pytest.mark.system("hunspell")
def test_unknown_words_are_found_by_country(tmp_path: Path) -> None:
    """Jänner is Austrian, ß is not Swiss, and a name is in the list of allowed words."""
    (tmp_path / "words.txt").write_text("# Namen\nXylophila\n", encoding="utf-8")
    texts = ("Im Jänner sprach Xylophila.", "Im Jänner hieß er Ynglinga.", "Das Reglement heißt so.")
    rows = [Segment(f"s{number}", text, {}, article=f"a{number}") for number, text in enumerate(texts)]
    found = unknown_words(rows, {"a0": "AT", "a1": "AT", "a2": "CH"}, read_words(tmp_path / "words.txt"))
    assert found == ["Ynglinga in s1", "heißt in s2"]


@pytest.mark.system("hunspell")
@pytest.mark.parametrize(("name", "words"), [("diplomacy", "diplomacy"), ("challenge", "diplomacy"), ("contrast", "contrast")])
def test_the_shipped_corpora_are_spelt_as_in_dictionaries(root: Path, name: str, words: str) -> None:
    """Except for names and other words listed in their ``words.txt``."""
    known = countries(root / "data" / name)
    assert unknown_words(segments_of(root, name), known, read_words(root / "data" / words / "words.txt")) == []
