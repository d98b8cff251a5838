"""New utterances of the words of others: cut at pauses, each word in its own sound, one speaker in each."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr import manifest, recognition, splicing
from asr.aligning import align
from asr.alignment import Word
from asr.cli import main
from asr.manifest import Utterance
from asr.recognition import Recognizer
from asr.splicing import SpliceSettings, SplicingError, pieces, splice
from tests.conftest import SAMPLE_RATE, random_texts, spell

RATE = 1000
ONCE = SpliceSettings(copies=1, slowest=1.0, fastest=1.0)


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> Recognizer:
    return recognition.load(trained / "best.safetensors")


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    folder = tmp_path_factory.mktemp("spliced")
    rows = []
    for number, text in enumerate(random_texts(12, 31)):
        waveform, path = spell(text), folder / f"{number}.wav"
        soundfile.write(path, waveform, SAMPLE_RATE)
        rows.append(Utterance(path.stem, str(path), len(waveform) / SAMPLE_RATE, text, f"speaker/{number % 2}"))
    return rows


def test_a_cut_is_where_it_is_softest_between_two_words_and_only_in_a_pause() -> None:
    random = np.random.default_rng(0)
    waveform = random.normal(0, 0.1, 4000).astype(np.float32)
    waveform[950:1050] *= 0.001
    waveform[2950:3050] *= 0.5
    words = [Word(text, start, start + 0.8, 1.0) for text, start in (("A", 0.1), ("B", 1.1), ("C", 2.1), ("D", 3.1))]
    one = Utterance("one", "one.wav", 4.0)
    found = pieces(one, waveform, words, RATE, 22.0)
    # Between B and C there is no pause, between C and D one that is not soft enough.
    assert [(piece.text, piece.end) for piece in found] == [("A", found[0].end), ("B C D", 4000)]
    assert 950 <= found[0].end <= 1050
    assert [piece.start for piece in found] == [0, found[0].end]
    assert [piece.text for piece in pieces(one, waveform, words, RATE, 200.0)] == ["A B C D"]
    assert len(pieces(one, waveform, words, RATE, 0.0)) == 4
    assert pieces(one, waveform, [], RATE, 0.0) == []
    assert pieces(one, waveform[:0], words, RATE, 0.0) == []


def test_every_word_is_used_once_in_each_copy_with_its_sound_and_its_speaker(
    recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    made = list(splice(recognizer, align(recognizer, utterances), tmp_path, replace(ONCE, copies=3)))
    for speaker in ("speaker/0", "speaker/1"):
        words = Counter(word for one in utterances if one.speaker == speaker for word in one.text.split())
        new = Counter(word for one in made if one.speaker == speaker for word in one.text.split())
        assert new == Counter({word: 3 * count for word, count in words.items()})
    assert len({one.id for one in made}) == len(made)
    assert {one.text for one in made} - {one.text for one in utterances}
    longest = max(one.duration for one in utterances)
    for one in made:
        assert one.duration == pytest.approx(soundfile.info(one.audio).duration)
        assert one.duration <= longest or len(one.text.split()) == 1
    heard = recognizer.transcribe_utterances(made)
    errors = sum(one.text != found.text for one, found in zip(made, heard, strict=True))
    # The model is all but sure of these tones; at a seam it may miss one.
    assert errors <= 0.1 * len(made)


def test_the_seed_alone_says_what_is_made(recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path) -> None:
    made = [
        list(splice(recognizer, align(recognizer, utterances), tmp_path / name, SpliceSettings(copies=1, seed=seed)))
        for name, seed in (("one", 1), ("two", 1), ("three", 2))
    ]
    texts = [[one.text for one in found] for found in made]
    assert texts[0] == texts[1] != texts[2]
    files = [[Path(one.audio).read_bytes() for one in found] for found in made[:2]]
    assert files[0] == files[1]
    lengths = sum(one.duration for one in made[0]), sum(one.duration for one in utterances)
    assert lengths[0] != pytest.approx(lengths[1], rel=1e-3)


def test_recordings_are_held_by_parts(
    recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splicing, "_HELD", 3.0)
    made = list(splice(recognizer, align(recognizer, utterances), tmp_path, ONCE))
    said = Counter(word for one in made for word in one.text.split())
    assert said == Counter(word for one in utterances for word in one.text.split())
    assert len({one.audio for one in made}) == len(made)


def test_recordings_of_speakers_whose_names_become_one_are_kept_apart(
    recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    named = [replace(one, speaker=("a/b", "a b")[number % 2]) for number, one in enumerate(utterances)]
    made = list(splice(recognizer, align(recognizer, named), tmp_path / "set one", ONCE))
    assert len({one.audio for one in made}) == len({one.id for one in made}) == len(made)
    manifest.write(tmp_path / "made.jsonl", made)
    assert [one.text for one in manifest.read(tmp_path / "made.jsonl")] == [one.text for one in made]
    assert {one.speaker for one in made} == {"a/b", "a b"}


def test_a_speaker_of_whom_there_is_no_piece_is_left_out(
    recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = splicing.pieces
    monkeypatch.setattr(splicing, "pieces", lambda one, *more: [] if one.speaker == "speaker/1" else cut(one, *more))
    made = list(splice(recognizer, align(recognizer, utterances), tmp_path, ONCE))
    assert {one.speaker for one in made} == {"speaker/0"}


def test_without_speakers_an_utterance_is_spliced_with_itself(
    recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    nameless = [Utterance(one.id, one.audio, one.duration, one.text) for one in utterances]
    texts = {one.id: sorted(one.text.split()) for one in utterances}
    by_speaker: dict[str, list[str]] = {}
    for one in splice(recognizer, align(recognizer, nameless), tmp_path, ONCE):
        by_speaker.setdefault(one.speaker, []).extend(one.text.split())
    assert {speaker: sorted(words) for speaker, words in by_speaker.items()} == texts


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"copies": 0}, "copies = 0 is not within 1 to 1000"),
        ({"seed": -1}, "seed = -1"),
        ({"slowest": 0.4}, "slowest = 0.4"),
        ({"slowest": 1.1, "fastest": 1.0}, r"fastest = 1.0 is not within 1.1 to 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpliceSettings(**wrong)  # type: ignore[arg-type]


def test_what_cannot_be_aligned_is_left_out_and_nothing_left_is_told(
    recognizer: Recognizer, utterances: list[Utterance], tmp_path: Path
) -> None:
    long = Utterance("long", utterances[0].audio, utterances[0].duration, "ABC " * 90, "speaker/0")
    assert list(splice(recognizer, align(recognizer, [long, utterances[1]]), tmp_path, SpliceSettings(copies=1)))
    with pytest.raises(SplicingError, match="no utterance could be aligned with its text"):
        list(splice(recognizer, align(recognizer, [long]), tmp_path))


def test_the_command_writes_a_manifest_of_recordings_below_it(
    utterances: list[Utterance], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write(tmp_path / "in" / "tones.jsonl", utterances)
    model, out = str(trained / "best.safetensors"), tmp_path / "out"
    arguments = ["prepare", "splice", str(tmp_path / "in" / "tones.jsonl"), "--out", str(out), "--model", model]
    assert main([*arguments, "--copies", "2"]) == 0
    rows = manifest.read(out / "tones-spliced.jsonl")
    output = capsys.readouterr()
    assert output.out.startswith(f"{out / 'tones-spliced.jsonl'}: {len(rows)} utterances, 0.0")
    assert sum(len(one.text.split()) for one in rows) == 2 * sum(len(one.text.split()) for one in utterances)
    assert "left out" not in output.err
    assert {Path(one.audio).parent for one in rows} == {(out / "tones-spliced").resolve()}


def test_the_command_tells_what_it_left_out(
    utterances: list[Utterance], trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.write(tmp_path / "tones.jsonl", [*utterances[:2], replace(utterances[2], text="ABC " * 90)])
    model = str(trained / "best.safetensors")
    splice = ["prepare", "splice", str(tmp_path / "tones.jsonl"), "--out", str(tmp_path), "--model", model]
    assert main([*splice, "--copies", "1"]) == 0
    assert "left out 1 of 3 utterances; the first: utterance 2: its text cannot be said in" in capsys.readouterr().err
    manifest.write(tmp_path / "tones.jsonl", [replace(utterances[2], text="ABC " * 90)])
    assert main(splice) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("asr: no utterance could be aligned with its text")
