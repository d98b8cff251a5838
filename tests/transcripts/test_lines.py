"""Plain text output."""

from asr.transcripts import document
from asr.transcripts.records import FileResult
from tests.transcripts.examples import untimed


def test_text_is_one_line() -> None:
    assert document([untimed("HELLO WORLD")], "txt") == "HELLO WORLD\n"


def test_text_of_a_failed_file_is_an_empty_line() -> None:
    assert document([FileResult("a.wav", error="a.wav: 0 samples")], "txt") == "\n"


def test_text_of_separate_channels_has_file_and_channel() -> None:
    results = [untimed("A", channel=1), untimed("B", channel=2)]
    assert document(results, "txt") == "a.wav\t1\tA\na.wav\t2\tB\n"
    failed = FileResult("\t\udce9.wav", error="0 samples", channel=0)
    assert document([failed], "txt") == "\\t\\udce9.wav\t\t\n"
