"""The command line: argv -> one call -> stdout. The only package that prints or exits.

Exit codes: 0 done, 1 failed, 2 unusable arguments or settings, 130 stopped with Ctrl-C or SIGTERM.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from asr.cli.progress import first_lines, one_line
from asr.config import ConfigError
from asr.errors import AsrError
from asr.version import __version__

# Each command is a function of its own name in the module of that name below asr.cli.
_COMMANDS = (
    "prepare",
    "doctor",
    "train",
    "transcribe",
    "listen",
    "serve",
    "align",
    "evaluate",
    "score",
    "compare",
    "inspect",
    "lm",
    "tune",
    "models",
    "export",
)
# Packages that a light installation lacks, with the extra that installs them.
_EXTRAS = {"onnx": "export", "onnxruntime": "export"}


class _Program(click.Group):
    """Imports only the command that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of a project."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None if there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"asr.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="asr", message="%(prog)s %(version)s")
def program() -> None:
    """Speech recognition with recurrent networks and CTC: prepare, train, transcribe, evaluate."""


def _fail(message: str, code: int) -> int:
    click.echo(f"asr: {one_line(' '.join(message.split()))}", err=True)
    return code


def _exit_code(error: Exception, arguments: Sequence[str]) -> int:
    """Print one line for an error of the user and return the exit code; any other error is a defect and is raised."""
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "asr"
        files = [name for name in arguments if name.startswith("-") and Path(name).is_file()]
        hint = f"; for the file, write ./{files[0]}" if files else ""
        return _fail(f"{error.format_message().rstrip('.')}{hint}; see {path} --help", 2)
    if isinstance(error, OSError):
        return _fail(f"{error.filename or 'operating system'}: {error.strerror or error}", 1)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("asr"):
        package = error.name.partition(".")[0]
        extra = f"'asr[{_EXTRAS[package]}]'" if package in _EXTRAS else "asr"
        return _fail(f"this command needs the package {package}, which is not installed: pip install {extra}", 1)
    if isinstance(error, AsrError):
        for problem in first_lines(getattr(error, "problems", ()), "--skip-bad lists all of them"):
            click.echo(f"asr: {one_line(problem)}", err=True)
        return _fail(str(error), 2 if isinstance(error, ConfigError) else 1)
    raise error


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; an error of the user prints one line to stderr."""
    try:
        # Commands return their exit codes.
        return int(program.main(list(arguments), prog_name="asr", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except (click.Abort, KeyboardInterrupt) as error:
        # click takes an unexpected end of file for Ctrl-D at a prompt; there are no prompts here.
        if isinstance(error.__context__, EOFError):
            raise error.__context__ from None
        return _fail("stopped", 130)
    except (BrokenPipeError, SystemExit):
        # The reader of the output, such as `head`, is gone, for which click exits; nothing can be written, not even at
        # exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _exit_code(error, arguments)
