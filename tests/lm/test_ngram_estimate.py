"""Modified Kneser-Ney estimation: by hand, normalised, and independent of the chunk size."""

import errno
import math
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.lm import LmError
from asr.lm.ngram import NgramModel
from asr.lm.ngram.estimate import FALLBACK, EstimateSettings, discounts, estimate
from asr.lm.ngram.model import advance_each
from asr.lm.ngram.trie import ngrams, spans
from asr.lm.text import BEGIN
from tests.lm.samples import sentences
from tests.lm.test_ngram_arpa import same

SENTENCES = st.lists(st.lists(st.sampled_from("abcde"), max_size=8), min_size=1, max_size=12)


def sums(model: NgramModel) -> list[float]:
    """Return the sum of the probabilities of all words but <s>, after each state of the model."""
    words = np.array([i for i, word in enumerate(model.words) if word != BEGIN], np.int32)
    found = []
    for state in range(len(model.arrays.backoffs)):
        log_probs, _ = advance_each(model.arrays, np.full(len(words), state, np.int32), words)
        found.append(math.fsum(np.exp(log_probs)))
    return found


def table(model: NgramModel) -> dict[str, float]:
    """Return the probability of each n-gram of the model."""
    return {
        " ".join(model.words[i] for i in ids): math.exp(model.arrays.log_probs[entry])
        for order, (start, end) in enumerate(spans(model.counts), 1)
        for entry, ids in zip(range(start, end), ngrams(model, order, start, end).tolist(), strict=True)
    }


def test_bigrams_by_hand() -> None:
    # Bigrams: <s> a twice; a b, a </s> and b </s> once. Words before: a 1, b 1, </s> 2. All discounts fall back.
    # Unigrams: (c - D) / 4 + 1/2 * 1/4. Bigrams: each context leaves 1/2 to the unigrams.
    assert table(estimate([["a", "b"], ["a"]], EstimateSettings(order=2))) == pytest.approx(
        {
            "<unk>": 0.125,
            "<s>": 1.0,
            "</s>": 0.375,
            "a": 0.25,
            "b": 0.25,
            "<s> a": (2 - 1) / 2 + 0.5 * 0.25,
            "a b": (1 - 0.5) / 2 + 0.5 * 0.25,
            "a </s>": (1 - 0.5) / 2 + 0.5 * 0.375,
            "b </s>": (1 - 0.5) / 1 + 0.5 * 0.375,
        }
    )


def test_ngrams_that_begin_a_sentence_keep_their_counts() -> None:
    # a stands twice after <s>, yet only one word stands before "a </s>".
    unigram = (1 - 0.5) / 2 + 0.5 / 3
    bigram = 0.5 + 0.5 * unigram
    found = table(estimate([["a"], ["a"]], EstimateSettings(order=3)))
    assert found["a"] == pytest.approx(unigram)
    assert found["<s> a"] == pytest.approx((2 - 1) / 2 + 0.5 * unigram)
    assert found["a </s>"] == pytest.approx(bigram)
    assert found["<s> a </s>"] == pytest.approx((2 - 1) / 2 + 0.5 * bigram)


def test_discounts_of_equation_26() -> None:
    adjusted = np.repeat(np.array([0, 1, 2, 3, 4, 9]), [7, 10, 5, 3, 2, 4])
    assert discounts(adjusted) == pytest.approx((1 - 2 * 0.5 * 5 / 10, 2 - 3 * 0.5 * 3 / 5, 3 - 4 * 0.5 * 2 / 3))
    assert discounts(np.array([1, 2, 2])) == FALLBACK
    # Here the discount of 3 and more would be negative.
    assert discounts(np.repeat(np.array([1, 2, 3, 4]), [10, 1, 1, 9])) == FALLBACK


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_probabilities_sum_to_one_after_every_history(order: int) -> None:
    model = estimate(sentences(150, "abcdef"), EstimateSettings(order=order))
    assert model.order == order
    assert sums(model) == pytest.approx([1.0] * len(model.arrays.backoffs), abs=1e-6)


