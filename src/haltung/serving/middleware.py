"""What every request meets first: whether the server still takes any, how large a body may be, and how long all of it may take."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from haltung.serving.answers import Refused, failure
from haltung.serving.metrics import Metrics
from haltung.serving.security import Key

log = logging.getLogger("haltung.serving")

# Of a body that is too large so much more is read and thrown away: a client that is still sending would not see the answer.
_THROWN_AWAY = 8

# A caller who sends a body slower than this is not waited for.
_BODY_SECONDS = 20.0


# What is counted for a caller who went away before there was an answer (as nginx has it); nobody is sent it.
_GONE = 499


class _Gone(Exception):
    """The caller has hung up, or has sent what is no HTTP and was told so already."""


class Gate:
    """Whether the server takes requests; opened when the model is there, shut when the server stops."""

    def __init__(self) -> None:
        self.stopping = False


class Entrance:
    """The outermost layer of ours: refuses what is too large or too late, counts, writes one line per request, and lets no error out.

    The line has method, route, status and time, and never a path as it was sent, a query or a body.
    """

    def __init__(self, app: ASGIApp, gate: Gate, metrics: Metrics, key: Key | None, most: int, timeout: float) -> None:
        self._app, self._gate, self._metrics, self._key, self._most, self._timeout = app, gate, metrics, key, most, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._gate.stopping:
                    MutableHeaders(scope=message)["connection"] = "close"
            try:
                await send(message)
            except Exception as error:
                raise _Gone from error

        try:
            await self._answer(scope, receive, sent)
        except _Gone:
            status = _GONE
        route = getattr(scope.get("route"), "path", None) or "other"
        seconds = time.perf_counter() - began
        self._metrics.answered(route, status, seconds)
        log.info("%s %s %d %.1f ms", scope["method"] if scope["method"] in _METHODS else "other", route, status, 1000 * seconds)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, and answer for it where it is refused or fails."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._through(scope, receive, sent)
        except _Gone:
            raise
        except Refused as refused:
            if not begun:
                await failure(refused.status, refused.sentence, refused.headers)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller gets a sentence and the log gets no text of theirs
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s\n%s", type(error).__name__, where)
            if not begun:
                await failure(500, "the server has failed at this request; its log says where")(scope, receive, send)

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._gate.stopping and not scope["path"].endswith("/live"):
            raise Refused(503, "the server is stopping; ask again in a moment", {"retry-after": "2"})
        if self._key is not None:
            self._key.check(scope)
        body = await self._body(Headers(scope=scope), receive)
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            async with asyncio.timeout(self._timeout):
                await self._app(scope, whole, send)
        except TimeoutError:
            raise Refused(504, f"the answer has taken more than {self._timeout:g} s; send fewer texts at once, or ask again") from None

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """Return the body, however it was sent.

        Raises:
            Refused: it is too large, comes too slowly, or is compressed.
            _Gone: it has no end.
        """
        if headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "the body is compressed; send it as it is")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                more = True
                while more and size <= _THROWN_AWAY * self._most:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part = message.get("body", b"")
                    size += len(part)
                    if size <= self._most:
                        parts.append(part)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refused(408, f"the body has not come within {_BODY_SECONDS:g} s", {"connection": "close"}) from None
        if size > self._most:
            sentence = f"the body has more than {self._most:,} bytes, which is the most that is allowed; send fewer texts at once"
            raise Refused(413, sentence, {"connection": "close"} if more else {})
        return b"".join(parts)


_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
