"""``haltung serve``: an exported bundle behind HTTP."""

from haltung.cli.build import command, typed
from haltung.cli.config import Request
from haltung.errors import UserError


@command("serve", single="one bundle at a time; start haltung serve again for another one, with another port")
def run(request: Request, bundle: str | None, key_file: str | None) -> None:
    """Serve a bundle until a signal comes; all other keys are settings of the server."""
    from haltung.models import compact

    try:
        from haltung.serving.app import serve
        from haltung.serving.engine import Settings, secret
    except ModuleNotFoundError as error:
        raise UserError(f"serving needs the library {error.name}, which is not installed; pip install 'haltung[serve]'") from None
    serve(typed(Settings, {**request.settings, "bundle": compact.find(bundle), "key": secret(key_file)}))
