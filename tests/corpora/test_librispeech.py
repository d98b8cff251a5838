import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpora import librispeech, manifest
from asr.corpora.manifest import CorpusError, Utterance
from asr.errors import AsrError

RATE = 16_000
SPEECH = Path(os.environ.get("ASR_TEST_SPEECH", Path(__file__).resolve().parents[3] / "speech"))


def sound(path: Path, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(scale=0.1, size=round(seconds * RATE)).astype(np.float32)
    # libsndfile knows Opus in an Ogg container, but not the suffix.
    opus = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    soundfile.write(path, noise, RATE, **opus)
    return path


def chapter(tree: Path, subset: str, speaker: str, number: str, texts: list[str], suffix: str = ".flac") -> Path:
    """Write one chapter with an utterance for each text, 0.1 s, 0.2 s, … long, and return its transcript."""
    folder = tree / subset / speaker / number
    rows = []
    for index, text in enumerate(texts):
        sound(folder / f"{speaker}-{number}-{index:04d}{suffix}", 0.1 * (index + 1))
        rows.append(f"{speaker}-{number}-{index:04d} {text}\n")
    transcript = folder / f"{speaker}-{number}.trans.txt"
    transcript.write_text("".join(rows), encoding="utf-8")
    return transcript


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "LibriSpeech"
    chapter(tree, "dev-clean", "84", "121123", ["GO DO YOU HEAR", "BUT IN LESS THAN FIVE MINUTES"])
    chapter(tree, "dev-clean", "174", "50561", ["FORGOTTEN TOO"])
    chapter(tree, "train", "84", "1", ["IT'S HERE"])
    (tree / "README.TXT").write_text("read me")
    return tree


def transcript(tree: Path) -> Path:
    return tree / "dev-clean" / "84" / "121123" / "84-121123.trans.txt"


def test_read_sorts_utterances_by_id(tree: Path) -> None:
    utterances = librispeech.read(tree.parent, "dev-clean")
    assert [utterance.id for utterance in utterances] == ["174-50561-0000", "84-121123-0000", "84-121123-0001"]
    audio = tree / "dev-clean" / "84" / "121123" / "84-121123-0001.flac"
    assert utterances[2] == Utterance("84-121123-0001", str(audio), 0.2, "BUT IN LESS THAN FIVE MINUTES", "84")


def test_read_accepts_the_tree_itself_and_relative_paths(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent.parent)
    relative = Path(tree.parent.name, "LibriSpeech")
    assert librispeech.read(relative, "train") == librispeech.read(str(tree.parent), "train")


def test_subset_can_be_written_as_a_manifest_and_read_again(tree: Path) -> None:
    utterances = librispeech.read(tree, "dev-clean")
    manifest.write(tree.parent / "dev.jsonl", utterances)
    assert manifest.read(tree.parent / "dev.jsonl") == utterances


@pytest.mark.parametrize("suffix", [".opus", ".ogg", ".wav", ".mp3", ".FLAC"])
def test_read_finds_other_sound_formats(tmp_path: Path, suffix: str) -> None:
    chapter(tmp_path, "test", "1", "2", ["ONE", "TWO"], suffix)
    utterances = librispeech.read(tmp_path, "test")
    assert [Path(utterance.audio).suffix for utterance in utterances] == [suffix, suffix]
    assert utterances[1].duration == pytest.approx(0.2, abs=0.08)


def test_read_prefers_the_original_format(tree: Path) -> None:
    sound(transcript(tree).with_name("84-121123-0000.wav"))
    utterances = librispeech.read(tree, "dev-clean")
    assert {Path(utterance.audio).suffix for utterance in utterances} == {".flac"}


def test_read_accepts_windows_line_ends_marks_tabs_and_blank_lines(tree: Path) -> None:
    path = transcript(tree)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n").replace(b"0000 ", b"0000\t"))
    assert [utterance.text for utterance in librispeech.read(tree, "dev-clean")][1] == "GO DO YOU HEAR"


def test_read_ignores_hidden_files(tree: Path) -> None:
    folder = transcript(tree).parent
    (folder / "._84-121123-0000.flac").write_bytes(b"\0")
    (folder / "._84-121123.trans.txt").write_bytes(b"\xff")
    (tree / "dev-clean" / ".cache").mkdir()
    assert len(librispeech.read(tree, "dev-clean")) == 3


def test_progress_ends_with_all_files(tree: Path) -> None:
    for index in range(2, 40):
        chapter(tree, "train", "84", str(index), ["IT'S HERE"])
    seen: list[tuple[int, int]] = []
    librispeech.read(tree, "train", lambda done, total: seen.append((done, total)))
    assert seen == [(32, 39), (39, 39)]


def test_unknown_subset_error_lists_subsets(tree: Path) -> None:
    (tree / "other").mkdir()
    with pytest.raises(CorpusError, match=r"no subset 'dev' in it, only dev-clean, train; official subsets are dev-c"):
        librispeech.read(tree.parent, "dev")


def test_missing_official_subset_error_suggests_download(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"'test-clean' in it, only dev-clean, train; --download fetches it"):
        librispeech.read(tree, "test-clean")
    with pytest.raises(CorpusError, match=r"none: no such folder.*'test-clean'; --download fetches it"):
        librispeech.read(tmp_path / "none", "test-clean")


@pytest.mark.parametrize("subset", ["", ".", "..", "../LibriSpeech", "dev-clean/84"])
def test_subset_that_is_not_a_folder_name_is_refused(tree: Path, subset: str) -> None:
    with pytest.raises(CorpusError, match="is not the name of a folder"):
        librispeech.read(tree, subset)


def test_root_that_is_the_subset_is_refused(tree: Path) -> None:
    with pytest.raises(CorpusError, match=r"this is the subset itself; give its parent folder"):
        librispeech.read(tree / "dev-clean", "dev-clean")


def test_folder_without_transcripts_is_refused(tree: Path) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"empty: no <speaker>/<chapter>/\*\.trans\.txt in it"):
        librispeech.read(tree, "empty")


