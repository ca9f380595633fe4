"""Broken encoding and markup in a text: what is found, and the text without it."""

from __future__ import annotations

import html
import re
import unicodedata

# The tags that occur in scraped news; a closed list, because "<Name>" or "a < b" in a text is no markup.
_TAGS = (
    "a|abbr|article|aside|b|blockquote|body|br|caption|center|cite|code|dd|div|dl|dt|em|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|"
    "i|iframe|img|input|li|link|main|meta|nav|nowiki|ol|p|picture|pre|q|ref|references|s|script|section|small|source|span|strike|strong|style|sub|"
    "sup|svg|table|tbody|td|tfoot|th|thead|title|tr|u|ul|video"
)
_TAG = re.compile(rf"</?(?P<name>{_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->|<!doctype[^<>]*>", re.IGNORECASE | re.DOTALL)
_SILENT = re.compile(r"<(script|style|ref)(?:\s[^<>]*)?>.*?</\1>", re.IGNORECASE | re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}|\{\|.*?\|\}", re.DOTALL)
_WIKI_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)*([^\[\]|]*)\]\]")
_WEB_LINK = re.compile(r"\[https?://\S+(?:\s+([^\[\]]*))?\]")
_EMPHASIS = re.compile(r"'{3,}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HEADING = re.compile(r"^(={2,6})\s*(\S.*?)\s*\1\s*$", re.MULTILINE)
# Tags that begin a new line or cell: their two sides are not one word.
_BREAKS = re.compile(r"^(?:br|p|div|li|ul|ol|tr|td|th|table|h[1-6]|hr|blockquote|section|article|dd|dt)$", re.IGNORECASE)


def mended(text: str) -> str:
    """Return the text with its mojibake undone ("fÃ¼r" becomes "für"); the same text where there is none."""
    if text.isascii():
        return text
    import ftfy

    return ftfy.fix_encoding(text)


def whole(text: str) -> str:
    """Return the text with the two halves of a character pair joined and U+FFFD for a half that is alone (JSON escapes can hold such)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _SURROGATE.search(text) else text


def lossy(text: str) -> bool:
    """Say whether characters are lost for good: the text holds U+FFFD, which a decoder writes for what it cannot read."""
    return "\ufffd" in text


def markup(text: str) -> str:
    """Return the first piece of HTML or wiki markup in the text, "" where there is none."""
    if not any(sign in text for sign in ("<", "&", "[", "{", "'''", "==")):
        return ""
    for pattern in (_COMMENT, _SILENT, _TAG, _TEMPLATE, _WIKI_LINK, _WEB_LINK, _EMPHASIS, _HEADING):
        if match := pattern.search(text):
            return match.group()
    for match in _ENTITY.finditer(text):
        # html.unescape leaves what is no entity ("R&D;") as it stands.
        if html.unescape(match.group()) != match.group():
            return match.group()
    return ""


def stripped(text: str) -> str:
    """Return the text without HTML and wiki markup, its words kept: ``[[Bonn|in Bonn]]`` becomes ``in Bonn``, ``&amp;`` becomes ``&``."""
    for pattern in (_COMMENT, _SILENT):
        text = pattern.sub(" ", text)
    before = None
    while before != text:  # templates and links stand inside each other
        before = text
        text = _TEMPLATE.sub(" ", text)
        text = _WIKI_LINK.sub(r"\1", text)
    text = _WEB_LINK.sub(lambda match: match.group(1) or "", text)
    text = _HEADING.sub(r"\2", _EMPHASIS.sub("", text))
    text = _TAG.sub(lambda match: " " if _BREAKS.match(match["name"]) else "", text)
    return " ".join(html.unescape(text).split())


def visible(text: str) -> str:
    """Return the text without the characters at its ends that show nothing: spaces, control and format characters, zero-width ones."""
    start, end = 0, len(text)
    while start < end and _unseen(text[start]):
        start += 1
    while end > start and _unseen(text[end - 1]):
        end -= 1
    return text[start:end]


def _unseen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp")
