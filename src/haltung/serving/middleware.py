"""Middleware for every request: the key, limits of size and time, the log, security headers."""

import asyncio
import hashlib
import hmac
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import aclosing

from fastapi import HTTPException
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from haltung.serving.metrics import Metrics

log = logging.getLogger("haltung.serving")
# A body that is too large is read and dropped up to this many times the limit, because a client
# that is still sending would not see the answer.
_DROPPED = 8
# The time limit for a client to send its body.
_BODY_SECONDS = 20.0
# The status that is counted if a client disconnects before the answer, as in nginx; never sent.
_CLIENT_GONE = 499
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_HEADERS = [
    # Only the server's own files: no inline script or style, no frame, no other host.
    (b"content-security-policy", b"default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
# These reveal no text and cost nothing, so a browser and a supervisor need no key for them.
_OPEN = ("/health/live", "/health/ready", "/docs", "/openapi.json", "/")


def failure(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error in the format of the whole server: ``{"error": "one sentence"}``."""
    return JSONResponse({"error": sentence}, status, headers)


class Entrance:
    """Refuse requests that are too large or too slow, count and log all, and let no exception out.

    Every answer gets the security headers. A line of the log has method, route, status and time,
    but never a path as it was sent, a query or a body.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, stopping: Callable[[], bool], key: str | None, timeout: float, most: int) -> None:
        self._app, self._metrics, self._stopping, self._timeout, self._most = app, metrics, stopping, timeout, most
        self._key = _digest(key) if key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with an error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # The model's answers stay out of caches.
                cache = b"no-cache" if _is_open(scope["path"]) else b"no-store"
                message["headers"] = [*message["headers"], *_HEADERS, (b"cache-control", cache)]
                if self._stopping():
                    MutableHeaders(scope=message)["connection"] = "close"
            try:
                await send(message)
            except Exception as error:
                raise ClientDisconnect from error

        refusal: Response | None = None
        try:
            try:
                await self._pass_on(scope, receive, send_and_note, lambda: bool(status))
            except ClientDisconnect:
                raise
            except HTTPException as refused:
                refusal = failure(refused.status_code, refused.detail, refused.headers)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the client gets a sentence, and the log none of the client's text
                log.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
                refusal = failure(500, "the server failed on this request; its log says where")
            if refusal is not None and not status:
                await refusal(scope, receive, send_and_note)
        except ClientDisconnect:
            status = _CLIENT_GONE
        route = getattr(scope.get("route"), "path", None) or "other"
        seconds = time.perf_counter() - start
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        log.info("%s %s %d %.1f ms", scope["method"] if scope["method"] in _METHODS else "other", route, status, 1000 * seconds)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, begun: Callable[[], bool]) -> None:
        if self._stopping() and not scope["path"].endswith("/live"):
            raise HTTPException(503, "the server is stopping; try again in a moment", {"retry-after": "2"})
        request = Request(scope, receive)
        if self._key is not None and not _is_open(scope["path"]):
            # Sent as ``X-API-Key: KEY`` or ``Authorization: Bearer KEY``.
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            given = request.headers.get("x-api-key") or (token.strip() if scheme.lower() == "bearer" else "")
            if not hmac.compare_digest(_digest(given), self._key):
                sentence = "this server requires a key: send it in the header X-API-Key"
                raise HTTPException(401, sentence, {"www-authenticate": "Bearer", "connection": "close"})
        messages = iter([{"type": "http.request", "body": await self._body(request), "more_body": False}])

        async def receive_body() -> Message:
            return next(messages, None) or await receive()

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if not (begun() or limit.expired()):
                limit.reschedule(0)  # expire now, so that texts waiting for a batch are dropped

        watcher = asyncio.create_task(watch())
        try:
            async with asyncio.timeout(self._timeout) as limit:
                await self._app(scope, receive_body, send)
        except TimeoutError:
            sentence = f"the answer took more than {self._timeout:g} s; send fewer texts at once, or try again"
            raise (ClientDisconnect() if watcher.done() else HTTPException(504, sentence)) from None
        finally:
            watcher.cancel()

    async def _body(self, request: Request) -> bytes:
        """Return the whole body, even if it arrives in chunks."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise HTTPException(415, "the body is compressed; send it uncompressed")
        parts, size, most = list[bytes](), 0, self._most
        try:
            async with asyncio.timeout(_BODY_SECONDS), aclosing(request.stream()) as stream:
                async for part in stream:
                    size += len(part)
                    if size <= most:
                        parts.append(part)
                    elif size > _DROPPED * most:
                        break
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {_BODY_SECONDS:g} s", {"connection": "close"}) from None
        if size > most:
            sentence = f"the body has more than the {most:,} bytes that are allowed; send fewer texts at once"
            raise HTTPException(413, sentence, {"connection": "close"} if size > _DROPPED * most else {})
        return b"".join(parts)


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith("/page/")


def _digest(key: str) -> bytes:
    """Return a digest: its fixed length keeps a comparison's time from revealing a key's length."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
