"""The output folder: what is written, what is up to date, and what is never written over."""

import os
from pathlib import Path

import pytest

from asr.files import OverwriteError
from asr.recognition.inputs import InputFile, find_inputs
from asr.recognition.output_folder import STATE, OutputError, OutputFolder
from asr.transcripts.records import FileResult, Transcript


@pytest.fixture
def recordings(tmp_path: Path) -> list[InputFile]:
    for name in ("a", "deep/b"):
        path = tmp_path / "in" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return find_inputs([str(tmp_path / "in")]).files


def output(folder: Path, *formats: str, settings: str = "s", force: bool = False, split: bool = False) -> OutputFolder:
    return OutputFolder(folder / "out", formats or ("txt",), settings, force, split)


def save(folder: OutputFolder, files: list[InputFile], text: str = "TEXT") -> None:
    for file in files:
        folder.save(file, [FileResult(str(file.path), Transcript(text))])


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_outputs_are_laid_out_like_the_recordings(tmp_path: Path, recordings: list[InputFile]) -> None:
    folder = output(tmp_path, "txt", "textgrid")
    assert folder.begin(recordings) == recordings
    save(folder, recordings)
    assert names(tmp_path / "out") == [STATE, "a.TextGrid", "a.txt", "deep/b.TextGrid", "deep/b.txt"]
    assert (tmp_path / "out/deep/b.txt").read_text() == "TEXT\n"
    assert folder.saved == 2


def test_transcripts_up_to_date_are_skipped(tmp_path: Path, recordings: list[InputFile]) -> None:
    first, second = recordings
    folder = output(tmp_path)
    folder.begin(recordings)
    save(folder, [first])
    assert output(tmp_path).begin(recordings) == [second]
    again = output(tmp_path)
    save(again, again.begin([second]))
    assert output(tmp_path).begin(recordings) == []
    assert output(tmp_path, settings="other").begin(recordings) == recordings
    assert output(tmp_path, force=True).begin(recordings) == recordings
    assert output(tmp_path, "txt", "srt").begin(recordings) == recordings
    first.path.write_bytes(b"longer than before")
    assert output(tmp_path).begin(recordings) == [first]
    (tmp_path / "out/deep/b.txt").unlink()
    assert output(tmp_path).begin(recordings) == recordings


def test_formats_add_up_while_settings_stay_the_same(tmp_path: Path, recordings: list[InputFile]) -> None:
    for form in ("txt", "srt"):
        folder = output(tmp_path, form)
        folder.begin(recordings)
        save(folder, recordings)
    assert output(tmp_path, "srt", "txt").begin(recordings) == []
    folder = output(tmp_path, "txt", settings="new")
    folder.begin(recordings)
    save(folder, recordings)
    assert output(tmp_path, "txt", settings="new").begin(recordings) == []
    assert output(tmp_path, "srt", settings="new").begin(recordings) == recordings


def test_recordings_in_a_renamed_folder_are_up_to_date(tmp_path: Path, recordings: list[InputFile]) -> None:
    folder = output(tmp_path)
    folder.begin(recordings)
    save(folder, recordings)
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    assert output(tmp_path).begin(find_inputs([str(tmp_path / "elsewhere")]).files) == []


@pytest.mark.parametrize("tail", [b'{"output": "a", "for', b"[1]\n", b"\xff\n", b'{"output": []}\n', b"\0" * 100])
def test_a_torn_state_loses_only_the_torn_line(tmp_path: Path, recordings: list[InputFile], tail: bytes) -> None:
    folder = output(tmp_path)
    folder.begin(recordings)
    save(folder, recordings[:1])
    with (tmp_path / "out" / STATE).open("ab") as state:
        state.write(tail)
    folder = output(tmp_path)
    assert folder.begin(recordings) == recordings[1:]
    save(folder, recordings[1:])
    assert output(tmp_path).begin(recordings) == []


def test_a_run_killed_before_its_state_was_written_may_write_again(tmp_path: Path, recordings: list[InputFile]) -> None:
    folder = output(tmp_path)
    save(folder, folder.begin(recordings[:1]))
    state = tmp_path / "out" / STATE
    digests, _ = state.read_text().splitlines()
    state.write_text(f"{digests}\n")
    assert output(tmp_path).begin(recordings) == recordings


