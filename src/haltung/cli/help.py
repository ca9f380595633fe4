"""``haltung COMMAND --help``: what it does, its choices, its keys; read from the configs themselves."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from haltung import files
from haltung.cli.config import choices


def manual(command: str, summary: str) -> str:
    """Return the help text of a command."""
    path = files.shipped("configs") / f"{command}.yaml"
    if not path.is_file():
        return f"haltung {command}: {summary}\n\nusage: haltung {command} bash|zsh|fish"
    text = path.read_text(encoding="utf-8")
    comment = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    config = DictConfig(OmegaConf.create(text))
    groups = [(str(group), choice) for item in config.get("defaults", []) if item != "_self_" for group, choice in item.items()]
    lines = [f"haltung {command}: {summary}", "", *comment, "", f"usage: haltung {command} [key=value …]"]
    if groups:
        lines += ["", "choices (group=NAME; the keys of a group are given as group.key=value):"]
        lines += [f"  {group:<11} {', '.join(choices(group)) or '-'}  (default: {choice or 'none'})" for group, choice in groups]
    keys = [line for line in text.splitlines() if line and line[0] not in "# -" and not line.startswith("defaults")]
    lines += ["", "keys:", *(f"  {line}" for line in keys)]
    lines += ["", f"haltung {command} --cfg prints every key with its value."]
    return "\n".join(lines)
