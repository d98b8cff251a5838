from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli import main
from asr.corpora import manifest, table
from asr.corpora.manifest import CorpusError, Utterance
from asr.errors import AsrError
from asr.files import EncodingError

RATE = 16_000


def sound(path: Path, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(scale=0.1, size=round(seconds * RATE)).astype(np.float32)
    soundfile.write(path, noise, RATE)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with clips/a.wav (0.5 s) and clips/b c.wav (0.1 s)."""
    sound(tmp_path / "clips" / "a.wav", 0.5)
    sound(tmp_path / "clips" / "b c.wav")
    return tmp_path


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def texts(path: Path) -> dict[str, str]:
    return {utterance.id: utterance.text for utterance in table.read(path)}


BOTH = {"clips/a": "HELLO, WORLD", "clips/b_c": 'SAY "YES"'}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'audio,text\nclips/a.wav,"HELLO, WORLD"\nclips/b c.wav,"SAY ""YES"""\n'),
        ("t.csv", 'clips/a.wav,"HELLO, WORLD"\nclips/b c.wav,SAY "YES"'),
        ("t.csv", '"clips/a.wav";"HELLO, WORLD"\n"clips/b c.wav";"SAY ""YES"""'),
        ("t.csv", 'Sentence ; Path\n\n"HELLO,\nWORLD";./clips/a.wav\n;\nSAY "YES"; clips/b c.wav\n'),
        ("t.tsv", 'audio\ttext\nclips/a.wav\tHELLO, WORLD\nclips/b c.wav\tSAY "YES"\n'),
        ("t.tsv", 'clips/a.wav\t"HELLO, WORLD"\nclips/b c.wav\t"SAY ""YES"""\n'),
        ("t.txt", 'file|transcript|other\nclips/a.wav|HELLO, WORLD|1\nclips/b c.wav|SAY "YES"|\n'),
        ("t.csv", 'filename\tTEXT\tnote\nclips/a.wav\tHELLO, WORLD\nclips/b c.wav\tSAY "YES"\n'),
    ],
)
def test_read_accepts_every_delimiter_and_encoding(folder: Path, name: str, text: str) -> None:
    assert texts(write(folder, text, name)) == BOTH
    assert texts(write(folder, text.replace("\n", "\r\n"), name)) == BOTH
    assert texts(write(folder, b"\xef\xbb\xbf" + text.encode(), name)) == BOTH
    assert texts(write(folder, text.encode("utf-16"), name)) == BOTH


def test_optional_columns_select_segments(folder: Path) -> None:
    path = write(
        folder,
        "id,audio,speaker,offset,duration,text\n"
        "two,clips/a.wav,ann,0.25,0.2,TWO\n"
        "one,clips/a.wav,ann,,,ONE\n"
        "rest,clips/a.wav,,0.4,0.15,REST\n",
    )
    audio = str(folder / "clips" / "a.wav")
    one, rest, two = table.read(path)
    assert one == Utterance("one", audio, 0.5, "ONE", "ann")
    assert two == Utterance("two", audio, 0.2, "TWO", "ann", 0.25)
    # The table says 0.15 s: the rounding of others may not reach behind the end of the file.
    assert rest == Utterance("rest", audio, rest.duration, "REST", "", 0.4)
    assert rest.duration == pytest.approx(0.1)


def test_segments_without_ids_are_numbered_by_offset(folder: Path) -> None:
    path = write(folder, "audio,text,offset\nclips/a.wav,ONE,0\nclips/a.wav,TWO,0.2505\n")
    utterances = table.read(path)
    assert [utterance.id for utterance in utterances] == ["clips/a-0000000", "clips/a-0000250"]
    assert utterances[1].duration == pytest.approx(0.2495)


def test_absolute_paths_and_folders_above(folder: Path) -> None:
    outside = sound(folder.parent / f"{folder.name}-outside" / "x.wav")
    path = write(folder, f"{folder}/clips/a.wav,ONE\n../{outside.parent.name}/x.wav,TWO\n")
    utterances = table.read(path)
    assert [utterance.id for utterance in utterances] == [f"../{outside.parent.name}/x", "clips/a"]
    assert utterances[0].audio == str(outside)


