"""Error rates of a model on a manifest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asr
from asr import TranscribeOptions, recognition
from asr.audio import AudioError
from asr.scoring import ScoringError
from tests.conftest import SAMPLE_RATE, random_texts, spell


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> recognition.Recognizer:
    return recognition.load(trained / "best.safetensors")


def test_evaluate_scores_against_normalised_texts(recognizer: recognition.Recognizer, tones: Path) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")
    lower = [replace(utterance, text=utterance.text.lower() + ".") for utterance in utterances]
    result = asr.evaluate(recognizer, lower)
    assert result.score.wer.value <= 0.1
    assert result.normaliser == "upper"
    assert result.score.utterances == len(utterances)
    assert result.audio_seconds == pytest.approx(sum(utterance.duration for utterance in utterances))
    assert all(transcript.words for transcript in result.transcripts)
    with pytest.raises(ScoringError, match="no words"):
        asr.evaluate(recognizer, [replace(utterance, text="…") for utterance in utterances])
    with pytest.raises(AudioError, match=r"^utterance x: .*: no such file"):
        asr.evaluate(recognizer, [*utterances, asr.Utterance("x", "/nowhere.wav", 1.0, "A")])


def test_progress_is_reported_within_long_utterances(recognizer: recognition.Recognizer, tmp_path: Path) -> None:
    waveform = np.tile(spell(" ".join(random_texts(20, 3))), 2)
    soundfile.write(tmp_path / "a.wav", waveform, SAMPLE_RATE)
    seconds = len(waveform) / SAMPLE_RATE
    rows = [asr.Utterance(name, str(tmp_path / "a.wav"), seconds, "A") for name in ("a", "b")]
    calls: list[tuple[float, float]] = []
    options = TranscribeOptions(whole=3.0, window=6.0, overlap=2.0)
    asr.evaluate(recognizer, rows, options, lambda done, total: calls.append((done, total)))
    assert {total for _, total in calls} == {2 * seconds}
    shares = [done / total for done, total in calls]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0) and len(set(shares)) > 10
