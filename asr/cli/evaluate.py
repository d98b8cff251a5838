"""asr evaluate: transcribe a manifest with a model and report the word error rate."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.decoding import DecodingOptions, decoding
from asr.cli.outputs import Outputs, equivalents, facts, normaliser, outputs
from asr.cli.progress import Display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asr.transcripts.records import FileResult


@click.command(cls=options.Command, short_help="Score a model on a manifest: WER, CER and SER.")
@click.argument("manifest", type=options.FILE)
@options.model_or_default
@normaliser(None, "  [default: that of the model's training text]")
@equivalents
@outputs
@click.option(
    "--nbest", type=click.IntRange(min=1), default=1, metavar="N", help="Also report the oracle WER of N-best lists."
)
@decoding
@options.cluster
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
    decoding: DecodingOptions,
    cluster: str | None,
    batch_seconds: int | None,
    device: str | None,
    quiet: bool,
) -> int:
    """Transcribe the recordings in MANIFEST and score the transcripts: word, character and sentence error rates (WER,
    CER, SER) with 95 % intervals, and the utterances with the most errors."""
    from asr import recognition
    from asr.corpora import manifest as manifests
    from asr.recognition import TranscribeOptions, evaluation
    from asr.reports import text
    from asr.reports.document import score_pairs
    from asr.transcripts.matching import Pair

    utterances = manifests.read(manifest)
    outputs.check(utterance.audio for utterance in utterances)
    recognizer = recognition.load(model, "cpu" if cluster else device or "cpu")
    if outputs.audio and recognizer.settings.features.kind == "given":
        raise click.UsageError("--audio: given features cannot be played; leave it out")
    with Display(quiet) as display, ExitStack() as stack:
        duration = sum(utterance.duration for utterance in utterances)
        recognizer, decoder = decoding.apply(recognizer, display, nbest, 0.0 if cluster else duration)
        transcribe: Callable[..., Iterator[list[FileResult]]] = recognizer.transcribe_files
        nodes = None
        if cluster:
            from asr.cluster import Cluster

            spec = decoding.model_spec(recognizer, model, device or "cpu", nbest, duration)
            nodes = stack.enter_context(Cluster(cluster, device == "cuda", display.say))
            transcribe = partial(nodes.transcribe_files, spec)

        def progress(done: float, total: float) -> None:
            display.update("transcribe", done / 60, total / 60, "minutes", nodes.progress() if nodes else "")

        options = TranscribeOptions(nbest=nbest, batch_seconds=batch_seconds)
        result = evaluation.evaluate(recognizer, utterances, options, progress, transcribe)
        if nodes:
            display.say(f"utterances of each node: {nodes.summary()}")
    pairs = [
        Pair(
            utterance.id,
            utterance.text,
            transcript.text,
            utterance.speaker,
            utterance.duration,
            tuple(word.confidence for word in transcript.words),
        )
        for utterance, transcript in zip(utterances, result.transcripts, strict=True)
    ]
    scored = score_pairs(pairs, normaliser or result.normaliser, equivalents)
    given = facts(manifest=manifest, model=model, decoder=decoder, equivalents=equivalents)
    speed = result.audio_seconds / result.seconds
    notes = {"speed": f"{speed:.1f} × real time (real-time factor {1 / speed:.3f})"}
    if result.oracle:
        notes["oracle WER"] = f"{text.rate(result.oracle)}, the best of {nbest} texts per utterance"
    outputs.print_report(scored, given, notes, result.normaliser)
    return outputs.write(scored, given, model.name, result.seconds, outputs.encode_audio(utterances, quiet))