Damage = Callable[[Path], None]


def without_audio(path: Path) -> None:
    path.with_name("84-121123-0001.flac").unlink()


def without_line(path: Path) -> None:
    sound(path.with_name("84-121123-0002.flac"))


def without_transcript(path: Path) -> None:
    path.unlink()


def without_text(path: Path) -> None:
    path.write_text("84-121123-0000 GO\n84-121123-0001  \n")


def not_utf8(path: Path) -> None:
    path.write_bytes(b"84-121123-0000 GO\n84-121123-0001 CAF\xc9\n")


def repeated(path: Path) -> None:
    path.write_text("84-121123-0000 GO\n84-121123-0001 ON\n84-121123-0000 GO\n")


def repeated_elsewhere(path: Path) -> None:
    tree = path.parents[3]
    sound(tree / "dev-clean" / "9" / "9" / "84-121123-0000.flac")
    (tree / "dev-clean" / "9" / "9" / "9-9.trans.txt").write_text("84-121123-0000 GO\n")


def empty_audio(path: Path) -> None:
    path.with_name("84-121123-0001.flac").write_bytes(b"")


def stray_audio(path: Path) -> None:
    sound(path.parents[1] / "lost.flac")


def stray_transcript(path: Path) -> None:
    (path.parents[2] / "lost.trans.txt").write_text("")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_audio, r"84-121123\.trans\.txt, line 2: no sound file 84-121123-0001\.flac"),
        (without_line, r"84-121123-0002\.flac: no line for it in 84-121123\.trans\.txt"),
        (without_transcript, r"84-121123-0000\.flac: no line for it in 84-121123\.trans\.txt"),
        (without_text, r"84-121123\.trans\.txt, line 2: '84-121123-0001' is not 'ID TEXT'"),
        (not_utf8, r"84-121123\.trans\.txt, line 2: not UTF-8 \(byte 19 is 0xC9\)"),
        (repeated, r"trans\.txt, line 3: id '84-121123-0000' is already in .*84-121123\.trans\.txt, line 1"),
        (repeated_elsewhere, r"9-9\.trans\.txt, line 1: id '84-121123-0000' is already in .*trans\.txt, line 1"),
        (empty_audio, r"84-121123\.trans\.txt, line 2: .*84-121123-0001\.flac: the file is empty \(0 bytes\)"),
        (stray_audio, r"84/lost\.flac: is outside <speaker>/<chapter>/"),
        (stray_transcript, r"dev-clean/lost\.trans\.txt: is outside <speaker>/<chapter>/"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damage_is_named_with_file_and_line(tree: Path, damage: Damage, message: str) -> None:
    damage(transcript(tree))
    with pytest.raises(AsrError, match=message) as error:
        librispeech.read(tree, "dev-clean")
    assert "\n" not in str(error.value)


def test_real_subset_reads() -> None:
    if not (SPEECH / "LibriSpeech" / "dev-clean").is_dir():
        pytest.skip(f"{SPEECH / 'LibriSpeech' / 'dev-clean'} not found: set ASR_TEST_SPEECH")
    utterances = librispeech.read(SPEECH, "dev-clean")
    # The whole of dev-clean, or some of its speakers.
    assert 1 <= len({utterance.speaker for utterance in utterances}) <= 40
    assert all(1.0 < utterance.duration < 36.0 for utterance in utterances)
    assert set("".join(utterance.text for utterance in utterances)) <= set(" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
