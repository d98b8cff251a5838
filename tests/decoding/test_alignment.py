"""Forced alignment against enumerated paths, hand-made paths and torchaudio."""

import math
import time
import tracemalloc
from dataclasses import replace
from itertools import groupby, pairwise, product

import numpy as np
import pytest
import torch
import torchaudio.functional
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from asr.decoding.alignment import Alignment, AlignmentError, AlignmentLimits, TokenSpan, align, encode, words
from asr.text import BLANK, Alphabet, TextError
from asr.transcripts.records import Word

Matrix = NDArray[np.float64]
WORDS = Alphabet(" AB")
SPACE, A, B = 1, 2, 3


def matrix(text: str, alphabet: Alphabet = WORDS, probability: float = 0.7) -> Matrix:
    """Return log-probabilities whose best path is the text, a character a frame, `-` for blank."""
    rows = np.full((len(text), len(alphabet)), (1 - probability) / (len(alphabet) - 1))
    for row, character in zip(rows, text, strict=True):
        row[BLANK if character == "-" else alphabet.encode(character)[0]] = probability
    found: Matrix = np.log(rows)
    return found


def random_log_probs(seed: int, frames: int, size: int, impossible: float = 0.0) -> Matrix:
    random = np.random.default_rng(seed)
    logits = random.uniform(0.5, 4) * random.standard_normal((frames, size))
    logits[random.random((frames, size)) < impossible] = -np.inf
    logits[np.arange(frames), random.integers(size, size=frames)] = 1.0
    found: Matrix = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return found


def paths(log_probs: Matrix, tokens: list[int]) -> list[tuple[float, tuple[int, ...]]]:
    """Return every path that says the tokens and has a probability, best first."""
    found = []
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [token for token, _ in groupby(path) if token != BLANK] == tokens:
            score = float(sum(frame[token] for frame, token in zip(log_probs, path, strict=True)))
            if score > -np.inf:
                found.append((score, path))
    return sorted(found, reverse=True)


def labels(found: Alignment, frames: int) -> list[int]:
    """Return the path of an alignment, a token a frame."""
    path = [BLANK] * frames
    for span in found.spans:
        path[span.first : span.end] = [span.token] * (span.end - span.first)
    return path


def needed(tokens: list[int]) -> int:
    return len(tokens) + sum(one == other for one, other in pairwise(tokens))


# --- align ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "text", "spans"),
    [
        ("A", "A", [(0, 1)]),
        ("AB", "AB", [(0, 1), (1, 2)]),
        ("--AA--B-", "AB", [(2, 4), (6, 7)]),
        ("AA-AAA", "AA", [(0, 2), (3, 6)]),
        ("AAA B-", "A B", [(0, 3), (3, 4), (4, 5)]),
        ("----", "", []),
        ("-A - B", "A  B", [(1, 2), (2, 3), (4, 5), (5, 6)]),
    ],
)
def test_align_finds_a_clear_path(frames: str, text: str, spans: list[tuple[int, int]]) -> None:
    found = align(matrix(frames), WORDS.encode(text))
    assert [(span.first, span.end) for span in found.spans] == spans
    assert found.tokens == WORDS.encode(text)
    assert found.score == pytest.approx(len(frames) * math.log(0.7))
    assert [span.log_prob for span in found.spans] == pytest.approx([math.log(0.7)] * len(text))


def test_align_follows_the_text_against_the_frames() -> None:
    probabilities = np.array([[0.1, 0.0, 0.6, 0.3], [0.1, 0.0, 0.5, 0.4], [0.2, 0.0, 0.7, 0.1]])
    with np.errstate(divide="ignore"):
        found = align(np.log(probabilities), [B])
    # B over two frames, then blank: 0.3 · 0.4 · 0.2, more than 0.1 · 0.4 · 0.2 and 0.3 · 0.4 · 0.1.
    assert found.score == pytest.approx(math.log(0.3 * 0.4 * 0.2))
    (span,) = found.spans
    assert (span.token, span.first, span.end) == (B, 0, 2)
    assert span.log_prob == pytest.approx(math.log(0.3 * 0.4) / 2)


