"""A model file -> transcripts."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

import asr
from asr import audio, recognition
from tests.conftest import SAMPLE_RATE, spell


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> recognition.Recognizer:
    return recognition.load(trained / "best.safetensors")


def test_a_waveform_and_its_file_give_one_text(recognizer: recognition.Recognizer, tmp_path: Path) -> None:
    waveform = spell("AB CA")
    soundfile.write(tmp_path / "a.wav", waveform, SAMPLE_RATE, subtype="FLOAT")
    assert recognizer.transcribe(waveform).text == "AB CA"
    assert recognizer.transcribe_file(tmp_path / "a.wav") == recognizer.transcribe(waveform)


def test_rate_and_channels_of_a_file_do_not_matter(recognizer: recognition.Recognizer, tmp_path: Path) -> None:
    stereo = audio.resample(spell("CAB"), SAMPLE_RATE, 44_100)
    soundfile.write(tmp_path / "a.flac", np.stack([stereo, stereo], axis=1), 44_100)
    assert recognizer.transcribe_file(tmp_path / "a.flac").text == "CAB"


def test_batching_does_not_change_a_transcript(recognizer: recognition.Recognizer, tones: Path) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")
    told: list[float] = []
    together = recognizer.transcribe_utterances(utterances, lambda done, total: told.append(done / total))
    assert told[-1] == pytest.approx(1.0)
    for utterance, hypothesis in zip(utterances, together, strict=True):
        alone = recognizer.transcribe_file(utterance.audio)
        assert alone.text == hypothesis.text
        assert alone.score == pytest.approx(hypothesis.score, abs=1e-3)


def test_transcripts_come_in_the_order_of_the_utterances_whatever_the_batches(
    recognizer: recognition.Recognizer, tones: Path
) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")
    together = [hypothesis.text for hypothesis in recognizer.transcribe_utterances(utterances)]
    assert len(set(together)) > 5
    other = recognizer.with_listening(asr.Listening(batch=3.0))
    assert len(list(other._batches(utterances))) > 3
    assert [hypothesis.text for hypothesis in other.transcribe_utterances(utterances[::-1])] == together[::-1]
    assert recognizer.transcribe_utterances([]) == []


def test_a_segment_is_transcribed_by_its_offset(recognizer: recognition.Recognizer, tmp_path: Path) -> None:
    first, second = spell("AA B"), spell("CC")
    soundfile.write(tmp_path / "a.wav", np.concatenate([first, second]), SAMPLE_RATE)
    start, length = len(first) / SAMPLE_RATE, len(second) / SAMPLE_RATE
    utterance = asr.Utterance("b", str(tmp_path / "a.wav"), length, "CC", offset=start)
    assert recognizer.transcribe_utterances([utterance])[0].text == "CC"


def test_short_and_silent_waveforms(recognizer: recognition.Recognizer) -> None:
    assert isinstance(recognizer.transcribe(np.array([0.1], np.float32)).text, str)
    with pytest.raises(audio.AudioError, match="0 samples"):
        recognizer.transcribe(np.zeros(0, np.float32))
    with pytest.raises(audio.AudioError, match="digital silence"):
        recognizer.transcribe(np.zeros(SAMPLE_RATE, np.float32))