def test_the_transcript_of_another_recording_is_not_written_over(tmp_path: Path) -> None:
    monday, tuesday = (tmp_path / day / "rec.wav" for day in ("mon", "tue"))
    for path in (monday, tuesday):
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
        os.utime(path, (1e9, 1e9))
    folder = output(tmp_path)
    save(folder, folder.begin(find_inputs([str(monday)]).files), "MONDAY")
    found = find_inputs([str(tuesday)]).files
    with pytest.raises(
        OutputError, match=r"out/rec\.txt: is the transcript of .*mon/rec\.wav, not of .*tue/rec\.wav; "
    ):
        output(tmp_path).begin(found)
    assert (tmp_path / "out/rec.txt").read_text() == "MONDAY\n"
    folder = output(tmp_path, force=True)
    save(folder, folder.begin(found), "TUESDAY")
    assert output(tmp_path).begin(found) == []
    # A copy has the same transcript.
    tuesday.replace(tmp_path / "rec.wav")
    assert output(tmp_path).begin(find_inputs([str(tmp_path / "rec.wav")]).files) == []


def test_a_changed_transcript_is_not_written_over(tmp_path: Path, recordings: list[InputFile]) -> None:
    folder = output(tmp_path)
    save(folder, folder.begin(recordings))
    (tmp_path / "out/a.txt").write_text("corrected by hand")
    assert output(tmp_path).begin(recordings) == []
    with pytest.raises(OutputError, match=r"out/a\.txt: was changed after an earlier run wrote it; move it, .*--force"):
        output(tmp_path, settings="new").begin(recordings)
    other = output(tmp_path, settings="new")
    assert other.begin(recordings[1:]) == recordings[1:]
    # Changed while the recording is computed.
    (tmp_path / "out/deep/b.txt").write_text("corrected by hand")
    with pytest.raises(OutputError, match="was changed"):
        save(other, recordings[1:])
    assert (tmp_path / "out/deep/b.txt").read_text() == "corrected by hand"
    folder = output(tmp_path, settings="new", force=True)
    save(folder, folder.begin(recordings))
    assert output(tmp_path, settings="new").begin(recordings) == []


def test_recordings_of_the_same_name_are_kept_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("in/mon/rec.wav", "in/tue/rec.wav", "in/wed.wav")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.parent.name.encode())
    folder = output(tmp_path)
    save(folder, folder.begin(find_inputs(list(map(str, paths))).files))
    assert names(tmp_path / "out") == [STATE, "mon/rec.txt", "tue/rec.txt", "wed.txt"]
    assert output(tmp_path).begin(find_inputs([str(tmp_path / "in/mon"), *map(str, paths[1:])]).files) == []


def test_temporary_files_of_killed_runs_are_removed(tmp_path: Path, recordings: list[InputFile]) -> None:
    running = os.getppid()
    kept = [f"a.txt.{running}.part", "c.txt.999999999.part", "a.txt.part"]
    (tmp_path / "out/deep").mkdir(parents=True)
    for name in (*kept, "a.txt.999999999.part", f"a.1.srt.{os.getpid()}.part", "deep/b.json.999999999.part"):
        (tmp_path / "out" / name).touch()
    output(tmp_path).begin(recordings)
    assert names(tmp_path / "out") == sorted(kept)


def test_nothing_is_written_after_close(tmp_path: Path, recordings: list[InputFile]) -> None:
    folder = output(tmp_path)
    folder.begin(recordings)
    folder.close()
    save(folder, recordings)
    assert names(tmp_path / "out") == []


def test_two_inputs_of_one_output_are_refused(tmp_path: Path, recordings: list[InputFile]) -> None:
    other = InputFile(tmp_path / "in" / "a.flac", Path("a"))
    with pytest.raises(OutputError, match=r"in/a\.wav and .*in/a\.flac would both be written to .*out/a\.txt; rename"):
        output(tmp_path).begin([*recordings, other])


