"""The command line, its help and completion; heavy imports wait until the command is known."""

import importlib
import os
import re
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from haltung import __version__, files, resources
from haltung.errors import UserError, listed, nearest, writing

# For each command, the module that its function is in, and its description in `haltung`'s list.
_ROWS = list(files.table("haltung.cli", "commands.tsv"))
COMMANDS = {name: text for name, _, text in _ROWS}
_MODULES = {name: module for name, module, _ in _ROWS}
_HELP = ("--help", "-h", "help")
_DEFAULTS = re.compile(r"^defaults:\n(  .*\n)*", re.MULTILINE)  # the groups that a config is composed of
_SHELLS = ("bash", "zsh", "fish")
_LABEL = ": haltung annotate is for labelling by hand, predict for labels by a model, issues for labels that look wrong"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, 2 for a user's mistake, or 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _set_up_libraries(words[:1])
    try:
        with writing(then=", then run it again (with resume=true where the command has it)"):
            return _run(words)
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(5)  # meanwhile torchrun's first process, if it fails the same way, ends this one
        *above, sentence = error.lines()
        print(*above, f"haltung: {sentence}", sep="\n", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("haltung: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe, which is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def hint(label: str, text: str) -> None:
    """Print a line to copy, such as the next command; a narrow terminal does not wrap it."""
    print(f"{f'{label}:' if label else '':<12} {text}")


def _run(words: list[str]) -> int:
    command, *rest = words or ["help"]
    if command in _HELP:
        print(_help(), end="")
    elif command in ("--version", "-V"):
        print(f"haltung {__version__}")
    elif command == "__complete":
        print("\n".join(_candidates(rest[0] if rest else "")), flush=True)
    elif command not in COMMANDS:
        meant = _LABEL if command == "label" else nearest(command, COMMANDS)
        raise UserError(f"unknown command '{command}'{meant}; the commands are {listed(COMMANDS)}")
    elif any(word in _HELP for word in rest):
        print(_help(command, rest), end="")
    elif command == "completion":
        if len(rest) != 1 or rest[0] not in _SHELLS:
            fault = f"unknown shell '{rest[0]}'{nearest(rest[0], _SHELLS)}" if rest else "no shell named"
            raise UserError(f"{fault}; use one of {listed(_SHELLS)}, as in: haltung completion bash")
        print(Path(__file__).with_name(f"completion.{rest[0]}").read_text(encoding="utf-8"), end="")
    else:
        module = importlib.import_module(f"haltung.cli.{_MODULES[command]}")
        return int(getattr(module, "run" if _MODULES[command] == command else command)(rest) or 0)
    return 0


def _help(command: str = "", words: Sequence[str] = ()) -> str:
    """Return the list of commands, or the help of one: its choices, keys and chosen configs."""
    path, config = files.shipped("configs") / f"{command}.yaml", dict[str, object]()
    if path.is_file():
        import yaml

        from haltung.cli.config import choices, with_table

        text = path.read_text(encoding="utf-8")
        groups = [pair for item in yaml.safe_load(text).get("defaults", []) if item != "_self_" for pair in item.items()]
        parts = [part for word in words for part in (word.split("=", 1) if word.startswith("--config-dir=") else [word])]
        own = next((Path(folder) for option, folder in pairwise(parts) if option in ("--config-dir", "-cd")), None)
        given = (word.partition("=") for word in with_table(command, words))
        chosen = {f"{group}={name}": choices(group, own).get(name) for group, _, name in given if name and group in dict(groups)}
        config = {
            "comment": [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")],
            "groups": [(group, choices(group), choice) for group, choice in groups],
            "chosen": [(word, _DEFAULTS.sub("", file.read_text("utf-8", "replace")).splitlines()) for word, file in chosen.items() if file],
            "keys": [line for line in text.splitlines() if line and line[0] not in "# -" and not line.startswith("defaults")],
        }
    return files.rendered("haltung.cli", "help.txt.j2", command=command, commands=COMMANDS, shells=_SHELLS, **config)


def _candidates(line: str) -> list[str]:
    _, *words = line.split(" ")
    if len(words) < 2 or words[0] == "completion":
        return [name for name in (COMMANDS if len(words) < 2 else _SHELLS) if name.startswith(words[-1] if words else "")]
    if not (files.shipped("configs") / f"{words[0]}.yaml").is_file():
        return []
    from haltung.cli.config import candidates

    return candidates(words[0], " ".join(words[1:]))


def _set_up_libraries(command: Sequence[str]) -> None:
    """Silence libraries and set their threads before their import; keep the user's settings."""
    # In huge pages, adapt's batches of one size fragment the memory: from 2.5 GB to 14 in 70 steps.
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1", **resources.thread_settings(list(command) != ["adapt"]),
    }.items():  # fmt: skip
        os.environ.setdefault(name, value)
