"""The commands of `ax650`, which a checkout has as `python3 backend.py COMMAND`.

Each command is a module with `configure`, which declares its options, and `run`, which does it and
returns the exit status.  A module is imported when its command is called, or when all options must
be known.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from axproxy.cli.service import CommandFailed, NotRunning
from axproxy.settings import SettingsError

# The name, the module, and the line of `--help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("axproxy.cli.status", "show what runs, the model, the card and the queue"),
    "chat": ("axproxy.cli.chat", "talk to a model, or ask it one question"),
    "models": ("axproxy.cli.models", "list the models"),
    "pull": ("axproxy.cli.pull", "fetch a model into the store"),
    "rm": ("axproxy.cli.remove", "delete a model of the store"),
    "keys": ("axproxy.cli.keys", "add, list or remove named API keys with limits"),
    "doctor": (
        "axproxy.preflight.doctor",
        "check whether the card's program can start, and say what to do if not",
    ),
    "logs": ("axproxy.cli.logs", "show the log of the installed service"),
    "bench": ("axproxy.cli.bench", "measure the model's speed, beside what is published"),
    "bundle": ("axproxy.cli.bundle", "write an archive for a bug report, without prompts and keys"),
    "config": ("axproxy.cli.config", "show every setting, its value and where it was set"),
    "completion": ("axproxy.cli.completion", "print the completion of a shell"),
    "uninstall": (
        "axproxy.cli.uninstall",
        "remove the installed service; settings and models stay",
    ),
    "version": ("axproxy.cli.version", "show the version"),
}
SERVE = ("serve", "start the service in this terminal")


def program_name() -> str:
    """Return how the user called the program; `deploy/ax650` sets the variable."""
    return os.environ.get("AXPROXY_COMMAND", "python3 backend.py")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands with their options; imports every command."""
    whole = argparse.ArgumentParser(
        prog=program_name(),
        description="An Ollama server for AXERA AX650/AX8850 cards, and commands for the people "
        "who run it.",
        epilog="COMMAND --help shows the options of a command. Settings are environment variables, "
        "or lines of /etc/ax650.env for the installed service: docs/settings.md.",
    )
    whole.add_argument("-v", "--version", action="store_true", help="show the version")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands.add_parser(SERVE[0], help=SERVE[1], add_help=False)
    for name, (_module, help_) in COMMANDS.items():
        command = commands.add_parser(
            name, help=help_, description=f"{help_[0].upper()}{help_[1:]}."
        )
        _module_of(name).configure(command)
    return whole


def run(name: str, arguments: Sequence[str]) -> int:
    """Run a command of `COMMANDS`; return its exit status.

    0 means that it went well, 1 that what was asked for failed, 2 that the call or a setting was
    wrong, 3 that the service is not running.
    """
    module = _module_of(name)
    command = argparse.ArgumentParser(
        prog=f"{program_name()} {name}",
        description=f"{COMMANDS[name][1][0].upper()}{COMMANDS[name][1][1:]}.",
    )
    module.configure(command)
    options = command.parse_args(arguments)
    try:
        status: int = module.run(options)
    except NotRunning as error:
        return _failed(name, error, 3)
    except SettingsError as error:
        return _failed(name, error, 2)
    except CommandFailed as error:
        return _failed(name, error, 1)
    except KeyboardInterrupt:
        return 130
    return status


def show_help() -> int:
    parser().print_help()
    return 0


def without_pipe_errors(command: Callable[[], int]) -> int:
    """Run a command whose reader may leave early, as in `doctor | head`; that is no error.

    The default action of SIGPIPE would do the same, but also end a command whose connection to
    the service breaks.
    """
    try:
        status = command()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes at its end once more, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def unknown(word: str) -> str:
    """Return the sentence about a word that is no command, with the nearest one that is."""
    near = difflib.get_close_matches(word, [SERVE[0], *COMMANDS], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"{program_name()} --help lists the commands"
    return f"there is no command {word}; {hint}"


def _module_of(name: str) -> Any:
    return importlib.import_module(COMMANDS[name][0])


def _failed(name: str, error: Exception, status: int) -> int:
    print(f"{name}: {error}", file=sys.stderr)
    return status