def test_files_of_others_are_not_written_over(tmp_path: Path, recordings: list[InputFile]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.txt").write_text("the true words")
    with pytest.raises(OutputError, match=r"a\.txt: already exists and was not written by an earlier run; .*--force"):
        output(tmp_path).begin(recordings)
    assert names(tmp_path / "out") == ["a.txt"]
    folder = output(tmp_path, force=True)
    save(folder, folder.begin(recordings))
    assert (tmp_path / "out/a.txt").read_text() == "TEXT\n"
    assert output(tmp_path).begin(recordings[:1]) == []


def test_files_that_are_read_are_not_written_over(tmp_path: Path) -> None:
    sound, listing = tmp_path / "out/talk.txt", tmp_path / "out/list.txt"
    for path in (sound, listing):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    with pytest.raises(OverwriteError, match=r"talk\.txt: would overwrite the input file .*talk\.txt"):
        output(tmp_path, force=True).begin(find_inputs([str(sound)]).files)
    (tmp_path / "link").symlink_to(listing)
    with pytest.raises(OverwriteError, match=r"out/list\.txt: would overwrite the input file .*link"):
        output(tmp_path, force=True).begin([InputFile(tmp_path / "list.wav", Path("list"))], [tmp_path / "link"])


def test_a_folder_with_the_name_of_an_output_is_refused(tmp_path: Path, recordings: list[InputFile]) -> None:
    (tmp_path / "out/a.txt").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"a\.txt: a folder has the name of the output of .*a\.wav"):
        output(tmp_path, force=True).begin(recordings)


def test_standard_input_is_another_recording_each_time(tmp_path: Path) -> None:
    recordings = find_inputs(["-"]).files
    folder = output(tmp_path)
    save(folder, folder.begin(recordings))
    assert names(tmp_path / "out") == [STATE, "stdin.txt"]
    with pytest.raises(OutputError, match=r"stdin\.txt: is the transcript of an earlier standard input; .*--force"):
        output(tmp_path).begin(recordings)
    assert output(tmp_path, force=True).begin(recordings) == recordings


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_unusual_names_are_recognised_again(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\udce9.wav"
    path.write_bytes(b"")
    recordings = find_inputs([str(path)]).files
    folder = output(tmp_path)
    save(folder, folder.begin(recordings))
    assert output(tmp_path).begin(recordings) == []
    assert (tmp_path / "out/a\nb\udce9.txt").exists()


def test_split_channels_have_a_file_each(tmp_path: Path, recordings: list[InputFile]) -> None:
    def results(file: InputFile, channels: int) -> list[FileResult]:
        return [FileResult(str(file.path), Transcript("A"), channel=number + 1) for number in range(channels)]

    first, second = recordings
    folder = output(tmp_path, split=True)
    assert folder.begin(recordings) == recordings
    folder.save(first, results(first, 2))
    assert names(tmp_path / "out") == [STATE, "a.1.txt", "a.2.txt"]
    assert output(tmp_path, split=True).begin(recordings) == [second]
    folder = output(tmp_path, "ctm", split=True)
    folder.begin([first])
    folder.save(first, results(first, 2))
    assert "a.ctm" in names(tmp_path / "out")
    assert output(tmp_path, split=True).begin([first]) == [] == output(tmp_path, "ctm", split=True).begin([first])


def test_files_of_fewer_channels_than_before_are_removed(tmp_path: Path, recordings: list[InputFile]) -> None:
    for channels in (3, 1):
        folder = output(tmp_path, split=True, force=True)
        folder.begin(recordings[:1])
        folder.save(recordings[0], [FileResult("a", Transcript("A"), channel=n + 1) for n in range(channels)])
    assert names(tmp_path / "out") == [STATE, "a.1.txt"]


def test_channel_files_of_others_are_not_written_over(tmp_path: Path, recordings: list[InputFile]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.2.txt").write_text("the true words")
    with pytest.raises(OutputError, match=r"a\.2\.txt: already exists and was not written by an earlier run"):
        output(tmp_path, split=True).begin(recordings)
    with pytest.raises(OutputError, match=r"would both be written to .*a\.1\.txt"):
        output(tmp_path, split=True).begin([recordings[0], InputFile(tmp_path / "in/a.flac", Path("a"))])