def test_align_puts_a_blank_between_repeated_tokens() -> None:
    found = align(np.log([[0.1, 0.9], [0.1, 0.9], [0.1, 0.9]]), [1, 1])
    assert [(span.first, span.end) for span in found.spans] == [(0, 1), (2, 3)]


def test_align_accepts_float32_and_numpy_integers() -> None:
    found = align(matrix("-A").astype(np.float32), np.array([A]).tolist())
    assert found == align(matrix("-A").astype(np.float32), [np.int64(A)])  # type: ignore[list-item]
    assert type(found.spans[0].token) is type(found.spans[0].first) is int
    assert type(found.score) is type(found.spans[0].log_prob) is float


def test_align_without_frames_accepts_only_the_empty_text() -> None:
    empty = np.zeros((0, 3))
    assert align(empty, []) == Alignment((), 0.0)
    with pytest.raises(AlignmentError, match=r"^0 frames are too few for 1 tokens; 1 are needed$"):
        align(empty, [1])


@pytest.mark.parametrize(
    ("log_probs", "tokens", "message"),
    [
        (matrix("AA"), [A, B, A], "^2 frames are too few for 3 tokens; 3 are needed$"),
        (matrix("AAA"), [A, A, A], "^3 frames are too few for 3 tokens and the blanks between 2 repeats; 5 are needed"),
        (matrix("AA"), [A, 4], "^token 2 is 4; with 4 columns tokens are 1 to 3$"),
        (matrix("AA"), [BLANK], "^token 1 is 0; "),
        (matrix("AA"), [-1], "^token 1 is -1; "),
        (np.zeros(3), [], r"shape \(3,\); "),
        (np.zeros((2, 3, 1)), [], r"shape \(2, 3, 1\); "),
        (np.zeros((2, 0)), [], r"shape \(2, 0\); "),
        (np.array([[0.0, np.nan]]), [1], "NaN"),
        (np.array([[0.0, np.inf]]), [1], "inf"),
        (np.array([[0.0, -np.inf]] * 3), [1], "^every path of 1 tokens through 3 frames has probability 0$"),
        (np.array([[-np.inf, 0.0]] * 3), [], "^every path of 0 tokens through 3 frames"),
        (np.array([[-np.inf, 0.0]] * 3), [1, 1], "^every path of 2 tokens through 3 frames"),
    ],
)
def test_align_rejects_invalid_input(log_probs: Matrix, tokens: list[int], message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        align(log_probs, tokens)


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 10_000),
    st.integers(1, 6),
    st.integers(2, 3),
    st.lists(st.integers(1, 2), max_size=4),
    st.sampled_from([0.0, 0.3]),
)
def test_align_finds_the_best_of_all_paths(
    seed: int, frames: int, size: int, tokens: list[int], impossible: float
) -> None:
    assume(max(tokens, default=0) < size)
    log_probs = random_log_probs(seed, frames, size, impossible)
    every = paths(log_probs, tokens)
    if not every:
        with pytest.raises(AlignmentError):
            align(log_probs, tokens)
        return
    found = align(log_probs, tokens)
    assert found.score == pytest.approx(every[0][0])
    if len(every) == 1 or every[1][0] < every[0][0] - 1e-9:
        assert tuple(labels(found, frames)) == every[0][1]


