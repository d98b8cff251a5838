"""Manifests: written, moved, read; bad rows named by file and line."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.corpora import manifest
from asr.corpora.manifest import CorpusError, Utterance
from asr.errors import AsrError

GOOD = '{"id": "a", "audio": "a.wav", "duration": 1.5, "text": "HELLO"}'


def rows(folder: Path, *lines: str | bytes, end: bytes = b"\n") -> Path:
    path = folder / "m.jsonl"
    path.write_bytes(end.join(line.encode() if isinstance(line, str) else line for line in lines) + end)
    return path


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = words.map(lambda text: "".join(text.split())).filter(bool)
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
folders = st.sampled_from(["", "wav", "a/b", "..", "../other", "/somewhere/else"])
seconds = st.floats(0.001, 1e5).map(lambda value: round(value, 4))
utterances = st.lists(
    st.builds(
        lambda id, folder, name, duration, text, speaker, offset: (
            folder,
            name,
            Utterance(id, "", duration, text, speaker, offset),
        ),
        *(ids, folders, names.filter(lambda name: name not in (".", "..")), seconds, words, words, st.floats(0, 1e5)),
    ),
    min_size=1,
    unique_by=lambda row: row[2].id,
)


def placed(folder: Path, row: tuple[str, str, Utterance]) -> Utterance:
    below, name, one = row
    audio = os.path.normpath(folder / below / name)
    return Utterance(one.id, audio, one.duration, one.text, one.speaker, one.offset)


@given(utterances)
@settings(deadline=None, max_examples=30)
def test_read_inverts_write(made: list[tuple[str, str, Utterance]]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name).resolve() / "data"
        original = [placed(folder, row) for row in made]
        assert manifest.write(folder / "m.jsonl", original) == len(original)
        assert manifest.read(folder / "m.jsonl") == original
        assert len((folder / "m.jsonl").read_bytes().splitlines()) == len(original)
        assert [path.name for path in folder.iterdir()] == ["m.jsonl"]


def test_write_omits_unknown_fields(tmp_path: Path) -> None:
    first = Utterance("a", str(tmp_path / "wav" / "a.flac"), 1.23456, "ÉTÉ", "s1", 2.5)
    manifest.write(tmp_path / "m.jsonl", [first, Utterance("b", str(tmp_path / "b.wav"), 2.0)])
    assert (tmp_path / "m.jsonl").read_text(encoding="utf-8") == (
        '{"id": "a", "audio": "wav/a.flac", "duration": 1.2346, "text": "ÉTÉ", "speaker": "s1", "offset": 2.5}\n'
        '{"id": "b", "audio": "b.wav", "duration": 2.0, "text": ""}\n'
    )


def test_audio_paths_follow_a_moved_manifest(tmp_path: Path) -> None:
    (tmp_path / "old" / "wav").mkdir(parents=True)
    (tmp_path / "old" / "wav" / "a.wav").touch()
    manifest.write(tmp_path / "old" / "m.jsonl", [Utterance("a", str(tmp_path / "old" / "wav" / "a.wav"), 1.0)])
    shutil.move(tmp_path / "old", tmp_path / "new")
    [moved] = manifest.read(tmp_path / "new" / "m.jsonl")
    assert moved.audio == str(tmp_path / "new" / "wav" / "a.wav")
    assert Path(moved.audio).exists()


def test_audio_paths_do_not_depend_on_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    rows(tmp_path / "data", GOOD)
    monkeypatch.chdir(tmp_path)
    [one] = manifest.read("data/m.jsonl")
    assert one.audio == str(tmp_path / "data" / "a.wav")
    monkeypatch.chdir(tmp_path / "data")
    assert manifest.read("m.jsonl") == [one]
    assert manifest.read("../data/m.jsonl") == [one]


def test_absolute_audio_path_is_kept(tmp_path: Path) -> None:
    [one] = manifest.read(rows(tmp_path, GOOD.replace("a.wav", "/corpus/x/../a.wav")))
    assert one.audio == "/corpus/a.wav"


def test_file_name_of_any_bytes(tmp_path: Path) -> None:
    audio = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    manifest.write(tmp_path / "m.jsonl", [Utterance("a", audio, 1.0, "É")])
    assert manifest.read(tmp_path / "m.jsonl") == [Utterance("a", audio, 1.0, "É")]


# What is allowed


def test_optional_fields_have_defaults(tmp_path: Path) -> None:
    [one] = manifest.read(rows(tmp_path, '{"duration": 2, "audio": "a.wav", "id": "a"}'))
    assert one == Utterance("a", str(tmp_path / "a.wav"), 2.0, "", "", 0.0)
    assert isinstance(one.duration, float)
    assert isinstance(one.offset, float)


def test_integer_seconds_are_accepted(tmp_path: Path) -> None:
    [one] = manifest.read(rows(tmp_path, GOOD.replace("}", ', "offset": 3}')))
    assert one.offset == 3.0
    assert isinstance(one.offset, float)


@pytest.mark.parametrize(
    "lines",
    [
        [GOOD, GOOD.replace('"a"', '"b"')],
        ["", GOOD, "   ", "\t", GOOD.replace('"a"', '"b"'), "", ""],
        [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace('"a"', '"b"')],
        [f"  {GOOD}\t", GOOD.replace('"a"', '"b"')],
    ],
    ids=["plain", "blank lines", "byte order mark", "spaces"],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_read_accepts_line_ends_and_marks_of_editors(lines: list[str | bytes], end: bytes, tmp_path: Path) -> None:
    found = manifest.read(rows(tmp_path, *lines, end=end))
    assert [(one.id, one.text) for one in found] == [("a", "HELLO"), ("b", "HELLO")]


def test_read_accepts_missing_last_line_end(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(GOOD, encoding="utf-8")
    assert len(manifest.read(path)) == 1


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\u2028b", "a\u0085b", '"\\', "\x0b", "\0"])
def test_text_with_line_separators_stays_on_one_line(text: str, tmp_path: Path) -> None:
    original = [Utterance("a", str(tmp_path / "a.wav"), 1.0, text), Utterance("b", str(tmp_path / "b.wav"), 1.0)]
    manifest.write(tmp_path / "m.jsonl", original)
    assert manifest.read(tmp_path / "m.jsonl") == original


# What is refused


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hello", "not JSON: Expecting value at column 1"),
        ('{"id" "a"}', "not JSON: Expecting ':' delimiter at column 7"),
        (GOOD[:-1], "not JSON: Expecting ',' delimiter at column 63"),
        (GOOD + GOOD, "not JSON: Extra data at column 64"),
        ("[" * 100_000, "not JSON: maximum recursion depth exceeded"),
        ("[1]", "not a JSON object {…}"),
        ('"a"', "not a JSON object {…}"),
        ("null", "not a JSON object {…}"),
        ("{}", "no 'id'; a row needs id, audio, duration"),
        ('{"id": "a", "duration": 1}', "no 'audio'; a row needs id, audio, duration"),
        ('{"id": "a", "audio": "a.wav"}', "no 'duration'; a row needs id, audio, duration"),
        (
            GOOD.replace("text", "transcript"),
            "unknown key 'transcript'; known are id, audio, duration, features, text, speaker, offset",
        ),
        (GOOD.replace('"a"', "7"), "'id' must be a string, not 7"),
        (GOOD.replace('"a"', "null"), "'id' must be a string, not null"),
        (GOOD.replace('"a.wav"', '["a.wav"]'), "'audio' must be a string, not [\"a.wav\"]"),
        (GOOD.replace('"HELLO"', "true"), "'text' must be a string, not true"),
        (GOOD.replace("1.5", '"1.5"'), "'duration' must be a number, not \"1.5\""),
        (GOOD.replace("1.5", "true"), "'duration' must be a number, not true"),
        (GOOD.replace("1.5", "[1.5]"), "'duration' must be a number, not [1.5]"),
        (GOOD.replace("1.5", "null"), "'duration' must be a number, not null"),
        (GOOD.replace("}", ', "offset": false}'), "'offset' must be a number, not false"),
        (GOOD.replace("}", ', "speaker": 12}'), "'speaker' must be a string, not 12"),
        (GOOD.replace("1.5", "0"), "'duration' must be more than 0 seconds, not 0.0"),
        (GOOD.replace("1.5", "-1.5"), "'duration' must be more than 0 seconds, not -1.5"),
        (GOOD.replace("1.5", "NaN"), "'duration' must be more than 0 seconds, not nan"),
        (GOOD.replace("1.5", "Infinity"), "'duration' must be more than 0 seconds, not inf"),
        (GOOD.replace("1.5", "1e999"), "'duration' must be more than 0 seconds, not inf"),
        (GOOD.replace("1.5", "1" + "0" * 400), "'duration' must be more than 0 seconds, not inf"),
        (GOOD.replace("}", ', "offset": -0.1}'), "'offset' must be 0 seconds or more, not -0.1"),
        (GOOD.replace("}", ', "offset": NaN}'), "'offset' must be 0 seconds or more, not nan"),
        (GOOD.replace("}", ', "offset": -Infinity}'), "'offset' must be 0 seconds or more, not -inf"),
        (GOOD.replace('"a"', '""'), "id '' is empty or contains white space"),
        (GOOD.replace('"a"', '"a b"'), "id 'a b' is empty or contains white space"),
        (GOOD.replace('"a"', '"a\\u00a0b"'), "id 'a\\xa0b' is empty or contains white space"),
        (GOOD.replace("HELLO", "H\xe9").encode("latin-1"), "not UTF-8 (byte 58 is 0xE9)"),
    ],
)
def test_bad_row_error_names_file_and_line(line: str | bytes, said: str, tmp_path: Path) -> None:
    path = rows(tmp_path, GOOD.replace('"a"', '"first"'), "", line)
    with pytest.raises(AsrError) as caught:
        manifest.read(path)
    assert str(caught.value).startswith(f"{path}, line 3: {said}")
    assert "\n" not in str(caught.value)


def test_number_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    path = rows(tmp_path, GOOD.replace("1.5", "1" * 5000))
    with pytest.raises(CorpusError, match=r"m\.jsonl, line 1: not JSON: Exceeds the limit"):
        manifest.read(path)


def test_repeated_id_error_names_both_lines(tmp_path: Path) -> None:
    path = rows(tmp_path, GOOD, "", GOOD.replace('"a"', '"b"'), GOOD)
    with pytest.raises(CorpusError) as caught:
        manifest.read(path)
    assert str(caught.value) == f"{path}, line 4: id 'a' is already in line 1"


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n"])
def test_manifest_without_utterances_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        manifest.read(tmp_path / "m.jsonl")
    assert str(caught.value) == f"{tmp_path / 'm.jsonl'}: no utterances"


# Written whole or not at all


def breaking(folder: Path) -> Iterator[Utterance]:
    yield Utterance("new", str(folder / "new.wav"), 1.0)
    raise RuntimeError("the corpus is broken")


def test_failed_write_keeps_old_manifest(tmp_path: Path) -> None:
    path = rows(tmp_path, GOOD)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="the corpus is broken"):
        manifest.write(path, breaking(tmp_path))
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["m.jsonl"]


def test_failed_write_leaves_no_new_manifest(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the corpus is broken"):
        manifest.write(tmp_path / "m.jsonl", breaking(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_write_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "m.jsonl"

    def watching() -> Iterator[Utterance]:
        assert not path.exists()
        yield Utterance("a", str(tmp_path / "a.wav"), 1.0)
        assert not path.exists()

    assert manifest.write(path, watching()) == 1
    assert json.loads(path.read_text(encoding="utf-8"))["audio"] == "../../a.wav"


def test_write_follows_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    path = rows(tmp_path / "disk", GOOD)
    (tmp_path / "m.jsonl").symlink_to(path)
    utterances = manifest.read(tmp_path / "m.jsonl")
    manifest.write(tmp_path / "m.jsonl", [*utterances, Utterance("new", str(tmp_path / "new.wav"), 1.0)])
    assert (tmp_path / "m.jsonl").is_symlink()
    assert [one.id for one in manifest.read(path)] == ["a", "new"]
    # Paths are relative to the folder that the manifest really stands in.
    assert manifest.read(path)[1].audio == str(tmp_path / "new.wav")
    assert manifest.read(path) == manifest.read(tmp_path / "m.jsonl")


def test_utterance_has_slots() -> None:
    # A million of them are held at once.
    assert not hasattr(Utterance("a", "a.wav", 1.0), "__dict__")


def test_write_replaces_old_manifest(tmp_path: Path) -> None:
    path = rows(tmp_path, GOOD, GOOD.replace('"a"', '"b"'))
    assert manifest.write(str(path), manifest.read(path)[1:]) == 1
    assert [one.id for one in manifest.read(path)] == ["b"]


def test_join_keeps_the_order_of_manifests(tmp_path: Path) -> None:
    for folder, ids in (("a", "xy"), ("b", "z")):
        (tmp_path / folder).mkdir()
        rows = [Utterance(name, str(tmp_path / folder / f"{name}.wav"), 1.0, name.upper()) for name in ids]
        manifest.write(tmp_path / folder / "m.jsonl", rows)
    both = manifest.join([tmp_path / "a" / "m.jsonl", tmp_path / "b" / "m.jsonl"])
    assert [one.id for one in both] == ["x", "y", "z"]
    manifest.write(tmp_path / "all.jsonl", both)
    assert [one.audio for one in manifest.read(tmp_path / "all.jsonl")] == [one.audio for one in both]
    with pytest.raises(CorpusError, match=r"b/m\.jsonl: id 'z' is already in .*/all\.jsonl"):
        manifest.join([tmp_path / "all.jsonl", tmp_path / "b" / "m.jsonl"])


def test_join_leaves_out_repeated_audio(tmp_path: Path) -> None:
    for name, content in (("a.wav", b"1"), ("copy.wav", b"1"), ("other.wav", b"2")):
        (tmp_path / name).write_bytes(content)
    first = [
        Utterance("a", str(tmp_path / "a.wav"), 1.0, "A"),
        Utterance("a2", str(tmp_path / "a.wav"), 1.0, "B", "", 1),
    ]
    second = [
        Utterance("a", str(tmp_path / "a.wav"), 1.0, "A"),
        Utterance("b", str(tmp_path / "copy.wav"), 1.0, "X"),
        Utterance("c", str(tmp_path / "other.wav"), 1.0, "C"),
    ]
    paths = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for path, utterances in zip(paths, (first, second), strict=True):
        manifest.write(path, utterances)
    joined = manifest.join_unique(paths)
    assert [one.id for one in joined.utterances] == ["a", "a2", "c"]
    assert joined.repeated == [
        f"{paths[1]}: a has the audio of a in {paths[0]}",
        f"{paths[1]}: b has the audio of a in {paths[0]}, whose text differs: 'A', not 'X'",
    ]
    manifest.write(paths[1], [Utterance("a", str(tmp_path / "other.wav"), 1.0, "C")])
    with pytest.raises(CorpusError, match=r"2\.jsonl: id 'a' is already in .*1\.jsonl, of another recording$"):
        manifest.join_unique(paths)
