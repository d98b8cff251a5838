"""The CTC log-likelihoods of texts against torch and against all paths."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from asr.decoding.likelihood import log_likelihoods
from asr.text import Alphabet
from tests.decoding.test_greedy import Matrix, enumerate_paths, random_log_probs, spoken


def expected(log_probs: Matrix, text: list[int]) -> float:
    loss = functional.ctc_loss(
        torch.tensor(log_probs)[:, None],
        torch.tensor([text], dtype=torch.long).reshape(1, -1),
        torch.tensor([len(log_probs)]),
        torch.tensor([len(text)]),
        reduction="none",
    )
    return -float(loss[0])


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 30), st.lists(st.lists(st.integers(1, 3), max_size=9), min_size=1))
def test_likelihoods_are_those_of_torch(seed: int, frames: int, texts: list[list[int]]) -> None:
    log_probs = random_log_probs(seed, frames, 4)
    assert log_likelihoods(log_probs, texts) == pytest.approx([expected(log_probs, text) for text in texts], abs=1e-9)


def test_likelihoods_of_all_texts_are_sums_of_paths() -> None:
    alphabet = Alphabet("AB")
    log_probs = random_log_probs(3, 5, 3, impossible=0.1)
    sums = enumerate_paths(log_probs, alphabet)
    found = log_likelihoods(log_probs, [alphabet.encode(text) for text in sums])
    assert found == pytest.approx(list(sums.values()), abs=1e-9)


def test_likelihoods_of_variants_of_a_long_text_are_exact() -> None:
    random, alphabet = np.random.default_rng(1), Alphabet(" ABCDEFGH")
    words = ["".join(random.choice(list("ABCDEFGH"), 4)) for _ in range(120)]
    log_probs = spoken(" ".join(words), alphabet, 7, (4.0, 9.0))
    variants = [words[:place] + change + words[place + 1 :] for place in range(0, 120, 3) for change in ([], ["CAB"])]
    texts = [alphabet.encode(" ".join(variant)) for variant in (words, *variants)]
    found = log_likelihoods(log_probs, texts)
    assert found == pytest.approx([expected(log_probs, text) for text in texts], abs=1e-6)
    assert max(found) == found[0]


def test_texts_that_do_not_fit_have_no_likelihood() -> None:
    log_probs = random_log_probs(0, 3, 4)
    assert log_likelihoods(log_probs, [[1, 1, 1], [1, 2, 3, 1], [1, 1]])[:2] == [-np.inf, -np.inf]
    assert log_likelihoods(log_probs[:0], [[], [1]]) == [0.0, -np.inf]
    assert log_likelihoods(log_probs, []) == []
