"""The annotation page's HTTP application: it serves what to label and takes the answers."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi import Path as Place
from starlette.middleware import Middleware
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from haltung.annotation.work import Work
from haltung.corpus.parsing.rows import Fault
from haltung.serving import app as shared
from haltung.serving.metrics import Metrics
from haltung.serving.middleware import Entrance, failure
from haltung.serving.routes import JsonRoute

PAGE = Path(__file__).with_name("page")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def application(work: Work, host: str, key: str | None) -> FastAPI:
    """Return the page's application; it answers requests from that page only."""

    def from_own_page(request: Request) -> None:
        asked, origin = request.headers.get("host", ""), request.headers.get("origin")
        # Another site's name may resolve to this address (DNS rebinding).
        is_elsewhere = host in LOOPBACK and urlsplit(f"//{asked}").hostname not in LOOPBACK
        if is_elsewhere or (request.method != "GET" and origin is not None and urlsplit(origin).netloc != asked):
            raise HTTPException(403, "this server only accepts requests from its own page, at the address that it printed")

    entrance = Middleware(Entrance, Metrics({}), lambda: False, key, 30.0, 2_000_000)
    handlers = shared.refusals(lambda _, error: failure(507, str(error)))
    app = FastAPI(middleware=[entrance], docs_url=None, redoc_url=None, openapi_url=None, exception_handlers=handlers)
    routes, number = APIRouter(route_class=JsonRoute, dependencies=[Depends(from_own_page)]), Place(ge=0, lt=len(work.segments))

    @routes.get("/work")
    async def described() -> dict[str, Any]:
        return work.described()

    @routes.get("/items/{number}")
    async def item(number: Annotated[int, number]) -> dict[str, Any]:
        return work.view(number)

    @routes.post("/items/{number}")
    async def answer(number: Annotated[int, number], body: dict[str, Any]) -> dict[str, Any]:
        try:
            work.answer(number, body)
        except Fault as fault:
            raise HTTPException(409 if fault.reason == "changed" else 422, str(fault)) from None
        return {"answered": number}

    app.include_router(routes)
    app.add_api_route("/", lambda: FileResponse(PAGE / "index.html"), response_model=None)
    app.mount("/page/annotation", StaticFiles(directory=PAGE))
    app.mount("/page", StaticFiles(directory=shared.PAGE))
    return app


def annotate(work: Work, host: str, port: int, key: str | None) -> None:
    """Serve the page until a signal stops it; ``UserError`` if the port can't be used."""
    with shared.listening(host, port) as listener:
        listener.listen()  # before the address is printed
        name, number = listener.getsockname()[:2]
        print(f"{work.file.path} at http://{f'[{name}]' if ':' in name else name}:{number} (Ctrl-C stops it)", flush=True)
        config = uvicorn.Config(application(work, host, key), log_config=None, access_log=False, server_header=False, ws="none")
        uvicorn.Server(config).run([listener])
