"""Answers as JSON; an error is one sentence, ``{"error": "…"}``, whichever part of the server gives it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


class Refused(Exception):
    """A request that is not answered: ``status``, one sentence, and headers such as Retry-After."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return plain data as JSON."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(body, status, dict(headers or {}), "application/json")


def failure(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error."""
    return answer({"error": sentence}, status, headers)
