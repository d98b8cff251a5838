"""Segments of a long recording: where they end, and what is made of their hypotheses."""

from collections.abc import Iterable
from itertools import product

import numpy as np
import pytest

from asr import decoding
from asr.decoding import GreedyDecoder, LogProbs
from asr.recognition import segmenting as cuts
from asr.recognition.segmenting import Segment
from asr.recognition.windows import Piece
from asr.text import Alphabet
from asr.transcripts.records import Hypothesis, Word

ALPHABET = Alphabet(" ABC")
SECONDS = 0.1


def said(text: str) -> LogProbs:
    """Return log-probabilities of a path: a character a frame, '_' for blank."""
    found = np.full((len(text), len(ALPHABET)), np.log(0.01))
    found[np.arange(len(text)), ["_ ABC".index(character) for character in text]] = np.log(0.96)
    return found


def cut(*pieces: str, ends: bool = False, alphabet: Alphabet = ALPHABET) -> list[Segment]:
    """Cut pieces that follow each other; the last one ends the span, or each if `ends`."""
    first, given = 0, []
    for index, piece in enumerate(pieces):
        given.append(Piece(first, said(piece), ends or index == len(pieces) - 1))
        first += len(piece)
    return list(cuts.cut(given, alphabet, SECONDS))


def starts(found: list[Segment]) -> list[float]:
    return [round(segment.start, 3) for segment in found]


def text(found: list[Segment]) -> str:
    return cuts.decode(GreedyDecoder(ALPHABET, SECONDS), found)[0].text


SPEECH = "A_BC_ " * 1000


def test_what_is_short_is_one_segment() -> None:
    found = cut(SPEECH[:300])
    assert [len(segment.log_probs) for segment in found] == [300]


def test_segments_end_at_the_longest_pause_of_half_a_minute() -> None:
    found = cut(SPEECH[:150] + "__ _" * 5 + SPEECH[:60] + "__ __" + SPEECH[:200])
    assert starts(found) == [0, 15.9]
    # What comes before ten seconds does not end one.
    found = cut(SPEECH[:30] + "__ _" * 5 + SPEECH[:150] + " _____" + SPEECH[:200])
    assert starts(found) == [0, 20.2]


def test_pauses_with_a_space_in_them_part_words() -> None:
    speech = "AB" * 75
    found = cut(speech + " _ " + speech + "_" * 10 + speech[:50])
    assert starts(found) == [0, 15.2]
    found = cut(speech + " _ " + speech[:100] + "_" * 20 + speech)
    assert starts(found) == [0, 26.3]


def test_without_a_pause_a_segment_ends_where_blank_is_likeliest() -> None:
    scores = said("AB" * 300)
    scores[271, 0] = np.log(0.02)
    found = list(cuts.cut([Piece(0, scores, True)], ALPHABET, SECONDS))
    assert starts(found)[:2] == [0, 27.1]
    assert all(len(segment.log_probs) <= 300 for segment in found)


def test_an_alphabet_without_a_space_has_pauses_too() -> None:
    rows = said("AB" * 75 + "_" * 10 + "AB" * 100)[:, [0, 2, 3, 4]]
    found = list(cuts.cut([Piece(0, rows, True)], Alphabet("ABC"), SECONDS))
    assert starts(found) == [0, 15.5]


@pytest.mark.parametrize("size", [1, 50, 299, 300, 301, 2000])
def test_pieces_of_any_size_give_the_same_segments(size: int) -> None:
    random = np.random.default_rng(1)
    spoken = "".join(random.choice(["AB_", "C", " ", "__ ___", "A"], 800))
    expected = cut(spoken)
    found = cut(*(spoken[first : first + size] for first in range(0, len(spoken), size)))
    assert starts(found) == starts(expected)
    assert text(found) == text(expected) == decoding.best_path(said(spoken), ALPHABET).text
    assert sum(len(segment.log_probs) for segment in found) == len(spoken)
    assert all(len(segment.log_probs) <= 300 for segment in found)


def test_a_segment_ends_with_its_span() -> None:
    assert starts(cut("A" * 20, "B" * 30, "C" * 10, ends=True)) == [0, 2.0, 5.0]
    far = [Piece(100, said("AB"), True), Piece(900, said("_C"), True)]
    found = cuts.decode(GreedyDecoder(ALPHABET, SECONDS), cuts.cut(far, ALPHABET, SECONDS), words=True)[0]
    assert found.text == "AB C"
    assert [word.text for word in found.words] == ["AB", "C"]
    np.testing.assert_allclose([(word.start, word.end) for word in found.words], [(10.0, 10.2), (90.1, 90.2)])
    assert found.score == pytest.approx(4 * np.log(0.96))


def test_nothing_heard_is_nothing_said() -> None:
    assert cuts.decode(GreedyDecoder(ALPHABET, SECONDS), [], 5, True) == [Hypothesis("", 0.0)]
    found = cut("_" * 2000)
    assert text(found) == ""


class Given(GreedyDecoder):
    """A decoder that knows the hypotheses of each segment."""

    def __init__(self, lists: list[list[Hypothesis]]) -> None:
        self.lists = lists

    def decode_batch(
        self, rows: Iterable[LogProbs], count: int = 1, words: bool = False, threads: int = 0
    ) -> list[list[Hypothesis]]:
        return [self.lists[index][:count] for index, _ in enumerate(rows)]


def test_the_best_of_all_are_the_best_combinations() -> None:
    random = np.random.default_rng(3)
    lists = [
        sorted(
            (
                Hypothesis(f"{segment}{rank}", *random.normal(0, 3, 2).tolist())
                for rank in range(int(random.integers(1, 6)))
            ),
            key=lambda one: -one.score,
        )
        for segment in range(5)
    ]
    every = sorted((sum(one.score for one in parts) for parts in product(*lists)), reverse=True)
    rows = [Segment(0.0, said("A"))] * len(lists)
    for count in (1, 2, 7, 20):
        found = cuts.decode(Given([one[:count] for one in lists]), rows, count)
        np.testing.assert_allclose([one.score for one in found], every[:count])
        assert len({one.text for one in found}) == len(found)


def test_the_same_text_in_other_parts_is_told_once_and_the_best_has_the_words() -> None:
    word = Word("A", 0.0, 0.1, 0.9)
    first = [Hypothesis("A", -1.0, words=(word,)), Hypothesis("A B", -2.0)]
    second = [Hypothesis("B C", -1.0), Hypothesis("C", -2.0)]
    found = cuts.decode(Given([first, second]), [Segment(0.0, said("A")), Segment(9.0, said("A"))], 4)
    assert [(one.text, one.score) for one in found] == [("A B C", -2.0), ("A C", -3.0), ("A B B C", -3.0)]
    assert found[0].words == (word,)
