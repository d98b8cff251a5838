"""Synthesised utterances: reproducible, continued after an interruption, within the limits."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile

from asr.audio import SAMPLE_RATE, load
from asr.corpora import manifest
from asr.corpora.manifest import CorpusError
from asr.corpora.synthesis import (
    Speech,
    Synthesis,
    SynthesisError,
    SynthesisSettings,
    TooLongError,
    select_voices,
    synthesize,
)
from asr.files import LockedError, lock_folder
from tests.conftest import ROOT

LINES = [f"{word} {other}" for word in ("ONE", "TWO", "THREE", "FOUR") for other in ("HOUSE", "TREE", "BIRD")]


class Noise:
    """A synthesizer of noise of 0.5 to 1.5 s, silent about nothing; `act` is called with each text."""

    def __init__(self, act: Callable[[str], None] = lambda text: None, name: str = "noise") -> None:
        self.settings: Mapping[str, str] = {"name": name}
        self.texts: list[str] = []
        self._act = act

    def __call__(self, text: str, random: Random) -> Speech:
        self.texts.append(text)
        self._act(text)
        generator = np.random.default_rng(random.randrange(1 << 32))
        samples = round(random.uniform(0.5, 1.5) * SAMPLE_RATE)
        return Speech(generator.normal(0, 0.1, samples).astype(np.float32), f"voice-{random.randrange(3)}")


def settings(seconds: float = 10.0, **others: Any) -> SynthesisSettings:
    return SynthesisSettings(**{"hours": seconds / 3600, "min_duration": 0.0, "max_duration": 2.0} | others)


def run(out: Path, synthesizer: Noise | None = None, seconds: float = 10.0, **others: Any) -> Synthesis:
    return synthesize(LINES, out, synthesizer or Noise(), settings(seconds, **others))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the manifest and the sound files of an output folder."""
    paths = [folder / "manifest.jsonl", *folder.rglob("*.flac")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def complete(tmp_path: Path) -> dict[str, bytes]:
    """The content of an uninterrupted run to a folder of the name `out`."""
    run(tmp_path / "complete" / "out")
    return contents(tmp_path / "complete" / "out")


def test_manifest_lists_the_sound_files(tmp_path: Path) -> None:
    result = run(tmp_path / "a b")
    rows = manifest.read(tmp_path / "a b" / "manifest.jsonl")
    assert [row.id for row in rows] == [f"a_b-{number:07d}" for number in range(len(rows))]
    assert {row.text for row in rows} <= set(LINES) and {row.speaker for row in rows} == {
        "voice-0",
        "voice-1",
        "voice-2",
    }
    for row, made in zip(rows, result.utterances, strict=True):
        waveform = load(row.audio)
        assert len(waveform) / SAMPLE_RATE == pytest.approx(row.duration, abs=1e-4)
        assert (row.audio, row.text) == (made.audio, made.text)
        assert np.abs(waveform).max() == pytest.approx(0.7, abs=1e-3)
        assert soundfile.info(row.audio).samplerate == SAMPLE_RATE
    assert 10.0 <= result.duration < 11.5 and result.skipped == {}


def test_every_line_is_used_once_before_one_is_used_again(tmp_path: Path) -> None:
    texts = [utterance.text for utterance in run(tmp_path / "out", seconds=24.0).utterances]
    assert sorted(texts[:12]) == sorted(LINES) != texts[:12]
    assert texts[12:24] != texts[:12]


def test_result_does_not_depend_on_the_jobs(tmp_path: Path, complete: dict[str, bytes]) -> None:
    run(tmp_path / "out", jobs=3)
    assert contents(tmp_path / "out") == complete


def test_result_depends_on_the_seed(tmp_path: Path, complete: dict[str, bytes]) -> None:
    run(tmp_path / "out", seed=2)
    assert contents(tmp_path / "out")["audio/0000/0000000.flac"] != complete["audio/0000/0000000.flac"]


@pytest.mark.parametrize("count", [1, 4, 9])
def test_interrupted_run_is_continued_to_the_same_result(
    count: int, tmp_path: Path, complete: dict[str, bytes]
) -> None:
    calls = iter(range(count))

    def interrupt(text: str) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", Noise(interrupt))
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    # As a kill leaves them: half a line, a partial file, and a sound file that is not yet in the journal.
    with (tmp_path / "out" / ".synthesis.jsonl").open("ab") as journal:
        journal.write(b'{"number": ')
    (tmp_path / "out" / "audio" / "0000" / "0000099.flac.99999999.part").write_bytes(b"half")
    (tmp_path / "out" / "audio" / "0000" / f"{count:07d}.flac").write_bytes(b"not FLAC")
    synthesizer = Noise()
    run(tmp_path / "out", synthesizer)
    assert contents(tmp_path / "out") == complete
    assert not list(tmp_path.rglob("*.part"))
    made = len(manifest.read(tmp_path / "out" / "manifest.jsonl"))
    assert made - count <= len(synthesizer.texts) <= made - count + 4, "utterances were made again"


SLOW = """
import sys, time, wave
text = sys.stdin.read()
time.sleep(0.05)
with wave.open(sys.stdout.buffer, "wb") as out:
    out.setparams((1, 2, 8000, 0, "NONE", ""))
    out.writeframes(bytes(ord(text[i % len(text)]) for i in range(16000)))
"""


@pytest.mark.slow
def test_killed_process_is_continued_to_the_same_result(tmp_path: Path) -> None:
    (tmp_path / "speak.py").write_text(SLOW)
    (tmp_path / "text.txt").write_text("\n".join(LINES))
    command = [sys.executable, "-m", "asr", "prepare", "synthesize", str(tmp_path / "text.txt"), "--hours", "0.004"]
    command += [
        "--min-duration",
        "0.5",
        "--jobs",
        "2",
        "--command",
        f"{sys.executable} {tmp_path / 'speak.py'}",
        "--out",
    ]
    process = subprocess.Popen([*command, str(tmp_path / "killed" / "out")], cwd=ROOT)
    end = time.monotonic() + 60
    while len(list(tmp_path.rglob("*.flac"))) < 3 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(tmp_path.rglob("manifest.jsonl"))
    for folder in ("killed", "whole"):
        subprocess.run([*command, str(tmp_path / folder / "out")], cwd=ROOT, check=True, capture_output=True)
    assert len(manifest.read(tmp_path / "whole" / "out" / "manifest.jsonl")) == 15
    assert contents(tmp_path / "killed" / "out") == contents(tmp_path / "whole" / "out")


def test_more_hours_extend_and_fewer_shorten_the_manifest(tmp_path: Path, complete: dict[str, bytes]) -> None:
    short = run(tmp_path / "out", seconds=4.0)
    assert len(short.utterances) < 7
    run(tmp_path / "out")
    assert contents(tmp_path / "out") == complete
    unused = Noise()
    assert run(tmp_path / "out", unused, seconds=4.0) == short and len(unused.texts) <= 2
    assert len(manifest.read(tmp_path / "out" / "manifest.jsonl")) == len(short.utterances)


def test_missing_sound_file_is_made_again(tmp_path: Path, complete: dict[str, bytes]) -> None:
    run(tmp_path / "out")
    (tmp_path / "out" / "audio" / "0000" / "0000002.flac").unlink()
    run(tmp_path / "out")
    assert contents(tmp_path / "out") == complete


@pytest.mark.parametrize(
    ("change", "key"),
    [({"seed": 2}, r"seed \(1, now 2\)"), ({"normaliser": "none"}, "normaliser"), ({"format": "opus"}, "format")],
)
def test_other_settings_need_another_folder(change: dict[str, Any], key: str, tmp_path: Path) -> None:
    run(tmp_path / "out")
    with pytest.raises(CorpusError, match=f"out: an earlier run used another {key}.*; choose another folder"):
        run(tmp_path / "out", **change)
    with pytest.raises(CorpusError, match=r"another name \(noise, now other\)"):
        run(tmp_path / "out", Noise(name="other"))
    with pytest.raises(CorpusError, match="another text"):
        synthesize(LINES[:5], tmp_path / "out", Noise(), settings())


def test_other_manifest_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("mine")
    with pytest.raises(CorpusError, match=r"contains another manifest\.jsonl"):
        run(tmp_path)
    assert (tmp_path / "manifest.jsonl").read_text() == "mine"


def test_folder_of_a_running_process_is_refused(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(LockedError):
        run(tmp_path)


@pytest.mark.parametrize("line", ["{", "[]", '{"duration": 1}', '{"number": "x"}', '{"number": 1, "duration": []}'])
def test_damaged_journal_names_the_line(line: str, tmp_path: Path) -> None:
    run(tmp_path)
    with (tmp_path / ".synthesis.jsonl").open("a") as journal:
        lines = (tmp_path / ".synthesis.jsonl").read_bytes().count(b"\n")
        journal.write(line + "\n")
    with pytest.raises(CorpusError, match=rf"\.synthesis\.jsonl, line {lines + 1}: damaged .*; delete this line"):
        run(tmp_path)


def test_utterances_outside_the_limits_are_counted(tmp_path: Path) -> None:
    result = run(tmp_path, min_duration=0.8, max_duration=1.2)
    assert all(0.8 <= utterance.duration <= 1.2 for utterance in result.utterances)
    assert result.skipped["too short"] > 0 and result.skipped["too long"] > 0
    again = Noise()
    assert run(tmp_path, again, min_duration=0.8, max_duration=1.2) == result
    assert len(again.texts) <= 2, "what was too long or short is not tried again"


def test_long_lines_and_lines_without_words_are_counted(tmp_path: Path) -> None:
    lines = ["X" * 41, "...", "A BIRD", "?!"]
    result = synthesize(lines, tmp_path, Noise(), settings(3.0))
    assert {utterance.text for utterance in result.utterances} == {"A BIRD"}
    assert result.skipped["text too long"] == 1 and result.skipped["no words"] >= 2


def test_only_long_lines_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no line of text has 40 characters or less"):
        synthesize(["X" * 41], tmp_path / "out", Noise(), settings())
    assert not (tmp_path / "out").exists()


def test_text_too_long_for_the_synthesizer_is_counted(tmp_path: Path) -> None:
    def refuse(text: str) -> None:
        if "tree" in text:
            raise TooLongError("600 phonemes")

    assert run(tmp_path, Noise(refuse)).skipped["too long"] > 0


def test_nothing_within_the_limits_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"200 texts in a row gave no utterance of 1\.9 to 2 s \(the last: too short\)"
    ):
        run(tmp_path, min_duration=1.9)


def failing(words: str) -> Callable[[str], None]:
    def fail(text: str) -> None:
        if any(word in text.lower() for word in words.split()):
            raise SynthesisError("exit code 1")

    return fail


def test_failure_costs_one_utterance_and_is_tried_again(tmp_path: Path, complete: dict[str, bytes]) -> None:
    messages: list[str] = []
    callbacks = (lambda done, total: None, messages.append)
    result = synthesize(LINES, tmp_path / "out", Noise(failing("tree")), settings(), callbacks)
    assert not any("TREE" in utterance.text for utterance in result.utterances)
    assert result.skipped["failed"] == len(messages)
    assert all(message.endswith("TREE': exit code 1") for message in messages)
    run(tmp_path / "out")
    assert contents(tmp_path / "out").items() >= complete.items()


def test_many_failures_in_a_row_stop_the_run(tmp_path: Path) -> None:
    synthesizer = Noise(failing("house tree bird"))
    with pytest.raises(CorpusError, match="10 texts in a row failed, the last with: exit code 1"):
        run(tmp_path, synthesizer)
    assert len(synthesizer.texts) <= 14


def test_progress_in_hours(tmp_path: Path) -> None:
    progress: list[tuple[float, float]] = []
    callbacks = (lambda done, total: progress.append((done * 3600, total * 3600)), lambda message: None)
    result = synthesize(LINES, tmp_path, Noise(), settings(), callbacks)
    assert len(progress) == len(result.utterances)
    assert progress[-1] == pytest.approx((result.duration, 10.0))


@pytest.mark.parametrize(
    ("line", "normaliser", "spoken", "text"),
    [
        ("HE SAW IT", "upper", "He saw it.", "HE SAW IT"),
        ("he  saw it", "upper", "He saw it.", "HE SAW IT"),
        ("“Well,” he said, “no!”", "upper", "“Well,” he said, “no!”", "WELL HE SAID NO"),
        ("He paid 42 of it.", "librispeech", "He paid forty two of it.", "HE PAID FORTY TWO OF IT"),
        ("He paid 42 of it.", "upper", "He paid 42 of it.", "HE PAID 42 OF IT"),
        ("you & me", "upper", "You me.", "YOU ME"),
        ("you & me", "librispeech", "You and me.", "YOU AND ME"),
        ("Don't, said Ann.", "none", "Don't, said Ann.", "Don't, said Ann."),
    ],
)
def test_speech_and_text_agree(line: str, normaliser: str, spoken: str, text: str, tmp_path: Path) -> None:
    synthesizer = Noise()
    result = synthesize([line], tmp_path, synthesizer, settings(1.0, normaliser=normaliser))
    assert (synthesizer.texts[0], result.utterances[0].text) == (spoken, text)


def test_opus(tmp_path: Path) -> None:
    result = run(tmp_path, seconds=2.0, format="opus")
    for utterance in result.utterances:
        assert utterance.audio.endswith(".opus") and soundfile.info(utterance.audio).subtype == "OPUS"
        assert len(load(utterance.audio)) / SAMPLE_RATE == pytest.approx(utterance.duration, abs=1e-4)


def test_files_are_spread_over_folders(tmp_path: Path) -> None:
    def instant() -> Iterator[dict[str, Any]]:
        for number in range(1000):
            yield {"number": number, "skipped": "too short"}

    run(tmp_path, seconds=1.0)
    journal = tmp_path / ".synthesis.jsonl"
    header = journal.read_text().splitlines()[0]
    journal.write_text("\n".join([header, *map(json.dumps, instant()), ""]))
    with pytest.raises(CorpusError, match="200 texts in a row"):
        run(tmp_path, seconds=1.0)
    rows = [{"number": number} | ({"skipped": "too short"} if number % 100 else {}) for number in range(1000)]
    journal.write_text("\n".join([header, *(json.dumps(row | {"duration": 0.001}) for row in rows), ""]))
    last = run(tmp_path, seconds=15.0).utterances[-1]
    assert Path(last.audio).relative_to(tmp_path.resolve()).parts[:2] == ("audio", "0001")


def test_select_voices() -> None:
    names = ["am_b", "af_a", "bf_c"]
    assert select_voices(names, [], []) == ["af_a", "am_b", "bf_c"]
    assert select_voices(names, ["a*"], ["am_*"]) == ["af_a"]
    with pytest.raises(CorpusError, match=r"no voice 'x\*'; the voices are af_a, am_b, bf_c"):
        select_voices(names, [], ["x*"])
    with pytest.raises(CorpusError, match="all voices are excluded"):
        select_voices(names, ["a*"], ["a*"])
