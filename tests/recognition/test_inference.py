"""Windows of long recordings: which are planned, and that their joined outputs are those of the whole recording."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

import asr
from asr import AsrError, TranscribeOptions, Transcript, recognition
from asr.audio import AudioError, resample
from asr.decoding.decoder import DecoderConfig, DecoderSettings
from asr.features.frontend import Frontend
from asr.features.reference import matrices
from asr.features.settings import FeatureSettings
from asr.model import ModelSettings, output_length
from asr.model.checkpoint import ModelFileSettings
from asr.model.inference import Network
from asr.model.network import Model
from asr.recognition.inference import AcousticModel, plan_windows
from asr.text import TextSettings
from tests.conftest import SAMPLE_RATE, random_texts, spell

# Recordings, windows and what is computed whole are all short here.
LONG = TranscribeOptions(words=True, whole=3.0, window=6.0, overlap=2.0)
WHOLE = TranscribeOptions(words=True)
VAD = TranscribeOptions(words=True, vad=True)


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> recognition.Recognizer:
    return recognition.load(trained / "best.safetensors")


@pytest.fixture(scope="module")
def waveform() -> NDArray[np.float32]:
    return spell(" ".join(random_texts(60, 9)))


def write(path: Path, waveform: NDArray[np.float32], rate: int = SAMPLE_RATE) -> Path:
    soundfile.write(path, waveform, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def noise(seconds: float, level: float = 1e-4) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(0, level, round(seconds * SAMPLE_RATE)).astype(np.float32)


def word_errors(transcript: Transcript, expected: Transcript) -> float:
    words = expected.text.split()
    return Levenshtein.distance(words, transcript.text.split()) / len(words)


@given(st.integers(1, 1200), st.integers(1, 90), st.integers(0, 45), st.sampled_from([2, 3, 4]))
@settings(deadline=None, max_examples=200)
def test_plan_windows_keeps_each_output_frame_once(frames: int, window: int, overlap: int, reduction: int) -> None:
    windows = plan_windows(frames, window, overlap, reduction)
    kept = [np.arange(part.kept.first, part.kept.end) for part in windows]
    np.testing.assert_array_equal(np.concatenate(kept), np.arange(output_length(frames, reduction)))
    for part in windows:
        assert part.inputs.first % reduction == 0
        assert part.inputs.first <= part.kept.first * reduction < part.inputs.end
        assert part.kept.end <= output_length(part.inputs.end, reduction)


def tiny(reduction: int, bidirectional: bool, cell: str = "gru") -> AcousticModel:
    """Return a model of random weights whose features need nothing of the whole recording."""
    torch.manual_seed(reduction)
    features = FeatureSettings(coefficients=5, mel_bands=8, normalisation="none", top_db=0)
    shape = ModelSettings(cell, 2, 12, bidirectional, 4, reduction, 0.0)
    tensors = {name: tensor.numpy() for name, tensor in Model(5, 6, shape).state_dict().items()}
    file_settings = ModelFileSettings(features, TextSettings(alphabet="ABCDE"), shape)
    return AcousticModel(file_settings, Frontend(features, matrices(features)), Network(shape, tensors))


def windowed(model: AcousticModel, waveform: NDArray[np.float32], options: TranscribeOptions) -> NDArray[np.floating]:
    return np.concatenate(list(model.windowed(lambda: np.array_split(waveform, 7), options)))


@pytest.mark.parametrize("reduction", [2, 3, 4])
@pytest.mark.parametrize("seconds", [0.01, 2.39, 2.4, 8.01])
def test_windows_of_a_bidirectional_network_are_close_to_the_whole(reduction: int, seconds: float) -> None:
    model, waveform = tiny(reduction, bidirectional=True), noise(seconds, 0.1)
    whole = model.log_probs([waveform])[0]
    log_probs = windowed(model, waveform, TranscribeOptions(window=2.4, overlap=1.2))
    # Random weights forget within some frames; a shift by one frame would differ by far more.
    assert log_probs.shape == whole.shape
    np.testing.assert_allclose(log_probs, whole, atol=0.03)


def test_a_larger_overlap_brings_windows_closer_to_the_whole() -> None:
    model, waveform = tiny(2, bidirectional=True), noise(6.0, 0.1)
    whole = model.log_probs([waveform])[0]
    errors = [
        np.abs(windowed(model, waveform, TranscribeOptions(window=1.0, overlap=overlap)) - whole).max()
        for overlap in (0.0, 0.16, 0.48)
    ]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_windows_of_a_forward_only_network_are_the_whole(reduction: int, cell: str) -> None:
    model, waveform = tiny(reduction, bidirectional=False, cell=cell), noise(4.01, 0.1)
    log_probs = windowed(model, waveform, TranscribeOptions(window=1.0, overlap=0.5))
    np.testing.assert_allclose(log_probs, model.log_probs([waveform])[0], atol=1e-5)


def test_transcribe_long_waveform_gives_the_words_and_times_of_the_whole(
    recognizer: recognition.Recognizer, waveform: NDArray[np.float32]
) -> None:
    expected = recognizer.transcribe(waveform, options=WHOLE)
    transcript = recognizer.transcribe(waveform, options=LONG)
    assert len(waveform) > 60 * SAMPLE_RATE
    assert len(transcript.text.split()) > 100
    assert word_errors(transcript, expected) <= 0.01
    assert [word.text for word in transcript.words] == transcript.text.split()
    times = {(word.text, round(word.start, 2), round(word.end, 2)) for word in expected.words}
    same = sum((word.text, round(word.start, 2), round(word.end, 2)) in times for word in transcript.words)
    assert same > 0.97 * len(times)
    assert transcript.score == pytest.approx(expected.score, rel=0.1)


def test_transcribe_file_long_equals_its_waveform(
    recognizer: recognition.Recognizer, waveform: NDArray[np.float32], tmp_path: Path
) -> None:
    expected = recognizer.transcribe(waveform, options=LONG)
    transcript = recognizer.transcribe_file(write(tmp_path / "a.wav", waveform), LONG)
    assert transcript.text == expected.text
    assert transcript.score == pytest.approx(expected.score, abs=1e-2)
    stereo = np.stack([resample(waveform, SAMPLE_RATE, 44_100)] * 2, 1)
    assert word_errors(recognizer.transcribe_file(write(tmp_path / "a.flac", stereo, 44_100), LONG), expected) <= 0.01


def test_transcribe_short_waveform_ignores_the_windows(
    recognizer: recognition.Recognizer, waveform: NDArray[np.float32]
) -> None:
    short = waveform[: 3 * SAMPLE_RATE]
    assert recognizer.transcribe(short, options=LONG) == recognizer.transcribe(short, options=WHOLE)


def test_long_and_short_utterances_come_in_order(
    recognizer: recognition.Recognizer, waveform: NDArray[np.float32], tmp_path: Path
) -> None:
    path = str(write(tmp_path / "a.wav", waveform))
    parts = [(0.0, 10.0), (1.0, 2.0), (5.0, 20.0), (30.0, 1.5), (30.0, 2.9)]
    rows = [asr.Utterance(str(index), path, size, "A", offset=first) for index, (first, size) in enumerate(parts)]
    transcripts = [result.transcript for (result,) in recognizer.transcribe_files(rows, LONG)]
    expected = [result.transcript for (result,) in recognizer.transcribe_files(rows, WHOLE)]
    for transcript, whole in zip(transcripts, expected, strict=True):
        assert transcript and whole
        assert word_errors(transcript, whole) <= 0.1
    bad = asr.Utterance("x", path, 5000.0, "A")
    ((result,),) = recognizer.transcribe_files([bad], LONG)
    assert result.id == "x" and result.error.startswith("utterance x: ")
    with pytest.raises(AudioError, match=r"^utterance x: "):
        recognizer.log_probs([bad])


def test_beam_search_of_a_long_file_decodes_segments(
    recognizer: recognition.Recognizer, waveform: NDArray[np.float32], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.wav", waveform)
    beam = recognizer.with_decoder(DecoderConfig(DecoderSettings()))
    transcript = beam.transcribe_file(path, TranscribeOptions(words=True, nbest=5, whole=3.0, window=6.0, overlap=2.0))
    scores = [transcript.score, *(other.score for other in transcript.alternatives)]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert word_errors(transcript, recognizer.transcribe_file(path, LONG)) <= 0.03
    assert [word.text for word in transcript.words] == transcript.text.split()
    starts = [word.start for word in transcript.words]
    assert starts == sorted(starts)


def test_vad_leaves_out_silence_and_noise(recognizer: recognition.Recognizer, tmp_path: Path) -> None:
    first, second = spell("AB CA"), spell("BC")
    parts = [np.zeros(3 * SAMPLE_RATE, np.float32), noise(8), first, noise(20), second, noise(10, 1e-3)]
    path = write(tmp_path / "a.wav", np.concatenate(parts))
    transcript = recognizer.transcribe_file(path, VAD)
    assert transcript.text == "AB CA BC"
    assert transcript.words[0].start == pytest.approx(11, abs=0.2)
    assert transcript.words[2].start == pytest.approx(11 + len(first) / SAMPLE_RATE + 20, abs=0.2)
    for seconds in (1.0, 200.0):
        assert recognizer.transcribe(noise(seconds, 0.05), options=VAD) == Transcript("", duration=seconds)


def test_vad_keeps_speech(recognizer: recognition.Recognizer, tones: Path) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")
    plain, detected = (
        [result.text for (result,) in recognizer.transcribe_files(utterances, options)] for options in (WHOLE, VAD)
    )
    assert detected == plain


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"whole": -1.0}, "whole = -1.0 is not between 0 and 86400"),
        ({"window": 0.5}, "window = 0.5 is not between 1 and 3600"),
        ({"window": 10.0, "overlap": 6.0}, "overlap = 6.0 is not between 0 and half the window (5)"),
        ({"batch_seconds": 0.5}, "batch_seconds = 0.5 is not between 1 and 3600"),
        ({"batch_seconds": float("nan")}, "batch_seconds = nan is not between 1 and 3600"),
        ({"nbest": 0}, "nbest = 0 is not 1 or more"),
        ({"threads": -1}, "threads = -1 is not 0 or more"),
    ],
)
def test_unusable_options_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(AsrError) as caught:
        TranscribeOptions(**values)  # type: ignore[arg-type]
    assert str(caught.value) == message
