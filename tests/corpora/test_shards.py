"""Shards: written from manifests, read back, written by others, damaged, and their index."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr import audio
from asr.corpora import manifest, sharding, shards
from asr.corpora.manifest import BadRowsError, Utterance
from asr.corpora.sharding import ShardSettings
from asr.corpora.shards import Sample, Shard, ShardError
from tests.conftest import ROOT

SMALL = ShardSettings(megabytes=0.1)


@pytest.fixture(scope="module")
def rows(tones: Path) -> list[Utterance]:
    return manifest.read(tones / "train.jsonl")


def samples(written: list[Shard]) -> list[Sample]:
    return [sample for shard in written for sample in shards.verified(shard)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def flac_bytes(samples: NDArray[np.float64]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="FLAC")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> str:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            tar.addfile(member, io.BytesIO(content))
    return str(path)


# Writing


def test_shards_have_every_utterance_in_random_order(rows: list[Utterance], tmp_path: Path) -> None:
    written = sharding.write(rows, tmp_path, SMALL)
    assert len(written) > 3
    assert all(shard.bytes < 200_000 for shard in written)
    read = samples(written)
    assert [sample.utterance.id for sample in read] != [row.id for row in rows]
    by_id = {sample.utterance.id: sample for sample in read}
    assert set(by_id) == {row.id for row in rows}
    for row in rows:
        sample = by_id[row.id]
        assert sample.recording == Path(row.audio).read_bytes()
        assert (sample.utterance.text, sample.utterance.speaker) == (row.text, row.speaker)
        assert sample.utterance.duration == pytest.approx(row.duration, abs=1e-4)
    assert sum(shard.utterances for shard in written) == len(rows)
    assert sum(shard.hours for shard in written) == pytest.approx(sum(row.duration for row in rows) / 3600, rel=1e-3)
    index = shards.read_index(str(tmp_path / "shards.jsonl"))
    assert index.characters("upper") == " ABC"


def test_shards_are_webdataset_samples(rows: list[Utterance], tmp_path: Path) -> None:
    [shard] = sharding.write(rows[:5], tmp_path)
    with tarfile.open(shard.url) as tar:
        names = tar.getnames()
    assert names == [
        f"{number:09d}.{suffix}" for number in range(5) for suffix in (Path(rows[0].audio).suffix[1:], "json")
    ]


def test_webdataset_reads_shards(rows: list[Utterance], tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    [shard] = sharding.write(rows[:5], tmp_path)
    read = {json.loads(sample["json"])["id"] for sample in webdataset.WebDataset(shard.url, shardshuffle=False)}
    assert read == {row.id for row in rows[:5]}


def test_segment_is_written_losslessly(tmp_path: Path) -> None:
    samples_ = np.random.default_rng(1).integers(-32768, 32768, 48_000).astype(np.int16)
    soundfile.write(tmp_path / "long.wav", samples_, 16_000)
    row = Utterance("segment", str(tmp_path / "long.wav"), 1.0, "A", offset=0.5)
    [sample] = samples(sharding.write([row], tmp_path / "out"))
    read, rate = soundfile.read(sample.open(), dtype="int16")
    assert rate == 16_000
    assert np.array_equal(read, samples_[8000:24_000])


def test_interrupted_writing_is_continued(rows: list[Utterance], tmp_path: Path) -> None:
    sharding.write(rows, tmp_path / "whole", SMALL)

    calls = []

    def interrupt(done: float, total: float) -> None:
        calls.append((done, total))
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sharding.write(rows, tmp_path / "parts", SMALL, interrupt)
    assert not (tmp_path / "parts/shards.jsonl").exists()
    first = (tmp_path / "parts/000000.tar").stat().st_mtime_ns
    (tmp_path / "parts/000002.tar.99999999.part").write_bytes(b"of a killed process")
    sharding.write(rows, tmp_path / "parts", SMALL)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert (tmp_path / "parts/000000.tar").stat().st_mtime_ns == first
    # Again: nothing is left to do.
    sharding.write(rows, tmp_path / "parts", SMALL, interrupt)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_folder_with_other_shards_is_refused(rows: list[Utterance], tmp_path: Path) -> None:
    sharding.write(rows[:5], tmp_path)
    with pytest.raises(ShardError, match="has shards of other manifests or settings; choose another folder"):
        sharding.write(rows[:6], tmp_path)


def test_tar_files_of_others_are_not_replaced(rows: list[Utterance], tmp_path: Path) -> None:
    (tmp_path / "000000.tar").write_bytes(b"of somebody else")
    with pytest.raises(ShardError, match=r"000000\.tar: not written by this command, and could be replaced"):
        sharding.write(rows, tmp_path)
    assert [path.read_bytes() for path in tmp_path.glob("*.tar")] == [b"of somebody else"]


def test_unreadable_recordings_are_listed_or_left_out(rows: list[Utterance], tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    bad = [replace(row, audio=str(tmp_path / "bad.wav")) if index in (2, 5) else row for index, row in enumerate(rows)]
    with pytest.raises(BadRowsError, match=r"2 of 60 utterances cannot be used"):
        sharding.write(bad, tmp_path / "out")
    assert not (tmp_path / "out/shards.jsonl").exists()
    skipped: list[str] = []
    written = sharding.write(bad, tmp_path / "out", SMALL, on_skip=skipped.extend)
    assert {message.partition(":")[0] for message in skipped} == {rows[2].id, rows[5].id}
    assert len(samples(written)) == 58


# Reading


def test_reading_continues_at_any_utterance(rows: list[Utterance], tmp_path: Path) -> None:
    shard = sharding.write(rows, tmp_path, SMALL)[1]
    whole = list(shards.verified(shard))
    for index in (1, len(whole) // 2, len(whole) - 1):
        assert list(shards.verified(shard, whole[index].offset, whole[index].number)) == whole[index:]


def test_shards_that_others_wrote(tmp_path: Path) -> None:
    second = flac_bytes(np.zeros(16_000) + 0.1)
    url = write_tar(
        tmp_path / "theirs.tar",
        {
            "./a/one.FLAC": flac_bytes(np.zeros(8000) + 0.1),
            "./a/one.txt": b"\xef\xbb\xbfAB\n",
            "./a/one.cls": b"3",
            "./b/one.json": json.dumps({"transcript": "CA", "duration": 1, "lang": ["en"]}).encode(),
            "./b/one.flac": second,
        },
    )
    first, other = shards.read(url)
    assert first.utterance == Utterance("a/one", f"{url}, a/one.flac", 0.5, "AB")
    assert other.utterance == Utterance("b/one", f"{url}, b/one.flac", 1.0, "CA")
    assert other.recording == second
    [shard] = sharding.write_index([url], tmp_path / "index.jsonl")
    assert shard.utterances == 2
    assert shard.hours == pytest.approx(1.5 / 3600)
    assert json.loads((tmp_path / "index.jsonl").read_text())["shard"] == "theirs.tar"
    assert shard.characters == {"none": "ABC", "upper": "ABC"}


def test_a_shard_of_webdataset_itself() -> None:
    url = str(ROOT / "tests/saved/webdataset/webdataset.tar")
    first, second = (sample.utterance for sample in shards.read(url))
    assert first == Utterance("speaker/a", f"{url}, speaker/a.wav", 0.028, "ONE", "s1")
    assert second == Utterance("speaker/b", f"{url}, speaker/b.wav", 0.024, "TWO")


def test_index_of_own_shards_is_the_same(rows: list[Utterance], tmp_path: Path) -> None:
    written = sharding.write(rows, tmp_path, SMALL)
    assert sharding.write_index([shard.url for shard in written], tmp_path / "again.jsonl") == written


def test_shards_at_a_url(rows: list[Utterance], tmp_path: Path) -> None:
    written = sharding.write(rows, tmp_path, SMALL)
    remote = fsspec.filesystem("memory")
    remote.put(str(tmp_path), "/corpus", recursive=True)
    try:
        assert shards.find_index("memory://corpus") == "memory://corpus/shards.jsonl"
        index = shards.read_index("memory://corpus/shards.jsonl")
        assert [shard.url for shard in index.shards] == [f"memory://corpus/{Path(own.url).name}" for own in written]
        assert [sample.recording for sample in samples(list(index.shards))] == [
            sample.recording for sample in samples(written)
        ]
        [*_, last] = shards.verified(index.shards[0])
        assert list(shards.verified(index.shards[0], last.offset, last.number)) == [last]
    finally:
        remote.rm("/corpus", recursive=True)


def test_unknown_protocol_names_the_url() -> None:
    with pytest.raises(ShardError, match=r"^nowhere://a/b\.tar: "):
        list(shards.read("nowhere://a/b.tar"))


# Bad shards: the message names the shard and the member


GOOD = {"x.json": b'{"text": "A", "duration": 0.5}', "x.flac": flac_bytes(np.zeros(8000) + 0.1)}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"../x.flac": b""}, r"bad\.tar, \.\./x\.flac: a path outside the shard"),
        ({"/x.flac": b""}, r"bad\.tar, /x\.flac: a path outside the shard"),
        ({**GOOD, "x.json": b"[1]"}, r"bad\.tar, x\.json: not a JSON object"),
        ({**GOOD, "x.json": b'{"text": 1}'}, r"bad\.tar, x\.json: 'text' must be a string, not 1"),
        (
            {**GOOD, "x.json": b'{"text": "A", "duration": -1}'},
            r"x\.json: 'duration' must be a number of seconds, not -1",
        ),
        ({**GOOD, "x.json": b"\xff"}, r"bad\.tar, x\.json: not UTF-8"),
        ({"x.json": GOOD["x.json"]}, r"bad\.tar, x\.\*: no recording"),
        ({"x.flac": GOOD["x.flac"]}, r"bad\.tar, x\.\*: no text"),
        ({**GOOD, "x.wav": b""}, r"bad\.tar, x\.\*: recordings flac, wav; one is expected"),
        ({"x.txt": b"a" * (1 << 21)}, r"bad\.tar, x\.txt: 2097152 bytes; at most 1048576 are read"),
        ({"x.flac": b"no sound", "x.txt": b"A"}, r"bad\.tar, x\.flac: not a sound file"),
    ],
)
def test_bad_member_is_named(members: dict[str, bytes], message: str, tmp_path: Path) -> None:
    url = write_tar(tmp_path / "bad.tar", members)
    with pytest.raises((ShardError, audio.AudioError), match=message):
        list(shards.read(url))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tar"]


def test_link_in_a_shard_is_refused(tmp_path: Path) -> None:
    url = write_tar(tmp_path / "bad.tar", {"x.flac": b""}, tarfile.SYMTYPE)
    with pytest.raises(ShardError, match=r"bad\.tar, x\.flac: neither a file nor a folder"):
        list(shards.read(url))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.61, 0.9])
@pytest.mark.parametrize("start", [0, 1])
def test_truncated_shard_is_refused(rows: list[Utterance], keep: float, start: int, tmp_path: Path) -> None:
    [shard] = sharding.write(rows[:6], tmp_path)
    [*_] = whole = list(shards.verified(shard))
    content = Path(shard.url).read_bytes()
    Path(shard.url).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ShardError, match=r"000000\.tar: .*(truncated|ends after|without|empty)"):
        list(shards.verified(shard, whole[start].offset, whole[start].number))


def test_truncation_between_members_is_found(rows: list[Utterance], tmp_path: Path) -> None:
    [shard] = sharding.write(rows[:6], tmp_path)
    fourth = list(shards.verified(shard))[3]
    Path(shard.url).write_bytes(Path(shard.url).read_bytes()[: fourth.offset])
    with pytest.raises(
        ShardError, match=r"000000\.tar: ends after 000000002\.\w+ with 3 utterances .* the index has 6"
    ):
        list(shards.verified(shard))


def test_changed_shard_is_refused(rows: list[Utterance], tmp_path: Path) -> None:
    [shard] = sharding.write(rows[:6], tmp_path)
    content = Path(shard.url).read_bytes()
    Path(shard.url).write_bytes(content.replace(b'"text": "', b'"text": "C', 1)[: len(content)])
    with pytest.raises(ShardError, match=r"000000\.tar"):
        list(shards.verified(shard))
    other = content.replace(b'"duration": 0', b'"duration": 1').replace(b'"duration": 1', b'"duration": 2')
    Path(shard.url).write_bytes(other)
    with pytest.raises(ShardError, match="its SHA-256 is not that of the index"):
        list(shards.verified(shard))


def test_missing_shard_is_named(rows: list[Utterance], tmp_path: Path) -> None:
    [shard] = sharding.write(rows[:6], tmp_path)
    Path(shard.url).unlink()
    with pytest.raises(ShardError, match=r"000000\.tar: no such file"):
        list(shards.verified(shard))


def test_compressed_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:gz") as tar:
        tar.add(__file__, "x.txt")
    with pytest.raises(ShardError, match=r"x\.tar: truncated, damaged or not an uncompressed tar"):
        list(shards.read(str(tmp_path / "x.tar")))


LINE = {
    "shard": "a.tar",
    "utterances": 2,
    "hours": 0.1,
    "bytes": 10,
    "sha256": "9f",
    "characters": {"none": "A", "upper": "A"},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.pop("bytes"), "no 'bytes'"),
        (lambda row: row.update(shard="../a.tar"), r"shard '\.\./a\.tar' is not a path below the index"),
        (lambda row: row.update(shard="simplecache::s3://a.tar"), "is not a path below the index"),
        (lambda row: row.update(utterances="2"), "'utterances' must be int, not \"2\""),
        (lambda row: row.update(utterances=0), "0 utterances"),
        (lambda row: row.update(colour="red"), "unknown key 'colour'"),
        (lambda row: row.update(characters={}), "'characters' must have strings for none and upper"),
    ],
)
def test_bad_line_of_an_index(change: Callable[[dict[str, object]], object], message: str, tmp_path: Path) -> None:
    row = dict(LINE)
    change(row)
    path = tmp_path / "shards.jsonl"
    path.write_text(json.dumps(LINE) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(ShardError, match=rf"shards\.jsonl, line 2: .*{message}"):
        shards.read_index(str(path))


def test_manifest_is_no_index(tones: Path, tmp_path: Path) -> None:
    assert shards.find_index(tones / "train.jsonl") is None
    assert shards.find_index(tmp_path) == str(tmp_path / "shards.jsonl")
    with pytest.raises(ShardError, match=r"shards\.jsonl: no such file; `asr prepare index` writes"):
        shards.read_index(str(tmp_path / "shards.jsonl"))
