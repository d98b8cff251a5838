"""TSV output. The tests of formats read tables."""

import csv
import io

from hypothesis import given, settings

from asr.transcripts import document
from asr.transcripts.records import FileResult
from tests.transcripts.examples import WORDS, any_result, timed, untimed


def test_tsv_has_a_row_for_each_segment() -> None:
    table = document([timed(*WORDS, audio='a\t\\"b"\n.wav')], "tsv")
    first, second, third = csv.reader(io.StringIO(table), delimiter="\t")
    assert first == ["audio", "start", "end", "confidence", "text"]
    assert second == ['a\\t\\\\"b"\\n.wav', "0.500", "1.500", "0.8000", "HELLO WORLD"]
    assert third[1:] == ["3661.250", "3662.000", "1.0000", "AGAIN"]
    assert document([timed(*WORDS)], "tsv", header=False).count("\n") == 2


def test_tsv_of_separate_channels_has_a_column_for_them() -> None:
    results = [untimed("A", 2.0, channel=1), untimed("B", 2.0, channel=2)]
    assert document(results, "tsv").splitlines() == [
        "audio\tchannel\tstart\tend\tconfidence\ttext",
        "a.wav\t1\t0.000\t2.000\t\tA",
        "a.wav\t2\t0.000\t2.000\t\tB",
    ]


@settings(deadline=None)
@given(any_result())
def test_tsv_can_be_read_back(result: FileResult) -> None:
    _, *rows = csv.reader(io.StringIO(document([result], "tsv")), delimiter="\t")
    assert result.transcript
    assert [row[4] for row in rows] == [segment.text for segment in result.transcript.segments]
