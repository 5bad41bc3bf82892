"""The ``tdn`` command: finds the subcommand, runs it, and turns user errors into one line.

Subcommands live in ``tdn.commands``, one module each: ``HELP`` (a line), ``add_arguments(parser)``
and ``run(arguments) -> int``. A module with ``CONFIGURED = True`` also takes ``--config FILE`` and
dotted overrides, which arrive as ``arguments.config`` and ``arguments.overrides``; one with
``CONFIGURED = "optional"`` does without, too, and one with ``"keys"`` takes overrides without a
file. A package with ``COMMANDS`` is a group of such
modules. Modules import torch or DALI inside ``run``, so that help
is instant.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

import tdn
from tdn.config import Config
from tdn.errors import UserError

COMMANDS = (
    "train",
    "evaluate",
    "ensemble",
    "verify",
    "predict",
    "export",
    "summary",
    "prepare",
    "index",
    "transcode",
    "visualize",
    "report",
    "doctor",
    "demo-data",
    "demo",
)

_DESCRIPTION = """\
Temporal Difference Networks: train and test action recognition on your videos.

  tdn train --data.root videos                a folder of videos for each class is all it needs
  tdn train --config my.yaml --output runs/mine \\
      --data.train_list train.txt --data.validation_list validation.txt
  tdn evaluate --config runs/mine/config.yaml --checkpoint runs/mine/checkpoints/best.pt
"""


class _Parser(argparse.ArgumentParser):
    """argparse, with the mistake in one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see '{self.prog} --help'")


class _Console(logging.Handler):
    """Prints log records: news to standard output, warnings to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = record.levelno >= logging.WARNING
        print(self.format(record), file=sys.stderr if warning else sys.stdout, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: The command's words without the program's name; by default those of this process.

    Returns:
        0 when the job was done; 2 after a mistake of the user's, told on standard error in one
        line; 130 after Ctrl-C; 141 when nobody reads the output any more.
    """
    _show_log()
    path, words = _split(list(sys.argv[1:] if words is None else words))
    prog = " ".join(("tdn", *path))
    try:
        module = _command(path) if path else sys.modules[__name__]
        if hasattr(module, "COMMANDS"):
            return _without_command(prog, path, module, words)
        return int(module.run(_parse(prog, module, words)))
    except UserError as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell says of a program that SIGPIPE ended


def read_options(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line, which is not carried out.

    Args:
        words: The command's words without the program's name.

    Raises:
        UserError: There is no such command, or an option of it is wrong.
    """
    path, rest = _split(list(words))
    module = _command(path) if path else sys.modules[__name__]
    prog = " ".join(("tdn", *path))
    if hasattr(module, "COMMANDS"):
        raise SystemExit(_without_command(prog, path, module, rest))
    return _parse(prog, module, rest)


def _show_log() -> None:
    """Show the package's log; under torchrun, news of the first process and all warnings."""
    log = logging.getLogger("tdn")
    log.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)
    if not any(isinstance(handler, _Console) for handler in log.handlers):
        log.addHandler(_Console())


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The command's words, with those of the groups it belongs to; and the words after it."""
    path: list[str] = []
    known: tuple[str, ...] = COMMANDS
    while words and words[0] in known:
        path, words = [*path, words[0]], words[1:]
        known = getattr(_command(path), "COMMANDS", ())
    return path, words


def _command(path: Sequence[str]) -> ModuleType:
    return importlib.import_module(".".join(("tdn.commands", *path)).replace("-", "_"))


def _without_command(prog: str, path: list[str], group: ModuleType, words: list[str]) -> int:
    """Explain a group of commands, or refuse a word that is none of them."""
    parser = _Parser(
        prog=prog,
        usage=f"{prog} COMMAND [options]",
        description=group.__doc__ if path else _DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"'{prog} COMMAND --help' explains a command.",
    )
    if not path:
        parser.add_argument("--version", action="version", version=f"tdn {tdn.__version__}")
    commands = parser.add_argument_group("commands")
    for name in group.COMMANDS:
        # Shown for the help only: the command's own parser reads its words.
        commands.add_argument(name, nargs="?", help=_command([*path, name]).HELP, metavar=name)
    if words and not words[0].startswith("-"):
        close = difflib.get_close_matches(words[0], group.COMMANDS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f"; '{prog} --help' lists them"
        raise UserError(f"no command '{words[0]}'{hint}")
    parser.parse_args(words)
    parser.print_help()
    return 0 if not words else 2


def _parse(prog: str, module: ModuleType, words: list[str]) -> argparse.Namespace:
    configured = getattr(module, "CONFIGURED", False)
    explained = configured in (True, "keys")
    parser = _Parser(
        prog=prog,
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=not explained,
    )
    module.add_arguments(parser)
    if not configured:
        return parser.parse_args(words)
    parser.add_argument(
        "--config",
        required=configured is True,
        metavar="FILE",
        help="YAML file; keys it leaves out keep their defaults",
    )
    if explained:
        parser.add_argument("-h", "--help", action="store_true", help="show this help and all keys")
        if {"-h", "--help"} & set(words):
            _print_configured_help(parser)
            raise SystemExit(0)
    arguments, overrides = parser.parse_known_args(words)
    if overrides and arguments.config is None and configured == "optional":
        parser.error(f"{overrides[0]}: is no option; keys of a configuration need --config FILE")
    _check_own(parser, overrides)
    arguments.overrides = overrides
    return arguments


def _check_own(parser: argparse.ArgumentParser, overrides: Sequence[str]) -> None:
    """Refuse a misspelt option of the command's own, which would be taken for a key."""
    own = [name for action in parser._actions for name in action.option_strings]
    keys = [f"--{field.name}" for field in dataclasses.fields(Config)]
    for word in (word.split("=")[0] for word in overrides if word.startswith("--")):
        close = difflib.get_close_matches(word, own, n=1, cutoff=0.8)
        if close and "." not in word and word not in keys:
            raise UserError(f"unknown option '{word}'; did you mean '{close[0]}'?")


def _print_configured_help(parser: argparse.ArgumentParser) -> None:
    from tdn.config_loading import config_parser

    known = config_parser()
    for key in known._actions:
        if "--help" not in key.option_strings and _taken(key, parser):
            key.help = argparse.SUPPRESS
    keys = known.format_help()
    needed = any(action.required for action in parser._actions if action.dest == "config")
    file = "--config FILE" if needed else "[--config FILE]"
    parser.usage = f"{parser.prog} {file} [--key.name VALUE ...]"
    parser.epilog = (
        "Every key of the configuration can be given as an option and then overrides the file, "
        "for example --optimizer.lr 0.02:\n\n" + keys.split("\n\n", 2)[2]
    )
    parser.print_help()


def _taken(key: argparse.Action, parser: argparse.ArgumentParser) -> bool:
    """Whether a command has an option of its own by the name of a key."""
    names = {name for action in parser._actions for name in action.option_strings}
    return bool(names & set(key.option_strings) - {"--config"})
