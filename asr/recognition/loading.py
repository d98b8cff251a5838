"""Loads a model by name or path, with its decoder."""

from pathlib import Path

from asr.decoding.decoder import DecoderConfig, read_decoder
from asr.recognition import named_models, recognizer
from asr.recognition.recognizer import Recognizer


def load(model: str | Path, device: str = "cpu", decoder: DecoderConfig | str | Path | None = None) -> Recognizer:
    """Load a model by name ("english-small") or from a file, for cpu, cuda, mps or auto.

    `decoder`: "greedy", the path of a decoder.toml, or what `asr.read_decoder` returns. None: the decoder of a named
    model, and greedy for a file. Raise ModelNameError, ModelFileError, DeviceError, ConfigError, LmError and
    DecodingError.
    """
    bundle = named_models.find(model) if isinstance(model, str) else None
    loaded = recognizer.load(bundle.model if bundle else model, device)
    if decoder is None and bundle:
        decoder = bundle.decoder
    if decoder is None or decoder == "greedy":
        return loaded
    return loaded.with_decoder(decoder if isinstance(decoder, DecoderConfig) else read_decoder(decoder))
