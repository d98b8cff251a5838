"""Decoders against paths read by hand, the sum over all paths, and the CTC loss."""

from collections.abc import Callable, Sequence
from itertools import groupby, product

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from asr.decoding import DecodingError, Hypothesis, beam_search, greedy
from asr.text import BLANK, Alphabet

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
    hypothesis = greedy(path(frames, WORDS), WORDS)
    assert hypothesis.text == text
    assert hypothesis.score == pytest.approx(len(frames) * np.log(0.7))


def test_greedy_takes_the_lowest_token_of_a_tie() -> None:
    matrix = np.log(np.array([[0.1, 0.45, 0.45], [0.4, 0.2, 0.4], [0.2, 0.4, 0.4]]))
    assert greedy(matrix, LETTERS).text == "AA"


def test_no_frames() -> None:
    assert greedy(np.zeros((0, 3)), LETTERS) == Hypothesis("", 0.0)
    assert beam_search(np.zeros((0, 3)), LETTERS) == [Hypothesis("", 0.0)]


# --- beam search: exact where the beam is wide enough -----------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from(["A", "AB"]), st.sampled_from([0.0, 0.4]))
def test_full_width_sums_every_path(seed: int, frames: int, characters: str, impossible: float) -> None:
    alphabet = Alphabet(characters)
    log_probs = random_log_probs(seed, frames, len(alphabet), impossible)
    expected = enumerate_paths(log_probs, alphabet)
    found = beam_search(log_probs, alphabet, FULL)
    assert len(found) == len(expected)
    assert {hypothesis.text: hypothesis.score for hypothesis in found} == pytest.approx(expected, abs=1e-9)
    assert np.logaddexp.reduce([hypothesis.score for hypothesis in found]) == pytest.approx(0, abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from([" A", "A ", " "]))
def test_full_width_with_spaces_sums_every_path_of_a_tidy_text(seed: int, frames: int, characters: str) -> None:
    alphabet = Alphabet(characters)
    log_probs = random_log_probs(seed, frames, len(alphabet))
    found = {hypothesis.text: hypothesis.score for hypothesis in beam_search(log_probs, alphabet, FULL)}
    assert found == pytest.approx(enumerate_paths(log_probs, alphabet), abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_full_width_is_the_ctc_loss(seed: int, frames: int) -> None:
    alphabet = Alphabet("ABC")
    log_probs = random_log_probs(seed, frames, 4)
    for hypothesis in beam_search(log_probs, alphabet, FULL):
        assert hypothesis.score == pytest.approx(ctc(log_probs, hypothesis.text, alphabet), abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_best_is_no_worse_than_greedy(seed: int, frames: int) -> None:
    alphabet = Alphabet("ABC")
    log_probs = random_log_probs(seed, frames, 4)
    rival = greedy(log_probs, alphabet)
    exact = ctc(log_probs, rival.text, alphabet)
    assert beam_search(log_probs, alphabet, FULL)[0].score >= exact - 1e-9
    assert exact >= rival.score - 1e-9


def test_sum_of_paths_beats_the_best_path() -> None:
    matrix = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    alphabet = Alphabet("A")
    check([greedy(matrix, alphabet)], ("", 0.36))
    check(beam_search(matrix, alphabet), ("A", 0.64), ("", 0.36))


def test_spaces_are_tidied_and_their_texts_summed() -> None:
    alphabet = Alphabet(" A")
    # Twice a space, A, or nothing. Of the nine paths "A" has: A-, -A, AA, " A", "A ".
    check(beam_search(np.log(np.full((2, 3), 1 / 3)), alphabet), ("A", 5 / 9), ("", 4 / 9))


# --- beam search: any width -------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.integers(0, 2**32), st.integers(0, 6), st.integers(1, 12), st.sampled_from([0.0, 0.5]))
@example(0, 2, 12, 0.0)
def test_any_width(seed: int, frames: int, width: int, impossible: float) -> None:
    log_probs = random_log_probs(seed, frames, len(WORDS), impossible)
    kept = log_probs.copy()
    found = beam_search(log_probs, WORDS, width)
    assert 1 <= len(found) <= width
    texts = [hypothesis.text for hypothesis in found]
    assert len(set(texts)) == len(texts)
    assert all(text == " ".join(text.split()) for text in texts)
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)
    assert all(type(score) is float for score in scores)
    exact = {hypothesis.text: hypothesis.score for hypothesis in beam_search(log_probs, WORDS, 20_000)}
    assert all(-np.inf < score <= exact[text] + 1e-9 for text, score in zip(texts, scores, strict=True))
    assert beam_search(log_probs, WORDS, width) == found
    assert np.array_equal(log_probs, kept)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.text("AB-", min_size=1, max_size=12))
