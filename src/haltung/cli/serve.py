"""``haltung serve``, a module of its own, which needs only the libraries of the server."""

from haltung.cli.build import command, typed
from haltung.cli.config import Request
from haltung.errors import UserError
from haltung.models import compact


@command("serve", single="one bundle at a time; start haltung serve again for another one, with another port")
def run(request: Request, bundle: str | None, key_file: str | None) -> None:
    """Serve a bundle until a signal arrives; all other keys are settings of the server."""
    try:
        from haltung.serving import app
        from haltung.serving.engine import Settings, secret
    except ModuleNotFoundError as error:
        raise UserError(f"serving needs the library {error.name}, which is not installed; pip install 'haltung[serve]'") from None
    app.serve(typed(Settings, {**request.settings, "bundle": compact.find(bundle), "key": secret(key_file)}))
