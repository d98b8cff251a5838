"""Best-path decoding by hand, and helpers for decoders: enumeration of paths and the CTC loss."""

import re
from collections.abc import Callable, Sequence
from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from asr.decoding import DecodingError, best_path
from asr.decoding.beam import beam_search
from asr.text import BLANK, Alphabet
from asr.transcripts.records import Hypothesis

Matrix = NDArray[np.float64]
LETTERS = Alphabet("AB")
WORDS = Alphabet(" AB")
FULL = 400  # more than all prefixes of the matrices below


def path(text: str, alphabet: Alphabet, probability: float = 0.7) -> Matrix:
    """Return log-probabilities whose best path is the text, a character a frame, `-` for blank."""
    rest = (1 - probability) / (len(alphabet) - 1)
    matrix = np.full((len(text), len(alphabet)), rest)
    for row, character in zip(matrix, text, strict=True):
        row[BLANK if character == "-" else alphabet.encode(character)[0]] = probability
    log_probs: Matrix = np.log(matrix)
    return log_probs


def random_log_probs(seed: int, frames: int, tokens: int, impossible: float = 0.0) -> Matrix:
    """Return log-probabilities of random sharpness, some -inf, each frame's summing to one."""
    random = np.random.default_rng(seed)
    logits = random.uniform(0, 5) * random.standard_normal((frames, tokens))
    logits[random.random((frames, tokens)) < impossible] = -np.inf
    logits[np.arange(frames), random.integers(tokens, size=frames)] = 1.0
    log_probs: Matrix = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return log_probs


def spoken(text: str, alphabet: Alphabet, seed: int, sharpness: tuple[float, float] = (4.0, 16.0)) -> Matrix:
    """Return log-probabilities as a trained model gives them of a text, a blank or two after each letter.

    The right token of a frame stands out of the noise by so many nats, from the least to the most, evenly drawn.
    """
    random = np.random.default_rng(seed)
    tokens = [BLANK]
    for token in alphabet.encode(text):
        tokens += [token, *[BLANK] * int(random.integers(1, 3))]
    logits = random.normal(0, 1.5, (len(tokens), len(alphabet)))
    logits[np.arange(len(tokens)), tokens] += random.uniform(*sharpness, len(tokens))
    log_probs: Matrix = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return log_probs


def enumerate_paths(log_probs: Matrix, alphabet: Alphabet) -> dict[str, float]:
    """Return the log-probability of each possible text, summed over every path."""
    texts: dict[str, float] = {}
    for tokens in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = sum(frame[token] for frame, token in zip(log_probs, tokens, strict=True))
        text = " ".join(alphabet.decode(token for token, _ in groupby(tokens)).split())
        if score > -np.inf:
            texts[text] = float(np.logaddexp(texts.get(text, -np.inf), score))
    return texts


def ctc(log_probs: Matrix, text: str, alphabet: Alphabet) -> float:
    """Return the log-probability of a text by the forward algorithm of torch."""
    targets = torch.tensor([alphabet.encode(text)], dtype=torch.int64).reshape(1, -1)
    lengths = torch.tensor([len(log_probs)]), torch.tensor([len(text)])
    loss = functional.ctc_loss(torch.from_numpy(log_probs)[:, None], targets, *lengths, reduction="sum")
    return -float(loss)


def check(found: Sequence[Hypothesis], *expected: tuple[str, float]) -> None:
    """Assert the texts and, near enough, the probabilities, best first."""
    assert [hypothesis.text for hypothesis in found] == [text for text, _ in expected]
    assert [np.exp(hypothesis.score) for hypothesis in found] == pytest.approx([value for _, value in expected])


# --- greedy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ("A", "A"),
        ("-", ""),
        ("----", ""),
        ("AB", "AB"),
        ("AAABB", "AB"),
        ("A-A", "AA"),
        ("AA--AAA-A", "AAA"),
        ("ABA", "ABA"),
        ("--A", "A"),
        ("A--", "A"),
        ("--AB--", "AB"),
        ("A B", "A B"),
        ("A  B", "A B"),
        ("A - B", "A B"),
        (" A", "A"),
        ("A ", "A"),
        ("- -A - B- -", "A B"),
        ("  - ", ""),
        ("A-  -A", "A A"),
    ],
)
def test_greedy_by_hand(frames: str, text: str) -> None:
    hypothesis = best_path(path(frames, WORDS), WORDS)
    assert hypothesis.text == text
    assert hypothesis.score == pytest.approx(len(frames) * np.log(0.7))


def test_greedy_takes_the_lowest_token_of_a_tie() -> None:
    matrix = np.log(np.array([[0.1, 0.45, 0.45], [0.4, 0.2, 0.4], [0.2, 0.4, 0.4]]))
    assert best_path(matrix, LETTERS).text == "AA"


def test_no_frames() -> None:
    assert best_path(np.zeros((0, 3)), LETTERS) == Hypothesis("", 0.0)


# --- what is not probable at all --------------------------------------------------------------------------------


def test_impossible_tokens() -> None:
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(3)[[1, 0, 1, 2]])
    assert best_path(certain, LETTERS) == Hypothesis("AAB", 0.0)


def test_a_frame_without_any_possible_token() -> None:
    nothing = np.full((3, 3), -np.inf)
    assert best_path(nothing, LETTERS) == Hypothesis("", -np.inf)


# --- types and errors -------------------------------------------------------------------------------------------


def test_score_of_single_precision_is_a_float() -> None:
    log_probs = random_log_probs(7, 40, 3)
    assert type(best_path(log_probs.astype(np.float32), LETTERS).score) is float


@pytest.mark.parametrize("decode", [best_path, beam_search])
@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (3,), (1, 4, 3), (0, 2), ()])
def test_log_probs_of_another_shape_are_refused(decode: Callable[..., object], shape: tuple[int, ...]) -> None:
    with pytest.raises(DecodingError, match=re.escape(f"log_probs has shape {shape}; expected (T', 3)")):
        decode(np.zeros(shape), LETTERS)


@pytest.mark.parametrize("decode", [best_path, beam_search])
def test_log_probs_with_nan_are_refused(decode: Callable[..., object]) -> None:
    log_probs = random_log_probs(1, 4, 3)
    log_probs[2, 1] = np.nan
    with pytest.raises(DecodingError, match="NaN"):
        decode(log_probs, LETTERS)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**32))
def test_an_alphabet_without_space(seed: int) -> None:
    log_probs = random_log_probs(seed, 30, 4)
    assume(best_path(log_probs, Alphabet("XYZ")).text)
    assert set(best_path(log_probs, Alphabet("XYZ")).text) <= set("XYZ")
