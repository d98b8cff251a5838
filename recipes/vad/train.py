"""Trains the voice activity network of asr/recognition/vad.py. See README.md.

usage: python recipes/vad/train.py SPEECH OUT.safetensors
SPEECH: the folder that holds LibriSpeech/, common-voice/ and an4/
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.signal import butter, fftconvolve, lfilter, sosfilt
from torch import Tensor, nn

from asr import audio
from asr.corpora import an4
from asr.recognition import vad

Wave = NDArray[np.float32]
Labels = NDArray[np.bool_]

# The network sees nothing above 3,800 Hz, so 8 kHz are enough.
RATE = 8000
SECONDS, SEQUENCES, DEV_SEQUENCES, EPOCHS, BATCH, LEARNING_RATE = 10.0, 8000, 300, 14, 40, 4e-3
RECORDINGS = {"LibriSpeech/train-clean-5": 600, "LibriSpeech/train-clean-100": 500, "common-voice": 900, "an4": 300}
HOP = round(vad.HOP * RATE)


def read(speech: Path, folder: str, count: int) -> list[Wave]:
    """Return some of the recordings of a corpus, drawn with a fixed seed."""
    if folder == "an4":
        paths = [Path(utterance.audio) for utterance in an4.read(speech / folder)["train"]]
    else:
        paths = sorted(path for ending in ("flac", "mp3") for path in (speech / folder).rglob(f"*.{ending}"))
    chosen = np.random.default_rng(7).permutation(len(paths))[:count]
    return [load(paths[index]) for index in chosen]


def load(path: Path) -> Wave:
    """Return a recording. Some headers of Common Voice's MP3 files announce more samples than there are."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return audio.from_array(samples, rate, RATE)


