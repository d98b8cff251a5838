"""Count the words that a model writes for noise, and measure how voice activity detection changes its WER on speech.

usage: python tests/benchmarks/noise_words.py [MODEL [MANIFEST [COUNT]]]     default: english-small, no speech, 100

First the words in noises of 10, 30 and 60 s at gains of 0 to -60 dB. Then the greedy WER on COUNT utterances of the
manifest, with and without voice activity detection: as they are, with white noise at 10 dB, in the telephone band, at
-40 dB, and after 30 s of silence or of noise at -70 dB. Also the share of these recordings that is left out.
"""

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

import asr
from asr import TranscribeOptions, audio, scoring
from asr.corpora import manifest
from asr.recognition import vad
from asr.text.normalisers import normalise

Wave = NDArray[np.float32]
GAINS, LENGTHS = (0, -20, -40, -60), (10, 30, 60)


def coloured(exponent: float, random: np.random.Generator, count: int) -> Wave:
    """Return noise whose power falls with this power of the frequency, of amplitude 0.1."""
    spectrum = np.fft.rfft(random.standard_normal(count))
    spectrum *= np.maximum(np.fft.rfftfreq(count, 1 / 16_000), 10) ** (-exponent / 2)
    noise = np.fft.irfft(spectrum, count)
    result: Wave = (0.1 * noise / noise.std()).astype(np.float32)
    return result


def hum(base: float, random: np.random.Generator, count: int) -> Wave:
    """Return mains hum with its harmonics, slowly drifting, and a little noise."""
    now = np.arange(count) / 16_000
    phase = 2 * np.pi * np.cumsum(base * (1 + 0.002 * np.sin(2 * np.pi * 0.1 * now))) / 16_000
    tones = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 30))
    return (0.1 * tones + 0.002 * random.standard_normal(count)).astype(np.float32)


def knocks(random: np.random.Generator, count: int) -> Wave:
    """Return clicks and knocks over a room's noise."""
    result = 1e-3 * random.standard_normal(count)
    now = np.arange(2400) / 16_000
    for place in random.integers(0, count - 2400, count // 16_000):
        knock = np.exp(-now * random.uniform(20, 200)) * np.sin(2 * np.pi * random.uniform(100, 2000) * now)
        result[place : place + 2400] += random.uniform(0.05, 0.9) * knock
    return result.astype(np.float32)


def beeps(random: np.random.Generator, count: int) -> Wave:
    """Return the tone of a telephone, twice a second."""
    now = np.arange(count) / 16_000
    tone = np.sin(2 * np.pi * 350 * now) + np.sin(2 * np.pi * 440 * now)
    return (0.2 * tone * (now % 0.5 < 0.25) + 1e-3 * random.standard_normal(count)).astype(np.float32)


NOISES: dict[str, Callable[[np.random.Generator, int], Wave]] = {
    "white": lambda random, count: coloured(0, random, count),
    "pink": lambda random, count: coloured(1, random, count),
    "brown": lambda random, count: coloured(2, random, count),
    "hum of 50 Hz": lambda random, count: hum(50, random, count),
    "hum of 60 Hz": lambda random, count: hum(60, random, count),
    "room at -70 dB": lambda random, count: (10**-3.5 * random.standard_normal(count)).astype(np.float32),
    "knocks": knocks,
    "beeps": beeps,
    "silence but one sample": lambda random, count: np.eye(1, count, 8000, dtype=np.float32)[0],
}


def white(waveform: Wave) -> Wave:
    """Return speech with white noise at 10 dB."""
    random = np.random.default_rng(len(waveform))
    level = np.sqrt(np.square(waveform).mean()) * 10**-0.5
    result: Wave = (waveform + level * random.standard_normal(len(waveform))).astype(np.float32)
    return result


def telephone(waveform: Wave) -> Wave:
    """Return the band from 300 to 3,400 Hz in 8-bit mu-law."""
    band = sosfilt(butter(4, [300, 3400], "bandpass", fs=16_000, output="sos"), waveform)
    band = np.clip(band, -1, 1)
    coded = np.round(127 * np.sign(band) * np.log1p(255 * np.abs(band)) / np.log(256)) / 127
    result: Wave = (np.sign(coded) * (256 ** np.abs(coded) - 1) / 255).astype(np.float32)
    return result


def print_noises(recognizer: asr.Recognizer, options: TranscribeOptions) -> None:
    """Print the number of words in each noise."""
    random = np.random.default_rng(20)
    total = 0
    for name, make in NOISES.items():
        count = 0
        for seconds in LENGTHS:
            noise = make(random, seconds * 16_000)
            for gain in GAINS:
                waveform = audio.resample(noise * np.float32(10 ** (gain / 20)), 16_000, recognizer.sample_rate)
                count += len(recognizer.transcribe(waveform, options=options).text.split())
        print(f"RATIO words_{name.replace(' ', '_')} {count}", flush=True)
        total += count
    print(f"RATIO words_of_all_noises {total}", flush=True)


def print_speech(recognizer: asr.Recognizer, path: str, count: int) -> None:
    """Print the WER of utterances with and without voice activity detection, and the share that is left out."""
    rows = manifest.read(path)
    rows = [rows[index] for index in np.random.default_rng(1).permutation(len(rows))[:count]]
    normaliser = recognizer.settings.text.normaliser
    texts = [normalise(row.text, normaliser) for row in rows]
    rate = recognizer.sample_rate
    waveforms = [audio.load(row.audio, 16_000, row.offset, row.duration) for row in rows]
    silence = np.zeros(30 * 16_000, np.float32)
    room = (10**-3.5 * np.random.default_rng(2).standard_normal(len(silence))).astype(np.float32)
    changes: dict[str, Callable[[Wave], Wave]] = {
        "clean": lambda waveform: waveform,
        "white_noise_10_dB": white,
        "telephone": telephone,
        "gain_-40_dB": lambda waveform: 0.01 * waveform,
        "after_30_s_of_silence": lambda waveform: np.concatenate([silence, waveform]),
        "after_30_s_at_-70_dB": lambda waveform: np.concatenate([room, waveform]),
    }
    for name, change in changes.items():
        changed = [audio.resample(change(waveform), 16_000, rate) for waveform in waveforms]
        for detection in (False, True):
            if name.startswith("after") and not detection:
                continue
            options = TranscribeOptions(vad=detection)
            found = [recognizer.transcribe(waveform, options=options).text for waveform in changed]
            wer = scoring.score(texts, found).wer.value
            print(f"RATIO wer_{name}_{'with' if detection else 'without'}_vad {wer:.4f}", flush=True)
        kept = sum(part.end - part.first for row in changed for part in vad.detect([row], rate).ranges)
        print(f"RATIO left_out_{name} {1 - kept / sum(map(len, changed)):.3f}", flush=True)


def main() -> None:
    """Print all figures."""
    arguments = [*sys.argv[1:], *("english-small", "", "100")[len(sys.argv) - 1 :]]
    recognizer = asr.load(arguments[0], decoder="greedy")
    print_noises(recognizer, TranscribeOptions())
    if arguments[1]:
        print_speech(recognizer, arguments[1], int(arguments[2]))


if __name__ == "__main__":
    main()
