"""Pages that stand alone: data, style and script inside one HTML file that asks for nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from haltung.events.archive.i18n import words


def page(template: str, styles: Sequence[str], scripts: Sequence[str], data: Mapping[str, Any], language: str, **values: object) -> str:
    """Return a page of ``assets``.

    Args:
        template: a file of Jinja's.
        styles: files that make its style, in order.
        scripts: files that make its script, in order.
        data: what the script draws.
        language: ``en`` or ``de``.
        values: what the template shows; texts are escaped.
    """
    import jinja2
    from markupsafe import Markup

    # Style, script and data are our own text, or escaped by ``inside``.
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    said = words(language)
    style = "\n".join(_file(name) for name in styles)
    script = "\n".join(_file(name) for name in scripts)
    return environment.from_string(_file(template)).render(
        language=language,
        word=said.__getitem__,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        words=Markup(inside(said)),
        data=Markup(inside(data)),
        **values,
    )


def _file(name: str) -> str:
    return resources.files("haltung.events.archive").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return what a page may do: show its own style and run its own script, fetch nothing. A text of an article can do neither."""
    return f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}; base-uri 'none'; form-action 'none'"


def digest(text: str) -> str:
    """Return what a content security policy names a style or script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def inside(data: Mapping[str, Any]) -> str:
    """Return JSON that can't end the element which it stands in, whatever is in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
