"""A model by name or path -> a recogniser."""

from pathlib import Path

from asr import recognition
from asr.decoding import decoder
from asr.recognition.pretrained import named
from asr.recognition.recognizer import Recognizer


def load(model: str | Path, device: str = "cpu") -> Recognizer:
    """Load a model by name ("english-small", with its decoder) or from a file, for cpu, cuda, mps or auto.

    A model file decodes greedily until it is given a decoder. Raises PretrainedError, ModelFileError, DeviceError,
    and for what is wrong with a decoder ConfigError, LmError and DecodingError.
    """
    bundle = named(model) if isinstance(model, str) else None
    if bundle is None:
        return recognition.load(model, device)
    recognizer = recognition.load(bundle.model, device)
    return recognizer.with_decoder(decoder.read_decoder(bundle.decoder)) if bundle.decoder else recognizer
