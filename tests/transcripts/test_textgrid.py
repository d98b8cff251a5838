"""TextGrid output."""

from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from asr.transcripts import document
from asr.transcripts.records import FileResult, Word
from tests.transcripts.examples import any_result, parser, timed, untimed


def test_tiers_cover_the_recording() -> None:
    grid = document([timed(Word('SAY"', 0.5, 1.0, 1), duration=2.0)], "textgrid")
    assert grid.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2.000\n')
    assert grid.count("intervals: size = 3") == 2
    assert grid.endswith(
        "        intervals [2]:\n            xmin = 0.500\n            xmax = 1.000\n"
        '            text = "SAY"""\n'
        "        intervals [3]:\n            xmin = 1.000\n            xmax = 2.000\n"
        '            text = ""\n'
    )


def test_tiers_of_an_empty_text_and_of_a_failed_file_are_empty() -> None:
    grid = document([untimed("", 2.0)], "textgrid")
    assert grid.count('text = ""') == 2 and "xmax = 2.000" in grid
    assert document([FileResult("a.wav", error="0 samples")], "textgrid").count('text = ""') == 2


def test_channels_have_tiers_of_their_own() -> None:
    grid = document([untimed("A", 2.0, channel=1), untimed("B", 2.0, channel=2)], "textgrid")
    assert all(f'name = "{name}"' in grid for name in ("segments 1", "words 1", "segments 2", "words 2"))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_result())
def test_textgrid_can_be_read_by_praatio(tmp_path: Path, result: FileResult) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(document([result], "textgrid"), encoding="utf-8")
    grid = parser("praatio.textgrid").openTextgrid(str(path), includeEmptyIntervals=True)
    assert grid.tierNames == ("segments", "words")
    assert result.transcript
    for name, expected in (("words", result.transcript.words), ("segments", result.transcript.segments)):
        entries = grid.getTier(name).entries
        assert [entry.label for entry in entries if entry.label] == [part.text for part in expected]
        assert all(before.end == after.start for before, after in pairwise(entries))
        assert (entries[0].start, entries[-1].end) == (0, grid.maxTimestamp)
