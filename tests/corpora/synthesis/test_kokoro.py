"""Kokoro with a session and phonemes of the test: mixes, tokens, speeds, files that cannot be used."""

import json
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asr.corpora.manifest import CorpusError
from asr.corpora.synthesis import SynthesisError, TooLongError
from asr.corpora.synthesis.kokoro import Kokoro, KokoroFiles, Style, load, read_vocabulary, read_voices
from tests.conftest import SAMPLE_RATE

VOCABULARY = {"a": 1, "b": 2, "ɹ": 3, " ": 4}


class Session:
    """Records its inputs and returns `output`, a second of a tone by default."""

    def __init__(self, names: str = "tokens style speed", output: Any = None) -> None:
        self._names = names.split()
        self._output = np.sin(np.arange(24_000) / 9).astype(np.float32)[None] if output is None else output
        self.inputs: dict[str, np.ndarray[Any, Any]] = {}

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self._names]

    def run(self, outputs: None, inputs: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
        self.inputs = inputs
        if isinstance(self._output, Exception):
            raise self._output
        return [self._output]


def voice(value: float) -> Style:
    """Return a style whose row n has the value `value` + n."""
    return (value + np.arange(510)[:, None] + np.zeros(256)).astype(np.float32)


def kokoro(session: Session, **voices: float) -> Kokoro:
    return Kokoro(
        session, lambda text, language: text, VOCABULARY, {name: voice(value) for name, value in voices.items()}
    )


def test_inputs_of_the_model() -> None:
    session = Session()
    speech = kokoro(session, af_x=1000.0)("a b?r", Random(1))
    assert session.inputs["tokens"].tolist() == [[0, 1, 4, 2, 3, 0]] and session.inputs["tokens"].dtype == np.int64
    assert session.inputs["style"].shape == (1, 256) and set(session.inputs["style"].ravel()) == {1004.0}
    assert session.inputs["speed"].shape == (1,) and 0.85 <= session.inputs["speed"][0] <= 1.2
    assert all(session.inputs[name].dtype == np.float32 for name in ("style", "speed"))
    assert speech.speaker == "af_x"
    assert len(speech.waveform) == SAMPLE_RATE and speech.waveform.dtype == np.float32


def test_two_voices_are_mixed_as_the_speaker_says() -> None:
    session = Session("input_ids style speed")
    synthesizer = kokoro(session, af_x=1000.0, bm_y=2000.0, am_z=3000.0)
    values = {"af_x": 1000.0, "bm_y": 2000.0, "am_z": 3000.0}
    speakers = set()
    for seed in range(20):
        speaker = synthesizer("ab", Random(seed)).speaker
        first, second, percent = speaker.split("-")
        share = int(percent) / 100
        assert first != second and 0.5 <= share < 1
        expected = share * values[first] + (1 - share) * values[second] + 2
        assert session.inputs["style"][0, 0] == pytest.approx(expected, rel=1e-6)
        assert synthesizer("ab", Random(seed)).speaker == speaker
        speakers.add(speaker)
    assert len(speakers) > 15


def test_accent_is_that_of_the_larger_share() -> None:
    languages = []

    def phonemize(text: str, language: str) -> str:
        languages.append(language)
        return text

    for name in ("af_x", "bf_x", "ff_x"):
        Kokoro(Session(), phonemize, VOCABULARY, {name: voice(0)})("a", Random(1))
    assert languages == ["en-us", "en-gb", "en-us"]


def test_longest_text() -> None:
    session = Session()
    synthesizer = kokoro(session, af_x=0.0)
    synthesizer("a" * 508, Random(1))
    assert session.inputs["tokens"].shape == (1, 510) and session.inputs["style"][0, 0] == 508
    with pytest.raises(TooLongError, match="509 phonemes, the model takes 508"):
        synthesizer("a" * 509, Random(1))


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (RuntimeError("bad\nshape"), "kokoro: bad shape"),
        (np.full(100, np.nan, np.float32), "not a number"),
        (np.zeros(100, np.float32), "digital silence"),
        (np.zeros(0, np.float32), "0 samples"),
    ],
)
def test_unusable_output_fails(output: Any, problem: str) -> None:
    with pytest.raises(SynthesisError, match=problem):
        kokoro(Session(output=output), af_x=0.0)("a", Random(1))


def test_text_without_phonemes_fails() -> None:
    with pytest.raises(SynthesisError, match="no phoneme of it is in the vocabulary"):
        kokoro(Session(), af_x=0.0)("???", Random(1))


def test_other_models_are_refused() -> None:
    with pytest.raises(CorpusError, match="the inputs audio are not Kokoro's: tokens, style, speed"):
        kokoro(Session("audio"), af_x=0.0)


def write_voices(folder: Path, *names: str) -> Path:
    for name in names:
        voice(1.0).tofile(folder / f"{name}.bin")
    return folder


def test_read_voices(tmp_path: Path) -> None:
    voices = read_voices(write_voices(tmp_path, "af_x", "am_y", "bf_z"), ["a*"], ["am_y"])
    assert list(voices) == ["af_x"] and voices["af_x"].shape == (510, 256)


def test_unusable_voices(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=rf"{tmp_path}: no voices in it \(NAME\.bin\)"):
        read_voices(tmp_path, [], [])
    write_voices(tmp_path, "af_x")
    with pytest.raises(CorpusError, match=rf"{tmp_path}: no voice 'z'; the voices are af_x"):
        read_voices(tmp_path, ["z"], [])
    (tmp_path / "am_y.bin").write_bytes(bytes(1000))
    with pytest.raises(CorpusError, match=r"am_y\.bin: 1000 bytes are not rows of 256 float32 numbers"):
        read_voices(tmp_path, [], [])
    np.full((510, 256), np.inf, np.float32).tofile(tmp_path / "am_y.bin")
    with pytest.raises(CorpusError, match=r"am_y\.bin: not all of its numbers are finite"):
        read_voices(tmp_path, [], [])


def test_read_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    for content in (VOCABULARY, {"vocab": VOCABULARY, "n_token": 178}):
        path.write_text(json.dumps(content))
        assert read_vocabulary(path) == VOCABULARY


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"vocab": 1}', '{"a": "b"}', '{"a": 1.5}'])
def test_unusable_vocabulary(content: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(CorpusError, match=r"vocab\.json: "):
        read_vocabulary(tmp_path / "vocab.json")


def test_file_that_is_no_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("phonemizer")
    pytest.importorskip("espeakng_loader")
    (tmp_path / "vocab.json").write_text(json.dumps(VOCABULARY))
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    files = KokoroFiles(tmp_path / "model.onnx", write_voices(tmp_path, "af_x"), tmp_path / "vocab.json")
    with pytest.raises(CorpusError, match=r"model\.onnx: not an ONNX model"):
        load(files)
