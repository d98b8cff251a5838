"""Subtitles and their layout."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.transcripts import document
from asr.transcripts.records import FileResult, Transcript, Word
from asr.transcripts.subtitles import LIMITS, SubtitleLimits, split_into_cues, wrap
from tests.transcripts.examples import WORDS, any_result, parser, timed, untimed
from tests.transcripts.test_records import any_words, check_order

any_limits = st.builds(
    SubtitleLimits,
    pause=st.floats(0.1, 2),
    line_length=st.integers(5, 50),
    lines=st.integers(1, 3),
    longest=st.floats(0.5, 10),
    reading_speed=st.floats(5, 30),
)


def spoken(text: str, each: float = 0.3, gap: float = 0.1) -> list[Word]:
    """Return words of `each` seconds with `gap` seconds between."""
    step = each + gap
    return [Word(word, index * step, index * step + each, 0.5) for index, word in enumerate(text.split())]


@settings(deadline=None, max_examples=100)
@given(any_words(), any_limits)
def test_cues_of_several_words_are_within_the_limits(words: list[Word], limits: SubtitleLimits) -> None:
    cues = split_into_cues(words, limits)
    check_order(cues, words)
    for cue in cues:
        assert all(after.start - before.end < limits.pause for before, after in pairwise(cue.words))
        if len(cue.words) > 1:
            lines = cue.text.split("\n")
            assert len(lines) <= limits.lines
            assert max(map(len, lines)) <= limits.line_length
            assert cue.end - cue.start <= limits.longest + 1e-9


@settings(deadline=None)
@given(st.lists(st.floats(-5, 50), min_size=2, max_size=40))
def test_times_out_of_order_are_put_in_order(times: list[float]) -> None:
    words = [Word("x", start, end, 1.0) for start, end in zip(times[::2], times[1::2], strict=False)]
    for segments in (list(Transcript("", tuple(words)).segments), split_into_cues(words)):
        assert sum(len(segment.words) for segment in segments) == len(words)
        assert all(segment.start <= segment.end for segment in segments)
        assert all(before.end <= after.start for before, after in pairwise(segments))


def test_cues_are_split_at_the_longest_pause() -> None:
    words = spoken("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen")
    cut = 7
    words = [Word(one.text, one.start + 0.4 * (i >= cut), one.end + 0.4 * (i >= cut), 1) for i, one in enumerate(words)]
    first, second = split_into_cues(words)
    assert (len(first.words), len(second.words)) == (7, 9)
    assert first.text == "one two three four five six seven"


def test_wrap_returns_lines_of_similar_length() -> None:
    assert wrap(["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "again"], 42) == [
        "the quick brown fox jumps",
        "over the lazy dog again",
    ]
    assert wrap(["short"], 42) == ["short"]
    assert wrap(["x" * 50, "y"], 42) == ["x" * 50, "y"]
    assert wrap([], 42) == []


def test_fast_cue_lasts_until_it_can_be_read_or_the_next_starts() -> None:
    fast = spoken("supercalifragilistic expialidocious", each=0.2, gap=0.0)
    [cue] = split_into_cues(fast)
    assert cue.end == pytest.approx(len("supercalifragilistic expialidocious") / LIMITS.reading_speed)
    first, _ = split_into_cues([*fast, Word("next", 1.3, 1.5, 1.0)])
    assert first.end == 1.3


def test_short_cue_lasts_one_second() -> None:
    [cue] = split_into_cues([Word("a", 3.0, 3.05, 1.0)])
    assert (cue.start, cue.end) == (3.0, 4.0)


def test_six_hours_of_words() -> None:
    cues = split_into_cues(spoken("lorem ipsum dolor sit amet " * 10_000, 0.25, 0.1))
    assert sum(len(cue.words) for cue in cues) == 50_000


def test_text_without_word_times_is_one_cue() -> None:
    text = "the quick brown fox jumps over the lazy dog and runs"
    two_lines = "the quick brown fox jumps\nover the lazy dog and runs"
    assert document([untimed(text, 3.0)], "srt") == f"1\n00:00:00,000 --> 00:00:03,000\n{two_lines}\n"
    assert document([untimed("A B")], "vtt") == "WEBVTT\n\n00:00:00.000 --> 00:00:07.000\nA B\n"


def test_srt_is_numbered() -> None:
    assert document([timed(*WORDS)], "srt") == (
        "1\n00:00:00,500 --> 00:00:01,500\nHELLO WORLD\n\n2\n01:01:01,250 --> 01:01:02,250\nAGAIN\n"
    )


def test_vtt_is_escaped() -> None:
    assert document([timed(*WORDS)], "vtt") == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nHELLO WORLD\n\n01:01:01.250 --> 01:01:02.250\nAGAIN\n"
    )
    result = timed(Word("<A&B>", 0, 1, 1), Word("-->", 1, 2, 1))
    assert "\n&lt;A&amp;B&gt; --&gt;\n" in document([result], "vtt")


def cue_texts(result: FileResult) -> list[str]:
    assert result.transcript
    return [cue.text for cue in split_into_cues(result.transcript.words)]


def test_vtt_marks_cues_of_low_confidence() -> None:
    words = (Word("A&B", 0.0, 0.5, 0.4), Word("C", 0.6, 0.9, 0.59), Word("D", 5.0, 5.5, 0.5))
    cues = document([timed(*words)], "vtt").split("\n\n")[1:]
    assert [cue.split("\n")[1] for cue in cues] == ["<c.low>A&amp;B C</c>", "D"]


@settings(deadline=None)
@given(any_result())
def test_srt_can_be_read_back(result: FileResult) -> None:
    read = list(parser("srt").parse(document([result], "srt"), ignore_errors=False))
    assert [cue.content for cue in read] == [text.replace("-->", "→") for text in cue_texts(result)]
    assert [cue.index for cue in read] == list(range(1, len(read) + 1))
    assert all(timedelta(0) <= cue.start < cue.end for cue in read)
    assert all(before.end <= after.start for before, after in pairwise(read))


@settings(deadline=None)
@given(any_result())
def test_vtt_can_be_read_back(result: FileResult) -> None:
    read = list(parser("webvtt").from_string(document([result], "vtt")))
    escaped = [text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for text in cue_texts(result)]
    assert [cue.raw_text.removeprefix("<c.low>").removesuffix("</c>") for cue in read] == escaped
    assert all(cue.start_in_seconds <= cue.end_in_seconds for cue in read)
