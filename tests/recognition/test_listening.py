"""Long recordings, silence and channels, with a small trained model."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

import asr
from asr import audio, recognition
from asr.decoding.decoder import DecoderConfig, DecoderSettings
from asr.features import streaming as passes
from asr.recognition.listening import Listening
from asr.transcripts.records import Hypothesis
from tests.conftest import SAMPLE_RATE, random_texts, spell

# Windows and what goes whole are short here, as the recordings are.
LONG = Listening(whole=3.0, window=6.0, overlap=2.0)
TEXT = " ".join(random_texts(60, 9))


@pytest.fixture(scope="module")
def whole(trained: Path) -> recognition.Recognizer:
    return recognition.load(trained / "best.safetensors")


@pytest.fixture(scope="module")
def windowed(whole: recognition.Recognizer) -> recognition.Recognizer:
    return whole.with_listening(LONG)


@pytest.fixture(scope="module")
def waveform() -> NDArray[np.float32]:
    return spell(TEXT)


def write(path: Path, waveform: NDArray[np.float32], rate: int = SAMPLE_RATE) -> Path:
    soundfile.write(path, waveform, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def silence(seconds: float, level: float = 1e-4) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(0, level, round(seconds * SAMPLE_RATE)).astype(np.float32)


def assert_same(found: Hypothesis, expected: Hypothesis, share: float = 0.99) -> None:
    given = expected.text.split()
    assert Levenshtein.distance(given, found.text.split()) <= (1 - share) * len(given)


def test_windows_give_the_words_of_the_whole_and_their_times(
    whole: recognition.Recognizer, windowed: recognition.Recognizer, waveform: NDArray[np.float32]
) -> None:
    expected, found = whole.transcribe(waveform, words=True), windowed.transcribe(waveform, words=True)
    assert len(waveform) > 60 * SAMPLE_RATE
    assert len(found.text.split()) > 100
    assert_same(found, expected)
    assert [word.text for word in found.words] == found.text.split()
    times = {(word.text, round(word.start, 2), round(word.end, 2)) for word in expected.words}
    assert sum((word.text, round(word.start, 2), round(word.end, 2)) in times for word in found.words) > 0.97 * len(
        times
    )
    assert found.score == pytest.approx(expected.score, rel=0.1)


def test_a_long_file_is_its_waveform(
    windowed: recognition.Recognizer,
    waveform: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "_BLOCK", 17_000)
    expected = windowed.transcribe(waveform, words=True)
    found = windowed.transcribe_file(write(tmp_path / "a.wav", waveform), words=True)
    assert found.text == expected.text
    assert found.score == pytest.approx(expected.score, abs=1e-2)
    other = audio.resample(waveform, SAMPLE_RATE, 44_100)
    assert_same(windowed.transcribe_file(write(tmp_path / "a.flac", np.stack([other] * 2, 1), 44_100)), expected)


def test_what_is_short_goes_whole(whole: recognition.Recognizer, waveform: NDArray[np.float32]) -> None:
    assert Listening() == Listening(vad=False, whole=120.0, window=60.0, overlap=10.0)
    short = waveform[: 3 * SAMPLE_RATE]
    assert whole.with_listening(LONG).transcribe(short, words=True) == whole.transcribe(short, words=True)


def test_utterances_short_and_long_come_in_their_order(
    whole: recognition.Recognizer, windowed: recognition.Recognizer, waveform: NDArray[np.float32], tmp_path: Path
) -> None:
    path = str(write(tmp_path / "a.wav", waveform))
    parts = [(0.0, 10.0), (1.0, 2.0), (5.0, 20.0), (30.0, 1.5), (30.0, 2.9)]
    rows = [asr.Utterance(str(index), path, size, "A", offset=first) for index, (first, size) in enumerate(parts)]
    told: list[float] = []
    found = windowed.transcribe_utterances(rows, lambda done, total: told.append(done / total), words=True)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    for hypothesis, expected in zip(found, whole.transcribe_utterances(rows), strict=True):
        assert_same(hypothesis, expected, 0.9)
    for scores, expected_scores in zip(windowed.log_probs(rows), whole.log_probs(rows), strict=True):
        assert scores.shape == expected_scores.shape
        assert np.mean(scores.argmax(axis=1) == expected_scores.argmax(axis=1)) > 0.98
    with pytest.raises(audio.AudioError, match=r"^utterance x: .*segment 0–5000 s exceeds"):
        windowed.transcribe_utterances([asr.Utterance("x", path, 5000.0, "A")])


def test_a_search_decodes_segments(
    windowed: recognition.Recognizer, waveform: NDArray[np.float32], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.wav", waveform)
    searching = windowed.with_decoder(DecoderConfig(DecoderSettings()))
    found = searching.alternatives(path, 5, words=True)
    assert len(found) == 5
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert_same(found[0], windowed.transcribe_file(path), 0.97)
    assert [word.text for word in found[0].words] == found[0].text.split()
    starts = [word.start for word in found[0].words]
    assert starts == sorted(starts)


def test_silence_and_noise_have_no_words(whole: recognition.Recognizer, tmp_path: Path) -> None:
    hearing = whole.with_listening(Listening(vad=True))
    first, second = spell("AB CA"), spell("BC")
    parts = [np.zeros(3 * SAMPLE_RATE, np.float32), silence(8), first, silence(20), second, silence(10, 1e-3)]
    found = hearing.transcribe_file(write(tmp_path / "a.wav", np.concatenate(parts)), words=True)
    assert found.text == "AB CA BC"
    expected = 11 + len(first) / SAMPLE_RATE + 20
    assert found.words[0].start == pytest.approx(11, abs=0.2)
    assert found.words[2].start == pytest.approx(expected, abs=0.2)
    for seconds in (1.0, 200.0):
        assert hearing.transcribe(silence(seconds, 0.05), words=True) == Hypothesis("", 0.0)
    assert hearing.log_probs([asr.Utterance("a", str(tmp_path / "a.wav"), 3.0, "", offset=4.0)])[0].shape == (76, 5)


def test_speech_is_not_left_out(whole: recognition.Recognizer, tones: Path) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")
    hearing = whole.with_listening(Listening(vad=True))
    plain = [one.text for one in whole.transcribe_utterances(utterances)]
    assert [one.text for one in hearing.transcribe_utterances(utterances)] == plain


@pytest.mark.parametrize("listening", [Listening(), LONG, Listening(vad=True)])
def test_each_channel_has_its_text(whole: recognition.Recognizer, listening: Listening, tmp_path: Path) -> None:
    hearing = whole.with_listening(listening)
    first, second = spell("AB CA BB A"), spell("BC B AA CB")
    size = max(len(first), len(second))
    channels = [np.pad(one, (0, size - len(one))) for one in (first, second)]
    channels[1] += silence(size / SAMPLE_RATE)[:size]
    both = np.stack([*channels, np.zeros(size, np.float32)], axis=1)
    path = write(tmp_path / "a.wav", both)
    found = hearing.transcribe_channels(path, words=True)
    assert [one.text for one in found] == ["AB CA BB A", "BC B AA CB", ""]
    assert [len(one.words) for one in found] == [4, 4, 0]
    assert [len(one) for one in hearing.alternatives_of_channels(path, 3)] == [1, 1, 1]
    with pytest.raises(audio.AudioError, match="digital silence"):
        hearing.transcribe_channels(write(tmp_path / "b.wav", np.zeros_like(both)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"whole": -1.0}, "whole = -1.0 is not within 0 to 86400"),
        ({"window": 0.5}, "window = 0.5 is not within 1 to 3600"),
        ({"window": 10.0, "overlap": 6.0}, "overlap = 6.0 is not within 0 to half the window (5)"),
    ],
)
def test_listening_that_cannot_be_is_refused(given: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        Listening(**given)  # type: ignore[arg-type]
    assert str(caught.value) == said
