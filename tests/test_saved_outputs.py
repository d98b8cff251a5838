"""The bundled model gives the outputs that it gave before: log-probabilities, texts, scores and word times."""

import json
from pathlib import Path

import numpy as np
import pytest

import asr
from asr import TranscribeOptions
from asr.audio import info
from asr.corpora.manifest import Utterance
from asr.recognition import Recognizer

ROOT = Path(__file__).resolve().parent.parent
SAVED = json.loads((ROOT / "tests/saved/english-small.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def greedy() -> Recognizer:
    """The bundled model with the greedy decoder."""
    return asr.load("english-small", decoder="greedy")


@pytest.mark.parametrize("name", SAVED)
def test_log_probabilities_are_the_saved_ones(name: str, greedy: Recognizer) -> None:
    path = ROOT / name
    found = greedy.log_probs([Utterance(name, str(path), info(path).duration)])[0]
    assert len(found) == SAVED[name]["frames"]
    for frame, values in SAVED[name]["log_probs"].items():
        assert np.allclose(found[int(frame)], values, atol=2e-3)
    assert float(found.max(axis=1).sum()) == pytest.approx(SAVED[name]["sum"], abs=0.01)


@pytest.mark.parametrize("name", SAVED)
def test_greedy_transcripts_are_the_saved_ones(name: str, greedy: Recognizer) -> None:
    saved = SAVED[name]["greedy"]
    found = greedy.transcribe_file(ROOT / name, TranscribeOptions(words=True, vad=False))
    assert found.text == saved["text"]
    assert found.acoustic_score == pytest.approx(saved["score"], abs=0.01)
    for word, (text, start, end, confidence) in zip(found.words, saved["words"], strict=True):
        assert word.text == text
        assert [word.start, word.end] == pytest.approx([start, end], abs=1e-3)
        assert word.confidence == pytest.approx(confidence, abs=2e-3)


def test_transcripts_with_the_bundled_decoder_are_the_saved_ones() -> None:
    recognizer = asr.load("english-small")
    for name, saved in list(SAVED.items())[:4]:
        found = recognizer.transcribe_file(ROOT / name, TranscribeOptions(words=True, nbest=3, vad=False))
        assert found.text == saved["decoder"]["text"]
        assert [other.text for other in found.alternatives] == saved["decoder"]["alternatives"]
        assert found.acoustic_score == pytest.approx(saved["decoder"]["acoustic_score"], abs=0.01)
        assert found.lm_score == pytest.approx(saved["decoder"]["lm_score"], abs=0.02)
        for word, (text, start, end, _) in zip(found.words, saved["decoder"]["words"], strict=True):
            assert word.text == text
            assert [word.start, word.end] == pytest.approx([start, end], abs=1e-3)
