"""The page at ``/docs``: OpenAPI as plain HTML, without a script or anything from another host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """\
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
summary { cursor: pointer; padding: .4rem 0; }
details { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
code, pre { font: .875rem/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; background: color-mix(in srgb, currentColor 7%, transparent); }
.method { display: inline-block; min-width: 3.5rem; font-weight: 600; }
dt { font-weight: 600; }
"""


def page(openapi: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    info = openapi["info"]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>{escape(info["title"])}</title>\n<link rel="stylesheet" href="docs.css">\n</head>\n<body>\n<main>',
            f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
            f"<p>{escape(info.get('description', ''))}</p>",
            '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>',
            *_operations(openapi),
            "<h2>Forms</h2>",
            *_forms(openapi),
            "</main>\n</body>\n</html>\n",
        ]
    )


def _operations(openapi: Mapping[str, Any]) -> Iterator[str]:
    group = ""
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            name = (operation.get("tags") or ["Other"])[0]
            if name != group:
                yield f"<h2>{escape(name)}</h2>"
                group = name
            yield f'<details><summary><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code> '
            yield f"{escape(operation.get('summary', ''))}</summary>"
            reads = operation.get("requestBody", {}).get("content", {})
            yield from (f"<p>Takes {_link(content['schema'])} as <code>{escape(media)}</code>.</p>" for media, content in reads.items())
            yield "<dl>"
            for status, response in operation["responses"].items():
                forms = ", ".join(_link(content["schema"]) for content in response.get("content", {}).values() if content.get("schema"))
                yield f"<dt>{escape(status)}</dt><dd>{escape(response['description'])}{': ' if forms else ''}{forms}</dd>"
            yield "</dl></details>"


def _forms(openapi: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in openapi["components"]["schemas"].items():
        text = escape(json.dumps(schema, ensure_ascii=False, indent=2))
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary><pre>{text}</pre></details>'


def _link(schema: Mapping[str, Any]) -> str:
    name = escape(str(schema.get("$ref", "")).rpartition("/")[2])
    return f'<a href="#{name}">{name}</a>' if name else "a value"
