"""The feature cache: contents, reuse, deletion and incomplete files."""

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr import audio, features
from asr.audio import AudioError
from asr.corpora.manifest import Utterance, read, write
from asr.features import FeatureSettings, distortion, frame_count
from asr.features import reference as mfcc
from asr.features.cache import Computation, Copy, FeatureCache, FeatureCacheError, open_caches
from asr.features.distortion import Distortion
from asr.features.given import GivenFeatures
from asr.features.reference import unnormalised

SETTINGS = FeatureSettings(coefficients=5, mel_bands=10, normalisation="utterance")
LENGTHS = (8000, 3000, 5123)


def noise(samples: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def open_cache(
    utterances: Sequence[Utterance],
    settings: FeatureSettings,
    folder: Path,
    copy: Copy | float = 1.0,
    on_progress: Callable[[float, float, int], None] | None = None,
) -> FeatureCache | GivenFeatures:
    copy = copy if isinstance(copy, Copy) else Copy(copy)
    [cache] = open_caches(utterances, settings, folder.parent / "m.jsonl", [copy], Computation(on_progress))
    return cache


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
        monkeypatch.setattr(mfcc, "unnormalised", self)

    def __call__(self, waveform: NDArray[np.float32], settings: FeatureSettings) -> features.Features:
        self.times += 1
        return unnormalised(waveform, settings)


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def assert_close(result: features.Features, expected: features.Features) -> None:
    """Check for equality within what float16 can tell apart: 11 bits."""
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=2**-11, atol=1e-6)


def test_cache_has_the_features_of_every_utterance(utterances: list[Utterance], folder: Path) -> None:
    cache = open_cache(utterances, SETTINGS, folder)
    assert cache.lengths.tolist() == [frame_count(samples, SETTINGS) for samples in LENGTHS]
    for index in (2, 0, 1, 2):
        assert_close(cache[index], unnormalised(noise(LENGTHS[index], index), SETTINGS))
    assert files(folder) == [".f16", ".npy"]


