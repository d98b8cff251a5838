"""asr evaluate: a manifest and a model -> a WER report."""

from pathlib import Path

import click

from asr.cli import options
from asr.cli.progress import Display


@click.command(short_help="Score a model on a manifest: WER and CER.")
@click.argument("manifest", type=options.FILE)
@options.model
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JSON too."
)
@click.option("--worst", type=click.IntRange(min=0), default=5, show_default=True, help="Utterances to show in full.")
@options.device
@options.quiet
def evaluate(manifest: Path, model: Path, json_file: Path | None, worst: int, device: str | None, quiet: bool) -> int:
    """Transcribe MANIFEST and score it: WER and CER with 95 % intervals, and the worst utterances."""
    from asr import manifest as manifests
    from asr import recognition, report

    if json_file:
        # Before the work, so that a folder that cannot be made costs nothing.
        json_file.parent.mkdir(parents=True, exist_ok=True)
    utterances = manifests.read(manifest)
    recognizer = recognition.load(model, device or "cpu")
    with Display(quiet) as display:
        result = recognition.evaluate(
            recognizer, utterances, lambda done, total: display.update("transcribe", done / 60, total / 60, "minutes")
        )
    speed = result.audio_seconds / result.seconds
    facts = {"manifest": str(manifest), "model": str(model), "normaliser": result.normaliser}
    shown = facts | {"audio": f"{result.audio_seconds / 60:.1f} minutes, {speed:.0f} times real time"}
    click.echo(report.text(result.score, shown, worst))
    if json_file:
        timed = {"audio_seconds": round(result.audio_seconds, 3), "seconds": round(result.seconds, 3)}
        report.write_json(json_file, result.score, facts | timed)
    return 0
