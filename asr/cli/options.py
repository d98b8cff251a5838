"""Options and arguments that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

quiet: Decorator = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
model: Decorator = click.option("--model", "-m", type=FILE, required=True, help="A model file that asr train wrote.")
device: Decorator = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to compute; auto takes what is there."
)
