"""Beam search and its pruning against the sum over all paths and the CTC loss."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from asr.decoding import DecodingError, LogProbs, beam, best_path
from asr.decoding.beam import EXACT, BeamSettings
from asr.text import ENGLISH, Alphabet
from asr.transcripts.records import Hypothesis
from tests.decoding.test_greedy import FULL, LETTERS, WORDS, check, ctc, enumerate_paths, path, random_log_probs, spoken


def beam_search(log_probs: LogProbs, alphabet: Alphabet, width: int = 50) -> list[Hypothesis]:
    """Search with nothing left out but by the width."""
    return beam.beam_search(log_probs, alphabet, replace(EXACT, beam_width=width))


def test_no_frames() -> None:
    assert best_path(np.zeros((0, 3)), LETTERS) == Hypothesis("", 0.0)
    assert beam_search(np.zeros((0, 3)), LETTERS) == [Hypothesis("", 0.0)]


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
def test_full_width_with_spaces_sums_every_path_of_the_normalised_text(seed: int, frames: int, characters: str) -> None:
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
    greedy = best_path(log_probs, alphabet)
    exact = ctc(log_probs, greedy.text, alphabet)
    assert beam_search(log_probs, alphabet, FULL)[0].score >= exact - 1e-9
    assert exact >= greedy.score - 1e-9


def test_sum_of_paths_beats_the_best_path() -> None:
    matrix = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    alphabet = Alphabet("A")
    check([best_path(matrix, alphabet)], ("", 0.36))
    check(beam_search(matrix, alphabet), ("A", 0.64), ("", 0.36))


def test_surplus_spaces_are_dropped_and_their_paths_summed() -> None:
    alphabet = Alphabet(" A")
    # Twice a space, A, or nothing. Of the nine paths "A" has: A-, -A, AA, " A", "A ".
    check(beam_search(np.log(np.full((2, 3), 1 / 3)), alphabet), ("A", 5 / 9), ("", 4 / 9))


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
    assert hypothesis.text == best_path(log_probs, LETTERS).text


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


def test_impossible_tokens() -> None:
    with np.errstate(divide="ignore"):
        certain = np.log(np.eye(3)[[1, 0, 1, 2]])
    assert beam_search(certain, LETTERS) == [Hypothesis("AAB", 0.0)]
    assert best_path(certain, LETTERS) == Hypothesis("AAB", 0.0)


def test_impossible_texts_are_left_out() -> None:
    texts = {hypothesis.text for hypothesis in beam_search(np.log(np.full((2, 3), 1 / 3)), LETTERS)}
    assert texts == {"", "A", "B", "AB", "BA"}  # AA needs a third frame, for the blank


def test_a_frame_without_any_possible_token() -> None:
    nothing = np.full((3, 3), -np.inf)
    (hypothesis,) = beam_search(nothing, LETTERS)
    assert hypothesis == Hypothesis("", -np.inf)
    assert best_path(nothing, LETTERS) == Hypothesis("", -np.inf)


def test_probabilities_too_small_for_a_float() -> None:
    frames = 3000
    (hypothesis, *_) = beam_search(np.full((frames, 2), -800.0), Alphabet("A"), 2)
    assert -800.0 * frames <= hypothesis.score < -799.0 * frames


def test_single_precision_is_summed_in_double() -> None:
    log_probs = random_log_probs(7, 40, 3)
    single = beam_search(log_probs.astype(np.float32), LETTERS, 10)
    double = beam_search(log_probs.astype(np.float32).astype(np.float64), LETTERS, 10)
    assert single == double


@pytest.mark.parametrize("width", [0, -1, 1_000_001])
def test_beam_width_out_of_range(width: int) -> None:
    with pytest.raises(ValueError, match=f"beam_width = {width} is not between 1 and 1,000,000"):
        BeamSettings(width)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**32))
def test_an_alphabet_without_space(seed: int) -> None:
    log_probs = random_log_probs(seed, 30, 4)
    assume(best_path(log_probs, Alphabet("XYZ")).text)
    assert set(best_path(log_probs, Alphabet("XYZ")).text) <= set("XYZ")
    assert set(beam_search(log_probs, Alphabet("XYZ"), 4)[0].text) <= set("XYZ")


@pytest.mark.parametrize("seed", range(20))
def test_default_pruning_barely_changes_the_best_score(seed: int) -> None:
    log_probs = 4 * random_log_probs(seed, 60, 4)
    log_probs -= np.logaddexp.reduce(log_probs, axis=1, keepdims=True)
    whole, quick = beam_search(log_probs, WORDS, 100), beam.beam_search(log_probs, WORDS)
    assert quick[0].text == whole[0].text
    assert quick[0].score == pytest.approx(whole[0].score, abs=1e-3)
    assert len(quick) <= len(whole)


@pytest.mark.parametrize(
    ("name", "value"),
    [("token_threshold", 0.0), ("beam_threshold", -1.0), ("token_threshold", float("nan")), ("blank_skip", 0.5)],
)
def test_settings_out_of_range_are_errors(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value} is not (positive|greater than)"):
        BeamSettings(**{name: value})  # type: ignore[arg-type]


def test_thresholds_prune_tokens_and_prefixes() -> None:
    log_probs = np.log(np.array([[0.1, 0.899, 0.001], [0.899, 0.1, 0.001]]))
    texts = [
        hypothesis.text for hypothesis in beam.beam_search(log_probs, LETTERS, BeamSettings(10, token_threshold=3.0))
    ]
    assert sorted(texts) == ["", "A"]
    texts = [
        hypothesis.text for hypothesis in beam.beam_search(log_probs, LETTERS, BeamSettings(10, beam_threshold=1.0))
    ]
    assert texts == ["A"]


def test_repeated_tokens_stay_apart_across_a_skipped_blank_frame() -> None:
    log_probs = np.log(np.array([[0.05, 0.9, 0.05], [0.98, 0.01, 0.01], [0.05, 0.9, 0.05]]))
    found = beam.beam_search(log_probs, LETTERS, BeamSettings(10, blank_skip=0.97))
    assert found[0].text == "AA"
    assert found[0].score == pytest.approx(2 * np.log(0.9) + np.log(0.98), abs=0.05)


def test_prefix_tree_grows_beyond_its_initial_size() -> None:
    log_probs = random_log_probs(3, 60, 28)
    found = beam_search(log_probs, Alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ'"), 200)
    assert len(found) == 200
    assert found[0].score <= ctc(log_probs, found[0].text, Alphabet("ABCDEFGHIJKLMNOPQRSTUVWXYZ'")) + 1e-9


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 2**32), st.text(ENGLISH, max_size=40), st.floats(3.0, 8.0))
def test_default_settings_find_the_text_of_the_exact_search(seed: int, text: str, least: float) -> None:
    alphabet = Alphabet(ENGLISH)
    # Some frames are so sure of the blank that they are skipped, and some letters are lost in noise.
    log_probs = spoken(" ".join(text.split()), alphabet, seed, (least, 18.0))
    quick, whole = beam.beam_search(log_probs, alphabet)[0], beam.beam_search(log_probs, alphabet, EXACT)[0]
    assert quick.text == whole.text
    assert quick.score == pytest.approx(whole.score, abs=0.01)


def test_blank_frames_do_not_change_the_text() -> None:
    alphabet = Alphabet(ENGLISH)
    for seed in range(10):
        log_probs = spoken("THE LONG PAUSE", alphabet, seed, (4.0, 10.0))
        pause = spoken("", alphabet, seed, (18.0, 18.0))
        assert pause[0, 0] > np.log(BeamSettings().blank_skip)
        longer = np.concatenate([np.concatenate([row[None], pause, pause]) for row in log_probs[::2]])
        found = beam.beam_search(longer, alphabet)[0]
        exact = beam.beam_search(longer, alphabet, EXACT)[0]
        assert found.text == exact.text
        assert found.score == pytest.approx(exact.score, abs=0.02)


def test_infinity() -> None:
    log_probs = random_log_probs(1, 4, 3)
    log_probs[2, 1] = np.inf
    with pytest.raises(DecodingError, match=r"NaN or \+inf"):
        beam_search(log_probs, LETTERS)


def test_a_word_is_stable_once_all_prefixes_agree() -> None:
    certain = np.full((8, len(WORDS)), -30.0)
    certain[range(8), WORDS.encode("AB AB AB")] = 0.0
    search, found = beam.BeamSearch(WORDS), []
    for row in certain:
        search.extend(row[None])
        found.append((search.text, search.stable))
    assert found == [
        *(("A", ""), ("AB", ""), ("AB", "AB"), ("AB A", "AB"), ("AB AB", "AB")),
        *(("AB AB", "AB AB"), ("AB AB A", "AB AB"), ("AB AB AB", "AB AB")),
    ]
