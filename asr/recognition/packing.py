"""Packs a trained model, its decoder and its language models into a small bundle."""

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from asr.decoding import decoder
from asr.decoding.decoder import DecoderConfig, DecoderSettings, LanguageModels
from asr.lm import recurrent
from asr.lm.ngram import NgramModel, packed
from asr.model import checkpoint
from asr.recognition.named_models import PRONUNCIATIONS, Bundle, ModelNameError, is_name

# The commands of asr models, in whose place a model may be named.
_COMMANDS = ("pack", "average", "rechunk")


@dataclass(frozen=True)
class Parts:
    """The files that are packed, and the bits of each weight of the networks: 8 or 16.

    `lm`: the language model; None: the one that the decoder's settings name.
    """

    model: Path
    decoder: Path
    card: Path
    lm: Path | None = None
    bits: int = 8


def pack(parts: Parts, name: str, out: Path) -> Bundle:
    """Write a bundle into a folder, all of it or nothing. A bundle of the same name is replaced.

    If the program is killed while one bundle replaces the other, neither is found. Raise ModelNameError, OSError,
    and the errors of the files: ModelFileError, ConfigError, LmError and DecodingError.
    """
    if not is_name(name) or name in _COMMANDS:
        raise ModelNameError(
            f"{name!r} cannot be the name of a model; use letters, digits, - and _ (and not {', '.join(_COMMANDS)})"
        )
    contents, tensors = checkpoint.read(parts.model)
    matrices = checkpoint.matrices(contents)
    if matrices is None:
        raise ModelNameError(f"{parts.model}: the feature matrices are missing, as an older asr wrote the file")
    settings = decoder.read_settings(parts.decoder)
    if parts.lm:
        if settings.greedy:
            raise ModelNameError(
                f"{parts.decoder}: greedy = true does not use {parts.lm}; leave out --lm, or run asr tune with it"
            )
        settings = replace(settings, lm=str(parts.lm))
    _check_place(Bundle(name, out), parts, settings)
    models = decoder.open_models(settings)
    # Raises DecodingError if the language models do not fit the alphabet.
    DecoderConfig(settings, models).build(contents.settings.alphabet, contents.settings.seconds_per_frame)
    card = parts.card.read_bytes()
    out.mkdir(parents=True, exist_ok=True)
    # In the same file system, so that files only have to be renamed.
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=out) as folder:
        draft = Bundle(name, Path(folder))
        checkpoint.save(draft.model, tensors, contents.settings, contents.card, matrices, bits=parts.bits)
        settings = _with_models(draft, settings, models, parts.bits)
        (draft.folder / f"{name}.toml").write_text(decoder.to_toml(settings, draft.folder), encoding="utf-8")
        (draft.folder / f"{name}.md").write_bytes(card)
        return _moved(draft, out)


def _check_place(final: Bundle, parts: Parts, settings: DecoderSettings) -> None:
    """Raise ModelNameError if files that are packed, or files that are not a bundle, would be replaced.

    The card is read before and may be replaced by itself.
    """
    present = [path for path in final.files if not (parts.card.exists() and path.samefile(parts.card))]
    named = (settings.lm, settings.rescorer, settings.pronunciations)
    sources = [parts.model, parts.decoder, *(Path(name) for name in named if name)]
    for path in present:
        if any(source.exists() and path.samefile(source) for source in sources):
            raise ModelNameError(f"{path}: the bundle would overwrite this input file; choose another --name or --out")
    if present and not (final.model.is_file() and final.decoder):
        raise ModelNameError(f"{present[0]}: exists and is not part of a bundle; choose another --name or --out")


def _with_models(draft: Bundle, settings: DecoderSettings, models: LanguageModels, bits: int) -> DecoderSettings:
    """Write the language models of a bundle; return the settings that name them."""
    if settings.greedy:
        return replace(settings, lm="", rescorer="", pronunciations="")
    if models.lm is not None:
        path = draft.folder / f"{draft.name}.lm.bin"
        if isinstance(models.lm, NgramModel):
            packed.write(path, models.lm)
        else:
            path = path.with_suffix(".safetensors")
            recurrent.pack(path, Path(settings.lm), bits)
        settings = replace(settings, lm=str(path))
    if settings.rescorer:
        path = draft.folder / f"{draft.name}.rescorer.safetensors"
        recurrent.pack(path, Path(settings.rescorer), bits)
        settings = replace(settings, rescorer=str(path))
    if models.pronunciations and isinstance(models.lm, NgramModel):
        path = draft.folder / f"{draft.name}{PRONUNCIATIONS}"
        models.pronunciations.write(path, models.lm.words)
        settings = replace(settings, pronunciations=str(path))
    return settings


def _moved(draft: Bundle, out: Path) -> Bundle:
    """Move the files of a draft into a folder.

    A bundle is found by its acoustic model, which is therefore removed first and moved last.
    """
    final = Bundle(draft.name, out)
    for path in [final.model, *final.files]:
        path.unlink(missing_ok=True)
    for path in sorted(draft.files, key=lambda path: path == draft.model):
        shutil.move(path, out / path.name)
    return final
