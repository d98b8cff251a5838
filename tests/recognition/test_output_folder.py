"""A folder of transcripts: what is written, and what is not made again."""

import os
from pathlib import Path

import pytest

from asr.recognition.inputs import Recording, gather
from asr.recognition.output_folder import STATE, Mirror, MirrorError, stamp
from asr.transcripts.records import FileResult, Transcript


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    for name in ("a", "deep/b"):
        path = tmp_path / "in" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return gather([str(tmp_path / "in")]).recordings


def mirror(folder: Path, *formats: str, settings: str = "s", force: bool = False) -> Mirror:
    return Mirror(folder / "out", formats or ("txt",), settings, force)


def save(one: Mirror, recordings: list[Recording], text: str = "TEXT") -> None:
    for recording in recordings:
        one.save(recording, [FileResult(str(recording.path), Transcript(text))], stamp(recording.path))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_outputs_stand_as_the_recordings_do(tmp_path: Path, recordings: list[Recording]) -> None:
    one = mirror(tmp_path, "txt", "textgrid")
    assert one.begin(recordings) == recordings
    save(one, recordings)
    assert names(tmp_path / "out") == [STATE, "a.TextGrid", "a.txt", "deep/b.TextGrid", "deep/b.txt"]
    assert (tmp_path / "out/deep/b.txt").read_text() == "TEXT\n"
    assert one.saved == 2


def test_what_has_not_changed_is_not_made_again(tmp_path: Path, recordings: list[Recording]) -> None:
    first, second = recordings
    one = mirror(tmp_path)
    one.begin(recordings)
    save(one, [first])
    assert mirror(tmp_path).begin(recordings) == [second]
    save(mirror(tmp_path), [second])
    assert mirror(tmp_path).begin(recordings) == []
    assert mirror(tmp_path, settings="other").begin(recordings) == recordings
    assert mirror(tmp_path, force=True).begin(recordings) == recordings
    assert mirror(tmp_path, "txt", "srt").begin(recordings) == recordings
    first.path.write_bytes(b"longer than before")
    assert mirror(tmp_path).begin(recordings) == [first]
    (tmp_path / "out/deep/b.txt").unlink()
    assert mirror(tmp_path).begin(recordings) == recordings


def test_formats_add_up_as_long_as_nothing_changes(tmp_path: Path, recordings: list[Recording]) -> None:
    for form in ("txt", "srt"):
        one = mirror(tmp_path, form)
        one.begin(recordings)
        save(one, recordings)
    assert mirror(tmp_path, "srt", "txt").begin(recordings) == []
    one = mirror(tmp_path, "txt", settings="new")
    one.begin(recordings)
    save(one, recordings)
    assert mirror(tmp_path, "txt", settings="new").begin(recordings) == []
    assert mirror(tmp_path, "srt", settings="new").begin(recordings) == recordings


def test_recordings_that_were_moved_all_together_are_the_same(tmp_path: Path, recordings: list[Recording]) -> None:
    one = mirror(tmp_path)
    one.begin(recordings)
    save(one, recordings)
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    assert mirror(tmp_path).begin(gather([str(tmp_path / "elsewhere")]).recordings) == []


@pytest.mark.parametrize("tail", [b'{"output": "a", "for', b"[1]\n", b"\xff\n", b'{"output": []}\n', b"\0" * 100])
def test_a_torn_state_costs_only_what_it_lost(tmp_path: Path, recordings: list[Recording], tail: bytes) -> None:
    one = mirror(tmp_path)
    one.begin(recordings)
    save(one, recordings[:1])
    with (tmp_path / "out" / STATE).open("ab") as state:
        state.write(tail)
    one = mirror(tmp_path)
    assert one.begin(recordings) == recordings[1:]
    save(one, recordings[1:])
    assert mirror(tmp_path).begin(recordings) == []


def test_a_run_that_was_killed_between_file_and_state_may_write_again(
    tmp_path: Path, recordings: list[Recording]
) -> None:
    mirror(tmp_path).begin(recordings)
    (tmp_path / "out/a.txt").write_text("written, and then killed")
    assert mirror(tmp_path).begin(recordings) == recordings


def test_nothing_is_written_once_closed(tmp_path: Path, recordings: list[Recording]) -> None:
    one = mirror(tmp_path)
    one.begin(recordings)
    one.close()
    save(one, recordings)
    assert names(tmp_path / "out") == [STATE]