@settings(deadline=None, max_examples=80)
@given(
    st.integers(0, 10_000),
    st.integers(0, 40),
    st.lists(st.integers(1, 4), max_size=12),
    st.sampled_from([0.0, 0.1]),
)
def test_spans_are_ordered_disjoint_and_sum_to_the_score(
    seed: int, spare: int, tokens: list[int], impossible: float
) -> None:
    frames = needed(tokens) + spare
    log_probs = random_log_probs(seed, frames, 5, impossible)
    try:
        found = align(log_probs, tokens)
    except AlignmentError:
        assert impossible
        return
    assert found.tokens == tokens
    last = 0
    for previous, span in zip([None, *found.spans], found.spans, strict=False):
        assert last + (previous is not None and previous.token == span.token) <= span.first < span.end <= frames
        assert span.log_prob == pytest.approx(log_probs[span.first : span.end, span.token].mean())
        last = span.end
    path = labels(found, frames)
    assert found.score == pytest.approx(log_probs[np.arange(frames), path].sum())
    assert found.score <= log_probs.max(axis=1, initial=-np.inf).sum() + 1e-9


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 40), st.lists(st.integers(1, 5), min_size=1, max_size=15))
def test_align_agrees_with_torchaudio(seed: int, spare: int, tokens: list[int]) -> None:
    # Double precision and random numbers: two paths of one score do not come up.
    frames = needed(tokens) + spare
    log_probs = random_log_probs(seed, frames, 6)
    theirs, scores = torchaudio.functional.forced_align(torch.from_numpy(log_probs)[None], torch.tensor([tokens]))
    ours = align(log_probs, tokens)
    assert ours.score == pytest.approx(float(scores.sum()))
    assert labels(ours, frames) == theirs[0].tolist()


@pytest.mark.parametrize("frames", [1, 2, 7, 100])
@pytest.mark.parametrize("spare", [0, 1, 3, 150])
def test_align_in_blocks_gives_the_same_path(frames: int, spare: int) -> None:
    tokens = np.random.default_rng(frames).integers(1, 6, 60).tolist()
    log_probs = random_log_probs(frames, needed(tokens) + spare, 6, impossible=0.01 if spare > 3 else 0.0)
    whole = align(log_probs, tokens)
    limits = AlignmentLimits(1, frames)
    assert align(log_probs, tokens, limits) == whole
    # A beam as wide as the difference to the greedy path drops nothing better.
    greedy = log_probs.max(axis=1).sum()
    assert align(log_probs, tokens, replace(limits, beam=greedy - whole.score + 1e-6)) == whole


@pytest.mark.parametrize("spare", [0, 5, 150])
def test_a_narrow_beam_still_finds_a_path(spare: int) -> None:
    tokens = np.random.default_rng(spare).integers(1, 3, 60).tolist()
    log_probs = random_log_probs(spare, needed(tokens) + spare, 6)
    best = align(log_probs, tokens).score
    for limits in (AlignmentLimits(1, 5, beam=0.0), AlignmentLimits(1, 5, states=1)):
        found = align(log_probs, tokens, limits)
        assert found.tokens == tokens and -np.inf < found.score <= best + 1e-9


@pytest.mark.slow
def test_aligning_15_minutes_takes_bounded_time_and_memory() -> None:
    random = np.random.default_rng(1)
    # 25 frames and 12 tokens in a second; a minute of it says something else.
    tokens = random.integers(1, 29, 12 * 900)
    frames = np.zeros(25 * 900, np.int64)
    frames[2 * np.arange(len(tokens))] = tokens
    frames[10_000:11_500] = random.integers(0, 29, 1_500)
    log_probs = np.full((len(frames), 29), np.log(0.2 / 28), np.float32)
    log_probs[np.arange(len(frames)), frames] = np.log(0.8)
    tracemalloc.start()
    start = time.process_time()
    found = align(log_probs, tokens.tolist())
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    right = sum(span.first == 2 * index for index, span in enumerate(found.spans))
    assert right > 0.98 * len(tokens) - 750
    assert found.score == pytest.approx(log_probs[np.arange(len(frames)), labels(found, len(frames))].sum(), rel=1e-6)
    assert seconds < 20 and peak < 200e6


