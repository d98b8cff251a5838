"""A model and a manifest -> error rates."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

import asr
from asr import recognition
from asr.recognition.listening import Listening
from asr.scoring import ScoringError
from tests.conftest import SAMPLE_RATE, random_texts, spell


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> recognition.Recognizer:
    return recognition.load(trained / "best.safetensors")


def test_evaluate_scores_against_normalised_texts(recognizer: recognition.Recognizer, tones: Path) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")
    lower = [asr.Utterance(one.id, one.audio, one.duration, one.text.lower() + ".") for one in utterances]
    result = asr.evaluate(recognizer, lower)
    assert result.score.wer.value <= 0.1
    assert result.normaliser == "upper"
    assert result.score.utterances == len(utterances)
    assert result.audio_seconds == pytest.approx(sum(one.duration for one in utterances))
    silent = [asr.Utterance(one.id, one.audio, one.duration, "…") for one in utterances]
    with pytest.raises(ScoringError, match="no words"):
        asr.evaluate(recognizer, silent)


def test_progress_is_told_within_long_utterances(recognizer: recognition.Recognizer, tmp_path: Path) -> None:
    sound = np.tile(spell(" ".join(random_texts(20, 3))), 2)
    soundfile.write(tmp_path / "a.wav", sound, SAMPLE_RATE)
    seconds = len(sound) / SAMPLE_RATE
    rows = [asr.Utterance(name, str(tmp_path / "a.wav"), seconds, "A") for name in ("a", "b")]
    told: list[tuple[float, float]] = []
    hearing = recognizer.with_listening(Listening(whole=3.0, window=6.0, overlap=2.0))
    asr.evaluate(hearing, rows, lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {2 * seconds}
    shares = [done / total for done, total in told]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0) and len(set(shares)) > 10
