"""The model and its queries: back-off by hand, unknown words, states, and what KenLM says of the same file."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from asr.lm import LmError
from asr.lm.ngram import EMPTY_STATE, UNKNOWN_LOG_PROB, NgramModel, advance, arpa, is_character_model
from asr.lm.ngram.estimate import EstimateSettings, estimate

TINY = r"""
\data\
ngram 1=5
ngram 2=4
ngram 3=2

\1-grams:
-1.5	<unk>
0	<s>	-0.4
-0.8	</s>
-0.6	a	-0.3
-0.7	b	-0.2

\2-grams:
-0.25	<s> a	-0.1
-0.35	a b	-0.15
-0.45	b a
-0.55	b </s>

\3-grams:
-0.05	<s> a b
-0.15	a b a

\end\
"""


@pytest.fixture
def tiny(tmp_path: Path) -> NgramModel:
    path = tmp_path / "tiny.arpa"
    path.write_text(TINY, encoding="utf-8")
    return arpa.read(path)


def sentences(count: int, words: str, seed: int = 1, longest: int = 12) -> list[list[str]]:
    """Draw sentences in which some words are much more frequent than others."""
    draw = random.Random(seed)
    weights = [1 / (i + 1) for i in range(len(words))]
    return [draw.choices(words, weights, k=draw.randint(0, longest)) for _ in range(count)]


def log10(log_probs: list[float]) -> list[float]:
    return [log_prob / math.log(10) for log_prob in log_probs]


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
        # An unknown word empties the context: nothing is known after it.
        ("a x b", True, False, [-0.25, -0.1 - 0.3 - 1.5, -0.7]),
        ("", True, True, [-0.4 - 0.8]),
    ],
)
def test_back_off_is_as_worked_out_by_hand(
    tiny: NgramModel, words: str, begin: bool, end: bool, expected: list[float]
) -> None:
    assert log10(tiny.score(words.split(), begin=begin, end=end)) == pytest.approx(expected, abs=1e-6)


def test_states_are_the_shortest_that_matter(tiny: NgramModel) -> None:
    assert tiny.order == 3 and tiny.counts == (5, 4, 2)
    a = tiny.advance(EMPTY_STATE, "a")[1]
    assert tiny.arrays.words[a] == tiny.vocabulary["a"]
    # "b a" has no back-off weight and nothing follows it, so the state is "a".
    assert tiny.advance(tiny.advance(EMPTY_STATE, "b")[1], "a")[1] == a
    log_prob, state = tiny.advance(a, "x")
    assert log_prob == pytest.approx((-0.3 - 1.5) * math.log(10))
    assert state == EMPTY_STATE
    with pytest.raises(LmError, match=r"state 99: the model has the states 0 to 9"):
        tiny.advance(99, "a")


def test_compiled_code_can_ask(tiny: NgramModel) -> None:
    @njit  # type: ignore[untyped-decorator, unused-ignore]
    def two(arrays, state, first, second):  # type: ignore[no-untyped-def]
        log_prob, state = advance(arrays, state, first)
        return log_prob + advance(arrays, state, second)[0]

    a, b = tiny.ids(["a", "b"]).tolist()
    assert two(tiny.arrays, tiny.begin_state, a, b) == pytest.approx(-0.3 * math.log(10))


def test_an_unknown_word_without_unk_has_the_floor_of_kenlm(tmp_path: Path) -> None:
    path = tmp_path / "no-unk.arpa"
    path.write_text(TINY.replace("ngram 1=5", "ngram 1=4").replace("-1.5\t<unk>\n", ""), encoding="utf-8")
    model = arpa.read(path)
    assert model.score(["x"], begin=False, end=False) == [pytest.approx(UNKNOWN_LOG_PROB)]
    assert model.advance(EMPTY_STATE, "</s>")[0] == pytest.approx(-0.8 * math.log(10))


def test_perplexity_counts_ends_and_unknown_words(tiny: NgramModel) -> None:
    found = tiny.perplexity([["a", "b"], ["a", "x"]])
    known = -0.25 - 0.05 - 0.7 - 0.25 - 0.8
    assert (found.sentences, found.words, found.unknown) == (2, 6, 1)
    assert found.without_unknown == pytest.approx(10 ** (-known / 5))
    assert found.with_unknown == pytest.approx(10 ** (-(known - 1.9) / 6))
    assert math.isfinite(tiny.perplexity([[]]).with_unknown)
    with pytest.raises(LmError, match="no sentences"):
        tiny.perplexity([])


# KenLM itself loads no model of unigrams alone.
@pytest.mark.parametrize("order", [2, 3, 5])
def test_kenlm_gives_the_same_probabilities(order: int, tmp_path: Path) -> None:
    kenlm = pytest.importorskip("flashlight.lib.text.decoder.kenlm")
    dictionary = pytest.importorskip("flashlight.lib.text.dictionary")
    model = estimate(sentences(300, "abcdefgh"), EstimateSettings(order=order))
    path = tmp_path / "lm.arpa"
    arpa.write(path, model)
    words = dictionary.Dictionary(list("abcdefghxy"))
    theirs = kenlm.KenLM(str(path), words)
    for sentence in sentences(100, "abxcdyefgh", seed=2):
        state, expected = theirs.start(False), []
        for word in sentence:
            state, score = theirs.score(state, words.get_index(word))
            expected.append(score)
        expected.append(theirs.finish(state)[1])
        ours = model.score(sentence)  # flashlight gives KenLM's log10
        np.testing.assert_allclose(ours, np.array(expected) * math.log(10), atol=1e-4)


@pytest.mark.parametrize(
    ("words", "expected"), [("a ▁ b", True), ("▁", True), ("a b", False), ("a ▁ bc", False), ("a ▁ <x>", False)]
)
def test_a_model_of_characters_is_known_by_its_words(words: str, expected: bool) -> None:
    assert is_character_model(estimate([words.split()], EstimateSettings(order=2))) == expected
