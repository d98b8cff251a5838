"""The command line: argv -> one call -> stdout. The only place that prints or exits.

Exit codes: 0 done, 1 failed, 2 the command or a setting cannot be used, 130 stopped by Ctrl-C.
"""

import os
import sys
from collections.abc import Sequence

import click

from asr.cli.align import align
from asr.cli.compare import compare
from asr.cli.doctor import doctor
from asr.cli.evaluate import evaluate
from asr.cli.inspect import inspect
from asr.cli.lm import lm
from asr.cli.models import models
from asr.cli.prepare import prepare
from asr.cli.progress import one_line
from asr.cli.score import score
from asr.cli.train import train
from asr.cli.transcribe import transcribe
from asr.cli.tune import tune
from asr.config import ConfigError
from asr.errors import AsrError
from asr.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="asr", message="%(prog)s %(version)s")
def program() -> None:
    """Speech recognition with recurrent networks and CTC: prepare, train, transcribe, evaluate."""


for _command in (prepare, doctor, train, transcribe, align, evaluate, score, compare, inspect, lm, tune, models):
    program.add_command(_command)


def _fail(message: str, code: int) -> int:
    click.echo(f"asr: {one_line(' '.join(message.split()))}", err=True)
    return code


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "asr"
    return f"{error.format_message().rstrip('.')}; {path} --help says what can be used"


def _explain(error: Exception) -> int:
    """Say in one line what was wrong; a defect of the program, which is no user's mistake, keeps its traceback."""
    if isinstance(error, click.ClickException):
        return _fail(_usage(error), 2)
    if isinstance(error, OSError):
        return _fail(f"{error.filename or 'operating system'}: {error.strerror or error}", 1)
    if isinstance(error, AsrError):
        return _fail(str(error), 2 if isinstance(error, ConfigError) else 1)
    raise error


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; a user's mistake ends in one line on stderr."""
    try:
        # What a command returns is its exit code.
        return int(program.main(list(arguments), prog_name="asr", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except (click.Abort, KeyboardInterrupt) as error:
        # click takes an end of file that nobody expected for Ctrl-D at a prompt; there is no prompt here.
        if isinstance(error.__context__, EOFError):
            raise error.__context__ from None
        return _fail("stopped", 130)
    except BrokenPipeError:
        # The reader of our output (`head`, say) has gone; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _explain(error)
