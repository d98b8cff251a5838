"""asr tune: a dev set and a language model -> the decoder's settings."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr.cli import options
from asr.cli.decoding import compile_search, described
from asr.cli.progress import Display

if TYPE_CHECKING:
    from asr.decoding.decoder import DecoderSettings
    from asr.decoding.tuning import Dev, Tuned


@click.command(short_help="Find the settings of a decoder on a dev set.")
@click.argument("manifest", type=options.FILE)
@options.model
@click.option("--lm", type=options.FILE, help="A language model: .arpa, .arpa.gz, or of asr lm train.")
@click.option("--rescorer", type=options.FILE, help="A recurrent language model that judges the texts of the search.")
@click.option("--lexicon-only", is_flag=True, help="Write only words that the language model has.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where settings and, beside them, the page of what was tried go.  [default: decoder.toml beside MODEL]",
)
@click.option("--into-model", is_flag=True, help="Write the settings into the model file too.")
@options.device
@options.quiet
def tune(
    manifest: Path,
    model: Path,
    lm: Path | None,
    rescorer: Path | None,
    lexicon_only: bool,
    out: Path | None,
    into_model: bool,
    device: str | None,
    quiet: bool,
) -> int:
    """Find on MANIFEST, a dev set, how much a language model should count, and how wide a search pays.

    Settings that make no fewer errors than the greedy decoder are not written: decoder.toml then says greedy = true.
    """
    from asr import recognition
    from asr.corpora import manifest as manifests
    from asr.decoding import decoder, tuning
    from asr.decoding.beam import LmSettings
    from asr.recognition import evaluation

    if options.bundle() and (into_model or not out):
        raise click.UsageError("a model by name stays as it is: give --out FILE, and no --into-model")
    out = out or model.with_name("decoder.toml")
    out.parent.mkdir(parents=True, exist_ok=True)
    utterances = manifests.read(manifest)
    recognizer = recognition.load(model, device or "cpu")
    base = decoder.DecoderSettings(
        lm=str(lm or ""), rescorer=str(rescorer or ""), weights=LmSettings(lexicon_only=lexicon_only)
    )
    with Display(quiet) as display:
        models = decoder.open_models(
            base, {}, lambda path: display.say(f"making {path}, which is read in place of the ARPA from now on", True)
        )
        dev = evaluation.tuning_set(
            recognizer, utterances, lambda done, total: display.update("transcribe", done / 60, total / 60, "minutes")
        )
        compile_search(display)
        tried = 0

        def on_trial(trial: tuning.Trial) -> None:
            nonlocal tried
            tried += 1
            display.update("tune", tried, tuning.trials(models), "settings")

        found = tuning.tune(dev, recognizer.settings.alphabet, models, base, on_trial)
    _write(out, found, dev, {"manifest": str(manifest), "model": str(model)})
    if into_model:
        _keep(model, found.settings)
    click.echo(_told(found, dev, out))
    return 0


def _told(found: "Tuned", dev: "Dev", out: Path) -> str:
    from asr.decoding.tuning import difference

    greedy, best = found.greedy, found.best
    speed = dev.audio_seconds / greedy.seconds
    lines = [f"greedy    {100 * greedy.total / dev.words:.2f} % WER, {speed:.0f} x real time"]
    if found.settings.greedy:
        lines.append(f"Nothing that was tried makes fewer errors than the greedy decoder: {out} says greedy = true.")
        return "\n".join(lines)
    rate = difference(found)
    lines += [
        f"tuned     {100 * best.total / dev.words:.2f} % WER, {dev.audio_seconds / best.seconds:.0f} x real time",
        f"better by {100 * rate.value:.2f} points (95 % interval {100 * rate.low:.2f} to {100 * rate.high:.2f}) on the "
        "very set it was tuned on: what it is worth, another set tells",
        f"settings  {described(found.settings)}, temperature {found.settings.temperature:g}",
        f"written   {out}, {out.with_suffix('.html')}",
    ]
    return "\n".join(lines)


def _write(out: Path, found: "Tuned", dev: "Dev", facts: dict[str, str]) -> None:
    from asr.decoding import decoder
    from asr.decoding.tuning import page
    from asr.files import write_text

    write_text(out, decoder.to_toml(found.settings, out.parent))
    write_text(out.with_suffix(".html"), page.render(found, dev, facts))


def _keep(model: Path, settings: "DecoderSettings") -> None:
    """Write the settings into the model file; of the language models, which stay where they are, only the names."""
    from asr import config
    from asr.model import checkpoint

    network, contents = checkpoint.load(model)
    plain = replace(settings, lm=Path(settings.lm).name, rescorer=Path(settings.rescorer).name)
    card = contents.card | {"decoder": config.to_dict(plain)}
    checkpoint.save(model, network, contents.settings, card, checkpoint.matrices(contents))
