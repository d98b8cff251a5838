"""Corpora in their original layouts, on miniature trees; bad rows give one line each."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli import main
from asr.corpora import layouts, manifest
from asr.corpora.manifest import CorpusError, Utterance
from asr.errors import AsrError

RATE = 16_000


def sound(root: Path, name: str, seconds: float = 1.0, channels: int = 1) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(round(seconds * RATE), channels))
    soundfile.write(path, noise, RATE, format="NIST" if path.suffix == ".sph" else None)
    return path


def text(root: Path, name: str, content: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path


def json_lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def common_voice(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "clips/common_voice_en_1.mp3")
    sound(root, "clips/common_voice_en_2.mp3")
    header = "client_id\tpath\tsentence\tup_votes\n"
    text(root, "train.tsv", f'{header}c1\tcommon_voice_en_1.mp3\t"No," he said.\t2\n')
    text(root, "test.tsv", f"{header}c2\tcommon_voice_en_2\tYes.\t2\n")
    text(root, "validated.tsv", header)
    return {
        "train": [("common_voice_en_1", '"No," he said.', "c1", 0, 1)],
        "test": [("common_voice_en_2", "Yes.", "c2", 0, 1)],
    }


def ljspeech(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "wavs/LJ001-0001.wav")
    sound(root, "wavs/LJ001-0002.wav")
    text(root, "metadata.csv", 'LJ001-0001|in 1893|in eighteen "ninety-three"\nLJ001-0002|in being|in being\n')
    return {
        root.name: [
            ("LJ001-0001", 'in eighteen "ninety-three"', "", 0, 1),
            ("LJ001-0002", "in being", "", 0, 1),
        ]
    }


def kaldi(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "corpus/a.sph", 3)
    sound(root, "corpus/b c.flac")
    text(
        root,
        "data/train/wav.scp",
        "rec1 sph2pipe -f wav -p -c 1 corpus/a.sph |\nrec2 /usr/bin/flac -c -d -s 'corpus/b c.flac' |\n",
    )
    text(root, "data/train/segments", "s1-rec1-1 rec1 0.5 1.5\ns1-rec1-2 rec1 2 -1\ns2-rec2 rec2 0 1\n")
    text(root, "data/train/text", "s1-rec1-1 HELLO WORLD\ns1-rec1-2 AGAIN\ns2-rec2 YES\n")
    text(root, "data/train/utt2spk", "s1-rec1-1 s1\ns1-rec1-2 s1\ns2-rec2 s2\n")
    return {
        "train": [
            ("s1-rec1-1", "HELLO WORLD", "s1", 0.5, 1),
            ("s1-rec1-2", "AGAIN", "s1", 2, 1),
            ("s2-rec2", "YES", "s2", 0, 1),
        ]
    }


def speechocean762(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    expected = {}
    for name, speaker in (("test", "0003"), ("train", "0001")):
        sound(root, f"WAVE/SPEAKER{speaker}/{speaker}10011.WAV")
        text(root, f"{name}/wav.scp", f"{speaker}10011\tWAVE/SPEAKER{speaker}/{speaker}10011.WAV\n")
        text(root, f"{name}/text", f"{speaker}10011\tWE CALL IT BEAR\n")
        text(root, f"{name}/utt2spk", f"{speaker}10011\t{speaker}\n")
        expected[name] = [(f"{speaker}10011", "WE CALL IT BEAR", speaker, 0.0, 1.0)]
    return expected


def nemo(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "wav/1.wav", 2)
    rows = (
        {"audio_filepath": "wav/1.wav", "duration": 0.5, "text": "one", "offset": 0.25, "lang": "en"},
        {"audio_filepath": "wav/1.wav", "duration": 1, "text": "two", "offset": 1, "speaker": 7},
    )
    text(root, "train.json", json_lines(*rows))
    return {"train": [("wav/1-0000250", "one", "", 0.25, 0.5), ("wav/1-0001000", "two", "7", 1, 1)]}


def lhotse(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "r1.wav", 3)
    source = {"type": "file", "channels": [0], "source": "r1.wav"}
    text(root, "x_recordings_dev.jsonl", json_lines({"id": "r1", "sources": [source], "sampling_rate": RATE}))
    row = {"id": "u1", "recording_id": "r1", "start": 0.5, "duration": 2, "channel": 0, "text": "hi", "speaker": "s"}
    (root / "x_supervisions_dev.jsonl.gz").write_bytes(gzip.compress(json_lines(row).encode()))
    return {"x_dev": [("u1", "hi", "s", 0.5, 2)]}


def audio_folder_csv(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "train/a.wav")
    text(root, "train/metadata.csv", '\ufefffile_name,transcription\r\na.wav,"Hello, world"\r\n')
    return {"train": [("a", "Hello, world", "", 0, 1)]}


def audio_folder_jsonl(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "data/a.wav")
    text(root, "metadata.jsonl", json_lines({"file_name": "data/a.wav", "text": "Hello", "other": 1}))
    return {root.name: [("data/a", "Hello", "", 0, 1)]}


def tedlium(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "legacy/dev/sph/Al_2006.sph", 20)
    lines = (
        "Al_2006 1 Al_2006 1.25 3.5 <o,f0,male> i 'm here(2) {SMACK} today",
        "Al_2006 1 Al_2006 4 5 <o,f0,male> ignore_time_segment_in_scoring",
        "Al_2006 1 Al_2006 6 7 <o,f0,male> what <unk> said",
    )
    text(root, "legacy/dev/stm/Al_2006.stm", "\n".join(lines))
    return {"dev": [("Al_2006-0001250", "i'm here today", "Al_2006", 1.25, 2.25)]}


def voxforge(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "ralf-20080112-a/wav/a0001.wav")
    sound(root, "anonymous-20090102-b/flac/b1.flac")
    text(root, "ralf-20080112-a/etc/PROMPTS", "ralf-20080112-a/mfc/a0001 AUTHOR OF IT\n")
    text(root, "ralf-20080112-a/etc/prompts-original", "a0001 Author of it.\n")
    text(root, "anonymous-20090102-b/etc/prompts-original", "b1 Yes.\n")
    return {
        root.name: [
            ("anonymous-20090102-b-b1", "Yes.", "anonymous-20090102-b", 0, 1),
            ("ralf-20080112-a-a0001", "AUTHOR OF IT", "ralf", 0, 1),
        ]
    }


def mls(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "train/audio/1/2/1_2_000003.flac")
    sound(root, "dev/audio/4/5/4_5_000006.wav")
    text(root, "train/transcripts.txt", "1_2_000003\tguten tag\n")
    text(root, "dev/transcripts.txt", "4_5_000006\tja\r\n")
    return {"train": [("1_2_000003", "guten tag", "1", 0, 1)], "dev": [("4_5_000006", "ja", "4", 0, 1)]}


def fleurs(root: Path) -> dict[str, list[tuple[str, str, str, float, float]]]:
    sound(root, "audio/dev/10.wav")
    sound(root, "audio/dev/11.wav")
    row = '12\t{}.wav\t"Hi," he said.\thi he said\th i | h e\t16000\tMALE\n'
    text(root, "dev.tsv", row.format(10) + row.format(11))
    return {"dev": [("10", "hi he said", "", 0, 1), ("11", "hi he said", "", 0, 1)]}


LAYOUTS = {
    common_voice: "Common Voice",
    ljspeech: "LJSpeech",
    speechocean762: "Kaldi",
    nemo: "NeMo",
    lhotse: "Lhotse",
    audio_folder_csv: "Hugging Face audio folder",
    audio_folder_jsonl: "Hugging Face audio folder",
    tedlium: "TED-LIUM",
    voxforge: "VoxForge",
    mls: "MLS",
    fleurs: "FLEURS",
}


def values(row: Utterance) -> tuple[str, str, str, float, float]:
    return row.id, row.text, row.speaker, row.offset, round(row.duration, 2)


@pytest.mark.parametrize("make", LAYOUTS, ids=lambda make: make.__name__)
def test_the_layout_is_found_and_read(tmp_path: Path, make, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    expected = make(tmp_path / "corpus")
    found = layouts.read(tmp_path / "corpus")
    assert found.layout == LAYOUTS[make]
    assert {name: list(map(values, rows)) for name, rows in found.sets.items()} == expected
    assert main(["prepare", "corpus", str(tmp_path / "corpus"), "--out", str(tmp_path / "out"), "-q"]) == 0
    assert f"layout of {LAYOUTS[make]}\n" in capsys.readouterr().out
    for name, rows in expected.items():
        assert list(map(values, manifest.read(tmp_path / "out" / f"{name}.jsonl"))) == rows


def test_kaldi_folder_with_pipes_is_read_without_running_them(tmp_path: Path) -> None:
    expected = kaldi(tmp_path)
    found = layouts.read(tmp_path / "data")
    assert {name: list(map(values, rows)) for name, rows in found.sets.items()} == expected
    assert {Path(row.audio).name for row in found.sets["train"]} == {"a.sph", "b c.flac"}


@pytest.mark.parametrize(
    "pipe",
    [
        "touch {mark} |",
        "sox a.wav -t wav - speed 1.1 |",
        "sph2pipe -f wav a.sph; touch {mark} |",
        "sph2pipe -f wav a.sph | touch {mark} |",
        "flac -c -d -s $(touch {mark}) |",
        "flac -c -d -s `touch {mark}` |",
        "flac -o {mark} -d a.flac |",
        "cat a.wav > {mark} |",
        "sph2pipe -t 1:2 a.sph |",
        "flac -c -d 'a.flac |",
        "|",
    ],
)
def test_other_programs_are_refused_and_never_run(tmp_path: Path, pipe: str) -> None:
    kaldi(tmp_path)
    mark = tmp_path / "mark"
    text(tmp_path, "data/train/wav.scp", f"rec0 corpus/a.sph\nrec1 {pipe.format(mark=mark)}\n")
    with pytest.raises(CorpusError, match=r"wav\.scp, line 2: .*it is not executed; convert the recording") as caught:
        layouts.read(tmp_path / "data" / "train")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_one_channel_of_a_kaldi_recording_is_refused(tmp_path: Path) -> None:
    kaldi(tmp_path)
    sound(tmp_path, "corpus/a.sph", 3, channels=2)
    with pytest.raises(CorpusError, match=r"wav\.scp, line 1: one channel of 2; write it to a file of its own$"):
        layouts.read(tmp_path / "data")


def test_all_missing_files_are_listed_and_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ljspeech(tmp_path / "lj")
    path = text(tmp_path, "lj/metadata.csv", "x0|text|text\nLJ001-0001|good|good\nx1|text|text\n")
    rows = ((1, "x0"), (3, "x1"))
    missing = [f"{path}, row {row}: {path.parent / 'wavs' / name}.wav: no such file" for row, name in rows]
    command = ["prepare", "corpus", str(tmp_path / "lj"), "--out", str(tmp_path / "out"), "-q"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert all(message in error for message in missing)
    assert not (tmp_path / "out" / "lj.jsonl").exists()
    assert main([*command, "--skip-bad"]) == 0
    error = capsys.readouterr().err
    assert all(message in error for message in missing)
    assert [row.id for row in manifest.read(tmp_path / "out" / "lj.jsonl")] == ["LJ001-0001"]


BAD = [
    (common_voice, "train.tsv", "client_id\tpath\n", "train.tsv, row 1: no column 'sentence'"),
    (common_voice, "train.tsv", "client_id\tpath\tsentence\nc\ta.mp3\tx\ty\n", "train.tsv, row 2: 4 cells, expected 3"),
    (common_voice, "train.tsv", "client_id\tpath\tsentence\nc\ta.mp3\t\n", "train.tsv, row 2: the path or the"),
    (ljspeech, "metadata.csv", "LJ1|a|b|c\n", "metadata.csv, row 1: 'LJ1|a|b|c' is not"),
    (ljspeech, "metadata.csv", "LJ1|a\n\nLJ1|b\n", "metadata.csv, row 3: id 'LJ1' is already in"),
    (speechocean762, "train/text", "x\n", "text, line 1: 'x' has nothing after it"),
    (speechocean762, "train/text", "x HELLO\n", "text, line 1: recording 'x' is not in"),
    (speechocean762, "train/text", "x A\nx B\n", "text, line 2: 'x' is already in"),
    (speechocean762, "train/segments", "000110011 r 2 1\n", "segments, line 1: segment 2–1 s"),
    (speechocean762, "train/segments", "000110011 r one\n", "segments, line 1: 'r one' is not"),
    (nemo, "train.json", '{"audio_filepath": 1}\n', "train.json, line 1: 'audio_filepath' must be a string, not 1"),
    (nemo, "train.json", '{"audio_filepath": "a", "duration": 1e999, "text": ""}', "train.json, line 1: offset 0 s"),
    (nemo, "train.json", '{"audio_filepath"\n', "train.json, line 1: not JSON"),
    (
        lhotse,
        "x_recordings_dev.jsonl",
        '{"id": "r1", "sources": [{"type": "command", "source": "touch x"}]}',
        "not run",
    ),
    (lhotse, "x_supervisions_dev.jsonl.gz", "not gzip", "damaged or truncated gzip file"),
    (audio_folder_jsonl, "metadata.jsonl", '{"file_name": "a.wav"}', "metadata.jsonl, line 1: no text"),
    (tedlium, "legacy/dev/stm/Al_2006.stm", "Al_2006 1 Al\n", "Al_2006.stm, line 1: 'Al_2006 1 Al' is not"),
    (tedlium, "legacy/dev/stm/Al_2006.stm", "Al_2006 1 Al 5 4 <o> a\n", "Al_2006.stm, line 1: segment 5–4 s"),
    (voxforge, "ralf-20080112-a/etc/PROMPTS", "a0001\n", "PROMPTS, line 1: 'a0001' is not 'NAME TEXT'"),
    (mls, "train/transcripts.txt", "1_2 text\n", "transcripts.txt, line 1: '1_2 text' is not"),
    (fleurs, "dev.tsv", "1\t10.wav\thi\n", "dev.tsv, row 1: 3 cells, expected 7"),
]


@pytest.mark.parametrize(
    ("make", "name", "content", "message"), BAD, ids=lambda value: getattr(value, "__name__", None)
)
def test_bad_rows_give_one_line(tmp_path: Path, make, name: str, content: str, message: str) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path)
    text(tmp_path, name, content)
    with pytest.raises(AsrError) as caught:
        layouts.read(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [common_voice, ljspeech, speechocean762, mls, fleurs], ids=lambda make: make.__name__)
def test_encodings_and_line_ends(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    expected = make(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".tsv", ".csv", ".txt") or path.name == "text"]
    originals = {path: path.read_bytes() for path in files}
    for path, content in originals.items():
        path.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    found = layouts.read(tmp_path)
    assert {name: list(map(values, rows)) for name, rows in found.sets.items()} == expected
    for path, content in originals.items():
        path.write_bytes(content.rstrip() + b" \xe9\n" if path.suffix != ".tsv" else content.replace(b"s", b"\xe9"))
    with pytest.raises(AsrError, match=r"line 1: not UTF-8|line 2: not UTF-8"):
        layouts.read(tmp_path)


def test_an_unknown_layout_is_an_error(tmp_path: Path) -> None:
    sound(tmp_path, "a.wav")
    with pytest.raises(CorpusError, match="none of the layouts Common Voice, LJSpeech, Kaldi"):
        layouts.read(tmp_path)
    with pytest.raises(CorpusError, match="no such file or folder"):
        layouts.read(tmp_path / "missing")