def test_two_inputs_of_one_output_are_refused(tmp_path: Path, recordings: list[Recording]) -> None:
    other = Recording(tmp_path / "in" / "a.flac", Path("a"))
    with pytest.raises(MirrorError, match=r"in/a\.wav and .*in/a\.flac would both be written to .*out/a\.txt; rename"):
        mirror(tmp_path).begin([*recordings, other])


def test_files_of_others_are_not_written_over(tmp_path: Path, recordings: list[Recording]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.txt").write_text("the true words")
    with pytest.raises(MirrorError, match=r"a\.txt: there already, and not made by an earlier run; .*--force"):
        mirror(tmp_path).begin(recordings)
    assert names(tmp_path / "out") == ["a.txt"]
    one = mirror(tmp_path, force=True)
    save(one, one.begin(recordings))
    assert (tmp_path / "out/a.txt").read_text() == "TEXT\n"
    assert mirror(tmp_path).begin(recordings[:1]) == []


def test_nothing_that_is_read_is_written_over(tmp_path: Path) -> None:
    sound, listing = tmp_path / "out/talk.txt", tmp_path / "out/list.txt"
    for path in (sound, listing):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(MirrorError, match=r"talk\.txt would be written over a file that is read"):
        mirror(tmp_path, force=True).begin(gather([str(sound)]).recordings)
    with pytest.raises(MirrorError, match=r"list\.wav would be written over a file that is read"):
        mirror(tmp_path, force=True).begin([Recording(tmp_path / "list.wav", Path("list"))], [listing])


def test_a_folder_in_the_way_is_told(tmp_path: Path, recordings: list[Recording]) -> None:
    (tmp_path / "out/a.txt").mkdir(parents=True)
    with pytest.raises(MirrorError, match=r"a\.txt: a folder where .*a\.wav would be written"):
        mirror(tmp_path, force=True).begin(recordings)


def test_standard_input_is_new_each_time(tmp_path: Path) -> None:
    recordings = gather(["-"]).recordings
    for _ in range(2):
        one = mirror(tmp_path)
        assert one.begin(recordings) == recordings
        save(one, recordings)
    assert names(tmp_path / "out") == [STATE, "stdin.txt"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_odd_names_are_known_again(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\udce9.wav"
    path.write_bytes(b"")
    recordings = gather([str(path)]).recordings
    save_in = mirror(tmp_path)
    save_in.begin(recordings)
    save(save_in, recordings)
    assert mirror(tmp_path).begin(recordings) == []
    assert (tmp_path / "out/a\nb\udce9.txt").exists()


def test_each_channel_has_its_file(tmp_path: Path, recordings: list[Recording]) -> None:
    def apart(form: str = "txt", force: bool = False) -> Mirror:
        return Mirror(tmp_path / "out", (form,), "s", force, lambda one: 2 if one.path.name == "a.wav" else 1)

    def said(one: Recording, channels: int) -> list[FileResult]:
        return [FileResult(str(one.path), Transcript("A"), channel=number + 1) for number in range(channels)]

    first, second = recordings
    one = apart()
    assert one.begin(recordings) == recordings
    one.save(first, said(first, 2), stamp(first.path))
    assert names(tmp_path / "out") == [STATE, "a.1.txt", "a.2.txt"]
    assert apart().begin(recordings) == [second]
    one = apart("ctm")
    one.begin([first])
    one.save(first, said(first, 2), stamp(first.path))
    assert "a.ctm" in names(tmp_path / "out")
    assert apart().begin([first]) == [] == apart("ctm").begin([first])
    (tmp_path / "out/deep").mkdir()
    (tmp_path / "out/deep/b.2.txt").write_text("of a channel that there is not")
    assert apart().begin([second]) == [second]
    (tmp_path / "out/deep/b.1.txt").write_text("the true words")
    apart().begin([first])
    assert apart().begin([second]) == [second]  # claimed before


def test_a_channel_of_others_is_not_written_over(tmp_path: Path, recordings: list[Recording]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.2.txt").write_text("the true words")
    with pytest.raises(MirrorError, match=r"a\.2\.txt: there already, and not made by an earlier run"):
        Mirror(tmp_path / "out", ("txt",), "s", False, lambda _: 2).begin(recordings)
    with pytest.raises(MirrorError, match=r"would both be written to .*a\.1\.txt"):
        Mirror(tmp_path / "out", ("txt",), "s", False, lambda _: 1).begin(
            [recordings[0], Recording(tmp_path / "in/a.flac", Path("a"))]
        )
