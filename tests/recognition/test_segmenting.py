"""Segments of a long recording: where they end, and the hypotheses of all of them together."""

from collections.abc import Iterable
from itertools import product

import numpy as np
import pytest

from asr import decoding
from asr.decoding import GreedyDecoder, LogProbs
from asr.recognition import segmenting
from asr.recognition.segmenting import LogProbSegment
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis, Word

ALPHABET = Alphabet(" ABC")
SECONDS = 0.1
# Words with short pauses, 0.6 s each.
SPEECH = "A_BC_ " * 1000


def log_probs_of(path: str) -> LogProbs:
    """Return log-probabilities of a path: a character a frame, '_' for blank."""
    log_probs = np.full((len(path), len(ALPHABET)), np.log(0.01))
    log_probs[np.arange(len(path)), ["_ ABC".index(character) for character in path]] = np.log(0.96)
    return log_probs


def segments(*paths: str) -> list[LogProbSegment]:
    """Return the segments of consecutive windows."""
    return list(segmenting.segments(map(log_probs_of, paths), ALPHABET, SECONDS))


def starts(rows: list[LogProbSegment]) -> list[float]:
    return [round(segment.start, 3) for segment in rows]


def text(rows: list[LogProbSegment]) -> str:
    return segmenting.decode(GreedyDecoder(ALPHABET, SECONDS), rows, 1, words=False)[0].text


def test_half_a_minute_is_one_segment() -> None:
    assert [len(segment.log_probs) for segment in segments(SPEECH[:300])] == [300]


def test_segments_end_at_the_longest_pause_after_ten_seconds() -> None:
    assert starts(segments(SPEECH[:150] + "__ _" * 5 + SPEECH[:60] + "__ __" + SPEECH[:200])) == [0, 15.9]
    # The longest pause is before ten seconds.
    assert starts(segments(SPEECH[:30] + "__ _" * 5 + SPEECH[:150] + " _____" + SPEECH[:200])) == [0, 20.2]


def test_a_pause_with_a_space_is_preferred_to_a_longer_one_without() -> None:
    speech = "AB" * 75
    assert starts(segments(speech + " _ " + speech + "_" * 10 + speech[:50])) == [0, 15.2]
    assert starts(segments(speech + " _ " + speech[:100] + "_" * 20 + speech)) == [0, 26.3]


def test_a_segment_without_pauses_ends_where_blank_is_most_probable() -> None:
    log_probs = log_probs_of("AB" * 300)
    log_probs[271, 0] = np.log(0.02)
    rows = list(segmenting.segments([log_probs], ALPHABET, SECONDS))
    assert starts(rows)[:2] == [0, 27.1]
    assert all(len(segment.log_probs) <= 300 for segment in rows)


def test_segments_of_an_alphabet_without_a_space() -> None:
    log_probs = log_probs_of("AB" * 75 + "_" * 10 + "AB" * 100)[:, [0, 2, 3, 4]]
    rows = list(segmenting.segments([log_probs], Alphabet("ABC"), SECONDS))
    assert starts(rows) == [0, 15.5]


@pytest.mark.parametrize("size", [1, 50, 299, 300, 301, 2000])
def test_segments_do_not_depend_on_the_windows(size: int) -> None:
    random = np.random.default_rng(1)
    path = "".join(random.choice(["AB_", "C", " ", "__ ___", "A"], 800))
    expected = segments(path)
    rows = segments(*(path[first : first + size] for first in range(0, len(path), size)))
    assert starts(rows) == starts(expected)
    assert text(rows) == text(expected) == decoding.best_path(log_probs_of(path), ALPHABET).text
    assert sum(len(segment.log_probs) for segment in rows) == len(path)
    assert all(len(segment.log_probs) <= 300 for segment in rows)


def test_words_have_the_times_of_their_segments() -> None:
    apart = [LogProbSegment(10.0, log_probs_of("AB")), LogProbSegment(90.0, log_probs_of("_C"))]
    best = segmenting.decode(GreedyDecoder(ALPHABET, SECONDS), apart, 1, words=True)[0]
    assert best.text == "AB C"
    assert [word.text for word in best.words] == ["AB", "C"]
    np.testing.assert_allclose([(word.start, word.end) for word in best.words], [(10.0, 10.2), (90.1, 90.2)])
    assert best.score == pytest.approx(4 * np.log(0.96))


def test_decode_without_speech_is_empty() -> None:
    assert segmenting.decode(GreedyDecoder(ALPHABET, SECONDS), [], 5, words=True) == [Hypothesis("", 0.0)]
    assert text(segments("_" * 2000)) == ""


class FixedDecoder(GreedyDecoder):
    """A decoder that returns given hypotheses for each segment."""

    def __init__(self, lists: list[list[Hypothesis]]) -> None:
        self.lists = lists

    def decode_batch(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        return [self.lists[index][:count] for index, _ in enumerate(rows)]


def test_decode_returns_the_best_combinations() -> None:
    random = np.random.default_rng(3)
    lists = [
        sorted(
            (
                Hypothesis(f"{segment}{rank}", *random.normal(0, 3, 2).tolist())
                for rank in range(int(random.integers(1, 6)))
            ),
            key=lambda hypothesis: -hypothesis.score,
        )
        for segment in range(5)
    ]
    scores = sorted((sum(part.score for part in parts) for parts in product(*lists)), reverse=True)
    rows = [LogProbSegment(0.0, log_probs_of("A"))] * len(lists)
    for nbest in (1, 2, 7, 20):
        hypotheses = segmenting.decode(FixedDecoder(lists), rows, nbest, words=False)
        np.testing.assert_allclose([hypothesis.score for hypothesis in hypotheses], scores[:nbest])
        assert len({hypothesis.text for hypothesis in hypotheses}) == len(hypotheses)


def test_decode_returns_each_text_once_and_the_words_of_the_best() -> None:
    word = Word("A", 0.0, 0.1, 0.9)
    first = [Hypothesis("A", -1.0, words=(word,)), Hypothesis("A B", -2.0)]
    second = [Hypothesis("B C", -1.0), Hypothesis("C", -2.0)]
    rows = [LogProbSegment(start, log_probs_of("A")) for start in (0.0, 9.0)]
    hypotheses = segmenting.decode(FixedDecoder([first, second]), rows, 4, words=False)
    assert [(hypothesis.text, hypothesis.score) for hypothesis in hypotheses] == [
        ("A B C", -2.0),
        ("A C", -3.0),
        ("A B B C", -3.0),
    ]
    assert hypotheses[0].words == (word,)