def test_table_can_be_written_as_a_manifest_and_read_again(folder: Path) -> None:
    utterances = table.read(write(folder, "clips/a.wav,ONE\nclips/b c.wav,TWO\n"))
    manifest.write(folder / "new" / "all.jsonl", utterances)
    assert manifest.read(folder / "new" / "all.jsonl") == utterances


def test_progress_counts_each_file_once(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = write(folder, "audio,text,offset\nclips/a.wav,ONE,0\nclips/a.wav,TWO,0.2\nclips/b c.wav,THREE,0\n")
    table.read(path, lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"table\.csv: no rows"),
        ("audio,text\n\n", r"table\.csv: no rows"),
        (
            "audio,label\nclips/a.wav,ONE\n",
            r"row 1: 'audio,label' is neither a header with a column for the audio \(aud",
        ),
        ("clips/a.wav\n", r"row 1: 'clips/a\.wav' is neither"),
        ("audio,text,text\nclips/a.wav,ONE,TWO\n", r"row 1: two columns named 'text'; rename one"),
        ("audio,text\nclips/a.wav,ONE, TWO\n", r"row 2: 3 cells, expected 2; is there a ',' in the text\?"),
        ("clips/a.wav,ONE\nclips/b c.wav\n", r"row 2: the text is empty"),
        ("audio,text\n\n,ONE\n", r"row 3: the audio is empty"),
        ("audio,text,id\nclips/a.wav,ONE,\n", r"row 2: the id is empty"),
        ("audio,text,id\nclips/a.wav,ONE,a b\n", r"row 2: id 'a b' contains white space"),
        (
            "clips/a.wav,ONE\nclips/a.wav,TWO\n",
            r"row 2: id 'clips/a' is already in .*table\.csv, row 1; remove one, or give each its own id",
        ),
        ("clips/a.wav,ONE\nclips/x.wav,TWO\n", r"table\.csv, row 2: .*clips/x\.wav: no such file"),
        ("audio,text\nclips,ONE\n", r"row 2: .*clips: a folder, not a sound file"),
        ("audio,text\n.,ONE\n", r"row 2: .*: a folder, not a sound file"),
        ("audio,text\ntable.csv,ONE\n", r"row 2: .*table\.csv: not a sound file"),
        ("audio,text,offset\nclips/a.wav,ONE,half\n", r"row 2: offset 'half' is not a number of seconds"),
        ("audio,text,offset\nclips/a.wav,ONE,-1\n", r"row 2: offset '-1' is not a number of seconds"),
        ("audio,text,duration\nclips/a.wav,ONE,nan\n", r"row 2: duration 'nan' is not a number of seconds"),
        ("audio,text,duration\nclips/a.wav,ONE,0\n", r"row 2: duration 0; leave it empty"),
        ("audio,text,duration\nclips/a.wav,ONE,0.7\n", r"row 2: segment 0–0\.7 s exceeds .*a\.wav \(0\.500 s\)"),
        ("audio,text,offset\nclips/a.wav,ONE,0.5\n", r"row 2: offset 0\.5 s is not before the end of .*a\.wav"),
        (
            'audio,text\nclips/a.wav,ONE\nclips/b c.wav,"TWO\n',
            r"row 3: unexpected end of data; quote cells that contain , or",
        ),
        ('"clips/a.wav,ONE\n', r"row 1: unexpected end of data"),
        (b"\xff\xfea\x00\x00", r"not UTF-16 \(byte 5\); save the table as 'CSV UTF-8'"),
        (b"audio,text\nclips/a.wav,CAF\xc9\n", r"line 2: not UTF-8 \(byte 16 is 0xC9\); save the file as UTF-8"),
    ],
)
def test_mistake_error_names_file_and_row(folder: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(AsrError, match=message) as error:
        table.read(write(folder, text))
    assert str(error.value).startswith(str(folder / "table.csv"))
    assert "\n" not in str(error.value)


def test_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none\.csv: no such table or folder"):
        table.read(tmp_path / "none.csv")


def test_folder_with_a_text_beside_each_sound(folder: Path) -> None:
    write(folder / "clips", b"\xef\xbb\xbfHELLO\r\n WORLD\r\n", "a.txt")
    write(folder / "clips", "YES", "b c.TXT")
    sound(folder / "top.flac")
    write(folder, "TOP", "top.txt")
    write(folder, "hidden", ".notes.txt")
    write(folder, "other", "notes.md")
    (folder / "clips" / "round").symlink_to(folder)
    utterances = table.read(folder)
    assert {utterance.id: utterance.text for utterance in utterances} == {
        "clips/a": "HELLO WORLD",
        "clips/b_c": "YES",
        "top": "TOP",
    }
    assert utterances[0] == Utterance("clips/a", str(folder / "clips" / "a.wav"), 0.5, "HELLO WORLD")


def test_ids_of_files_in_different_folders_are_unique(tmp_path: Path) -> None:
    names = ("a/b-x", "a-b/x", "a/b/x", "a-b-x")
    for name in names:
        sound(tmp_path / f"{name}.wav")
        write(tmp_path, name.upper(), f"{name}.txt")
    expected = {name: name.upper() for name in names}
    assert texts(tmp_path) == expected
    assert texts(write(tmp_path, "".join(f"{name}.wav,{name.upper()}\n" for name in names))) == expected


def test_files_that_share_an_id_are_refused_until_one_is_renamed(tmp_path: Path) -> None:
    for name in ("a b", "a_b"):
        sound(tmp_path / f"{name}.wav")
        write(tmp_path, "ONE", f"{name}.txt")
    with pytest.raises(CorpusError, match=r"a_b\.wav: id 'a_b' is already in .*a b\.wav; rename one of the files"):
        table.read(tmp_path)
    for suffix in ("wav", "txt"):
        (tmp_path / f"a b.{suffix}").rename(tmp_path / f"c.{suffix}")
    assert texts(tmp_path) == {"a_b": "ONE", "c": "ONE"}


def test_rows_that_share_an_id_are_refused_until_there_is_an_id_column(folder: Path) -> None:
    with pytest.raises(CorpusError, match="give each its own id in a column id"):
        table.read(write(folder, "audio,text\nclips/a.wav,ONE\nclips/a.wav,TWO\n"))
    path = write(folder, "audio,text,id\nclips/a.wav,ONE,1\nclips/a.wav,TWO,2\n")
    assert texts(path) == {"1": "ONE", "2": "TWO"}


def test_folder_with_mistakes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"clips/a\.wav: no a\.txt beside it"):
        table.read(folder)
    write(folder / "clips", "\n", "a.txt")
    with pytest.raises(CorpusError, match=r"clips/a\.txt: the file has no text; write the text there"):
        table.read(folder)
    write(folder / "clips", b"CAF\xc9", "a.txt")
    with pytest.raises(EncodingError, match=r"clips/a\.txt, line 1: not UTF-8"):
        table.read(folder)
    write(folder / "clips", "ONE", "a.txt")
    write(folder / "clips", "TWO", "b c.txt")
    write(folder, "AGAIN", "clips-a.txt")
    with pytest.raises(CorpusError, match=r"clips-a\.txt: no sound file clips-a\.wav \(\.flac, .*\) beside it"):
        table.read(folder)
    (folder / "clips-a.txt").unlink()
    (folder / "clips" / "a.wav").write_bytes(b"")
    with pytest.raises(CorpusError, match=r"clips/a\.wav: the file is empty"):
        table.read(folder)
    (folder / "nothing").mkdir()
    with pytest.raises(CorpusError, match=r"nothing: no sound files in it"):
        table.read(folder / "nothing")


