import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpora import an4
from asr.corpora.manifest import CorpusError, Utterance

RATE = 16_000
SPEECH = Path(os.environ.get("ASR_TEST_SPEECH", Path(__file__).resolve().parents[3] / "speech"))
SPEAKERS = [f"f{letter}" for letter in "abcdefghijkl"]


def write_set(folder: Path, name: str, speakers: list[str], utterances: int, line: str) -> None:
    """Write a list of the distribution and its sound files; `line` is the form of a transcript."""
    wav = {"train": "an4_clstk", "test": "an4test_clstk"}[name]
    noise = np.random.default_rng(0).normal(scale=0.1, size=RATE // 20).astype(np.float32)
    told, listed = "", ""
    for speaker in speakers:
        (folder / "wav" / wav / speaker).mkdir(parents=True)
        for index in range(utterances):
            id = f"an{index}-{speaker}-b"
            told += line.format(text="ENTER SIX b", id=id) + "\n"
            listed += f"{wav}/{speaker}/{id}\n"
            soundfile.write(folder / "wav" / wav / speaker / f"{id}.sph", noise, RATE, format="NIST", subtype="PCM_16")
    (folder / "etc").mkdir(exist_ok=True)
    (folder / "etc" / f"an4_{name}.transcription").write_text(told)
    (folder / "etc" / f"an4_{name}.fileids").write_text(listed)


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "an4"
    write_set(folder, "train", SPEAKERS, 12, "<s> {text} </s> ({id})")
    write_set(folder, "test", ["mx", "my"], 3, "{text} ({id})")
    return folder


@pytest.fixture
def copy(distribution: Path, tmp_path: Path) -> Path:
    """The distribution with lists of its own and shared sound files, to be damaged."""
    (tmp_path / "etc").mkdir()
    for path in (distribution / "etc").iterdir():
        (tmp_path / "etc" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "wav").symlink_to(distribution / "wav")
    return tmp_path


def test_read_drops_sentence_marks(distribution: Path) -> None:
    sets = an4.read(distribution)
    assert list(sets) == ["train", "dev", "test"]
    assert [len(sets[name]) for name in sets] == [36, 108, 6]
    audio = distribution / "wav" / "an4test_clstk" / "mx" / "an0-mx-b.sph"
    assert sets["test"][0] == Utterance("an0-mx-b", str(audio), 0.05, "ENTER SIX B", "mx")
    assert {utterance.text for utterance in sets["train"]} == {"ENTER SIX B"}
    for utterances in sets.values():
        assert [utterance.id for utterance in utterances] == sorted(utterance.id for utterance in utterances)


def test_dev_is_whole_speakers_and_reproducible(distribution: Path) -> None:
    sets = an4.read(distribution.parent)
    dev, train = ({utterance.speaker for utterance in sets[name]} for name in ("dev", "train"))
    assert dev | train == set(SPEAKERS)
    assert not dev & train
    # The last of `printf fa | sha256sum` and so on, in order.
    assert train == {"fg", "fi", "fj"}
    assert an4.read(distribution) == sets


def test_read_finds_converted_copies(copy: Path, distribution: Path) -> None:
    (copy / "wav").unlink()
    for path in (distribution / "wav").rglob("*.sph"):
        target = copy / "wav" / path.relative_to(distribution / "wav").with_suffix(".wav")
        target.parent.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(path)
        soundfile.write(target, samples, rate)
    assert {Path(utterance.audio).suffix for utterance in an4.read(copy)["test"]} == {".wav"}


def test_progress_ends_with_all_files(distribution: Path) -> None:
    seen: list[tuple[int, int]] = []
    an4.read(distribution, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (150, 150)


def test_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"contains no etc/an4_train\.transcription; give the folder an4/ or"):
        an4.read(tmp_path)


def edit(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "etc" / name
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "etc" / name).unlink()


TELLS, LISTS = "an4_test.transcription", "an4_test.fileids"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove(TELLS), r"an4_test\.transcription: no such file"),
        (remove(LISTS), r"an4_test\.fileids: no such file"),
        (edit(TELLS, lambda rows: rows[:-1]), r"an4_test\.transcription: 5 utterances, an4_test\.fileids has 6"),
        (edit(TELLS, lambda rows: ["ENTER", *rows[1:]]), r"an4_test\.transcription, line 1: 'ENTER' is not '<s> TEXT"),
        (
            edit(TELLS, lambda rows: [*rows[:1], "<s> </s> (an1-mx-b)", *rows[2:]]),
            r"transcription, line 2: '<s> </s> \(",
        ),
        (
            edit(LISTS, lambda rows: [rows[1], rows[0], *rows[2:]]),
            r"transcription, line 1: id 'an0-mx-b', but an4_test\.fileids, line 1, has 'an4test_clstk/mx/an1-mx-b'",
        ),
        (
            edit(LISTS, lambda rows: ["an4test_clstk/none/an0-mx-b", *rows[1:]]),
            r"transcription, line 1: no sound file .*wav/an4test_clstk/none/an0-mx-b\.sph",
        ),
        (
            edit("an4_train.transcription", lambda rows: ["ENTÉR (x)", *rows[1:]]),
            r"train\.transcription, line 1: id 'x'",
        ),
    ],
)
def test_damage_is_named_with_file_and_line(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copy)
    with pytest.raises(CorpusError, match=message) as error:
        an4.read(copy)
    assert "\n" not in str(error.value)


def test_repeated_id_is_refused(copy: Path) -> None:
    for name in (TELLS, LISTS):
        edit(name, lambda rows: [*rows, rows[0]])(copy)
    with pytest.raises(CorpusError, match=r"line 7: id 'an0-mx-b' is already in .*transcription, line 1"):
        an4.read(copy)


def test_training_list_too_short_to_hold_out_from_is_refused(copy: Path) -> None:
    for name in ("an4_train.transcription", "an4_train.fileids"):
        edit(name, lambda rows: rows[:100])(copy)
    with pytest.raises(
        CorpusError, match=r"an4_train\.fileids: 100 utterances of 9 speakers are too few to hold out 100"
    ):
        an4.read(copy)


def test_real_an4_reads() -> None:
    if not (SPEECH / "an4").is_dir():
        pytest.skip(f"{SPEECH / 'an4'} not found: set ASR_TEST_SPEECH")
    sets = an4.read(SPEECH)
    assert [len(sets[name]) for name in ("train", "dev", "test")] == [846, 102, 130]
    speakers = [{utterance.speaker for utterance in sets[name]} for name in ("train", "dev", "test")]
    assert [len(names) for names in speakers] == [66, 8, 10]
    assert not speakers[0] & speakers[1]
    texts = {utterance.id: utterance.text for name in sets for utterance in sets[name]}
    assert texts["an251-fash-b"] == "YES"
    assert texts["an406-fcaw-b"] == "RUBOUT G M E F THREE NINE"
    assert set("".join(texts.values())) <= set(" ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert all(0.5 < utterance.duration < 7 for name in sets for utterance in sets[name])
