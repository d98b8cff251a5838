"""The search of the extension gives exactly what its reference in Python gives."""

import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

import asr
from asr.audio import info
from asr.corpora.manifest import Utterance
from asr.decoding import beam
from asr.decoding.beam import LmSettings, Scorer, decode
from asr.decoding.beam.compiling import Doubles
from asr.decoding.beam.decode import NativeSearch, ReferenceSearch
from asr.decoding.beam.pruning import Pruning
from asr.lm.ngram import NgramModel
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.recurrent import RnnLm
from asr.text import Alphabet
from tests.conftest import ROOT
from tests.decoding.test_beam_recurrent import make
from tests.decoding.test_greedy import random_log_probs

pytestmark = pytest.mark.skipif(not beam.search_is_native(), reason="asr was installed without a C++ compiler")
ALPHABET = Alphabet(" ABC")
BLANK_SKIP = float(np.log(0.9))
WORDS = estimate([["A", "AB"], ["CAB", "B"], ["AB", "CC", "A"]], EstimateSettings(3))
CHARACTERS = estimate([list("AB▁CAB▁B"), list("CC▁A")], EstimateSettings(4))
MODELS: Mapping[str, tuple[LmSettings, NgramModel | RnnLm | None, dict[str, float]]] = {
    "none": (LmSettings(), None, {}),
    "any word": (LmSettings(0.7, 1.0), WORDS, {}),
    "known words": (LmSettings(0.7, 1.0, lexicon_only=True), WORDS, {}),
    "unknown words are better": (LmSettings(0.7, -1.0, unknown_score=3.0), WORDS, {}),
    "hotwords": (LmSettings(0.7, 1.0), WORDS, {"AB": 3.0, "BC A": 5.0}),
    "known words and hotwords": (LmSettings(0.7, lexicon_only=True), WORDS, {"BC A": 5.0}),
    "characters": (LmSettings(0.9, 0.3), CHARACTERS, {"CC": 2.0}),
    "network": (LmSettings(0.8, 0.2), make("gru", ALPHABET), {"CC": 2.0}),
}


@pytest.fixture(autouse=True, scope="module")
def compiled() -> None:
    """Compile the reference: what is interpreted is rounded otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "native", None)
        beam.compile_search()


def assert_equal(matrix: Doubles, pruning: Pruning, scorer: Scorer) -> None:
    native, reference = (kind(pruning, scorer.fusion, scorer.network) for kind in (NativeSearch, ReferenceSearch))
    for part in np.split(matrix, [len(matrix) // 3, len(matrix) // 2]):
        native.extend(part)
        reference.extend(part)
        for rescored in (False, True):
            (*found, count), (*expected, final) = native.leading(rescored), reference.leading(rescored)
            assert ([each.tolist() for each in found], count) == ([each.tolist() for each in expected], final)
    assert [values.tolist() for values in native.finish()] == [values.tolist() for values in reference.finish()]


@pytest.mark.parametrize("pruning", [Pruning(8, 9.0, 12.0, BLANK_SKIP), Pruning(300, np.inf, np.inf, np.inf)])
@pytest.mark.parametrize("name", MODELS)
def test_random_log_probabilities(name: str, pruning: Pruning) -> None:
    scorer = Scorer(ALPHABET, *MODELS[name])
    for seed in range(12):
        frames = (0, 1, 7, 40)[seed % 4]
        assert_equal(random_log_probs(seed, frames, len(ALPHABET), 0.1 * (seed % 3)), pruning, scorer)


def test_impossible_frames() -> None:
    for settings, lm, hot in MODELS.values():
        assert_equal(np.full((3, 5), -np.inf), Pruning(4, 9.0, 12.0, 0.0), Scorer(ALPHABET, settings, lm, hot))


def test_an_alphabet_without_space() -> None:
    assert_equal(random_log_probs(3, 30, 3), Pruning(8, 9.0, 12.0, BLANK_SKIP), Scorer(Alphabet("AB")))


@pytest.mark.parametrize("hot", [{}, {"LIBRARY CARD": 8.0}])
def test_the_bundled_model(hot: dict[str, float]) -> None:
    recognizer = asr.load("english-small", decoder="greedy")
    config = asr.read_decoder(ROOT / "asr/recognition/bundled/english-small.toml")
    scorers = [
        Scorer(recognizer.settings.alphabet, settings, config.models.lm, hot)
        for settings in (config.settings.weights, LmSettings(0.8, 0.5))
    ]
    paths = [ROOT / f"data/samples/sample-{number:02}.opus" for number in range(1, 11)]
    for log_probs in recognizer.log_probs([Utterance(path.name, str(path), info(path).duration) for path in paths]):
        for scorer in scorers:
            matrix = np.ascontiguousarray(recognizer.settings.alphabet.characters_of(log_probs), np.float64)
            assert_equal(matrix, Pruning(200, 9.0, 14.0, float(np.log(0.9999))), scorer)


def test_the_bundled_model_by_phonemes() -> None:
    recognizer = asr.load("english-small", decoder="greedy")
    config = asr.read_decoder(ROOT / "asr/recognition/bundled/english-small.toml")
    alphabet, dictionary = recognizer.settings.alphabet, config.models.pronunciations
    assert alphabet.phonemes and dictionary
    scorer = Scorer(alphabet.phonemes, config.settings.weights, config.models.lm, pronunciations=dictionary.words)
    paths = [ROOT / f"data/samples/sample-{number:02}.opus" for number in range(1, 6)]
    for log_probs in recognizer.log_probs([Utterance(path.name, str(path), info(path).duration) for path in paths]):
        matrix = np.ascontiguousarray(alphabet.phonemes_of(log_probs), np.float64)
        assert_equal(matrix, Pruning(200, 9.0, 14.0, float(np.log(0.9999))), scorer)


@pytest.mark.parametrize("name", ["known words and hotwords", "network"])
def test_without_the_extension_the_reference_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs, scorer = random_log_probs(1, 20, len(ALPHABET)), Scorer(ALPHABET, *MODELS[name])
    expected = beam.beam_search(log_probs, ALPHABET, scorer=scorer)
    monkeypatch.setattr(decode, "native", None)
    assert not beam.search_is_native()
    beam.compile_search()
    assert beam.search_is_compiled()
    assert beam.beam_search(log_probs, ALPHABET, scorer=scorer) == expected


def test_an_error_of_the_network_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("no step")

    monkeypatch.setattr(RnnLm, "step", fail)
    with pytest.raises(ValueError, match="no step"):
        beam.beam_search(random_log_probs(1, 5, 5), ALPHABET, scorer=Scorer(ALPHABET, lm=make("gru", ALPHABET)))


def test_transcribing_with_the_bundled_decoder_does_not_import_numba() -> None:
    sample = ROOT / "data/samples/sample-01.opus"
    code = (
        "import sys; from asr.cli import main; "
        f"print(main(['transcribe', {str(sample)!r}, '-q', '--format', 'json'])); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "False"], done.stderr
