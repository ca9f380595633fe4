"""The command line: ``haltung COMMAND key=value …``, its help, and shell completion.

Nothing heavy is imported before the command is known.
"""

import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from haltung import __version__, files, threads
from haltung.errors import UserError, listed, nearest

# The commands, and what `haltung` lists of each.
COMMANDS = {
    "prepare": "read a corpus, check it, split it, write it as Parquet with a manifest",
    "check": "hold a corpus against limits: repetition, variety, typography, spelling, coverage",
    "train": "fine-tune a classifier and track the run in MLflow",
    "evaluate": "score a run's model on a split and write the report",
    "compare": "tell whether a run is better than another, or whether it is chance",
    "ensemble": "make one model of several runs, weighted on dev",
    "promote": "make a run's exported model the champion, unless it is worse than today's",
    "predict": "label a text, or a file of texts",
    "events": "read who takes which stance towards whom, from an article or an archive",
    "dyads": "score who takes which stance towards whom against gold, and tune the thresholds on dev",
    "network": "draw who takes which stance towards whom in an archive of events: network, matrix, series",
    "sweep": "search for the best recipe with Optuna, and train it on several seeds",
    "runs": "list what has been run, filtered and sorted",
    "ui": "open MLflow's pages on the runs",
    "export": "write a run's model as a bundle that other services run, compared format by format",
    "verify": "replay a bundle's golden answers, anywhere",
    "serve": "answer over HTTP with an exported bundle, and show a page for it",
    "completion": "print the completion script for a shell: bash, zsh, fish",
}

# A command is `run(arguments)` in the module of its name; these are functions of their own names,
# each in the module of another command.
_MODULES = {
    "check": "prepare", "ensemble": "train", "dyads": "evaluate", "compare": "evaluate", "promote": "evaluate", "network": "events",
    "ui": "runs", "verify": "export",
}  # fmt: skip

_HELP = ("--help", "-h", "help")
_SHELLS = ("bash", "zsh", "fish")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for a user's mistake, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _set_up_libraries()
    try:
        return _run(words)
    except UserError as error:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(5)  # a first process of torchrun that says the same ends this one meanwhile
        print(f"haltung: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("haltung: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe, which is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def hint(label: str, text: str) -> None:
    """Print a line to copy, such as the next command; a narrow terminal does not break it."""
    print(f"{f'{label}:' if label else '':<12} {text}")


def _run(words: list[str]) -> int:
    command, *rest = words or ["help"]
    if command in _HELP:
        print(_listing())
    elif command in ("--version", "-V"):
        print(f"haltung {__version__}")
    elif command == "__complete":
        print("\n".join(_candidates(rest[0] if rest else "")), flush=True)
    elif command not in COMMANDS:
        raise UserError(f"unknown command '{command}'{nearest(command, COMMANDS)}; the commands are {listed(COMMANDS)}")
    elif any(word in _HELP for word in rest):
        print(_manual(command))
    elif command == "completion":
        if len(rest) != 1 or rest[0] not in _SHELLS:
            fault = f"unknown shell '{rest[0]}'{nearest(rest[0], _SHELLS)}" if rest else "no shell named"
            raise UserError(f"{fault}; use one of {listed(_SHELLS)}, as in: haltung completion bash")
        print(Path(__file__).with_name(f"completion.{rest[0]}").read_text(encoding="utf-8"), end="")
    else:
        module = importlib.import_module(f"haltung.cli.{_MODULES.get(command, command)}")
        return int(getattr(module, command if command in _MODULES else "run")(rest) or 0)
    return 0


def _listing() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return f"""haltung: topics, stances and dyads in German political news

usage: haltung COMMAND [key=value …]   (haltung COMMAND --help lists its keys and choices)

{commands}

options of every command: --config-dir DIR (your own configs beside ours), --cfg (print the resolved config)"""


def _manual(command: str) -> str:
    title = f"haltung {command}: {COMMANDS[command]}"
    path = files.shipped("configs") / f"{command}.yaml"
    if not path.is_file():
        return f"{title}\n\nusage: haltung {command} {'|'.join(_SHELLS)}"
    import yaml

    from haltung.cli.config import choices

    text = path.read_text(encoding="utf-8")
    comment = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    groups = [pair for item in yaml.safe_load(text).get("defaults", []) if item != "_self_" for pair in item.items()]
    lines = [title, "", *comment, "", f"usage: haltung {command} [key=value …]"]
    if groups:
        lines += ["", "choices (group=NAME; the keys of a group are given as group.key=value):"]
        lines += [f"  {group:<11} {', '.join(choices(group)) or '-'}  (default: {choice or 'none'})" for group, choice in groups]
    keys = [line for line in text.splitlines() if line and line[0] not in "# -" and not line.startswith("defaults")]
    return "\n".join([*lines, "", "keys:", *(f"  {key}" for key in keys), "", f"haltung {command} --cfg prints every key with its value."])


def _candidates(line: str) -> list[str]:
    _, *words = line.split(" ")
    if len(words) < 2 or words[0] == "completion":
        offered = COMMANDS if len(words) < 2 else _SHELLS
        return [name for name in offered if name.startswith(words[-1] if words else "")]
    if not (files.shipped("configs") / f"{words[0]}.yaml").is_file():
        return []
    from haltung.cli.config import candidates

    return candidates(words[0], " ".join(words[1:]))


def _set_up_libraries() -> None:
    """Silence libraries and set their threads before they are imported; a user's settings stay."""
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true", **threads.settings(),
    }.items():  # fmt: skip
        os.environ.setdefault(name, value)