def labels(waveform: Wave) -> Labels:
    """Return which frames of a clean recording are speech: those near the level of its loud frames."""
    count = -(-len(waveform) // HOP)
    emphasised = np.append(waveform, np.zeros(count * HOP - len(waveform), np.float32))
    emphasised = sosfilt(butter(2, [100, 3800], "bandpass", fs=RATE, output="sos"), emphasised)
    level = 10 * np.log10(np.square(emphasised).reshape(count, HOP).mean(axis=1) + 1e-12)
    level = np.convolve(np.pad(level, 1, mode="edge"), np.ones(3) / 3, "valid")
    loud, quiet = np.percentile(level, 95), np.percentile(level, 10)
    result: Labels = level > max(loud - 32, min(quiet + 8, loud - 15))
    for first, end in vad.runs(~result):
        if end - first <= 10 and first > 0 and end < count:
            result[first:end] = True
    for first, end in vad.runs(result):
        if end - first <= 3:
            result[first:end] = False
    return result


class Network(nn.Module):
    """Features -> log-odds of speech: what asr/recognition/vad.py computes with NumPy."""

    def __init__(self, channels: int = 40, hidden: int = 48) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(vad.FEATURES, channels, vad.WIDTH)
        self.recurrence = nn.GRU(channels, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the log-odds (B, T) of features (B, context + T, FEATURES)."""
        hidden, _ = self.recurrence(self.convolution(features.mT).relu().mT)
        return self.output(hidden)[..., 0]


class Noises:
    """Draws noises of many kinds. `babble`: recordings that crowds of voices are mixed from."""

    def __init__(self, random: np.random.Generator, babble: list[Wave]) -> None:
        self.random = random
        self._babble = babble
        self._kinds = [self.coloured] * 5 + [self.band, self.hum, self.hum, self.fan, self.modulated, self.music]
        self._kinds += [self.tones, self.clicks, self.knocks, self.crowd]

    def draw(self, count: int) -> Wave:
        """Return a noise of one or two kinds (count,), of mean power 1."""
        random = self.random
        result = self._one(count)
        if random.random() < 0.4:
            result = result + 10 ** (random.uniform(-25, 5) / 20) * self._one(count)
        return unit(result)

    def _one(self, count: int) -> Wave:
        return unit(self._kinds[self.random.integers(len(self._kinds))](count))

    def coloured(self, count: int, exponent: float | None = None) -> Wave:
        """Return white (exponent 0), pink (1), brown (2) noise, or one between or beyond."""
        exponent = self.random.choice([0, 0, 1, 2, self.random.uniform(-1, 3)]) if exponent is None else exponent
        spectrum = np.fft.rfft(self.random.standard_normal(count))
        frequency = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20)
        return np.fft.irfft(spectrum * frequency ** (-exponent / 2), count).astype(np.float32)

    def band(self, count: int) -> Wave:
        """Return noise of a band."""
        low = 10 ** self.random.uniform(1.7, 3.4)
        high = min(low * 2 ** self.random.uniform(0.2, 3), 3950)
        return filtered(self.random.standard_normal(count), low, high)

    def hum(self, count: int) -> Wave:
        """Return mains hum of drifting frequency, its harmonics, and some noise."""
        random, now = self.random, np.arange(count) / RATE
        base = random.choice([50, 60, 100, 120, random.uniform(30, 400)])
        drift = 1 + random.uniform(0, 0.01) * np.sin(2 * np.pi * random.uniform(0.02, 0.5) * now + random.uniform(0, 6))
        phase = 2 * np.pi * np.cumsum(base * drift) / RATE
        result = 10 ** random.uniform(-3, -0.5) * random.standard_normal(count)
        for harmonic in range(1, min(40, int(3900 // base)) + 1):
            if random.random() < 0.7:
                result += harmonic ** -random.uniform(0, 2) * np.sin(harmonic * phase + random.uniform(0, 6))
        return result.astype(np.float32)

    def fan(self, count: int) -> Wave:
        """Return coloured noise that the blades of a fan modulate."""
        now = np.arange(count) / RATE
        blades = np.sin(2 * np.pi * self.random.uniform(3, 40) * now) * self.random.uniform(0, 0.9)
        return unit(self.coloured(count)) * (1 + blades) + self.random.uniform(0, 0.5) * unit(self.hum(count))

    def modulated(self, count: int) -> Wave:
        """Return noise whose level and band change as fast as those of syllables do."""
        knots = max(4, int(count / RATE * self.random.uniform(1, 16)))
        envelope = np.interp(np.arange(count), np.linspace(0, count, knots), self.random.uniform(-30, 0, knots))
        return self.random.choice([self.coloured, self.band])(count) * 10 ** (envelope / 20)

    def tones(self, count: int) -> Wave:
        """Return beeps, dial tones, pairs of tones or a sweep."""
        random, result = self.random, np.zeros(count)
        period = round(random.uniform(0.1, 2) * RATE)
        steady = random.random() < 0.5
        pitches = random.uniform(200, 3000, random.integers(1, 3))
        for start in range(0, count, period):
            length = min(round(period * random.uniform(0.3, 1)), count - start)
            now = np.arange(length) / RATE
            pitches = pitches if steady else random.uniform(200, 3000, random.integers(1, 3))
            bend = random.choice([0, 0, 0, random.uniform(-800, 800)])
            ramp = np.minimum(1, np.minimum(now, now[::-1]) / 0.005)
            for pitch in pitches:
                result[start : start + length] += ramp * np.sin(2 * np.pi * (pitch + bend * now) * now)
        return (result + 10 ** random.uniform(-4, -1.5) * random.standard_normal(count)).astype(np.float32)

    def music(self, count: int) -> Wave:
        """Return chords with decaying harmonics, and drums."""
        random, result = self.random, np.zeros(count)
        beat = round(random.uniform(0.2, 1.0) * RATE)
        decay, drums = random.uniform(0.3, 6), random.random() < 0.6
        root = random.uniform(80, 300)
        for start in range(0, count, beat):
            length = min(beat * int(random.integers(1, 3)), count - start)
            now = np.arange(length) / RATE
            envelope = np.exp(-decay * now) * np.minimum(1, now / 0.01)
            for note in random.choice([0, 2, 4, 5, 7, 9, 11, 12, 16], random.integers(1, 5), replace=False):
                pitch = root * 2 ** (note / 12)
                for harmonic in range(1, 7):
                    wave = np.sin(2 * np.pi * harmonic * pitch * now + random.uniform(0, 6))
                    result[start : start + length] += envelope * wave / harmonic**1.3
            if drums:
                hit = np.exp(-now * random.uniform(10, 60)) * random.standard_normal(length)
                result[start : start + length] += random.uniform(0, 3) * hit
        return result.astype(np.float32)

    def clicks(self, count: int) -> Wave:
        """Return single samples or short bursts, few or many (crackle, rain)."""
        result = np.zeros(count, np.float32)
        rate = 10 ** self.random.uniform(-0.3, 2.5)
        places = self.random.integers(0, count, max(1, int(count / RATE * rate)))
        result[places] = self.random.standard_normal(len(places))
        width = int(self.random.integers(1, round(0.025 * RATE)))
        return np.convolve(result, self.random.standard_normal(width), "same").astype(np.float32)

    def knocks(self, count: int) -> Wave:
        """Return decaying resonances: knocks, keys, steps."""
        hits = np.zeros(count)
        places = self.random.integers(0, count, max(1, int(count / RATE * self.random.uniform(0.3, 8))))
        hits[places] = self.random.uniform(0.1, 1, len(places))
        now = np.arange(round(0.3 * RATE)) / RATE
        body = np.exp(-now * self.random.uniform(15, 150))
        pitches = self.random.uniform(80, 2500, self.random.integers(1, 4))
        body = body * (
            sum(np.sin(2 * np.pi * pitch * now) for pitch in pitches) + self.random.standard_normal(len(now))
        )
        return fftconvolve(hits, body)[:count].astype(np.float32)

    def crowd(self, count: int) -> Wave:
        """Return eight or more voices at once."""
        result = np.zeros(count, np.float32)
        for _ in range(self.random.integers(8, 16)):
            voice = self._babble[self.random.integers(len(self._babble))]
            result += unit(np.roll(np.resize(voice, count), self.random.integers(count)))
        return result


def unit(waveform: NDArray[np.floating]) -> Wave:
    """Return a waveform of mean power 1."""
    return (waveform / np.sqrt(np.square(waveform).mean() + 1e-20)).astype(np.float32)


def filtered(waveform: NDArray[np.floating], low: float, high: float) -> Wave:
    """Return the band from `low` to `high` Hz."""
    return sosfilt(butter(2, [low, high], "bandpass", fs=RATE, output="sos"), waveform).astype(np.float32)


def reverberated(waveform: Wave, random: np.random.Generator) -> Wave:
    """Return a waveform with the echoes of a room: noise that decays by 60 dB in 0.15 to 0.8 s."""
    now = np.arange(round(0.5 * RATE)) / RATE
    echoes = random.standard_normal(len(now)) * np.exp(-6.9 * now / random.uniform(0.15, 0.8))
    echoes *= 10 ** (random.uniform(-15, 3) / 20) / np.sqrt(np.square(echoes).sum())
    echoes[0] = 1.0
    return fftconvolve(waveform, echoes)[: len(waveform)].astype(np.float32)


def telephone(waveform: Wave) -> Wave:
    """Return the telephone band in 8-bit mu-law."""
    band = filtered(waveform, 300, 3400)
    peak = np.abs(band).max() + 1e-12
    coded = np.round(127 * np.sign(band) * np.log1p(255 * np.abs(band / peak)) / np.log(256)) / 127
    return (peak * np.sign(coded) * (256 ** np.abs(coded) - 1) / 255).astype(np.float32)


def sequence(speech: list[tuple[Wave, Labels]], noises: Noises, random: np.random.Generator) -> tuple[Wave, Labels]:
    """Return a mix of speech and noise, and which of its frames are speech."""
    frames = round(SECONDS / vad.HOP)
    clean, target = np.zeros(frames * HOP, np.float32), np.zeros(frames, bool)
    frame = int(random.exponential(1.0) / vad.HOP) if random.random() < 0.8 else 0
    alone = random.random() < 0.3
    while not alone and frame < frames - 10:
        waveform, active = speech[random.integers(len(speech))]
        begin = int(random.integers(len(active))) if random.random() < 0.3 else 0
        longest = int(random.choice([10_000, 10_000, random.integers(20, 400), random.integers(8, 40)]))
        length = min(len(active) - begin, frames - frame, longest)
        part = waveform[begin * HOP : (begin + length) * HOP]
        if active[begin : begin + length].any():
            level = np.sqrt(np.square(part).mean() + 1e-20)
            clean[frame * HOP : frame * HOP + len(part)] = part / level * 10 ** (random.normal(0, 4) / 20)
            target[frame : frame + length] = active[begin : begin + length]
        frame += length + int(random.exponential(1.5) / vad.HOP)
    if random.random() < 0.3:
        clean = reverberated(clean, random)
    noise = noises.draw(len(clean))
    if random.random() < 0.3:  # begins or ends, or stops for a while
        first, end = sorted(random.integers(0, len(clean), 2))
        noise[first:end] *= 10 ** (random.choice([-200, random.uniform(-40, -5)]) / 20)
    snr = random.choice([random.uniform(0, 25), random.uniform(10, 45), 200], p=[0.5, 0.4, 0.1])
    mix = clean + noise * 10 ** (-snr / 20)
    mix += unit(noises.coloured(len(clean))) * 10 ** (-random.choice([random.uniform(40, 70), 300]) / 20)
    if random.random() < 0.3:
        first = int(random.integers(len(mix)))
        short = noises.draw(round(random.uniform(0.02, 1.5) * RATE))[: len(mix) - first]
        mix[first : first + len(short)] += short * 10 ** (random.uniform(-15, 30) / 20)
    return channel(mix, random), target


def channel(mix: Wave, random: np.random.Generator) -> Wave:
    """Return a mix as a microphone, a line and a file change it."""
    kind = random.random()
    if kind < 0.25:
        mix = telephone(mix)
    elif kind < 0.4:
        mix = filtered(mix, random.uniform(20, 300), random.uniform(1800, 3900))
    elif kind < 0.6:  # a slope of the spectrum
        pole = random.uniform(-0.7, 0.7)
        mix = lfilter([1], [1, -pole], mix).astype(np.float32)
    mix = mix / (np.abs(mix).max() + 1e-12) * 10 ** (-random.uniform(0, 60) / 20)
    if random.random() < 0.05:
        mix = np.clip(8 * mix, -np.abs(mix).max(), np.abs(mix).max())
    if random.random() < 0.5:
        mix = np.round(mix * 32767) / 32768
    return mix.astype(np.float32)


def features(waveform: Wave) -> Wave:
    """Return what the network sees of a sequence, with its context."""
    front = vad.Features(RATE)
    silence = vad.silence(vad.WIDTH - 1)
    return np.concatenate([silence, front.add(waveform), front.finish()])


def examples(speech: list[Wave], count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return features (count, frames + context, F) and labels (count, frames), late by the look-ahead."""
    random = np.random.default_rng(seed)
    rows = [(waveform, labels(waveform)) for waveform in speech]
    noises = Noises(random, speech)
    inputs, targets = [], []
    for _ in range(count):
        waveform, target = sequence(rows, noises, random)
        inputs.append(torch.from_numpy(features(waveform)).half())
        targets.append(torch.from_numpy(np.append(np.zeros(vad.LOOK_AHEAD, bool), target)[: len(target)]))
    return torch.stack(inputs), torch.stack(targets)


def batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of batches in random order."""
    order = torch.randperm(count, generator=generator)
    yield from (order[first : first + BATCH] for first in range(0, count - BATCH + 1, BATCH))


def main() -> None:
    """Train, print the errors on dev-clean after each epoch, and write the weights."""
    speech, out = Path(sys.argv[1]), Path(sys.argv[2])
    begin = time.process_time()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    train = [waveform for folder, count in RECORDINGS.items() for waveform in read(speech, folder, count)]
    print(f"{len(train)} recordings, {time.process_time() - begin:.0f} s", flush=True)
    inputs, targets = examples(train, SEQUENCES, 1)
    dev_inputs, dev_targets = examples(read(speech, "LibriSpeech/dev-clean", 150), DEV_SEQUENCES, 2)
    print(
        f"{len(inputs)} sequences, {targets.float().mean():.2f} speech, {time.process_time() - begin:.0f} s", flush=True
    )
    network = Network()
    steps = EPOCHS * (len(inputs) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(1)
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in batches(len(inputs), generator):
            optimiser.zero_grad()
            logits = network(inputs[chosen].float())
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits[:, vad.LOOK_AHEAD :], targets[chosen][:, vad.LOOK_AHEAD :].float()
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item()
        with torch.inference_mode():
            logits = network(dev_inputs.float())
        found, true = logits[:, vad.LOOK_AHEAD :] > 0, dev_targets[:, vad.LOOK_AHEAD :]
        missed, false = (~found & true).sum() / true.sum(), (found & ~true).sum() / (~true).sum()
        mean = total / (len(inputs) // BATCH)
        seconds = time.process_time() - begin
        print(
            f"epoch {epoch + 1}: loss {mean:.4f}, missed {missed:.4f}, false {false:.4f}, {seconds:.0f} s", flush=True
        )
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, out)


if __name__ == "__main__":
    main()
