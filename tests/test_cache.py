"""The feature cache: what it holds, when it is used again, and that no unfinished one ever is."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr import audio, features
from asr.audio import AudioError
from asr.cache import FeatureCache, open_cache
from asr.features import FeatureSettings, frame_count, mfcc
from asr.manifest import Utterance

SETTINGS = FeatureSettings(coefficients=5, mel_bands=10)
LENGTHS = (8000, 3000, 5123)


def noise(samples: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def record(folder: Path, name: str, samples: int, seed: int = 0) -> Utterance:
    soundfile.write(folder / f"{name}.wav", noise(samples, seed), 16_000, subtype="FLOAT")
    return Utterance(name, str(folder / f"{name}.wav"), samples / 16_000)


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    """Three recordings of different lengths."""
    return [record(tmp_path, f"u{seed}", samples, seed) for seed, samples in enumerate(LENGTHS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the cache is to be; it is not there yet."""
    return tmp_path / "new" / ".features"


class Counted:
    """Counts the waveforms that features are computed of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        monkeypatch.setattr(features, "mfcc", self)

    def __call__(self, waveform: NDArray[np.float32], settings: FeatureSettings) -> features.Features:
        self.times += 1
        return mfcc(waveform, settings)


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def assert_close(found: features.Features, expected: features.Features) -> None:
    """Check for equality within what float16 can tell apart: 11 bits."""
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2**-11, atol=1e-6)


def test_it_holds_the_features_of_every_utterance(utterances: list[Utterance], folder: Path) -> None:
    cache = open_cache(utterances, SETTINGS, folder)
    assert cache.lengths.tolist() == [frame_count(samples, SETTINGS) for samples in LENGTHS]
    for index in (2, 0, 1, 2):
        assert_close(cache[index], mfcc(noise(LENGTHS[index], index), SETTINGS))
    assert files(folder) == [".f16", ".npy"]


def test_values_that_are_not_normalised_fit_as_well(utterances: list[Utterance], folder: Path) -> None:
    plain = dataclasses.replace(SETTINGS, normalisation="none", deltas=2)
    cache = open_cache(utterances, plain, folder)
    assert cache[1].shape == (19, 15)
    assert_close(cache[1], mfcc(noise(LENGTHS[1], 1), plain))


def test_what_is_read_may_be_written_to(utterances: list[Utterance], folder: Path) -> None:
    cache = open_cache(utterances, SETTINGS, folder)
    cache[0][:] = 7
    assert not (cache[0] == 7).any()


def test_a_second_time_nothing_is_computed(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    first = open_cache(utterances, SETTINGS, folder)
    assert counted.times == 3
    monkeypatch.setattr(audio, "load", None)
    second = open_cache(utterances, SETTINGS, folder)
    assert counted.times == 3
    for index in range(3):
        np.testing.assert_array_equal(second[index], first[index])


def test_text_and_speaker_do_not_matter(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    open_cache(utterances, SETTINGS, folder)
    open_cache([dataclasses.replace(one, text="NEW", speaker="s") for one in utterances], SETTINGS, folder)
    assert counted.times == 3


@pytest.mark.parametrize(
    "settings",
    [
        dataclasses.replace(SETTINGS, coefficients=6),
        dataclasses.replace(SETTINGS, hop=0.0125),
        dataclasses.replace(SETTINGS, deltas=1),
        dataclasses.replace(SETTINGS, normalisation="none"),
        dataclasses.replace(SETTINGS, low_frequency=50.0),
    ],
)
def test_another_setting_is_another_cache(
    settings: FeatureSettings, utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    open_cache(utterances, SETTINGS, folder)
    cache = open_cache(utterances, settings, folder)
    assert counted.times == 6
    assert_close(cache[1], mfcc(noise(LENGTHS[1], 1), settings))
    open_cache(utterances, SETTINGS, folder)
    assert counted.times == 6


def test_other_utterances_are_another_cache(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    open_cache(utterances, SETTINGS, folder)
    assert open_cache(utterances[:2], SETTINGS, folder).lengths.tolist() == [51, 19]
    assert counted.times == 5
    assert open_cache(utterances[::-1], SETTINGS, folder).lengths.tolist() == [33, 19, 51]
    assert counted.times == 8


def test_another_part_of_the_file_is_another_cache(utterances: list[Utterance], folder: Path) -> None:
    open_cache(utterances, SETTINGS, folder)
    part = dataclasses.replace(utterances[0], offset=0.1, duration=0.2)
    assert_close(open_cache([part], SETTINGS, folder)[0], mfcc(noise(8000, 0)[1600:4800], SETTINGS))
    later = dataclasses.replace(part, offset=0.2)
    assert_close(open_cache([later], SETTINGS, folder)[0], mfcc(noise(8000, 0)[3200:6400], SETTINGS))


def test_a_file_that_changed_is_read_again(utterances: list[Utterance], folder: Path) -> None:
    open_cache(utterances, SETTINGS, folder)
    # Of the same length, so that only the time tells.
    before = os.stat(utterances[1].audio)  # noqa: PTH116 - the utterance has a string
    record(Path(utterances[1].audio).parent, "u1", LENGTHS[1], seed=9)
    os.utime(utterances[1].audio, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert_close(open_cache(utterances, SETTINGS, folder)[1], mfcc(noise(LENGTHS[1], 9), SETTINGS))


def test_a_file_of_another_size_is_read_again(utterances: list[Utterance], folder: Path) -> None:
    open_cache(utterances, SETTINGS, folder)
    before = os.stat(utterances[1].audio)  # noqa: PTH116 - the utterance has a string
    record(Path(utterances[1].audio).parent, "u1", LENGTHS[1] + 100, seed=9)
    os.utime(utterances[1].audio, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = open_cache(utterances, SETTINGS, folder)[1]
    assert_close(found, mfcc(noise(LENGTHS[1] + 100, 9)[: LENGTHS[1] + 100], SETTINGS))


# Speed


@pytest.mark.parametrize("speed", [0.5, 0.9, 1.1, 2.0])
def test_a_faster_copy_has_fewer_frames(speed: float, utterances: list[Utterance], folder: Path) -> None:
    cache = open_cache(utterances, SETTINGS, folder, speed)
    assert cache.lengths.tolist() == [frame_count(round(samples / speed), SETTINGS) for samples in LENGTHS]


def test_a_faster_copy_sounds_higher(tmp_path: Path, folder: Path) -> None:
    def tone(frequency: float, samples: int) -> NDArray[np.float32]:
        return (0.3 * np.sin(2 * np.pi * frequency * np.arange(samples) / 16_000)).astype(np.float32)

    soundfile.write(tmp_path / "a.wav", tone(1000, 16_000), 16_000, subtype="FLOAT")
    plain = dataclasses.replace(SETTINGS, normalisation="none")
    utterance = Utterance("a", str(tmp_path / "a.wav"), 1.0)
    faster = open_cache([utterance], plain, folder, speed=1.25)[0]
    np.testing.assert_allclose(faster[10:-10], mfcc(tone(1250, 12_800), plain)[10:-10], atol=2)
    assert np.abs(faster[10:-10] - mfcc(tone(1000, 12_800), plain)[10:-10]).max() > 10


def test_each_speed_is_a_cache_of_its_own(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    for speed in (1.0, 0.9, 1.0, 0.9):
        open_cache(utterances, SETTINGS, folder, speed)
    assert counted.times == 6


# What was not finished


def test_a_cache_that_was_not_finished_is_not_used(utterances: list[Utterance], folder: Path) -> None:
    expected = open_cache(utterances, SETTINGS, folder)[0]
    [data], [index] = folder.glob("*.f16"), folder.glob("*.npy")
    index.unlink()
    data.write_bytes(b"half")
    np.testing.assert_array_equal(open_cache(utterances, SETTINGS, folder)[0], expected)
    assert files(folder) == [".f16", ".npy"]


def test_what_a_killed_process_left_is_not_used(utterances: list[Utterance], folder: Path) -> None:
    expected = open_cache(utterances, SETTINGS, folder)[0]
    [data], [index] = folder.glob("*.f16"), folder.glob("*.npy")
    data.rename(data.with_suffix(".1.part"))
    index.unlink()
    np.testing.assert_array_equal(open_cache(utterances, SETTINGS, folder)[0], expected)


def test_an_error_in_the_middle_leaves_no_file(utterances: list[Utterance], folder: Path) -> None:
    Path(utterances[1].audio).write_bytes(b"not audio")
    with pytest.raises(AudioError, match=r"u1\.wav: not a sound file"):
        open_cache(utterances, SETTINGS, folder)
    assert list(folder.iterdir()) == []


def test_an_interruption_leaves_no_file(utterances: list[Utterance], folder: Path) -> None:
    def interrupt(done: float, total: float) -> None:
        if done > 0.6 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(utterances, SETTINGS, folder, progress=interrupt)
    assert list(folder.iterdir()) == []


def test_a_missing_file_is_named_with_its_utterance(utterances: list[Utterance], folder: Path) -> None:
    Path(utterances[2].audio).unlink()
    with pytest.raises(AudioError) as caught:
        open_cache(utterances, SETTINGS, folder)
    assert str(caught.value) == f"{utterances[2].audio}: No such file or directory (utterance u2)"
    assert not folder.exists()


def test_nothing_has_no_features(folder: Path) -> None:
    cache = open_cache([], SETTINGS, folder)
    assert isinstance(cache, FeatureCache)
    assert cache.lengths.tolist() == []


def test_progress_is_told_in_seconds_of_audio(utterances: list[Utterance], folder: Path) -> None:
    told: list[tuple[float, float]] = []
    open_cache(utterances, SETTINGS, folder, progress=lambda done, total: told.append((done, total)))
    total = sum(LENGTHS) / 16_000
    expected = [(seconds, total) for seconds in np.cumsum(LENGTHS) / 16_000]
    assert told == [pytest.approx(pair) for pair in expected]
    open_cache(utterances, SETTINGS, folder, progress=lambda done, total: told.append((done, total)))
    assert len(told) == 3


@pytest.mark.parametrize("suffix", [".f16", ".npy"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "gone"])
def test_a_damaged_cache_is_computed_anew(
    suffix: str, damage: str, utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cache(utterances, SETTINGS, folder)
    path = next(path for path in folder.iterdir() if path.suffix == suffix)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-3], "emptied": b"", "gone": b""}[damage])
    if damage == "gone":
        path.unlink()
    counted = Counted(monkeypatch)
    cache = open_cache(utterances, SETTINGS, folder)
    assert counted.times == len(LENGTHS)
    assert_close(cache[1], mfcc(noise(LENGTHS[1], 1), SETTINGS))
    assert path.read_bytes() == whole
