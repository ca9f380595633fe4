"""Distribution of exported models: a wheel that pip installs, a repository on the hub."""

import keyword
import re
import shutil
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from haltung import __version__
from haltung.errors import UserError, first_line
from haltung.files import atomic_file, shipped
from haltung.inference.sessions import library
from haltung.models.compact import ENTRY_POINTS


def check_wheel(name: str, version: str) -> None:
    """Raise ``UserError`` if a package can't have this name or version, or hatchling is missing."""
    from packaging.version import InvalidVersion, Version

    library("hatchling")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UserError(f"wheel is '{name}', but a package name has only a-z, digits and single '_' between them, as in wheel=my_model")
    try:
        is_taken = not metadata.distribution(name).entry_points.select(group=ENTRY_POINTS)
    except metadata.PackageNotFoundError:
        is_taken = find_spec(name) is not None
    if is_taken or (shipped("data") / "models" / name).is_dir():
        raise UserError(f"wheel is '{name}', but an installed package or a model already has that name; choose another")
    try:
        Version(version)
    except InvalidVersion:
        raise UserError(f"version is '{version}', but a package version must have the form 1.0 or 1.0.2") from None


def wheel(model: Path, name: str, version: str, licence: str | None) -> Path:
    """Pack a folder that ``haltung export`` has written as a wheel beside it; return its path.

    Once it is installed, ``haltung.load(name)`` finds the model. ``licence`` is that of the data,
    None if unknown. Raises ``UserError`` if the wheel can't be written.
    """
    from hatchling.builders.wheel import WheelBuilder

    try:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch, "package")
            shutil.copytree(model, root / name)
            (root / name / "__init__.py").write_text(f'"""A model for Haltung: ``haltung.load("{name}")``."""\n', encoding="utf-8")
            card = _card(root / name)
            project = {
                "name": name, "version": version, "description": f"A model for Haltung: haltung.load('{name}')",
                "requires-python": ">=3.11", "license": {"text": f"data: {licence or 'unknown'}"},
                "dependencies": [f"haltung>={__version__}"], "entry-points": {ENTRY_POINTS: {name: name}},
                **({"readme": card.relative_to(root).as_posix()} if card else {}),
            }  # fmt: skip
            build = {"packages": [name], "ignore-vcs": True}
            config = {"project": project, "tool": {"hatch": {"build": {"targets": {"wheel": build}}}}}
            (built,) = WheelBuilder(str(root), config=config).build(directory=str(Path(scratch, "dist")), versions=["standard"])
            target = model.resolve().parent / Path(built).name
            with atomic_file(target) as path:
                shutil.copyfile(built, path)
    except (OSError, ValueError) as error:
        raise UserError(f"{model} was written, but its wheel {name} {version} could not be: {first_line(error)}") from None
    return target


def check_hub(repository: str) -> None:
    """Raise ``UserError`` if a repository can't have this name, or nobody is logged in."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repository)
        if "/" not in repository:
            raise HFValidationError
    except HFValidationError:
        allowed = "ORGANISATION/NAME or USER/NAME, with at most 96 characters, as in hub=ours/news"
        raise UserError(f"hub is '{repository}'; expected {allowed}") from None
    if constants.HF_HUB_OFFLINE:
        raise UserError("hub=… uploads, but the environment variable HF_HUB_OFFLINE says to stay offline; unset it")
    if get_token() is None:
        raise UserError("hub=… needs a token with write access: run `hf auth login`, or set the environment variable HF_TOKEN")


def upload(model: Path, repository: str, private: bool) -> str:
    """Upload a folder that ``haltung export`` has written to the hub; return the commit's address.

    A missing repository is created, ``private`` or public; in an existing one the folder's files
    replace all others, which stay in its history. ``UserError`` if the hub is down or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of httpx, or of httpx2, as the version has it

    api = HfApi(library_name="haltung", library_version=__version__)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository, folder_path=model, commit_message=f"Export by Haltung {__version__}", delete_patterns="*"
        )
        if (card := _card(model)) and card.parent != model:
            api.upload_file(repo_id=repository, path_or_fileobj=card, path_in_repo=card.name)
        return str(done.commit_url)
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        found = f"{model} was written, but the hub {api.endpoint} did not accept it as {repository}: {first_line(error)}"
        raise UserError(f"{found}; check the token's write access, the name and the connection, then export again") from None


def _card(model: Path) -> Path | None:
    """Return the card of a bundle or compact model; a compact one's own precedes its bundle's."""
    return next((path for path in (model / "README.md", model / "bundle" / "README.md") if path.is_file()), None)
