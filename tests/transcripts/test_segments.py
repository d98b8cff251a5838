"""Words -> segments and subtitles."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.transcripts.records import Segment, Transcript, Word, split_at_pauses
from asr.transcripts.segments import LIMITS, SubtitleLimits, subtitles, wrap


def spoken(text: str, each: float = 0.3, gap: float = 0.1) -> list[Word]:
    """Return words of `each` seconds with `gap` seconds between."""
    step = each + gap
    return [Word(word, index * step, index * step + each, 0.5) for index, word in enumerate(text.split())]


@st.composite
def any_words(draw: st.DrawFn) -> list[Word]:
    found, now = [], draw(st.floats(0, 5))
    for _ in range(draw(st.integers(0, 60))):
        start = now + draw(st.sampled_from([0.0, 0.0, 0.02, 0.3, 0.79, 0.8, 3.0]))
        now = start + draw(st.floats(0, 2) | st.just(9.0))
        length = draw(st.integers(1, 12) | st.just(50))
        found.append(Word("x" * length, start, now, draw(st.floats(0, 1))))
    return found


any_limits = st.builds(
    SubtitleLimits,
    pause=st.floats(0.1, 2),
    line_length=st.integers(5, 50),
    lines=st.integers(1, 3),
    longest=st.floats(0.5, 10),
    reading_speed=st.floats(5, 30),
)


def check_order(found: Sequence[Segment], words: list[Word]) -> None:
    assert [word.text for segment in found for word in segment.words] == [word.text for word in words]
    for segment in found:
        assert segment.words and segment.start <= segment.words[0].start
        assert segment.words[-1].end <= segment.end
        assert segment.text.split() == [word.text for word in segment.words]
        assert 0 <= segment.confidence <= 1
    for before, after in pairwise(found):
        assert before.start <= before.end <= after.start


@settings(deadline=None)
@given(any_words(), st.floats(0.1, 2))
def test_segments_are_the_words_between_pauses(words: list[Word], pause: float) -> None:
    found = [Segment.from_words(run) for run in split_at_pauses(words, pause)]
    check_order(found, words)
    for before, after in pairwise(found):
        assert after.start - before.end >= pause - 1e-6
    for each in found:
        assert all(after.start - before.end < pause for before, after in pairwise(each.words))


@settings(deadline=None, max_examples=200)
@given(any_words(), any_limits)
def test_subtitles_keep_their_limits_wherever_a_single_word_does(words: list[Word], limits: SubtitleLimits) -> None:
    found = subtitles(words, limits)
    check_order(found, words)
    for cue in found:
        assert all(after.start - before.end < limits.pause for before, after in pairwise(cue.words))
        if len(cue.words) > 1:
            lines = cue.text.split("\n")
            assert len(lines) <= limits.lines
            assert max(map(len, lines)) <= limits.line_length
            assert cue.end - cue.start <= limits.longest + 1e-9


@settings(deadline=None)
@given(st.lists(st.floats(-5, 50), min_size=2, max_size=40))
def test_times_that_are_out_of_order_are_put_in_order(times: list[float]) -> None:
    words = [Word("x", start, end, 1.0) for start, end in zip(times[::2], times[1::2], strict=False)]
    for found in (Transcript("", tuple(words)).segments, subtitles(words)):
        assert sum(len(segment.words) for segment in found) == len(words)
        assert all(segment.start <= segment.end for segment in found)
        assert all(before.end <= after.start for before, after in pairwise(found))


def test_no_words_are_no_segments() -> None:
    assert (Transcript("").segments, subtitles([])) == ((), [])


def test_a_segment_is_as_sure_as_its_words_on_average() -> None:
    words = (Word("a", 0, 1, 0.5), Word("b", 1, 2, 1.0))
    assert Transcript("a b", words).segments == (Segment(0, 2, "a b", words, 0.75),)


def test_a_pause_ends_both() -> None:
    words = [Word("a", 0, 1, 1), Word("b", 1.79, 2, 1), Word("c", 2.8, 3, 1)]
    assert [segment.text for segment in Transcript("", tuple(words)).segments] == ["a b", "c"]
    assert [cue.text for cue in subtitles(words)] == ["a b", "c"]


def test_a_subtitle_breaks_where_the_longest_breath_is() -> None:
    words = spoken("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen")
    cut = 7
    words = [Word(one.text, one.start + 0.4 * (i >= cut), one.end + 0.4 * (i >= cut), 1) for i, one in enumerate(words)]
    first, second = subtitles(words)
    assert (len(first.words), len(second.words)) == (7, 9)
    assert first.text == "one two three four five six seven"


def test_lines_are_even() -> None:
    assert wrap(["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "again"], 42) == [
        "the quick brown fox jumps",
        "over the lazy dog again",
    ]
    assert wrap(["short"], 42) == ["short"]
    assert wrap(["x" * 50, "y"], 42) == ["x" * 50, "y"]
    assert wrap([], 42) == []


def test_what_was_said_fast_stays_until_it_is_read_or_the_next_begins() -> None:
    fast = spoken("supercalifragilistic expialidocious", each=0.2, gap=0.0)
    [cue] = subtitles(fast)
    assert cue.end == pytest.approx(len("supercalifragilistic expialidocious") / LIMITS.reading_speed)
    first, _ = subtitles([*fast, Word("next", 1.3, 1.5, 1.0)])
    assert first.end == 1.3


def test_a_single_short_word_can_be_read() -> None:
    [cue] = subtitles([Word("a", 3.0, 3.05, 1.0)])
    assert (cue.start, cue.end) == (3.0, 4.0)


def test_six_hours_take_seconds() -> None:
    found = subtitles(spoken("lorem ipsum dolor sit amet " * 10_000, 0.25, 0.1))
    assert sum(len(cue.words) for cue in found) == 50_000


@pytest.mark.parametrize("name", ["pause", "line_length", "lines", "longest", "reading_speed"])
def test_limits_are_more_than_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = 0 is not more than 0"):
        SubtitleLimits(**{name: 0})