def test_width_one_follows_a_clear_path(frames: str) -> None:
    log_probs = path(frames, LETTERS, 0.98)
    (hypothesis,) = beam_search(log_probs, LETTERS, 1)
    assert hypothesis.text == greedy(log_probs, LETTERS).text


def test_width_decides_which_paths_are_summed() -> None:
    matrix = np.log(np.array([[0.45, 0.4, 0.15], [0.05, 0.05, 0.9]]))
    check(beam_search(matrix, LETTERS, 1), ("B", 0.45 * 0.9))
    check(beam_search(matrix, LETTERS, 2), ("B", 0.45 * 0.9), ("AB", 0.4 * 0.9))
    check(beam_search(matrix, LETTERS, 3)[:2], ("B", 0.45 * 0.9 + 0.15 * 0.9 + 0.15 * 0.05), ("AB", 0.4 * 0.9))


def test_prefixes_compete_with_all_their_paths() -> None:
    # AA and A- make A together, 0.36, more likely than AB, 0.24, though each alone is less so.
    matrix = np.log(np.array([[0.3, 0.6, 0.1], [0.35, 0.25, 0.4]]))
    check(beam_search(matrix, LETTERS, 1), ("A", 0.6 * 0.35 + 0.6 * 0.25))


def test_ties_go_to_the_shorter_and_lower_prefix() -> None:
    even = np.log(np.full((2, 3), 1 / 3))
    assert [hypothesis.text for hypothesis in beam_search(even, LETTERS, FULL)] == ["A", "B", "", "AB", "BA"]
    assert [hypothesis.text for hypothesis in beam_search(even, LETTERS, 2)] == ["A", ""]
    assert [hypothesis.text for hypothesis in beam_search(even, LETTERS, 1)] == [""]


# --- what is not probable at all --------------------------------------------------------------------------------


def test_impossible_tokens() -> None:
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(3)[[1, 0, 1, 2]])
    assert beam_search(certain, LETTERS) == [Hypothesis("AAB", 0.0)]
    assert greedy(certain, LETTERS) == Hypothesis("AAB", 0.0)


def test_texts_longer_than_their_frames_are_left_out() -> None:
    texts = {hypothesis.text for hypothesis in beam_search(np.log(np.full((2, 3), 1 / 3)), LETTERS)}
    assert texts == {"", "A", "B", "AB", "BA"}  # AA needs a third frame, for the blank


def test_a_frame_without_any_possible_token() -> None:
    nothing = np.full((3, 3), -np.inf)
    (hypothesis,) = beam_search(nothing, LETTERS)
    assert hypothesis == Hypothesis("", -np.inf)
    assert greedy(nothing, LETTERS) == Hypothesis("", -np.inf)


def test_probabilities_too_small_for_a_float() -> None:
    frames = 3000
    (hypothesis, *_) = beam_search(np.full((frames, 2), -800.0), Alphabet("A"), 2)
    assert -800.0 * frames <= hypothesis.score < -799.0 * frames


# --- types and errors -------------------------------------------------------------------------------------------


def test_single_precision_is_summed_in_double() -> None:
    log_probs = random_log_probs(7, 40, 3)
    single = beam_search(log_probs.astype(np.float32), LETTERS, 10)
    double = beam_search(log_probs.astype(np.float32).astype(np.float64), LETTERS, 10)
    assert single == double
    assert type(greedy(log_probs.astype(np.float32), LETTERS).score) is float


@pytest.mark.parametrize("decode", [greedy, beam_search])
@pytest.mark.parametrize("shape", [(4, 2), (4, 4), (3,), (1, 4, 3), (0, 2), ()])
def test_wrong_shape(decode: Callable[..., object], shape: tuple[int, ...]) -> None:
    with pytest.raises(DecodingError, match=rf"log_probs of shape {'x'.join(map(str, shape))}; \(T', 3\) is meant"):
        decode(np.zeros(shape), LETTERS)


@pytest.mark.parametrize("decode", [greedy, beam_search])
def test_nan(decode: Callable[..., object]) -> None:
    log_probs = random_log_probs(1, 4, 3)
    log_probs[2, 1] = np.nan
    with pytest.raises(DecodingError, match="NaN"):
        decode(log_probs, LETTERS)


@pytest.mark.parametrize("width", [0, -1])
def test_beam_width_out_of_range(width: int) -> None:
    with pytest.raises(DecodingError, match=f"beam_width = {width}; at least 1 is meant"):
        beam_search(np.zeros((2, 3)), LETTERS, width)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**32))
def test_an_alphabet_without_space(seed: int) -> None:
    log_probs = random_log_probs(seed, 30, 4)
    assume(greedy(log_probs, Alphabet("XYZ")).text)
    assert set(greedy(log_probs, Alphabet("XYZ")).text) <= set("XYZ")
    assert set(beam_search(log_probs, Alphabet("XYZ"), 4)[0].text) <= set("XYZ")
