"""STM."""

from pathlib import Path

from asr import transcripts


def test_segments_have_label_speaker_and_times(tmp_path: Path) -> None:
    path = tmp_path / "a.stm"
    path.write_text(
        ";; a comment\nrec A ann 0.00 1.00 <o,f0,female>  THE CAT\nrec A bob 1.50 3.00 A <DOG>\n"
        "rec A inter_segment_gap 3 4\nrec A bob 4 5 Ignore_Time_Segment_In_Scoring\n"
    )
    rows = transcripts.read(path).rows
    assert [row.text for row in rows][:2] == ["THE CAT", "A <DOG>"]
    assert (rows[0].id, rows[0].speaker, rows[0].duration) == ("rec-A-0.00-1.00", "ann", 1.0)
    assert (rows[1].start, rows[1].recording) == (1.5, ("rec", "A"))
    assert [row.scored for row in rows] == [True, True, True, False]
