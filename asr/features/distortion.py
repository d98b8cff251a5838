"""Distortion of training speech: silence around it, reverberation, noise, telephone band, codecs, level and clicks.

The feature cache computes distorted copies in worker processes, which do not import torch: twice the memory. Hence
NumPy and SciPy here, not torchaudio.
"""

import io
from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

from asr import audio

Waveform = NDArray[np.float32]
# Hz and samples per second of the telephone band.
_TELEPHONE_BAND, _TELEPHONE_RATE = (300.0, 3400.0), 8000
# Voices that talk at once in babble; seconds of reverberation; dB of the direct sound above the reverberation.
_VOICES, _REVERBERATION, _DIRECT = (3, 8), (0.15, 0.8), (-3.0, 12.0)
# dB that a level falls by at most; seconds that a click lasts.
_LEVEL_CHANGE, _CLICK = 25.0, (0.001, 0.03)
_CODECS = (("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS"), ("OGG", "VORBIS"))


@dataclass(frozen=True)
class Excerpt:
    """A part of a sound file, in seconds."""

    path: str
    offset: float = 0.0
    duration: float | None = None


@dataclass(frozen=True)
class Distortion:
    """How a copy of an utterance is distorted; copies with another `number` differ.

    `noise`: recordings of noise. `voices`: speech that babble is made of. `babble`, `synthetic`: the probability of
    either kind of noise; otherwise a recording of `noise` is used, if there is one. `low`, `high`: the signal-to-noise
    ratio in dB. `reverberation`, `telephone`, `codec`: their probabilities. `silence`: up to so many seconds of silence
    before and after half of the utterances. `gain`: up to so many dB quieter. `level_changes`, `clicks`: the
    probabilities of a change of level and of a click.
    """

    noise: tuple[str, ...] = ()
    voices: tuple[Excerpt, ...] = ()
    babble: float = 0.0
    synthetic: float = 0.0
    low: float = 5.0
    high: float = 25.0
    reverberation: float = 0.0
    telephone: float = 0.0
    codec: float = 0.0
    silence: float = 0.0
    gain: float = 0.0
    level_changes: float = 0.0
    clicks: float = 0.0
    number: int = 0

    def __call__(self, waveform: Waveform, sample_rate: int, random: np.random.Generator) -> Waveform:
        """Return a distorted copy of a waveform (samples,), longer if it has silence around it."""
        power = float(np.mean(np.square(waveform, dtype=np.float64))) if len(waveform) else 0.0
        if not power:
            return waveform
        if random.random() < 0.5:
            before, after = (int(seconds * sample_rate) for seconds in random.uniform(0, self.silence, 2))
            waveform = np.pad(waveform, (before, after))
        if random.random() < self.reverberation:
            waveform = reverberated(waveform, sample_rate, random)
        noise = self._noise(len(waveform), sample_rate, random)
        if noise is not None:
            waveform = with_noise(waveform, noise, power, random.uniform(self.low, self.high))
        if random.random() < self.telephone:
            waveform = telephone(waveform, sample_rate)
        if random.random() < self.codec:
            waveform = coded(waveform, sample_rate, random)
        if random.random() < self.level_changes:
            waveform = with_level_change(waveform, random)
        waveform = waveform / max(1.0, float(np.abs(waveform).max()))
        factor = 10 ** (-random.uniform(0, self.gain) / 20)
        if random.random() < self.clicks:
            waveform = with_click(waveform, sample_rate, factor, random)
        # The samples of a file are integers: a quiet recording has quantisation noise.
        quantised = np.round(waveform * (factor * 32767)) / 32767 if self.gain else waveform
        return np.asarray(quantised, np.float32)

    def _noise(self, samples: int, sample_rate: int, random: np.random.Generator) -> Waveform | None:
        """Return noise (samples,), or None for none."""
        kind = random.random()
        if kind < self.babble:
            count = min(int(random.integers(*_VOICES, endpoint=True)), len(self.voices))
            chosen = random.choice(len(self.voices), count, replace=False)
            return babble([_loaded(self.voices[index], sample_rate) for index in chosen], samples, random)
        if kind < self.babble + self.synthetic:
            return synthetic_noise(samples, sample_rate, random)
        if not self.noise:
            return None
        recording = _loaded(Excerpt(self.noise[int(random.integers(len(self.noise)))]), sample_rate)
        return _excerpt(recording, samples, random)


@lru_cache(maxsize=128)
def _loaded(excerpt: Excerpt, sample_rate: int) -> Waveform:
    return audio.load(excerpt.path, sample_rate, excerpt.offset, excerpt.duration)


def _excerpt(recording: Waveform, samples: int, random: np.random.Generator) -> Waveform:
    """Return a recording from a random sample on, repeated to a number of samples."""
    if not len(recording):
        return np.zeros(samples, np.float32)
    return np.resize(np.roll(recording, -int(random.integers(len(recording)))), samples)


def with_noise(waveform: Waveform, noise: Waveform, power: float, snr: float) -> Waveform:
    """Add noise (samples,) to a waveform (samples,) whose speech has a mean power, at `snr` dB.

    The waveform is unchanged if either is silent.
    """
    noise_power = float(np.mean(np.square(noise, dtype=np.float64))) if len(noise) else 0.0
    if not noise_power or not power:
        return waveform
    return np.asarray(waveform + noise * np.float32(np.sqrt(power / noise_power / 10 ** (snr / 10))), np.float32)


