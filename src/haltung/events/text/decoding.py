"""From a file's bytes to its text, whatever its encoding."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from haltung.corpus.clean import repair_encoding

# Longer encodings first: the mark of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)

# A character of several bytes in UTF-8.
_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")

# In a text without a mark, every other byte of UTF-16 is 0 where the text is in Latin letters.
_UTF16_SHARE = 0.3

# A file with a larger share of unreadable characters is no text.
_LOST_SHARE = 0.05


class NoTextError(Exception):
    """The bytes are no text; the message says why."""


@dataclass(frozen=True)
class Decoded:
    """A text, and notes on its encoding; none for plain UTF-8."""

    text: str
    notes: tuple[str, ...] = ()


def decode(raw: bytes) -> Decoded:
    """Return the text of a file.

    Tried in order: a byte order mark, UTF-16 without one, UTF-8, and last UTF-8 with Windows-1252
    (a superset of Latin-1) for all bytes that are no UTF-8; that reads files in either, and files
    pasted together from both. Mojibake ("fÃ¼r") is undone.

    Raises:
        NoTextError: the bytes are empty, binary, or mostly in another encoding.
    """
    text, notes = _decoded(raw)
    if not text.strip():
        raise NoTextError("is empty" if not raw else "holds nothing but white space")
    if "\0" in text:
        raise NoTextError(f"is no text (a NUL at character {text.index(chr(0)) + 1:,}); expected a text, HTML or JSON Lines")
    better = repair_encoding(text)
    if better != text:
        text = better
        notes.append("wrongly decoded letters were repaired")
    lost = text.count("\ufffd")
    if lost > _LOST_SHARE * len(text):
        raise NoTextError(f"is in no known encoding ({lost:,} of {len(text):,} characters can't be read); save it as UTF-8")
    if lost:
        notes.append(f"{lost:,} {'character' if lost == 1 else 'characters'} can't be read, and \ufffd stands for them")
    return Decoded(text, tuple(notes))


def _decoded(raw: bytes) -> tuple[str, list[str]]:
    for mark, codec, name in _MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(codec, "replace"), [] if name == "UTF-8" else [f"read as {name}"]
    for codec, zeros in (("utf-16-le", raw[1:2000:2]), ("utf-16-be", raw[0:2000:2])):
        if len(raw) > 1 and zeros.count(0) > _UTF16_SHARE * len(zeros):
            return raw.decode(codec, "replace"), ["read as UTF-16, though it has no byte order mark"]
    try:
        return raw.decode("utf-8"), []
    except UnicodeDecodeError:
        whole = _UTF8.search(raw) is not None
    codecs.register_error("haltung-windows", _windows)
    text = raw.decode("utf-8", "haltung-windows")
    return text, ["mixed encodings: read as UTF-8, and as Windows-1252 where that fails" if whole else "read as Windows-1252"]


def _windows(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are no UTF-8 as Windows-1252."""
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end
