"""asr inspect: show the contents of a model file."""

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr.cli import options

if TYPE_CHECKING:
    from asr.model.checkpoint import ModelFileSettings

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
    """Print the settings, card and parameters (with their shapes) of a MODEL file, or of its ONNX file."""
    if model.suffix == ".onnx":
        return _inspect_onnx(model)
    from asr.model import checkpoint

    contents = checkpoint.inspect(model)
    size = sum(math.prod(shape) for shape in contents.shapes.values())
    click.echo(f"{model}: schema {contents.schema}, {size:,} parameters, {model.stat().st_size / 1e6:.1f} MB")
    _show(contents.settings, contents.card)
    click.echo("\n[parameters]")
    shapes = {name: " x ".join(map(str, shape)) for name, shape in contents.shapes.items()}
    widths = max(map(len, shapes)), max(map(len, shapes.values()))
    for name in sorted(shapes, key=lambda name: (_SECTIONS.index(name.partition(".")[0]), name)):
        click.echo(f"{name.ljust(widths[0])}  {shapes[name].ljust(widths[1])}  {_description(name)}")
    return 0


def _inspect_onnx(path: Path) -> int:
    from asr import export

    exported = export.inspect(path)
    about = ", ".join(f"{key} {exported.metadata.get(key, '?')}" for key in ("schema", "input", "weights"))
    click.echo(f"{path}: ONNX, {about}, {path.stat().st_size / 1e6:.1f} MB")
    _show(exported.settings, exported.card)
    return 0


def _show(settings: "ModelFileSettings", card: dict[str, Any]) -> None:
    from asr import config

    for section, values in [*config.to_dict(settings).items(), ("card", card)]:
        click.echo(f"\n[{section}]")
        for key, value in values.items():
            click.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")