def test_start_and_end_are_a_segment(folder: Path) -> None:
    path = write(folder, "audio,start,end,text\nclips/a.wav,0.1,0.3,A\nclips/a.wav,0.3,,B\nclips/a.wav,,0.1,C\n")
    rows = [(row.id, row.offset, round(row.duration, 3), row.text) for row in table.read(path)]
    assert rows == [
        ("clips/a-0000000", 0.0, 0.1, "C"),
        ("clips/a-0000100", 0.1, 0.2, "A"),
        ("clips/a-0000300", 0.3, 0.2, "B"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("audio,start,end,text\nclips/a.wav,0.3,0.1,A\n", r"row 2: end 0\.1 s is not after start 0\.3 s"),
        ("audio,end,duration,text\nclips/a.wav,1,1,A\n", "row 1: columns 'end' and 'duration' mean the same"),
        ("audio,start,offset,text\nclips/a.wav,1,1,A\n", "row 1: columns 'offset' and 'start' mean the same"),
        ("audio,sentence,text\nclips/a.wav,A,B\n", "row 1: columns 'text' and 'sentence' mean the same"),
    ],
)
def test_columns_that_contradict_are_refused(folder: Path, text: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        table.read(write(folder, text))


def test_unused_columns_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, "audio,text,Note,votes\nclips/a.wav,A,x,1\n")
    assert table.unused_columns(path) == ["Note", "votes"]
    assert main(["prepare", "table", str(path), "--out", str(folder / "out")]) == 0
    assert "columns that are not used: Note, votes" in capsys.readouterr().err
    assert table.unused_columns(write(folder, "clips/a.wav,A\n")) == table.unused_columns(folder) == []


