"""``haltung new`` creates a project; ``haltung doctor`` tells what suits this machine."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from rich.console import Console

from haltung import files
from haltung.cli import hint
from haltung.cli.build import Language, command
from haltung.cli.config import choices
from haltung.errors import UserError, writing
from haltung.evaluation.report.i18n import number, words
from haltung.evaluation.report.tables import Grid
from haltung.inference import machine

# The templates of a project, and the file that each of them becomes.
_FILES = {
    "README.{language}.md.j2": "README.md", "Makefile.j2": "Makefile", "gitignore": ".gitignore", "labels.yaml.j2": "labels.yaml",
    "corpus.yaml.j2": "configs/corpus/{id}.yaml", "sentences.csv": "data/sentences.csv",
}  # fmt: skip


def new(arguments: Sequence[str]) -> int:
    """Create a project; the first argument may be its name, without ``name=``."""
    is_name = bool(arguments) and "=" not in arguments[0] and not arguments[0].startswith("-")
    return _new([f"name={arguments[0]}", *arguments[1:]] if is_name else arguments)


@command("new", verbatim=("name",), single="one project at a time; name one language")
def _new(*, name: str | None, language: Language) -> None:
    folder = Path(name or "").expanduser()
    if not folder.name:
        raise UserError("the project has no name; give the name of a new folder, as in: haltung new pensions")
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} already exists, and nothing in it was changed; name a folder that does not exist yet")
    id = re.sub(r"\W+", "_", folder.name.lower(), flags=re.ASCII).strip("_")
    id = f"my_{id}" if not id[:1].isalpha() or id in (*choices("corpus"), "null", "true", "false", "yes", "no", "on", "off") else id
    with writing(folder), files.atomic_folder(folder, keep=Path.exists) as scratch:
        for template, target in _FILES.items():
            path = scratch / target.format(id=id)
            path.parent.mkdir(parents=True, exist_ok=True)
            source = f"project/{template.format(language=language)}"
            path.write_text(files.rendered("haltung.cli", source, name=folder.name, id=id), encoding="utf-8")
    hint("made", str(folder))
    hint("next", f"cd {shlex.quote(str(folder))} && make train")


@command("doctor", single="one language and one format at a time")
def doctor(*, language: Language, format: Literal["table", "json"], timeout: Annotated[float, Field(ge=0, le=60)]) -> None:  # noqa: A002
    """Print this machine's relevant properties, and what to choose on it."""
    found = machine.look(timeout)
    if format == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    say = words("haltung.cli", language, "doctor.tsv")
    text = files.rendered("haltung.cli", "doctor.j2", **found, say=say, number=number, language=language)
    heads, *rows = (tuple(line.split(" | ")) for line in text.splitlines() if line)
    Console().print(Grid("", heads, tuple(rows), left=3).rich())
