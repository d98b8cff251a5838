"""asr evaluate: transcribe a manifest with a model and report the word error rate."""

from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.decoding import DecodingOptions, decoding
from asr.cli.outputs import Outputs, equivalents, facts, normaliser, outputs
from asr.cli.progress import Display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asr.cluster import Cluster
    from asr.corpora.manifest import Utterance
    from asr.recognition.evaluation import Evaluation
    from asr.transcripts.matching import Pair
    from asr.transcripts.records import Transcript


@click.command(cls=options.Command, short_help="Score a model on a manifest: WER, CER and SER.")
@click.argument("manifest", type=options.FILE)
@options.model_or_default
@normaliser(None, "  [default: that of the model's training text]")
@equivalents
@outputs
@click.option(
    "--nbest", type=options.POSITIVE_INT, default=1, metavar="N", help="Also report the oracle WER of N-best lists."
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
    from asr.reports.document import score_pairs

    utterances = manifests.read(manifest)
    outputs.check(utterance.audio for utterance in utterances)
    recognizer = recognition.load(model, "cpu" if cluster else device or "cpu")
    if outputs.audio and recognizer.settings.features.kind == "given":
        raise click.UsageError("--audio: given features cannot be played; leave it out")
    settings = TranscribeOptions(nbest=nbest, batch_seconds=batch_seconds)
    with Display(quiet) as display:
        duration = sum(utterance.duration for utterance in utterances)
        recognizer, decoder = decoding.apply(recognizer, display, nbest, 0.0 if cluster else duration)
        if cluster:
            spec = decoding.model_spec(recognizer, model, device or "cpu", nbest, duration)
            with _connect(cluster, device == "cuda", display) as nodes:
                on_progress = partial(_show, display, nodes.progress)
                transcribe = partial(nodes.transcribe_files, spec)
                result = evaluation.evaluate(recognizer, utterances, settings, on_progress, transcribe)
        else:
            on_progress = partial(_show, display, lambda: "")
            result = evaluation.evaluate(recognizer, utterances, settings, on_progress)
    scored = score_pairs(_pairs(utterances, result.transcripts), normaliser or result.normaliser, equivalents)
    given = facts(manifest=manifest, model=model, decoder=decoder, equivalents=equivalents)
    outputs.print_report(scored, given, _notes(result, nbest), result.normaliser)
    return outputs.write(scored, given, model.name, result.seconds, outputs.encode_audio(utterances, quiet))


@contextmanager
def _connect(address: str, gpu: bool, display: Display) -> "Iterator[Cluster]":
    """Connect to a cluster; at the end show how many utterances each node has transcribed."""
    from asr.cluster import Cluster

    with Cluster(address, gpu, display.say) as nodes:
        yield nodes
        display.say(f"utterances of each node: {nodes.summary()}")


def _show(display: Display, note: "Callable[[], str]", done: float, total: float) -> None:
    display.update("transcribe", done / 60, total / 60, "minutes", note())


def _pairs(utterances: "Sequence[Utterance]", transcripts: "Sequence[Transcript]") -> "list[Pair]":
    """Return each reference with its transcript and the confidences of its words."""
    from asr.transcripts.matching import Pair

    return [
        Pair(
            utterance.id,
            utterance.text,
            transcript.text,
            utterance.speaker,
            utterance.duration,
            tuple(word.confidence for word in transcript.words),
        )
        for utterance, transcript in zip(utterances, transcripts, strict=True)
    ]


def _notes(result: "Evaluation", nbest: int) -> dict[str, str]:
    """Return what the report says besides the scores."""
    from asr.reports import text

    speed = result.audio_seconds / result.seconds
    notes = {"speed": f"{speed:.1f} × real time (real-time factor {1 / speed:.3f})"}
    if result.oracle:
        notes["oracle WER"] = f"{text.rate(result.oracle)}, the best of {nbest} texts per utterance"
    return notes
