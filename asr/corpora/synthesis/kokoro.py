"""Kokoro-82M (hexgrad, 2025; Apache 2.0) as a synthesizer: phonemes of espeak-ng -> an ONNX model -> speech.

The voices are styles, float32 (510, 256): the row of index n is for a text of n tokens. Styles can be mixed, which
gives other voices. Names begin with the language, of which `a` is American and `b` is British English.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.audio import from_array
from asr.corpora.manifest import CorpusError
from asr.corpora.synthesis.speech import FASTEST, SLOWEST, Speech, SynthesisError, TooLongError, select_voices
from asr.files import JsonLineError, parse_json_object, read_utf8, sha256

try:
    import espeakng_loader
    import onnxruntime
    from phonemizer.backend import EspeakBackend
    from phonemizer.backend.espeak.wrapper import EspeakWrapper
except ImportError as error:  # the extra is not installed
    _missing: str | None = str(error)
else:
    _missing = None

_RATE = 24_000
_STYLE_SIZE = 256
# The model's context is 512 tokens, of which the first and the last are padding.
_MOST_TOKENS = 508
# espeak-ng's phonemes that Kokoro was trained with by another name.
_PHONEMES = str.maketrans({"r": "ɹ", "x": "k", "ɬ": "l"})
_LANGUAGES = {"b": "en-gb"}
Style = NDArray[np.float32]
# (text, language) -> phonemes
Phonemizer = Callable[[str, str], str]


@dataclass(frozen=True)
class KokoroFiles:
    """The ONNX model, the folder of voices (NAME.bin) and the vocabulary of phonemes (JSON)."""

    model: Path
    voices: Path
    vocabulary: Path


class Kokoro:
    """Synthesises with a mix of two of the voices; `session` is an onnxruntime.InferenceSession of the model."""

    def __init__(
        self, session: Any, phonemize: Phonemizer, vocabulary: Mapping[str, int], voices: Mapping[str, Style]
    ) -> None:
        names = [node.name for node in session.get_inputs()]
        tokens = next((name for name in ("tokens", "input_ids") if name in names), "")
        if sorted(names) != sorted([tokens, "style", "speed"]):
            raise CorpusError(f"the inputs {', '.join(names)} are not Kokoro's: tokens, style, speed")
        self._session, self._phonemize, self._tokens = session, phonemize, tokens
        self._vocabulary, self._voices = vocabulary, voices
        self._names = sorted(voices)
        # espeak-ng has one state for all threads; it takes a thousandth of the time of the model.
        self._lock = threading.Lock()
        self.settings: Mapping[str, str] = {"voices": ",".join(self._names)}

    def __call__(self, text: str, random: Random) -> Speech:
        """Synthesise a text. Raises TooLongError for more tokens than the model takes, and SynthesisError."""
        speed = random.uniform(SLOWEST, FASTEST)
        first, *others = random.sample(self._names, min(2, len(self._names)))
        percent = random.randint(50, 99)
        with self._lock:
            phonemes = self._phonemize(text, _LANGUAGES.get(first[0], "en-us")).strip().translate(_PHONEMES)
        tokens = [self._vocabulary[character] for character in phonemes if character in self._vocabulary]
        if not tokens:
            raise SynthesisError("no phoneme of it is in the vocabulary")
        if len(tokens) > _MOST_TOKENS:
            raise TooLongError(f"{len(tokens)} phonemes, the model takes {_MOST_TOKENS}")
        style, speaker = self._row(first, len(tokens)), first
        for second in others:
            style = percent / 100 * style + (1 - percent / 100) * self._row(second, len(tokens))
            speaker = f"{first}-{second}-{percent}"
        inputs = {
            self._tokens: np.array([[0, *tokens, 0]], np.int64),
            "style": style.reshape(1, _STYLE_SIZE).astype(np.float32),
            "speed": np.array([speed], np.float32),
        }
        try:
            output = self._session.run(None, inputs)[0]
            waveform = from_array(np.asarray(output).ravel(), _RATE)
        except Exception as error:  # onnxruntime's errors have no base class
            raise SynthesisError(f"kokoro: {' '.join(str(error).split())[:200]}") from None
        return Speech(waveform, speaker)

    def _row(self, voice: str, tokens: int) -> Style:
        style = self._voices[voice]
        row: Style = style[min(tokens, len(style) - 1)]
        return row


def load(files: KokoroFiles, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Kokoro:
    """Load Kokoro with the voices that match the patterns `include` (all if empty) and not `exclude`.

    Raises CorpusError for a file that is missing or not what it should be, and if the extra is not installed.
    """
    if _missing:
        raise CorpusError(f"Kokoro needs more packages ({_missing}): pip install 'asr[tts]'")
    vocabulary = read_vocabulary(files.vocabulary)
    voices = read_voices(files.voices, include, exclude)
    options = onnxruntime.SessionOptions()
    # The jobs are threads that each run the whole model.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(files.model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base class
        raise CorpusError(f"{files.model}: not an ONNX model: {' '.join(str(error).split())[:200]}") from None
    try:
        kokoro = Kokoro(session, _espeak(), vocabulary, voices)
    except CorpusError as error:
        raise CorpusError(f"{files.model}: {error}") from None
    kokoro.settings = {"model": sha256(files.model), **kokoro.settings}
    return kokoro


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read the token of each phoneme: a JSON object, or the object of its key "vocab". Raises CorpusError."""
    try:
        content = parse_json_object(read_utf8(path))
    except JsonLineError as error:
        raise CorpusError(f"{path}: {error}") from None
    vocabulary = content.get("vocab", content)
    if not isinstance(vocabulary, dict) or not vocabulary or not all(type(n) is int for n in vocabulary.values()):
        raise CorpusError(f'{path}: not a vocabulary, such as {{"vocab": {{"a": 43, …}}}}')
    return vocabulary


def read_voices(folder: Path, include: Sequence[str], exclude: Sequence[str]) -> dict[str, Style]:
    """Read the selected voices of a folder. Raises CorpusError."""
    paths = {path.stem: path for path in folder.glob("*.bin")}
    if not paths:
        raise CorpusError(f"{folder}: no voices in it (NAME.bin)")
    try:
        names = select_voices(paths, include, exclude)
    except CorpusError as error:
        raise CorpusError(f"{folder}: {error}") from None
    voices = {}
    for name in names:
        content = paths[name].read_bytes()
        if not content or len(content) % (4 * _STYLE_SIZE):
            raise CorpusError(f"{paths[name]}: {len(content)} bytes are not rows of {_STYLE_SIZE} float32 numbers")
        voices[name] = np.frombuffer(content, "<f4").reshape(-1, _STYLE_SIZE)
        if not np.isfinite(voices[name]).all():
            raise CorpusError(f"{paths[name]}: not all of its numbers are finite")
    return voices


def _espeak() -> Phonemizer:
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    backends = {
        language: EspeakBackend(language, preserve_punctuation=True, with_stress=True, language_switch="remove-flags")
        for language in ("en-us", *_LANGUAGES.values())
    }
    return lambda text, language: str(backends[language].phonemize([text])[0])
