"""Shell completion: ``eval "$(haltung completion bash)"``; what comes next is asked of Hydra's own completion."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from haltung import files
from haltung.cli import COMMANDS
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

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(words: Sequence[str]) -> int:
    """Print the completion script of a shell."""
    if len(words) != 1 or words[0] not in SCRIPTS:
        found = f"unknown shell '{words[0]}'{nearest(words[0], SCRIPTS)}" if words else "no shell named"
        raise UserError(f"{found}; use one of {listed(SCRIPTS)}, as in: haltung completion bash")
    print(SCRIPTS[words[0]])
    return 0


def complete(words: Sequence[str]) -> list[str]:
    """Return what may stand at the end of a command line such as ``haltung train corpus=x``."""
    line = words[0] if words else ""
    parts = line.split(" ")
    if len(parts) <= 2:
        start = parts[-1] if len(parts) == 2 else ""
        return [name for name in COMMANDS if name.startswith(start)]
    command, last = parts[1], parts[-1]
    if command == "completion":
        return [name for name in SCRIPTS if name.startswith(last)]
    if not (files.shipped("configs") / f"{command}.yaml").is_file():
        return []
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.bash_completion import BashCompletion
    from hydra.core.global_hydra import GlobalHydra

    from haltung.cli.config import register_resolvers

    register_resolvers()
    with initialize_config_dir(config_dir=str(files.shipped("configs").resolve()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        found = BashCompletion(loader)._query(config_name=command, line=" ".join(parts[2:]))
    sys.stdout.flush()
    return list(found)
