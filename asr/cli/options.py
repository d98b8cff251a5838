"""Options and arguments that several commands share."""

import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

if TYPE_CHECKING:
    from asr.recognition.named_models import Bundle

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_BUNDLE = "asr.bundle"
TEXT = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def stdin() -> BinaryIO:
    """Return standard input. Raise UsageError if it is closed."""
    if sys.stdin is None:
        raise click.UsageError("standard input is closed; nothing can be read from it")
    return sys.stdin.buffer


class Command(click.Command):
    """A command whose options are given once, unless they are lists or flags that can only be set."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UsageError for an option that is given twice."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for option in order:
                if not isinstance(option, click.Option) or option.multiple:
                    continue
                only_set = option.is_flag and not option.secondary_opts
                if order.count(option) > 1 and not only_set:
                    name = max(option.opts, key=len)
                    raise click.UsageError(f"{name} is given {order.count(option)} times; give it once", ctx)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


class Float(click.types.FloatParamType):
    """A finite number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; nan and inf fail."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class FloatRange(click.FloatRange, Float):
    """A finite number in a range."""


# The standard output under a name that functions which write files know.
STDOUT = Path("/dev/stdout")


class Output(click.Path):
    """A file or folder to write; for a file, - is the standard output."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if self.allow_dash and str(value) == "-":
            return STDOUT
        return super().convert(value, param, ctx)


OUTPUT = Output(dir_okay=False, allow_dash=True, path_type=Path)


def is_stdout(path: Path | None) -> bool:
    """Return whether a path names the standard output."""
    from asr.files import open_descriptor

    return path is not None and open_descriptor(path) == 1


class Corpus(click.Path):
    """A manifest, or an index of shards, the folder or the URL of one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or the URL as a string."""
        return value if "://" in str(value) else super().convert(value, param, ctx)


CORPUS = Corpus(exists=True, path_type=Path)


class Model(click.ParamType[Path]):
    """A model file, given by its path or by the name of a bundle, which is kept in the context of the command."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path of the model file."""
        from asr.recognition import named_models

        try:
            bundle = None if isinstance(value, Path) else named_models.find(value)
        except named_models.ModelNameError as error:
            self.fail(str(error), param, ctx)
        if bundle is None:
            path: Path = FILE.convert(value, param, ctx)
            return path
        if ctx:
            ctx.meta[_BUNDLE] = bundle
        return bundle.model


def bundle() -> "Bundle | None":
    """Return the bundle that the running command names, or None."""
    named: Bundle | None = click.get_current_context().meta.get(_BUNDLE)
    return named


def input_files() -> list[Path]:
    """Return the paths that the running command reads, as far as they are among its arguments and options."""
    context = click.get_current_context()
    found = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if isinstance(parameter.type, (click.Path, Model)) and not isinstance(parameter.type, Output):
            found += [Path(path) for path in (value if isinstance(value, tuple) else (value,)) if path]
    return found


def check_outputs(*outputs: Path | None, read: Iterable[str | Path] = ()) -> None:
    """Raise UsageError if the running command would write over a file that it reads, or write a file twice.

    `read`: files that are named in its input files.
    """
    from asr.files import OverwriteError, check_not_read

    try:
        check_not_read([path for path in outputs if path], [*input_files(), *read])
    except OverwriteError as error:
        raise click.UsageError(str(error)) from None


def shares(option: str, value: str, count: int) -> list[float]:
    """Return the positive numbers of an option, separated by commas, divided by their sum."""
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(0 < number < math.inf for number in numbers):
        raise click.UsageError(f"{option} {value}: expected {count} positive numbers separated by commas")
    return [number / sum(numbers) for number in numbers]


MODEL = Model()
POSITIVE_INT, POSITIVE_FLOAT = click.IntRange(min=1), FloatRange(min=0, min_open=True)
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _default_model(default: str | Callable[[], str], show_default: bool | str) -> Decorator:
    return click.option(
        "--model",
        "-m",
        type=MODEL,
        default=default,
        show_default=show_default,
        help="A model file, or the name of a model (see asr models).",
    )


batch_seconds: Decorator = click.option(
    "--batch-seconds",
    type=click.IntRange(min=1, max=3600),
    metavar="N",
    help="Seconds of audio in a batch; transcripts do not depend on it.  [default: 120, or 600 on a GPU]",
)
cluster: Decorator = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Compute on a Ray cluster: HOST:PORT of its head node, auto on one of its nodes, or local for one on this "
    "machine.",
)
quiet: Decorator = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
model: Decorator = click.option(
    "--model", "-m", type=MODEL, required=True, help="A model file, or the name of a model (see asr models)."
)
model_or_default: Decorator = _default_model("english-small", show_default=True)
# Options that are given are processed before others, so that it is known whether --stream is.
model_or_stream: Decorator = _default_model(
    lambda: "english-small-streaming" if click.get_current_context().params.get("stream") else "english-small",
    show_default="english-small; with --stream english-small-streaming",
)
device: Decorator = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    help="Device to compute on; auto uses a GPU if there is one.",
)
train_manifests: Decorator = click.option(
    "--train",
    "train_manifests",
    type=FILE,
    required=True,
    multiple=True,
    help="The manifest to train on. May be repeated.",
)
dev_manifests: Decorator = click.option(
    "--dev",
    "dev_manifests",
    type=FILE,
    required=True,
    multiple=True,
    help="The manifest on which the best epoch is selected. May be repeated.",
)
settings: Decorator = click.option(
    "--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Change a setting of the recipe."
)
start: Decorator = click.option(
    "--from",
    "start",
    type=MODEL,
    help="Start from the weights, alphabet, features and architecture of this model.",
)
cache: Decorator = click.option(
    "--cache", type=FOLDER, help="Folder for the features.  [default: that of each manifest]"
)
normaliser: Decorator = click.option(
    "--normaliser", metavar="NAME", help="Normaliser of the texts: upper (capital letters) or none.  [default: upper]"
)
ids: Decorator = click.option(
    "--ids/--no-ids",
    default=None,
    help="Whether each line of TEXT begins with an utterance id.  [default: detected]",
)
