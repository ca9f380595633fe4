"""``haltung COMMAND --help``, read from the configs, and shell completion.

Completion is switched on by ``eval "$(haltung completion bash)"``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from haltung import files
from haltung.cli import COMMANDS
from haltung.cli.config import choices, register_resolvers
from haltung.errors import UserError, listed, nearest

_BASH = """\
_haltung() {
    local IFS=$'\\n'
    COMPREPLY=($(haltung __complete "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null))
    # bash takes = for the end of a word, so that only what follows it is replaced
    local word="${COMP_LINE:0:$COMP_POINT}"; word="${word##* }"
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then COMPREPLY=("${COMPREPLY[@]#"${word%=*}="}"); fi
    if [[ "${COMPREPLY[0]}" == *= || "${COMPREPLY[0]}" == *. ]]; then compopt -o nospace; fi
}
complete -F _haltung haltung"""

_ZSH = """\
_haltung() {
    local -a found
    found=("${(@f)$(haltung __complete "${BUFFER[1,$CURSOR]}" 2>/dev/null)}")
    compadd -S '' -- $found
}
compdef _haltung haltung"""

_FISH = "complete -c haltung -f -a '(haltung __complete (commandline -cp) 2>/dev/null)'"

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def manual(command: str) -> str:
    """Return the help text of a command."""
    title = f"haltung {command}: {COMMANDS[command]}"
    path = files.shipped("configs") / f"{command}.yaml"
    if not path.is_file():
        return f"{title}\n\nusage: haltung {command} bash|zsh|fish"
    text = path.read_text(encoding="utf-8")
    comment = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    config = DictConfig(OmegaConf.create(text))
    groups = [(str(group), choice) for item in config.get("defaults", []) if item != "_self_" for group, choice in item.items()]
    lines = [title, "", *comment, "", f"usage: haltung {command} [key=value …]"]
    if groups:
        lines += ["", "choices (group=NAME; the keys of a group are given as group.key=value):"]
        lines += [f"  {group:<11} {', '.join(choices(group)) or '-'}  (default: {choice or 'none'})" for group, choice in groups]
    keys = [line for line in text.splitlines() if line and line[0] not in "# -" and not line.startswith("defaults")]
    lines += ["", "keys:", *(f"  {line}" for line in keys)]
    lines += ["", f"haltung {command} --cfg prints every key with its value."]
    return "\n".join(lines)


def completion(arguments: Sequence[str]) -> str:
    """Return the completion script of a shell.

    Raises:
        UserError: the shell is unknown, or none is named.
    """
    if len(arguments) != 1 or arguments[0] not in _SCRIPTS:
        fault = f"unknown shell '{arguments[0]}'{nearest(arguments[0], _SCRIPTS)}" if arguments else "no shell named"
        raise UserError(f"{fault}; use one of {listed(_SCRIPTS)}, as in: haltung completion bash")
    return _SCRIPTS[arguments[0]]


def complete(arguments: Sequence[str]) -> list[str]:
    """Return what may stand at the end of a command line such as ``haltung train corpus=x``."""
    line = arguments[0] if arguments else ""
    parts = line.split(" ")
    if len(parts) <= 2:
        start = parts[-1] if len(parts) == 2 else ""
        return [name for name in COMMANDS if name.startswith(start)]
    command, last = parts[1], parts[-1]
    if command == "completion":
        return [name for name in _SCRIPTS if name.startswith(last)]
    if not (files.shipped("configs") / f"{command}.yaml").is_file():
        return []
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.bash_completion import BashCompletion
    from hydra.core.global_hydra import GlobalHydra

    register_resolvers()
    with initialize_config_dir(config_dir=str(files.shipped("configs").resolve()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        candidates = BashCompletion(loader)._query(config_name=command, line=" ".join(parts[2:]))
    sys.stdout.flush()
    return list(candidates)
