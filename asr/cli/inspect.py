"""asr inspect: show the contents of a model file."""

import json
import math
import re
from pathlib import Path

import click

from asr.cli import options

_SECTIONS = ["front", "norms", "layers", "last_norm", "output"]
_KINDS = {"weight_ih": "input-to-hidden weights", "weight_hh": "hidden-to-hidden weights", "bias": "hidden bias"}


def _description(name: str) -> str:
    """Return the role of a parameter in the network."""
    if name.startswith("output."):
        return "hidden-to-output weights" if name.endswith("weight") else "output bias"
    if name.startswith("front."):
        return "convolution"
    recurrent = re.match(r"layers\.(\d+)\.recurrence\.(weight_ih|weight_hh|bias)\w*?(_reverse)?$", name)
    if recurrent:
        direction = "backward" if recurrent[3] else "forward"
        return f"{_KINDS[recurrent[2]]}, layer {int(recurrent[1]) + 1} {direction}"
    return "layer norm"


@click.command(cls=options.Command, short_help="Print the settings, card and parameters of a model file.")
@click.argument("model", type=options.MODEL)
def inspect(model: Path) -> int:
    """Print the settings, card and parameters (with their shapes) of a MODEL file."""
    from asr import config
    from asr.model import checkpoint

    contents = checkpoint.inspect(model)
    size = sum(math.prod(shape) for shape in contents.shapes.values())
    click.echo(f"{model}: schema {contents.schema}, {size:,} parameters, {model.stat().st_size / 1e6:.1f} MB")
    for section, values in [*config.to_dict(contents.settings).items(), ("card", contents.card)]:
        click.echo(f"\n[{section}]")
        for key, value in values.items():
            click.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    click.echo("\n[parameters]")
    shapes = {name: " x ".join(map(str, shape)) for name, shape in contents.shapes.items()}
    widths = max(map(len, shapes)), max(map(len, shapes.values()))
    for name in sorted(shapes, key=lambda name: (_SECTIONS.index(name.partition(".")[0]), name)):
        click.echo(f"{name.ljust(widths[0])}  {shapes[name].ljust(widths[1])}  {_description(name)}")
    return 0