def test_normalisation_does_not_change_the_cache(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    first = open_cache(utterances, SETTINGS, folder)[1]
    assert np.abs(first.mean(axis=0)).max() > 1
    plain = dataclasses.replace(SETTINGS, normalisation="none")
    np.testing.assert_array_equal(open_cache(utterances, plain, folder)[1], first)
    assert counted.times == 3


def test_speech_normalisation_sets_the_level_in_the_cache(utterances: list[Utterance], folder: Path) -> None:
    chosen = dataclasses.replace(SETTINGS, normalisation="speech")
    plain, cache = open_cache(utterances, SETTINGS, folder), open_cache(utterances, chosen, folder)
    waveform = soundfile.read(utterances[1].audio, dtype="float32")[0]
    np.testing.assert_allclose(cache[1], mfcc.unnormalised(waveform, chosen), atol=0.3)
    assert np.abs(cache[1] - plain[1]).max() > 1


def test_cache_with_deltas(utterances: list[Utterance], folder: Path) -> None:
    plain = dataclasses.replace(SETTINGS, deltas=2)
    cache = open_cache(utterances, plain, folder)
    assert cache[1].shape == (19, 15)
    assert_close(cache[1], unnormalised(noise(LENGTHS[1], 1), plain))


def test_returned_features_are_a_copy(utterances: list[Utterance], folder: Path) -> None:
    cache = open_cache(utterances, SETTINGS, folder)
    cache[0][:] = 7
    assert not (cache[0] == 7).any()


def test_complete_cache_is_reused(utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    first = open_cache(utterances, SETTINGS, folder)
    assert counted.times == 3
    monkeypatch.setattr(audio, "load", None)
    second = open_cache(utterances, SETTINGS, folder)
    assert counted.times == 3
    for index in range(3):
        np.testing.assert_array_equal(second[index], first[index])


def test_text_and_speaker_do_not_change_the_cache(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    open_cache(utterances, SETTINGS, folder)
    open_cache([dataclasses.replace(row, text="NEW", speaker="s") for row in utterances], SETTINGS, folder)
    assert counted.times == 3


@pytest.mark.parametrize(
    "settings",
    [
        dataclasses.replace(SETTINGS, coefficients=6),
        dataclasses.replace(SETTINGS, hop=0.0125),
        dataclasses.replace(SETTINGS, deltas=1),
        dataclasses.replace(SETTINGS, low_frequency=50.0),
    ],
)
def test_other_feature_settings_need_another_cache(
    settings: FeatureSettings, utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    open_cache(utterances, SETTINGS, folder)
    cache = open_cache(utterances, settings, folder)
    assert counted.times == 6
    assert_close(cache[1], unnormalised(noise(LENGTHS[1], 1), settings))
    open_cache(utterances, SETTINGS, folder)
    assert counted.times == 6


def test_other_utterances_need_another_cache(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    open_cache(utterances, SETTINGS, folder)
    assert open_cache(utterances[:2], SETTINGS, folder).lengths.tolist() == [51, 19]
    assert counted.times == 5
    assert open_cache(utterances[::-1], SETTINGS, folder).lengths.tolist() == [33, 19, 51]
    assert counted.times == 8


def test_other_segment_needs_another_cache(utterances: list[Utterance], folder: Path) -> None:
    open_cache(utterances, SETTINGS, folder)
    part = dataclasses.replace(utterances[0], offset=0.1, duration=0.2)
    assert_close(open_cache([part], SETTINGS, folder)[0], unnormalised(noise(8000, 0)[1600:4800], SETTINGS))
    later = dataclasses.replace(part, offset=0.2)
    assert_close(open_cache([later], SETTINGS, folder)[0], unnormalised(noise(8000, 0)[3200:6400], SETTINGS))


def test_file_with_other_time_is_read_again(utterances: list[Utterance], folder: Path) -> None:
    open_cache(utterances, SETTINGS, folder)
    # Of the same length, so that only the time tells.
    before = os.stat(utterances[1].audio)  # noqa: PTH116 - the utterance has a string
    record(Path(utterances[1].audio).parent, "u1", LENGTHS[1], seed=9)
    os.utime(utterances[1].audio, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert_close(open_cache(utterances, SETTINGS, folder)[1], unnormalised(noise(LENGTHS[1], 9), SETTINGS))


def test_file_of_other_size_is_read_again(utterances: list[Utterance], folder: Path) -> None:
    open_cache(utterances, SETTINGS, folder)
    before = os.stat(utterances[1].audio)  # noqa: PTH116 - the utterance has a string
    record(Path(utterances[1].audio).parent, "u1", LENGTHS[1] + 100, seed=9)
    os.utime(utterances[1].audio, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = open_cache(utterances, SETTINGS, folder)[1]
    assert_close(result, unnormalised(noise(LENGTHS[1] + 100, 9)[: LENGTHS[1] + 100], SETTINGS))


# Speed


@pytest.mark.parametrize("speed", [0.5, 0.9, 1.1, 2.0])
def test_faster_copy_has_fewer_frames(speed: float, utterances: list[Utterance], folder: Path) -> None:
    cache = open_cache(utterances, SETTINGS, folder, speed)
    assert cache.lengths.tolist() == [frame_count(round(samples / speed), SETTINGS) for samples in LENGTHS]


def test_faster_copy_has_higher_pitch(tmp_path: Path, folder: Path) -> None:
    def tone(frequency: float, samples: int) -> NDArray[np.float32]:
        return (0.3 * np.sin(2 * np.pi * frequency * np.arange(samples) / 16_000)).astype(np.float32)

    soundfile.write(tmp_path / "a.wav", tone(1000, 16_000), 16_000, subtype="FLOAT")
    plain = SETTINGS
    utterance = Utterance("a", str(tmp_path / "a.wav"), 1.0)
    faster = open_cache([utterance], plain, folder, copy=1.25)[0]
    np.testing.assert_allclose(faster[10:-10], unnormalised(tone(1250, 12_800), plain)[10:-10], atol=2)
    assert np.abs(faster[10:-10] - unnormalised(tone(1000, 12_800), plain)[10:-10]).max() > 10


def test_each_speed_has_its_own_cache(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    for speed in (1.0, 0.9, 1.0, 0.9):
        open_cache(utterances, SETTINGS, folder, speed)
    assert counted.times == 6


# Caches of earlier contents


def test_caches_of_earlier_contents_are_deleted(utterances: list[Utterance], folder: Path) -> None:
    for count in (1, 2, 3):
        open_caches(utterances[:count], SETTINGS, folder.parent / "m.jsonl", [Copy(), Copy(0.9)])
        assert files(folder) == [".f16"] * 2 + [".npy"] * 2
    assert open_cache(utterances, SETTINGS, folder).lengths.tolist() == [51, 19, 33]


def test_caches_of_other_settings_and_manifests_are_kept(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    other = dataclasses.replace(SETTINGS, coefficients=6)
    for _ in range(2):
        for settings in (SETTINGS, other):
            open_cache(utterances, settings, folder)
        for name in ("m-clean.jsonl", "n.jsonl"):
            open_caches(utterances[:1], SETTINGS, folder.parent / name)
    assert counted.times == 8


def test_cache_in_use_is_kept_until_it_is_closed(utterances: list[Utterance], folder: Path) -> None:
    first = open_cache(utterances[:1], SETTINGS, folder)
    open_cache(utterances[:2], SETTINGS, folder)
    assert files(folder) == [".f16"] * 2 + [".npy"] * 2
    assert_close(first[0], unnormalised(noise(LENGTHS[0], 0), SETTINGS))
    del first
    open_cache(utterances, SETTINGS, folder)
    assert files(folder) == [".f16", ".npy"]


# Incomplete caches


def test_incomplete_cache_is_not_used(utterances: list[Utterance], folder: Path) -> None:
    expected = open_cache(utterances, SETTINGS, folder)[0]
    [data], [index] = folder.glob("*.f16"), folder.glob("*.npy")
    index.unlink()
    data.write_bytes(b"half")
    np.testing.assert_array_equal(open_cache(utterances, SETTINGS, folder)[0], expected)
    assert files(folder) == [".f16", ".npy"]


def test_partial_file_of_a_killed_process_is_not_used(utterances: list[Utterance], folder: Path) -> None:
    expected = open_cache(utterances, SETTINGS, folder)[0]
    [data], [index] = folder.glob("*.f16"), folder.glob("*.npy")
    data.rename(data.with_suffix(".1.part"))
    index.unlink()
    np.testing.assert_array_equal(open_cache(utterances, SETTINGS, folder)[0], expected)


def test_error_leaves_no_file(utterances: list[Utterance], folder: Path) -> None:
    Path(utterances[1].audio).write_bytes(b"not audio")
    with pytest.raises(AudioError, match=r"u1\.wav: not a sound file"):
        open_cache(utterances, SETTINGS, folder)
    assert list(folder.iterdir()) == []


def test_interruption_leaves_no_file(utterances: list[Utterance], folder: Path) -> None:
    def interrupt(done: float, total: float, _: int) -> None:
        if done > 0.6 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(utterances, SETTINGS, folder, on_progress=interrupt)
    assert list(folder.iterdir()) == []


def test_missing_recording_is_named_with_its_utterance(utterances: list[Utterance], folder: Path) -> None:
    Path(utterances[2].audio).unlink()
    with pytest.raises(AudioError) as caught:
        open_cache(utterances, SETTINGS, folder)
    assert str(caught.value) == f"{utterances[2].audio}: No such file or directory (utterance u2)"
    assert not folder.exists()


def test_empty_manifest_has_empty_cache(folder: Path) -> None:
    cache = open_cache([], SETTINGS, folder)
    assert isinstance(cache, FeatureCache)
    assert cache.lengths.tolist() == []


def test_progress_is_in_seconds_of_audio(utterances: list[Utterance], folder: Path) -> None:
    reported: list[tuple[float, float, int]] = []
    open_cache(utterances, SETTINGS, folder, on_progress=lambda *now: reported.append(now))
    total = sum(LENGTHS) / 16_000
    size = round(total / 0.01 * 5 * 2)
    expected = [(seconds, total, size) for seconds in np.cumsum(LENGTHS) / 16_000]
    assert reported == [pytest.approx(pair) for pair in expected]
    open_cache(utterances, SETTINGS, folder, on_progress=lambda *now: reported.append(now))
    assert len(reported) == 3


@pytest.mark.parametrize("suffix", [".f16", ".npy"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "gone"])
def test_damaged_cache_is_computed_again(
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
    assert_close(cache[1], unnormalised(noise(LENGTHS[1], 1), SETTINGS))
    assert path.read_bytes() == whole


# Copies: speeds and noise


@pytest.fixture
def noises(tmp_path: Path) -> tuple[str, ...]:
    """Two recordings of noise, a low and a high tone."""
    (tmp_path / "noise").mkdir()
    for name, step in (("low", 0.05), ("high", 1.5)):
        tone = (0.1 * np.sin(step * np.arange(1000))).astype(np.float32)
        soundfile.write(tmp_path / "noise" / f"{name}.wav", tone, 16_000, subtype="FLOAT")
    return tuple(str(tmp_path / "noise" / f"{name}.wav") for name in ("low", "high"))


def distorted(files: tuple[str, ...], low: float, high: float, number: int = 0) -> Distortion:
    return Distortion(noise=files, low=low, high=high, number=number)


def test_copies_in_order_and_only_new_ones_computed(
    utterances: list[Utterance], folder: Path, noises: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    reported: list[tuple[float, float, int]] = []
    open_caches(utterances, SETTINGS, folder.parent / "m.jsonl", [Copy(0.9)])
    copies = [Copy(1.1), Copy(0.9), Copy(1.0, distorted(noises, 5, 5))]
    caches = open_caches(
        utterances, SETTINGS, folder.parent / "m.jsonl", copies, Computation(lambda *now: reported.append(now))
    )
    assert counted.times == 9
    assert [cache.lengths[0] for cache in caches] == [46, 56, 51]
    seconds = sum(LENGTHS) / 16_000
    assert [total for _, total, _ in reported] == pytest.approx([seconds / 1.1 + seconds] * 6)
    assert [done for done, _, _ in reported] == sorted(done for done, _, _ in reported)
    assert reported[2][0] == pytest.approx(seconds / 1.1)
    assert reported[-1][0] == pytest.approx(reported[-1][1])
    assert files(folder) == [".f16"] * 3 + [".npy"] * 3


def test_noisy_copies_differ(utterances: list[Utterance], folder: Path, noises: tuple[str, ...]) -> None:
    copies = [
        Copy(),
        *(Copy(1.0, distorted(noises, 0, 10, number)) for number in (0, 1)),
        Copy(0.9, distorted(noises, 0, 10)),
    ]
    caches = open_caches(utterances, SETTINGS, folder.parent / "m.jsonl", copies)
    assert len({cache[0].tobytes() for cache in caches}) == 4
    for noisy in caches[1:3]:
        assert noisy.lengths.tolist() == caches[0].lengths.tolist()
        assert all(np.abs(noisy[index] - caches[0][index]).max() > 1 for index in range(3))


def test_noise_has_signal_to_noise_ratios_of_the_range(
    utterances: list[Utterance], folder: Path, noises: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios: list[float] = []

    def seen(waveform: NDArray[np.float32], _: object, __: float, snr: float) -> NDArray[np.float32]:
        ratios.append(snr)
        return waveform

    monkeypatch.setattr(distortion, "with_noise", seen)
    for number in range(10):
        open_cache(utterances, SETTINGS, folder, Copy(1.0, distorted(noises, -3, 8, number)))
    assert len(set(ratios)) == 30
    assert -3 <= min(ratios) < 0
    assert 5 < max(ratios) <= 8


def test_noise_depends_only_on_utterance_and_copy(
    utterances: list[Utterance], tmp_path: Path, noises: tuple[str, ...]
) -> None:
    copy = Copy(1.0, distorted(noises, 0, 10))
    together = open_cache(utterances, SETTINGS, tmp_path / "a", copy)
    apart = open_cache(utterances[2:], SETTINGS, tmp_path / "b", copy)
    np.testing.assert_array_equal(apart[0], together[2])


@pytest.mark.parametrize("change", ["level", "number", "list", "file"])
def test_other_noise_needs_another_cache(
    change: str,
    utterances: list[Utterance],
    folder: Path,
    noises: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = distorted(noises, 0, 10)
    other = {
        "level": dataclasses.replace(first, high=11),
        "number": dataclasses.replace(first, number=1),
        "list": dataclasses.replace(first, noise=noises[:1]),
        "file": first,
    }[change]
    counted = Counted(monkeypatch)
    for _ in range(2):
        open_cache(utterances, SETTINGS, folder, Copy(1.0, first))
    assert counted.times == 3
    if change == "file":
        os.utime(noises[0], ns=(0, 1))
    open_cache(utterances, SETTINGS, folder, Copy(1.0, other))
    assert counted.times == 6


# The disk


def test_old_partial_files_are_deleted(utterances: list[Utterance], folder: Path) -> None:
    folder.mkdir(parents=True)
    now = time.time()
    for name, hours in (("old.f16.1.part", 6.1), ("young.f16.2.part", 5.9), ("old.f16", 100.0)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (now - hours * 3600, now - hours * 3600))
    open_cache(utterances, SETTINGS, folder)
    left = {path.name for path in folder.iterdir()}
    assert {"young.f16.2.part", "old.f16"} <= left
    assert "old.f16.1.part" not in left
    assert len(left) == 4


def test_small_disk_raises_before_computing(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    long = [dataclasses.replace(row, duration=1e8) for row in utterances]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10_000_000_000))
    counted = Counted(monkeypatch)
    with pytest.raises(FeatureCacheError) as caught:
        open_caches(long, SETTINGS, folder.parent / "m.jsonl", [Copy(), Copy(0.5)])
    # 3 · 10^8 s, and as much again twice as slow, of 100 frames of 5 float16.
    assert str(caught.value) == (
        f"{folder}: the features need 900.0 GB, 10.0 GB are free; "
        "choose a folder on a larger disk with --cache, or use fewer speeds or noise copies"
    )
    assert (counted.times, list(folder.iterdir())) == (0, [])


def test_complete_cache_needs_no_disk_space(
    utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    first = open_cache(utterances, SETTINGS, folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0))
    np.testing.assert_array_equal(open_cache(utterances, SETTINGS, folder)[0], first[0])
    with pytest.raises(FeatureCacheError, match=r"need 0\.0 GB, 0\.0 GB are free"):
        open_cache(utterances, SETTINGS, folder, 0.9)


@pytest.mark.parametrize("suffix", [".f16", ".npy"])
def test_write_error_raises_and_leaves_nothing(
    suffix: str, utterances: list[Utterance], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A file on a full disk."""

        def __init__(self, out: BinaryIO) -> None:
            self.out, self.written = out, 0

        def write(self, data: bytes) -> int:
            self.written += len(data)
            if self.written > 100:
                raise OSError(28, "No space left on device")
            return self.out.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.out, name)

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.out.close()

    opened = Path.open

    def full(path: Path, *how: Any, **more: Any) -> Any:
        result = opened(path, *how, **more)
        return Full(result) if suffix in path.name and path.name.endswith(".part") else result

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(FeatureCacheError) as caught:
        open_cache(utterances, SETTINGS, folder)
    assert str(caught.value) == f"{folder}: the features cannot be written: No space left on device"
    assert not [path for path in folder.iterdir() if path.suffix != ".f16"]
    assert len(list(folder.iterdir())) == (suffix == ".npy")
    monkeypatch.undo()
    assert_close(open_cache(utterances, SETTINGS, folder)[1], unnormalised(noise(LENGTHS[1], 1), SETTINGS))


BUILD = """
import pathlib, sys, time
from asr.features.given import GivenFeatures
from asr.features.cache import Computation, open_caches
from asr.features import FeatureSettings
from asr.corpora.manifest import read
utterances = read(sys.argv[1])
pathlib.Path(sys.argv[3]).touch()
for _ in range(20_000):  # until the other is ready, too
    if pathlib.Path(sys.argv[4]).exists():
        break
    time.sleep(0.01)
def slowly(*_):
    time.sleep(0.05)
settings = FeatureSettings(coefficients=5, mel_bands=10, normalisation="utterance")
[cache] = open_caches(utterances, settings, pathlib.Path(sys.argv[2]),
                      computation=Computation(slowly))
print(sum(float(abs(cache[index]).sum()) for index in range(len(utterances))))
"""


@pytest.mark.slow
def test_two_processes_build_one_cache(
    utterances: list[Utterance], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "m.jsonl", utterances)
    go = [str(tmp_path / "ready-1"), str(tmp_path / "ready-2")]
    common = [sys.executable, "-c", BUILD, str(tmp_path / "m.jsonl"), str(folder.parent / "m.jsonl")]
    root = Path(__file__).resolve().parent.parent.parent
    both = [
        subprocess.Popen([*common, *order], cwd=root, stdout=subprocess.PIPE, text=True) for order in (go, go[::-1])
    ]
    result = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    expected = sum(np.abs(unnormalised(noise(n, seed), SETTINGS)).sum() for seed, n in enumerate(LENGTHS))
    assert [float(row) for row in result] == pytest.approx([expected] * 2, rel=1e-3)
    assert files(folder) == [".f16", ".npy"]
    counted = Counted(monkeypatch)
    cache = open_cache(read(tmp_path / "m.jsonl"), SETTINGS, folder)
    assert_close(cache[2], unnormalised(noise(LENGTHS[2], 2), SETTINGS))
    assert counted.times == 0


# Memory


_READ_ALL = """
import resource, sys
from pathlib import Path
import numpy as np
from asr.features.given import GivenFeatures
from asr.features.cache import FeatureCache

cache = FeatureCache(Path(sys.argv[1]), 40)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(float(cache[index].sum()) for index in range(len(cache.lengths)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, total)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    grown = []
    for utterances in (2000, 4000):
        path = tmp_path / f"{utterances}.f16"
        np.ones((utterances * 1000, 40), np.float16).tofile(path)
        np.save(path.with_suffix(".npy"), np.full(utterances, 1000))
        done = subprocess.run([sys.executable, "-c", _READ_ALL, str(path)], capture_output=True, text=True, check=True)
        kilobytes, total = done.stdout.split()
        assert float(total) == utterances * 40_000
        grown.append(int(kilobytes) * (1 if sys.platform == "linux" else 1 / 1024))
        path.unlink()
    # 160 and 320 MB of features, of which at most 64 MB stay.
    assert max(grown) < 100_000
    assert grown[1] < grown[0] + 20_000
