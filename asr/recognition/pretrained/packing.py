"""Training's results -> a bundle, small enough to be handed on: weights of 8 bits, a packed language model."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from asr.decoding import decoder
from asr.decoding.decoder import DecoderConfig, DecoderSettings, LanguageModels
from asr.lm import recurrent as rnnlm
from asr.lm.ngram import NgramModel, packed
from asr.model import checkpoint
from asr.recognition.pretrained import Bundle, PretrainedError, is_name


@dataclass(frozen=True)
class Parts:
    """The files that a bundle is made of; `lm` in place of the one that the decoder's settings name.

    `bits`: of each weight of its networks, 8 or 16.
    """

    model: Path
    decoder: Path
    card: Path
    lm: Path | None = None
    bits: int = 8


def pack(parts: Parts, name: str, out: Path) -> Bundle:
    """Write the bundle of a name into a folder, all of it or nothing; one that has the name is replaced, no other file.

    Where the program is killed just as one takes the other's place, neither is found. Raises PretrainedError, OSError,
    and for what is wrong with the files ModelFileError, ConfigError, LmError and
    DecodingError.
    """
    if not is_name(name) or name == "pack":
        raise PretrainedError(
            f"{name!r}: no name of a model; letters, digits, - and _ are meant, and not the word pack"
        )
    network, contents = checkpoint.load(parts.model)
    matrices = checkpoint.matrices(contents)
    if matrices is None:
        raise PretrainedError(f"{parts.model}: without the matrices of its features; an older asr wrote it")
    settings = decoder.read_settings(parts.decoder)
    if parts.lm:
        if settings.greedy:
            raise PretrainedError(
                f"{parts.decoder}: greedy = true has no use for {parts.lm}; leave out --lm, or tune with it"
            )
        settings = replace(settings, lm=str(parts.lm))
    _check_place(Bundle(name, out), parts, settings)
    models = decoder.open_models(settings)
    # Refuses what does not fit the model's alphabet.
    DecoderConfig(settings, models).build(contents.settings.alphabet, contents.settings.seconds_per_frame)
    card = parts.card.read_bytes()
    out.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that what is made needs but a new name.
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=out) as made:
        draft = Bundle(name, Path(made))
        checkpoint.save(draft.model, network, contents.settings, contents.card, matrices, bits=parts.bits)
        settings = _with_models(draft, settings, models, parts.bits)
        (draft.folder / f"{name}.toml").write_text(decoder.to_toml(settings, draft.folder), encoding="utf-8")
        (draft.folder / f"{name}.md").write_bytes(card)
        return _moved(draft, out)


def _check_place(final: Bundle, parts: Parts, settings: DecoderSettings) -> None:
    """Refuse to write over what is no bundle, or over what this one is made of, but its card, which stays as it is."""
    there = [path for path in final.files if not (parts.card.exists() and path.samefile(parts.card))]
    sources = [parts.model, parts.decoder, *(Path(name) for name in (settings.lm, settings.rescorer) if name)]
    for path in there:
        if any(source.exists() and path.samefile(source) for source in sources):
            raise PretrainedError(f"{path}: would be written over, and is read; choose another --name or --out")
    if there and not (final.model.is_file() and final.decoder):
        raise PretrainedError(f"{there[0]}: there already, and not of a bundle; choose another --name or --out")


def _with_models(draft: Bundle, settings: DecoderSettings, models: LanguageModels, bits: int) -> DecoderSettings:
    """Write the language models, and return the settings that name them."""
    if settings.greedy:
        return replace(settings, lm="", rescorer="")
    if models.lm is not None:
        path = draft.folder / f"{draft.name}.lm.bin"
        if isinstance(models.lm, NgramModel):
            packed.write(path, models.lm)
        else:
            path = path.with_suffix(".safetensors")
            _round(Path(settings.lm), path, bits)
        settings = replace(settings, lm=str(path))
    if settings.rescorer:
        path = draft.folder / f"{draft.name}.rescorer.safetensors"
        _round(Path(settings.rescorer), path, bits)
        settings = replace(settings, rescorer=str(path))
    return settings


def _round(source: Path, target: Path, bits: int) -> None:
    model, contents = rnnlm.load(source)
    rnnlm.save(target, model, contents.settings, contents.card, bits)


def _moved(draft: Bundle, out: Path) -> Bundle:
    """Give the files of a draft their places: the acoustic model goes first and comes last, for by it one is found."""
    final = Bundle(draft.name, out)
    for path in [final.model, *final.files]:
        path.unlink(missing_ok=True)
    for path in sorted(draft.files, key=lambda path: path == draft.model):
        shutil.move(path, out / path.name)
    return final
