"""Who may ask, and what a browser may do with the answers."""

from __future__ import annotations

import hashlib
import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from haltung.serving.answers import Refused

# Nothing but our own files: no script or style within a page, none from elsewhere, no frame, no form to elsewhere.
POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

# These tell nothing of a text and cost nothing, so that a browser and a supervisor need no key.
_OPEN = ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/docs", "/docs.css", "/openapi.json", "/")
_OPEN_FOLDERS = ("/page/",)


class SecurityHeaders:
    """Puts the headers on every answer; an answer of the model stays in no cache."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-cache" if is_open(scope["path"]) else "no-store")
            await send(message)

        await self._app(scope, receive, sent)


class Key:
    """Asks for the key, as ``X-API-Key: KEY`` or ``Authorization: Bearer KEY``, except for health and page."""

    def __init__(self, key: str) -> None:
        # Digests have one length, so that the time of a comparison does not tell that of the key.
        self._digest = _digest(key)

    def check(self, scope: Scope) -> None:
        """Let a request pass.

        Raises:
            Refused: it needs the key and does not show it.
        """
        if is_open(scope["path"]):
            return
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        shown = headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
        if not hmac.compare_digest(_digest(shown), self._digest):
            sentence = "this server asks for a key: send it as the header X-API-Key"
            raise Refused(401, sentence, {"www-authenticate": "Bearer", "connection": "close"})


def is_open(path: str) -> bool:
    """Tell whether a path is asked for without a key."""
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
