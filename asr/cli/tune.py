"""asr tune: find a decoder's settings on a dev set."""

from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.decoding import compile_search, describe, open_models
from asr.cli.progress import Display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asr.decoding.decoder import DecoderSettings
    from asr.decoding.tuning import DevSet, Trial, TuningResult


@click.command(cls=options.Command, short_help="Find decoder settings on a dev set.")
@click.argument("manifest", type=options.FILE)
@options.model
@click.option("--lm", type=options.FILE, help="A language model: .arpa, .arpa.gz, or a model from asr lm train.")
@click.option("--rescorer", type=options.FILE, help="A recurrent language model that rescores the hypotheses.")
@click.option(
    "--pronunciations",
    type=options.FILE,
    help="A pronouncing dictionary of the words of --lm, for a model that outputs phonemes; it needs --lexicon-only.",
)
@click.option("--lexicon-only", is_flag=True, help="Allow only words of the language model.")
@click.option(
    "--out",
    "-o",
    type=options.OUTPUT,
    help="Settings file to write, with an HTML page of all trials.  [default: decoder.toml in the folder of MODEL]",
)
@click.option("--into-model", is_flag=True, help="Also write the settings into the model file.")
@options.cluster
@options.device
@options.quiet
def tune(
    manifest: Path,
    model: Path,
    lm: Path | None,
    rescorer: Path | None,
    pronunciations: Path | None,
    lexicon_only: bool,
    out: Path | None,
    into_model: bool,
    cluster: str | None,
    device: str | None,
    quiet: bool,
) -> int:
    """Find the LM weight, word insertion bonus and beam width that give the fewest word errors on MANIFEST, a dev set.

    If no setting gives fewer errors than greedy decoding, greedy = true is written to decoder.toml.

    With --cluster, the nodes of a Ray cluster try the settings; they need the models under the same paths.
    """
    from asr import recognition
    from asr.corpora import manifest as manifests
    from asr.decoding import decoder, tuning
    from asr.decoding.beam import LmSettings
    from asr.decoding.tuning import page
    from asr.files import write_text
    from asr.recognition import evaluation

    if pronunciations and not (lm and lexicon_only):
        raise click.UsageError("--pronunciations needs --lm and --lexicon-only")
    if options.bundle() and (into_model or not out):
        raise click.UsageError("a named model cannot be changed; give --out FILE, without --into-model")
    out = out or model.with_name("decoder.toml")
    utterances = manifests.read(manifest)
    options.check_outputs(*_files(out), read=[utterance.audio for utterance in utterances])
    for path in _files(out):
        path.parent.mkdir(parents=True, exist_ok=True)
    recognizer = recognition.load(model, device or "cpu")
    base = decoder.DecoderSettings(
        lm=str(lm or ""),
        rescorer=str(rescorer or ""),
        pronunciations=str(pronunciations or ""),
        weights=LmSettings(lexicon_only=lexicon_only),
    )
    if pronunciations and not recognizer.settings.alphabet.phonemes:
        raise click.UsageError(f"--pronunciations: {model} has no output of phonemes; train it with --pronunciations")
    with Display(quiet) as display:
        models = open_models(base, display, recognizer.settings.alphabet)
        if lexicon_only and not models.has_word_ngrams:
            raise click.UsageError("--lexicon-only needs an n-gram model of words: --lm FILE")
        dev = evaluation.tuning_set(
            recognizer, utterances, lambda done, total: display.update("transcribe", done / 60, total / 60, "minutes")
        )
        compile_search(display)
        progress = _Progress(display, tuning.trial_count(models))
        with _on_cluster(cluster, model, base, progress) if cluster else nullcontext() as compute:
            runner = tuning.TrialRunner(dev, recognizer.settings.alphabet, models, progress.count, compute)
            result = tuning.tune(runner, base)
    write_text(out, decoder.to_toml(result.settings, None if options.is_stdout(out) else out.parent))
    if not options.is_stdout(out):
        write_text(out.with_suffix(".html"), page.render(result, dev, {"manifest": str(manifest), "model": str(model)}))
    if into_model:
        _write_card(model, result.settings)
    click.echo(_summary(result, dev, out), err=options.is_stdout(out))
    return 0


@dataclass
class _Progress:
    """How many of the trials are done, on the display."""

    display: Display
    total: int
    done: int = 0

    def count(self, trial: "Trial") -> None:
        """Count one more trial."""
        self.done += 1
        self.show()

    def show(self, more: float = 0.0, note: str = "") -> None:
        """Show the trials that are done and what is done of others, in trials."""
        self.display.update("tune", self.done + more, self.total, "settings", note)


@contextmanager
def _on_cluster(
    address: str, model: Path, base: "DecoderSettings", progress: _Progress
) -> "Iterator[Callable[[DevSet, Sequence[DecoderSettings]], list[Trial]]]":
    """Yield a function that tries settings on the nodes of a cluster."""
    from asr.cluster import Cluster, model_spec

    spec = model_spec(model, decoder=base, compiled=True)
    with Cluster(address, on_note=progress.display.say) as nodes:

        def compute(dev: "DevSet", settings: "Sequence[DecoderSettings]") -> "list[Trial]":
            return nodes.try_settings(
                spec, dev, settings, lambda share: progress.show(share * len(settings), nodes.progress())
            )

        yield compute


def _files(out: Path) -> list[Path]:
    """Return the files to write: the settings and the page, or nothing but the settings to the standard output."""
    return [out] if options.is_stdout(out) else [out, out.with_suffix(".html")]


def _summary(result: "TuningResult", dev: "DevSet", out: Path) -> str:
    greedy, best = (
        f"{100 * trial.total_errors / dev.words:.2f} % WER, {dev.audio_seconds / trial.seconds:.0f} x real time"
        for trial in (result.greedy, result.best)
    )
    if result.settings.greedy:
        return f"greedy    {greedy}\nNo setting makes fewer errors than greedy decoding; {out} contains greedy = true."
    from asr.reports.formats import interval

    rate = result.improvement()
    return "\n".join(
        [
            f"greedy    {greedy}",
            f"tuned     {best}",
            f"better by {100 * rate.value:.2f} points (95 % interval {interval(asdict(rate))}) on "
            "the tuning set itself; evaluate on another set",
            f"settings  {describe(result.settings)}, temperature {result.settings.temperature:g}",
            f"written   {', '.join(map(str, _files(out)))}",
        ]
    )


def _write_card(model: Path, settings: "DecoderSettings") -> None:
    """Write the settings into the model file, with the names of the language models instead of their paths."""
    from asr import config
    from asr.model import checkpoint

    contents, tensors = checkpoint.read(model)
    lm, rescorer, dictionary = (Path(path).name for path in (settings.lm, settings.rescorer, settings.pronunciations))
    settings = replace(settings, lm=lm, rescorer=rescorer, pronunciations=dictionary)
    card = contents.card | {"decoder": config.to_dict(settings)}
    checkpoint.save(model, tensors, contents.settings, card, checkpoint.matrices(contents))