def babble(voices: list[Waveform], samples: int, random: np.random.Generator) -> Waveform:
    """Return the sum (samples,) of several voices of equal power, each from a random sample on."""
    total = np.zeros(samples, np.float32)
    for voice in voices:
        power = float(np.mean(np.square(voice, dtype=np.float64))) if len(voice) else 0.0
        if power:
            total += _excerpt(voice, samples, random) * np.float32(1 / np.sqrt(power))
    return total


def synthetic_noise(samples: int, sample_rate: int, random: np.random.Generator) -> Waveform:
    """Return noise (samples,): white, coloured (power proportional to 1/f to 1/f²), shaped at random, or mains hum."""
    noise = random.standard_normal(samples)
    kind = random.random()
    if kind < 0.3:
        return noise.astype(np.float32)
    frequencies = np.fft.rfftfreq(samples, 1 / sample_rate)
    if kind < 0.55:
        shape = np.maximum(frequencies, 20.0) ** (-random.uniform(0.5, 1.0))
    else:
        points = np.linspace(0, sample_rate / 2, 12)
        shape = 10 ** (np.interp(frequencies, points, random.uniform(-30, 0, len(points))) / 20)
    noise = np.fft.irfft(np.fft.rfft(noise) * shape, samples)
    noise /= np.sqrt(np.mean(np.square(noise))) + 1e-12
    if kind > 0.85:
        mains, times = random.choice([50.0, 60.0]), np.arange(samples) / sample_rate
        for harmonic in range(1, 12):
            noise += random.uniform(0, 4 / harmonic) * np.sin(
                2 * np.pi * mains * harmonic * times + random.uniform(0, 6)
            )
    if random.random() < 0.3:
        # Machines and wind: the level varies slowly.
        rate = random.uniform(0.2, 4.0)
        noise *= 1 + 0.9 * np.sin(2 * np.pi * rate * np.arange(samples) / sample_rate + random.uniform(0, 6))
    return noise.astype(np.float32)


def with_level_change(waveform: Waveform, random: np.random.Generator) -> Waveform:
    """Return the waveform (samples,) quieter before or after a random sample, as when another person speaks."""
    changed, index = waveform.copy(), int(random.integers(len(waveform)))
    part = slice(None, index) if random.random() < 0.5 else slice(index, None)
    changed[part] *= np.float32(10 ** (-random.uniform(0, _LEVEL_CHANGE) / 20))
    return changed


def with_click(waveform: Waveform, sample_rate: int, factor: float, random: np.random.Generator) -> Waveform:
    """Return the waveform (samples,) with a click that is at most at full scale after a multiplication by `factor`."""
    size = min(int(random.uniform(*_CLICK) * sample_rate), len(waveform))
    first = int(random.integers(len(waveform) - size + 1))
    clicked = waveform.copy()
    peak = 10 ** (random.uniform(np.log10(factor), 0)) / factor
    clicked[first : first + size] += (peak * random.uniform(-1, 1, size)).astype(np.float32)
    return np.clip(clicked, -1 / factor, 1 / factor)


def reverberated(waveform: Waveform, sample_rate: int, random: np.random.Generator) -> Waveform:
    """Return the waveform (samples,) in a random room: exponentially decaying noise after the direct sound."""
    seconds = random.uniform(*_REVERBERATION)
    times = np.arange(int(seconds * sample_rate)) / sample_rate
    # The level falls by 60 dB in `seconds`.
    tail = random.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    tail[: int(random.uniform(0.001, 0.01) * sample_rate)] = 0
    tail *= 10 ** (-random.uniform(*_DIRECT) / 20) / np.sqrt(np.sum(np.square(tail)))
    tail[0] = 1.0
    return np.asarray(signal.fftconvolve(waveform, tail)[: len(waveform)], np.float32)


def telephone(waveform: Waveform, sample_rate: int) -> Waveform:
    """Return the waveform (samples,) as a telephone transmits it: 300 to 3400 Hz at 8 kHz, in mu-law."""
    narrow = audio.resample(waveform, sample_rate, _TELEPHONE_RATE)
    sections = signal.butter(4, _TELEPHONE_BAND, "bandpass", fs=_TELEPHONE_RATE, output="sos")
    narrow = np.clip(signal.sosfilt(sections, narrow), -1, 1)
    narrow = librosa.mu_expand(librosa.mu_compress(narrow)).astype(np.float32)
    wide = audio.resample(narrow, _TELEPHONE_RATE, sample_rate)
    return np.asarray(librosa.util.fix_length(wide, size=len(waveform)), np.float32)


def coded(waveform: Waveform, sample_rate: int, random: np.random.Generator) -> Waveform:
    """Return the waveform (samples,) after a lossy codec; unchanged if the codec does not know the sample rate."""
    name, subtype = _CODECS[int(random.integers(len(_CODECS)))]
    file = io.BytesIO()
    try:
        scaled = waveform / max(1.0, float(np.abs(waveform).max()))
        soundfile.write(file, scaled, sample_rate, subtype, format=name, compression_level=random.uniform(0.6, 0.99))
        file.seek(0)
        decoded, rate = soundfile.read(file, dtype="float32")
    except soundfile.LibsndfileError:
        return waveform
    return audio.resample(decoded, rate, sample_rate)
