"""Transcripts and their segments."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from asr.transcripts.records import FileResult, Hypothesis, Segment, Transcript, Word, split_at_pauses


@st.composite
def any_words(draw: st.DrawFn) -> list[Word]:
    """Return words with times in order."""
    words, end = [], draw(st.floats(0, 5))
    for _ in range(draw(st.integers(0, 30))):
        start = end + draw(st.sampled_from([0.0, 0.0, 0.02, 0.3, 0.79, 0.8, 3.0]))
        end = start + draw(st.floats(0, 2) | st.just(9.0))
        length = draw(st.integers(1, 12) | st.just(50))
        words.append(Word("x" * length, start, end, draw(st.floats(0, 1))))
    return words


def check_order(segments: list[Segment], words: list[Word]) -> None:
    """Check that segments have all the words in order and do not overlap."""
    assert [word.text for segment in segments for word in segment.words] == [word.text for word in words]
    for segment in segments:
        assert segment.words and segment.start <= segment.words[0].start
        assert segment.words[-1].end <= segment.end
        assert segment.text.split() == [word.text for word in segment.words]
        assert 0 <= segment.confidence <= 1
    for before, after in pairwise(segments):
        assert before.start <= before.end <= after.start


@settings(deadline=None, max_examples=50)
@given(any_words(), st.floats(0.1, 2))
def test_split_at_pauses_splits_at_every_pause_and_nowhere_else(words: list[Word], pause: float) -> None:
    segments = [Segment.from_words(run) for run in split_at_pauses(words, pause)]
    check_order(segments, words)
    for before, after in pairwise(segments):
        assert after.start - before.end >= pause - 1e-6
    for segment in segments:
        assert all(after.start - before.end < pause for before, after in pairwise(segment.words))


def test_segments_of_a_transcript() -> None:
    words = (Word("a", 0, 1, 0.5), Word("b", 1.79, 2, 1.0), Word("c", 2.8, 3, 1))
    assert Transcript("a b c", words).segments == (
        Segment(0, 2, "a b", words[:2], 0.75),
        Segment(2.8, 3, "c", words[2:], 1.0),
    )
    assert Transcript("").segments == ()


def test_transcript_of_hypotheses() -> None:
    best, other = Hypothesis("A B", -1.0, -2.0, (Word("A", 0, 1, 1),)), Hypothesis("A", -5.0)
    transcript = Transcript.from_hypotheses([best, other], 3.0)
    assert transcript == Transcript("A B", best.words, (other,), -1.0, -2.0, 3.0)
    assert transcript.score == best.score == -3.0


def test_text_of_a_failed_file_is_empty() -> None:
    assert FileResult("a.wav", error="0 samples").text == ""
