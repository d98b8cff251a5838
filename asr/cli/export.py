"""asr export: a model file -> an ONNX file."""

from pathlib import Path

import click

from asr.cli import options


@click.command(cls=options.Command, short_help="Write a model as an ONNX file.")
@click.argument("model", type=options.MODEL)
@click.option("--out", "-o", type=options.FOLDER, required=True, help="The folder to write to.")
@click.option(
    "--features",
    type=click.Choice(["waveform", "mfcc"]),
    default="waveform",
    show_default=True,
    help="The input: waveforms, or MFCC frames that your program computes.",
)
@click.option("--quantize", type=click.Choice(["int8"]), help="Store matrices as 8-bit integers.")
@click.option("--stream", is_flag=True, help="Write one step of a streaming model, with its state.")
def export(model: Path, out: Path, features: str, quantize: str | None, stream: bool) -> int:
    """Write MODEL as an ONNX file (opset 17) into the folder OUT, and print its path.

    The graph computes the log-probabilities of the characters for each output frame. Its metadata has the alphabet, the
    sample rate, the settings and the card. The name of the file is that of the model file, with .step for --stream and
    .int8 for --quantize int8.
    """
    from asr.export import ExportOptions, write

    path = write(model, out, ExportOptions(features, quantize or "none", stream))
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0