@given(SENTENCES, st.integers(1, 6), st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_any_text_gives_a_normalised_model_for_any_chunk_size(text: list[list[str]], order: int, chunk: int) -> None:
    model = estimate(text, EstimateSettings(order))
    assert sums(model) == pytest.approx([1.0] * len(model.arrays.backoffs), abs=1e-6)
    assert same(model, estimate(text, EstimateSettings(order, chunk=chunk)))


@pytest.mark.parametrize("chunk", [20, 333])
@pytest.mark.parametrize("cutoffs", [(0,), (0, 0, 2)])
def test_chunk_size_does_not_change_the_model(chunk: int, cutoffs: tuple[int, ...], tmp_path: Path) -> None:
    text = sentences(100, "abcdefghij")
    once = estimate(text, EstimateSettings(4, cutoffs, folder=tmp_path))
    assert same(once, estimate(text, EstimateSettings(4, cutoffs, chunk=chunk, folder=tmp_path)))
    assert not list(tmp_path.iterdir())


def test_cutoffs_drop_by_count_and_keep_the_sums() -> None:
    text = sentences(200, "abcdefgh")
    model = estimate(text, EstimateSettings(3, (0, 1, 2)))
    counted: dict[str, int] = {}
    for sentence in text:
        words = ["<s>", *sentence, "</s>"]
        for k in (2, 3):
            for i in range(len(words) - k + 1):
                ngram = " ".join(words[i : i + k])
                counted[ngram] = counted.get(ngram, 0) + 1
    kept = {ngram for ngram, n in counted.items() if n > len(ngram.split()) - 1}
    assert set(table(model)) == kept | set(model.words)
    assert 0 < len(kept) < len(counted)
    assert sums(model) == pytest.approx([1.0] * len(model.arrays.backoffs), abs=1e-6)


def test_words_outside_the_vocabulary_are_unknown() -> None:
    model = estimate([["a", "b", "c"], ["c", "a"]], EstimateSettings(2, vocabulary=("a", "d")))
    assert model.words == ("<unk>", "<s>", "</s>", "a", "d")
    assert "a <unk>" in table(model)
    assert sums(model) == pytest.approx([1.0] * len(model.arrays.backoffs), abs=1e-6)


def test_order_without_ngrams_is_dropped() -> None:
    assert estimate([["a"]], EstimateSettings(9)).order == 3
    assert estimate([[]], EstimateSettings(9)).order == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ([], "no sentences to estimate"),
        ([["a", "</s>"]], "</s> inside a sentence: 'a </s>'"),
        ([["a b"]], "'a b' is empty or contains white space"),
        ([[""]], "'' is empty"),
    ],
)
def test_invalid_text(text: list[list[str]], problem: str) -> None:
    with pytest.raises(LmError, match=problem):
        estimate(text, EstimateSettings())


def test_invalid_settings() -> None:
    with pytest.raises(LmError, match="order = 10"):
        EstimateSettings(order=10)
    with pytest.raises(LmError, match="must start with 0 and not decrease"):
        EstimateSettings(cutoffs=(0, 2, 1))
    with pytest.raises(LmError, match="chunk = 0"):
        EstimateSettings(chunk=0)


def test_error_of_a_full_disk_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("asr.lm.ngram.estimate.count", full)
    with pytest.raises(OSError, match=rf"No space left.*{tmp_path}"):
        estimate([["a"]], EstimateSettings(folder=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_rare_words_are_unknown() -> None:
    texts = [["a", "b", "c"], ["c", "a", "d"], ["a", "b"]]
    found = estimate(texts, EstimateSettings(3, min_count=2))
    expected = estimate([["a", "b", "c"], ["c", "a", "<unk>"], ["a", "b"]], EstimateSettings(3, vocabulary="abc"))
    assert found.words == ("<unk>", "<s>", "</s>", "a", "b", "c")
    assert same(found, expected)
    with pytest.raises(LmError, match="min_count"):
        EstimateSettings(3, min_count=0)


def test_words_of_the_vocabulary_are_known_however_rare() -> None:
    texts = [["a", "b", "c"], ["c", "a", "d"], ["a", "b", "e"]]
    found = estimate(texts, EstimateSettings(3, vocabulary=["f", "d"], min_count=2))
    expected = estimate(texts, EstimateSettings(3, vocabulary=["f", "d", "a", "b", "c"]))
    assert found.words == expected.words == ("<unk>", "<s>", "</s>", "f", "d", "a", "b", "c")
    assert same(found, expected)