BAD = "audio,text\nclips/a.wav,A\nclips/no.wav,B\nclips/bad.wav,C\nclips/b c.wav,\nclips/a.wav,D\n"


def test_all_bad_rows_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "clips" / "bad.wav").write_text("no sound")
    command = ["prepare", "table", str(write(folder, BAD)), "--out", str(folder / "out"), "-q"]
    assert main(command) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert [next(row for row in ("row 3", "row 4", "row 5", "row 6") if row in line) for line in lines[:4]] == [
        *("row 5", "row 6", "row 4", "row 3"),
    ]
    assert lines[4].startswith("asr: 4 of 5 utterances cannot be used (the first: ")
    assert lines[4].endswith("; correct them, or leave them out with --skip-bad")
    assert not (folder / "out" / "table.jsonl").exists()
    assert main([*command, "--skip-bad"]) == 0
    output = capsys.readouterr()
    assert output.err.count("left out: ") == 4 and "4 left out" in output.err
    assert [row.id for row in manifest.read(folder / "out" / "table.jsonl")] == ["clips/a"]


def test_ten_of_many_bad_rows_are_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, "audio,text\nclips/a.wav,A\n" + "".join(f"no-{number}.wav,B\n" for number in range(500)))
    command = ["prepare", "table", str(path), "--out", str(folder / "out"), "-q"]
    assert main(command) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 12 and sum("no such file" in line for line in lines[:10]) == 10
    assert lines[10] == "asr: … and 490 more (--skip-bad lists all of them)"
    assert lines[11].startswith("asr: 500 of 501 utterances cannot be used (the first: ")
    assert main([*command, "--skip-bad"]) == 0
    assert capsys.readouterr().err.count("left out: ") == 500


def test_nothing_is_left_if_all_rows_are_bad(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder, "audio,text\nno.wav,A\n")
    assert main(["prepare", "table", str(path), "--out", str(folder / "out"), "--skip-bad"]) == 1
    listed, count, last = capsys.readouterr().err.splitlines()
    assert listed.startswith("left out: ") and "no.wav" in listed and count == "1 left out"
    assert last == "asr: none of 1 utterances can be used"


def test_columns_and_the_folder_of_the_audio_can_be_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(folder, "Recording;Said;Text;From;To\na.wav;YES;no;0.1;0.3\n", "lists.csv")
    columns = {"audio": "Recording", "text": "said", "offset": "From", "end": "To"}
    (row,) = table.read(path, options=table.TableOptions(columns, folder / "clips"))
    assert (row.id, row.text, row.offset) == ("a-0000100", "YES", 0.1)
    assert row.duration == pytest.approx(0.2)
    assert row.audio == str(folder / "clips" / "a.wav")
    names = ",".join(f"{column}={name}" for column, name in columns.items())
    command = ["prepare", "table", str(path), "--audio-root", str(folder / "clips"), "--out", str(tmp_path / "out")]
    assert main([*command, "--columns", names]) == 0
    assert "columns that are not used: Text\n" in capsys.readouterr().err
    (written,) = manifest.read(tmp_path / "out" / "lists.jsonl")
    assert (written.id, written.audio, written.text, written.offset) == (row.id, row.audio, row.text, row.offset)
    for wrong, code, message in (
        ("audio", 2, "--columns 'audio' is not COLUMN=NAME,…"),
        ("sound=Recording", 1, "unknown column 'sound'; known are audio, text,"),
        ("audio=Nothing", 1, "lists.csv, row 1: the header 'Recording;Said;Text;From;To' has no column for the audio"),
    ):
        assert main([*command, "--columns", wrong]) == code
        assert message in capsys.readouterr().err
