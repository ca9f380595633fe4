"""The command line: ``haltung COMMAND key=value …``.

Nothing heavy is imported before the command is known.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from haltung import __version__
from haltung.errors import UserError, listed, nearest

# Each command is a module of this package with `run(arguments)`; the text is what `haltung` lists.
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

_HELP = ("--help", "-h", "help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 for a user's mistake, 130 for Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _silence_libraries()
    try:
        return _run(words)
    except UserError as error:
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
    if not words or words[0] in _HELP:
        print(_listing())
        return 0
    if words[0] in ("--version", "-V"):
        print(f"haltung {__version__}")
        return 0
    command, rest = words[0], words[1:]
    if command == "__complete":
        from haltung.cli.help import complete

        print("\n".join(complete(rest)))
        return 0
    if command not in COMMANDS:
        raise UserError(f"unknown command '{command}'{nearest(command, COMMANDS)}; the commands are {listed(COMMANDS)}")
    if any(word in _HELP for word in rest):
        from haltung.cli.help import manual

        print(manual(command))
        return 0
    if command == "completion":
        from haltung.cli.help import completion

        print(completion(rest))
        return 0
    return int(importlib.import_module(f"haltung.cli.{command}").run(rest) or 0)


def _listing() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "haltung: topics, stances and dyads in German political news",
            "",
            "usage: haltung COMMAND [key=value …]   (haltung COMMAND --help lists its keys and choices)",
            "",
            *lines,
            "",
            "options of every command: --config-dir DIR (your own configs beside ours), --cfg (print the resolved config)",
        ]
    )


def _silence_libraries() -> None:
    """Silence libraries before they are imported; a user's settings stay as they are."""
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }.items():
        os.environ.setdefault(name, value)
