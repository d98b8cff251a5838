"""Problems that the doctor reports, and none in a healthy corpus."""

import errno
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.corpora import manifest
from asr.corpora.manifest import Utterance
from asr.features import FeatureSettings
from asr.text import TextSettings
from asr.training.doctor import Check, Diagnosis, Finding, diagnose, without_cache
from tests.conftest import SAMPLE_RATE, spell

CHECK = Check(FeatureSettings(), TextSettings(alphabet=" ABC"), 4)


def utterance(folder: Path, samples: object, name: str = "a", rate: int = SAMPLE_RATE, text: str = "AB") -> Utterance:
    array = np.asarray(samples, np.float32)
    soundfile.write(folder / f"{name}.wav", array, rate, subtype="FLOAT")
    return Utterance(name, str(folder / f"{name}.wav"), len(array) / rate, text)


def kinds(diagnosis: Diagnosis) -> set[tuple[str, str]]:
    return {(finding.severity, finding.kind) for finding in diagnosis.findings}


def one(row: Utterance, check: Check = CHECK) -> Diagnosis:
    return diagnose({"train.jsonl": [row]}, check)


def test_healthy_corpus_has_no_findings(tones: Path) -> None:
    rows = {name: manifest.read(tones / f"{name}.jsonl") for name in ("train", "dev")}
    apart = {name: [replace(row, speaker=name + row.speaker) for row in rows[name]] for name in rows}
    shares: list[float] = []
    diagnosis = diagnose(apart, CHECK, lambda done, total: shares.append(done / total))
    assert diagnosis.findings == ()
    assert not diagnosis.fatal
    assert diagnosis.rows == {"train": 60, "dev": 12}
    assert shares[-1] == 1.0


def test_unreadable_audio_is_an_error(tmp_path: Path) -> None:
    diagnosis = one(Utterance("a", str(tmp_path / "no.wav"), 1.0, "AB"))
    assert ("error", "audio") in kinds(diagnosis)
    assert diagnosis.fatal


def test_sample_rate_and_channels_are_information(tmp_path: Path) -> None:
    stereo = np.stack([spell("AB"), spell("AB")], axis=1)
    diagnosis = one(utterance(tmp_path, stereo, rate=22_050))
    assert kinds(diagnosis) == {("information", "rate"), ("information", "channels")}
    assert not diagnosis.fatal


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (np.random.default_rng(1).normal(0, 1e-4, SAMPLE_RATE), "silence"),
        (np.clip(10 * spell("AB"), -1, 1), "clipping"),
        (np.random.default_rng(1).normal(0, 0.1, 40 * SAMPLE_RATE), "duration"),
        (np.random.default_rng(1).normal(0, 0.1, SAMPLE_RATE // 8), "duration"),
    ],
    ids=["silence", "clipping", "long", "short"],
)
def test_bad_audio_is_a_warning(samples: object, kind: str, tmp_path: Path) -> None:
    diagnosis = one(utterance(tmp_path, samples, text="A"))
    assert ("warning", kind) in kinds(diagnosis)


def test_unknown_characters(tmp_path: Path) -> None:
    row = utterance(tmp_path, spell("AB"), text="AX")
    assert ("error", "characters") in kinds(one(row))
    dropping = replace(CHECK, text=TextSettings(alphabet=" ABC", unknown="drop"))
    assert ("warning", "characters") in kinds(one(row, dropping))
    assert kinds(one(row, replace(CHECK, text=TextSettings(alphabet="auto")))) == {("warning", "rare")}


def test_characters_in_the_other_case(tmp_path: Path) -> None:
    plain = replace(CHECK, text=TextSettings(normaliser="none", alphabet=" ABC"))
    diagnosis = one(utterance(tmp_path, spell("AB"), text="ab"), plain)
    assert ("error", "case") in kinds(diagnosis)
    assert "not in the alphabet; the alphabet has 'A', 'B'" in diagnosis.findings[0].message


def test_unalignable_text_counts_repeats(tmp_path: Path) -> None:
    # 0.28 s: 29 frames, 8 output frames. "AAAA" needs 4 and 3 blanks, "AAAAA" 5 and 4.
    samples = np.random.default_rng(1).normal(0, 0.1, 4480)
    assert ("warning", "unalignable") not in kinds(one(utterance(tmp_path, samples, text="AAAA")))
    diagnosis = one(utterance(tmp_path, samples, text="AAAAA"))
    assert ("warning", "unalignable") in kinds(diagnosis)
    assert "8 output frames, CTC needs 9 for 5 characters" in diagnosis.findings[0].message
    assert ("error", "nothing") in kinds(diagnosis)


def test_empty_text_and_implausible_pace(tmp_path: Path) -> None:
    assert ("warning", "empty") in kinds(one(utterance(tmp_path, spell("AB"), text="…")))
    slow = utterance(tmp_path, np.random.default_rng(1).normal(0, 0.1, 20 * SAMPLE_RATE), text="AB")
    assert ("warning", "pace") in kinds(one(slow))


def test_manifest_of_empty_texts_is_an_error(tmp_path: Path) -> None:
    assert ("error", "nothing") in kinds(one(utterance(tmp_path, spell("AB"), text="…")))