def test_aligning_30_seconds_takes_milliseconds() -> None:
    log_probs = random_log_probs(1, 1000, 30)
    tokens = np.random.default_rng(2).integers(1, 30, 400).tolist()
    seconds = []
    for _ in range(5):
        start = time.process_time()
        align(log_probs, tokens)
        seconds.append(time.process_time() - start)
    # About 6 ms; the time of this process alone, for the machine may be busy.
    assert min(seconds) < 0.05


# --- words ------------------------------------------------------------------------------------------------------


def timed(frames: str, text: str, alphabet: Alphabet = WORDS) -> list[Word]:
    return words(align(matrix(frames, alphabet), encode(text, alphabet)), text, alphabet, 0.04)


@pytest.mark.parametrize(
    ("frames", "text", "times"),
    [
        ("-AAB--", "AB", [("AB", 1, 4)]),
        ("A- -BA", "A BA", [("A", 0, 1), ("BA", 4, 6)]),
        ("-A - BB", "A  B", [("A", 1, 2), ("B", 5, 7)]),
        (" A-- ", " A ", [("A", 1, 2)]),
        ("- -", " ", []),
        ("--", "", []),
        ("", "", []),
    ],
)
def test_words_have_the_times_of_their_tokens(frames: str, text: str, times: list[tuple[str, int, int]]) -> None:
    found = timed(frames, text)
    assert [word.text for word in found] == [word for word, _, _ in times]
    assert [word.start for word in found] == pytest.approx([start * 0.04 for _, start, _ in times])
    assert [word.end for word in found] == pytest.approx([end * 0.04 for _, _, end in times])
    assert [word.confidence for word in found] == pytest.approx([0.7] * len(times))


def test_words_are_split_as_the_text_if_the_alphabet_has_no_space() -> None:
    letters = Alphabet("AB")
    assert encode("AB A", letters) == [1, 2, 1]
    assert [(word.text, word.start) for word in timed("AB-A", "AB A", letters)] == [("AB", 0.0), ("A", 0.12)]
    assert [word.text for word in timed("AB-A", "ABA", letters)] == ["ABA"]


def test_confidence_is_the_geometric_mean_over_tokens_not_frames() -> None:
    found = Alignment(
        (TokenSpan(A, 0, 5, math.log(0.9)), TokenSpan(B, 5, 6, math.log(0.4)), TokenSpan(SPACE, 6, 7, -9.0)), -1.0
    )
    (word,) = words(found, "AB ", WORDS, 0.04)
    assert word.confidence == pytest.approx(math.sqrt(0.9 * 0.4))
    # A posterior may come out a rounding error above one.
    assert words(Alignment((TokenSpan(A, 0, 1, 1e-7),), 0.0), "A", WORDS, 0.04)[0].confidence == 1.0


def test_words_rejects_another_text() -> None:
    found = align(matrix("AB"), [A, B])
    with pytest.raises(AlignmentError, match="of 2 tokens is not that of 'A'"):
        words(found, "A", WORDS, 0.04)
    with pytest.raises(AlignmentError, match="is not that of 'BA'"):
        words(found, "BA", WORDS, 0.04)
    with pytest.raises(TextError, match="'Z' is not in the alphabet"):
        words(found, "AZ", WORDS, 0.04)
    for seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(AlignmentError, match="seconds_per_frame = "):
            words(found, "AB", WORDS, seconds)


@settings(deadline=None, max_examples=40)
@given(st.text("AB ", max_size=20), st.integers(0, 10_000), st.integers(0, 30))
def test_words_are_those_of_the_text_in_order(text: str, seed: int, spare: int) -> None:
    tokens = encode(text, WORDS)
    log_probs = random_log_probs(seed, needed(tokens) + spare, len(WORDS))
    found = words(align(log_probs, tokens), text, WORDS, 0.04)
    assert [word.text for word in found] == text.split()
    times = [moment for word in found for moment in (word.start, word.end)]
    assert times == sorted(times)
    assert all(word.start < word.end and 0 < word.confidence <= 1 for word in found)
