"""The n-gram model: back-off by hand, unknown words, states, and the same probabilities as KenLM."""

from pathlib import Path

import numpy as np
import pytest

from asr.lm.ngram import UNKNOWN_LOG_PROB, NgramModel, advance, arpa, is_character_model
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.ngram.model import EMPTY_STATE, LOG_10
from tests.lm.samples import TINY, ngram_scores, sentences


@pytest.fixture
def tiny(tmp_path: Path) -> NgramModel:
    path = tmp_path / "tiny.arpa"
    path.write_text(TINY, encoding="utf-8")
    return arpa.read(path)


def log10(log_probs: list[float]) -> list[float]:
    return [log_prob / LOG_10 for log_prob in log_probs]


@pytest.mark.parametrize(
    ("words", "begin", "end", "expected"),
    [
        # <s> a; <s> a b; then (a b) has no </s>: back-off of "a b", then "b </s>".
        ("a b", True, True, [-0.25, -0.05, -0.15 - 0.55]),
        # <s> has no b: back-off of <s>; (<s> b) is no context, so "b a"; "b a" is no context of b: a -0.3, then b.
        ("b a b", True, False, [-0.4 - 0.7, -0.45, -0.35]),
        # a a: no bigram, back-off of a and unigram; first, "a" after "<s> a": -0.1 and then -0.3.
        ("a a", True, True, [-0.25, -0.1 - 0.3 - 0.6, -0.3 - 0.8]),
        ("a b a", False, False, [-0.6, -0.35, -0.15]),
        # An unknown word empties the context.
        ("a x b", True, False, [-0.25, -0.1 - 0.3 - 1.5, -0.7]),
        ("", True, True, [-0.4 - 0.8]),
    ],
)
def test_log_probs_with_back_off_by_hand(
    tiny: NgramModel, words: str, begin: bool, end: bool, expected: list[float]
) -> None:
    assert log10(ngram_scores(tiny, words.split(), begin=begin, end=end)) == pytest.approx(expected, abs=1e-6)


def test_state_is_the_shortest_that_matters(tiny: NgramModel) -> None:
    assert tiny.order == 3 and tiny.counts == (5, 4, 2)
    word_a, word_b, unknown = tiny.ids(["a", "b", "x"]).tolist()
    after_a = advance(tiny.arrays, EMPTY_STATE, word_a)[1]
    assert tiny.arrays.words[after_a] == word_a
    # "b a" has no back-off weight and no longer n-gram, so the state is "a".
    assert advance(tiny.arrays, advance(tiny.arrays, EMPTY_STATE, word_b)[1], word_a)[1] == after_a
    log_prob, state = advance(tiny.arrays, after_a, unknown)
    assert log_prob == pytest.approx((-0.3 - 1.5) * LOG_10)
    assert state == EMPTY_STATE


def test_advance_in_compiled_code(tiny: NgramModel) -> None:
    a, b = tiny.ids(["a", "b"]).tolist()
    log_prob, state = advance(tiny.arrays, tiny.begin_state, a)
    assert log_prob + advance(tiny.arrays, state, b)[0] == pytest.approx(-0.3 * LOG_10)


def test_unknown_word_without_unk_has_the_log_prob_of_kenlm(tmp_path: Path) -> None:
    path = tmp_path / "no-unk.arpa"
    path.write_text(TINY.replace("ngram 1=5", "ngram 1=4").replace("-1.5\t<unk>\n", ""), encoding="utf-8")
    model = arpa.read(path)
    assert ngram_scores(model, ["x"], begin=False) == pytest.approx([UNKNOWN_LOG_PROB, -0.8 * LOG_10])


# KenLM itself loads no model of unigrams alone.
@pytest.mark.parametrize("order", [2, 3, 5])
def test_log_probs_are_those_of_kenlm(order: int, tmp_path: Path) -> None:
    kenlm = pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    dictionary = pytest.importorskip("flashlight.lib.text.dictionary")
    model = estimate(sentences(300, "abcdefgh"), EstimateSettings(order=order))
    path = tmp_path / "lm.arpa"
    arpa.write(path, model)
    words = dictionary.Dictionary(list("abcdefghxy"))
    reference = kenlm.KenLM(str(path), words)
    for sentence in sentences(100, "abxcdyefgh", seed=2):
        state, expected = reference.start(False), []
        for word in sentence:
            state, score = reference.score(state, words.get_index(word))
            expected.append(score)
        expected.append(reference.finish(state)[1])
        # flashlight returns base-10 logarithms.
        np.testing.assert_allclose(ngram_scores(model, sentence), np.array(expected) * LOG_10, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "expected"), [("a ▁ b", True), ("▁", True), ("a b", False), ("a ▁ bc", False), ("a ▁ <x>", False)]
)
def test_is_character_model(words: str, expected: bool) -> None:
    assert is_character_model(estimate([words.split()], EstimateSettings(order=2))) == expected
