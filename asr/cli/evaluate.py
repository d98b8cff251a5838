"""asr evaluate: a manifest and a model -> a WER report."""

from pathlib import Path

import click

from asr.cli import options
from asr.cli.decoding import Decoding, decoding
from asr.cli.outputs import Outputs, equivalents, facts, normaliser, outputs
from asr.cli.progress import Display


@click.command(short_help="Score a model on a manifest: WER and CER.")
@click.argument("manifest", type=options.FILE)
@options.model_or_default
@normaliser(None, "; else as the model's training text")
@equivalents
@outputs
@click.option(
    "--nbest", type=click.IntRange(min=1), default=1, metavar="N", help="Tell the WER of the best of N texts, too."
)
@decoding
@options.batch_seconds
@options.device
@options.quiet
def evaluate(
    manifest: Path,
    model: Path,
    normaliser: str | None,
    equivalents: Path | None,
    outputs: Outputs,
    nbest: int,
    decoding: Decoding,
    batch_seconds: int | None,
    device: str | None,
    quiet: bool,
) -> int:
    """Transcribe MANIFEST and score it: WER, CER and SER with 95 % intervals, and the worst utterances."""
    from asr import recognition
    from asr import reports as report
    from asr.corpora import manifest as manifests
    from asr.recognition import evaluation
    from asr.recognition.listening import Listening
    from asr.transcripts.matching import Pair

    utterances = manifests.read(manifest)
    recognizer = recognition.load(model, device or "cpu").with_listening(Listening(batch=batch_seconds))
    with Display(quiet) as display:
        recognizer, decoder = decoding.equip(recognizer, display, nbest, sum(one.duration for one in utterances))

        def progress(done: float, total: float) -> None:
            display.update("transcribe", done / 60, total / 60, "minutes")

        result = evaluation.evaluate(recognizer, utterances, progress, nbest)
    rows = zip(utterances, result.hypotheses, strict=True)
    pairs = [
        Pair(one.id, one.text, row.text, one.speaker, one.duration, tuple(word.confidence for word in row.words))
        for one, row in rows
    ]
    scored = report.scored(pairs, normaliser or result.normaliser, equivalents)
    speed = result.audio_seconds / result.seconds
    shown = {"manifest": str(manifest), "model": str(model), "decoder": decoder}
    shown |= {"audio": f"{result.audio_seconds / 60:.1f} minutes, {speed:.0f} times real time"}
    if result.oracle:
        shown["oracle"] = f"{report.percent(result.oracle)}, the best of {nbest} texts of each"
    click.echo(report.text(scored, shown, outputs.worst))
    given = facts(manifest=manifest, model=model, decoder=decoder, equivalents=equivalents)
    return outputs.write(scored, given, model.name, result.seconds, outputs.sounds(utterances, quiet))