def test_speed_too_high_for_ctc_is_information(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, 4480)
    row = utterance(tmp_path, samples, text="AAAA")
    assert ("information", "fast") not in kinds(one(row))
    assert ("information", "fast") in kinds(one(row, replace(CHECK, fastest=1.3)))


def test_unused_end_of_a_file_is_information(tmp_path: Path) -> None:
    row = utterance(tmp_path, np.random.default_rng(1).normal(0, 0.1, 4 * SAMPLE_RATE), text="ABCABC")
    assert ("information", "duration") in kinds(one(replace(row, duration=2.0)))


def test_leaks_between_manifests(tmp_path: Path) -> None:
    first = replace(utterance(tmp_path, spell("AB"), "a", text="A B C A B"), speaker="x")
    same_text = replace(utterance(tmp_path, spell("AB"), "b", text="a b c a b"), speaker="x")
    same_sound = replace(first, id="c")
    diagnosis = diagnose({"train": [first], "test": [same_text, same_sound]}, CHECK)
    result = {(finding.kind, finding.id): finding.message for finding in diagnosis.findings}
    assert result["leak", "b"] == "its text is also in train"
    assert result["duplicate", "c"] == "the same recording as a of train"
    assert result["speaker", ""] == "speaker x is also in train"


def test_short_texts_are_no_leak(tmp_path: Path) -> None:
    rows = [utterance(tmp_path, spell("AB"), name) for name in "ab"]
    assert diagnose({"train": rows[:1], "test": rows[1:]}, CHECK).findings == ()


def test_counts_list_errors_first(tmp_path: Path) -> None:
    rows = [utterance(tmp_path, spell("AB"), "a", 22_050), utterance(tmp_path, spell("AB"), "b", text="AX")]
    assert list(diagnose({"train": rows}, CHECK).counts.items()) == [
        (("error", "characters"), 1),
        (("information", "rate"), 1),
    ]


@pytest.fixture
def auto() -> Check:
    return replace(CHECK, text=TextSettings(alphabet="auto"))


def texts(folder: Path, *lines: str) -> list[Utterance]:
    """Return the utterances of texts, of one recording each."""
    return [utterance(folder, spell("ABCABC", 0.3), f"u{number}", text=text) for number, text in enumerate(lines)]


def found(diagnosis: Diagnosis, kind: str) -> list[tuple[str, str]]:
    return [(finding.id, finding.message) for finding in diagnosis.findings if finding.kind == kind]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("AB \u041eC", "script", "'О' (CYRILLIC CAPITAL LETTER O) occurs 1 time, but most letters are Latin"),
        ("AB ЖC", "script", "'Ж' (CYRILLIC CAPITAL LETTER ZHE) occurs 1 time, but most letters are Latin"),
        ("AB 7", "digits", "'7' (DIGIT SEVEN) occurs 1 time; write numbers as words, as they are spoken"),
        ("AB É", "rare", "'É' (LATIN CAPITAL LETTER E WITH ACUTE) occurs 1 time; it becomes an output that"),
        ("<NOISE> AB", "mark", "<NOISE> would be trained as spoken words; remove it from the text"),
        ("AB [laughter]", "mark", "[laughter] would be trained as spoken words; remove it from the text"),
        ("", "empty", "there is no text"),
    ],
)
def test_characters_of_an_automatic_alphabet_are_checked(
    text: str, kind: str, message: str, auto: Check, tmp_path: Path
) -> None:
    diagnosis = diagnose({"train": texts(tmp_path, *["ABC ABC ABC"] * 5, text)}, auto)
    findings = found(diagnosis, kind)
    assert len(findings) == 1
    assert findings[0][0] == "u5" and findings[0][1].startswith(message)


def test_frequent_characters_of_one_script_are_fine(auto: Check, tmp_path: Path) -> None:
    diagnosis = diagnose({"train": texts(tmp_path, *["ÄBC ABÖ"] * 5)}, auto)
    assert not {kind for _, kind in kinds(diagnosis)} & {"script", "digits", "rare", "mark"}
    japanese = diagnose({"train": texts(tmp_path, *["日本ひカ"] * 5)}, auto)
    assert not {kind for _, kind in kinds(japanese)} & {"script", "rare"}


def test_dev_that_is_the_training_set_is_reported(tmp_path: Path) -> None:
    rows = texts(tmp_path, "ABC", "AB")
    diagnosis = diagnose({"train": rows, "dev": [replace(row, id=f"d{row.id}") for row in rows]}, CHECK)
    assert found(diagnosis, "same") == [
        ("", "all its recordings are in train: results on it say nothing about other speech")
    ]
    assert found(diagnose({"train": rows, "dev": rows[:1]}, CHECK), "same")
    assert not found(diagnose({"train": rows[:1], "dev": rows}, CHECK), "same")


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_cache(tmp_path / "train.jsonl") == []
    assert not list(tmp_path.iterdir())

    def refuse(dir: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    problem = f"features cannot be written to {tmp_path / '.features'} (Read-only file system)"
    assert without_cache(tmp_path / "train.jsonl") == [
        Finding("warning", "cache", f"{tmp_path / 'train.jsonl'}", "", f"{problem}; asr train needs --cache FOLDER")
    ]
