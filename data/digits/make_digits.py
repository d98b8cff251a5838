"""Synthesise the digit strings of data/digits with espeak-ng and write them to a folder laid out as LibriSpeech is."""

import argparse
import io
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Samples = npt.NDArray[np.float64]

SEED = 2024
SAMPLE_RATE = 16000
COMPRESSION_LEVEL = 0.93  # about 25 kbit/s
WORDS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
SHORTEST, LONGEST = 1.0, 6.0
SECONDS_PER_VOICE = {"train": 41.0, "dev": 30.0, "test": 36.0}
# Accent+variant/pitch/speed. espeak-ng 1.51 ignores a variant of "en-gb", hence its other name "en".
VOICES = {
    "train": """
        en-us+m3/45/150 en-us+f2/50/160 en-us+m7/38/140 en-us+f4/45/170 en-us+m6/55/178 en-us-nyc+f1/48/155 en+m1/50/145
        en+f3/42/165 en+m4/58/172 en+f5/40/150 en+m5/46/135 en-gb-scotland+m2/44/158 en-gb-scotland+f2/55/148
        en-gb-scotland+m6/36/168 en-gb-x-rp+m3/60/162 en-gb-x-rp+f4/52/142 en-gb-x-gbclan+m7/52/174
        en-gb-x-gbclan+f1/40/138 en-gb-x-gbcwmd+m4/42/152 en-gb-x-gbcwmd+f5/50/166 en-029+m1/40/160 en-029+f3/50/146""",
    "dev": "en-us+m4/48/156 en-gb-x-rp+f2/46/164 en-029+m6/50/150",
    "test": "en-us+f3/46/154 en-us+m1/52/168 en+m6/44/148 en-gb-scotland+f4/48/158 en-gb-x-gbclan+m2/50/162",
}


def draw_digits(rng: np.random.Generator, deck: list[int], taken: set[tuple[int, ...]]) -> tuple[int, ...]:
    """Take 1 to 8 digits off a deck, which balances the words; no string of 3 or more comes twice in the corpus."""
    length = int(rng.integers(1, 9))
    if len(deck) < length:
        deck.extend(list(range(10)) * 3)
    rng.shuffle(deck)
    while length >= 3 and tuple(deck[-length:]) in taken:
        rng.shuffle(deck)
    digits = tuple(deck[-length:])
    del deck[-length:]
    taken.add(digits)
    return digits


def speak(rng: np.random.Generator, voice: str, digits: tuple[int, ...]) -> Samples:
    words = [WORDS[digit].lower() for digit in digits]
    if len(words) >= 4 and rng.random() < 0.3:
        words[int(rng.integers(1, len(words) - 2))] += ","  # a pause between groups, as in a telephone number
    name, mean_pitch, mean_speed = voice.split("/")
    pitch, speed = int(mean_pitch) + rng.integers(-6, 7), int(mean_speed) + rng.integers(-12, 13)
    # Amplitude 70 keeps espeak-ng itself from clipping; the gap between words is in units of 10 ms.
    options = [f"-v{name}", "-a70", f"-p{pitch}", f"-s{speed}", f"-g{rng.integers(0, 6)}", "--stdout"]
    command = ["espeak-ng", *options, " ".join(words)]
    wave = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - constants and digit words only
    samples = soxr.resample(*soundfile.read(io.BytesIO(wave)), SAMPLE_RATE)
    audible = np.flatnonzero(np.abs(samples) > 1e-3 * np.abs(samples).max())
    return np.asarray(samples[audible[0] : audible[-1] + 1])


def record(rng: np.random.Generator, speech: Samples) -> Samples:
    """Put speech between pauses, add light white or pink noise and set the peak level."""
    pauses = rng.uniform(0.1, 0.35, size=2)
    pauses *= max(1.0, (SHORTEST + 0.02 - speech.size / SAMPLE_RATE) / pauses.sum())
    samples = np.pad(speech, (pauses * SAMPLE_RATE).astype(int))
    spectrum = np.fft.rfft(rng.standard_normal(samples.size))
    frequencies = np.fft.rfftfreq(samples.size, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum * np.maximum(frequencies, 20.0) ** -rng.choice([0.0, 0.5]), samples.size)
    signal_to_noise = 10 ** (rng.uniform(25.0, 45.0) / 20)
    samples += noise * (np.std(speech) / np.std(noise) / signal_to_noise)
    return np.asarray(samples * (10 ** (rng.uniform(-19.0, -4.0) / 20) / np.abs(samples).max()))


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    temporary.replace(path)


def make_voice(folder: Path, speaker: int, voice: str, seconds: float, taken: set[tuple[int, ...]]) -> float:
    """Write one voice's utterances and transcripts; returns their duration in seconds."""
    rng = np.random.default_rng([SEED, speaker])
    deck: list[int] = []
    transcripts: list[str] = []
    total = 0.0
    while total < seconds:
        digits = draw_digits(rng, deck, taken)
        samples = record(rng, speak(rng, voice, digits))
        duration = samples.size / SAMPLE_RATE
        if duration > LONGEST:
            raise ValueError(f"{voice}: an utterance of {duration:.2f} s")
        utterance = f"{speaker}-1-{len(transcripts):04d}"
        opus = io.BytesIO()
        soundfile.write(opus, samples, SAMPLE_RATE, "OPUS", format="OGG", compression_level=COMPRESSION_LEVEL)
        write(folder / f"{utterance}.opus", opus.getvalue())
        transcripts.append(" ".join([utterance, *(WORDS[digit] for digit in digits)]))
        total += duration
    write(folder / f"{speaker}-1.trans.txt", ("\n".join(transcripts) + "\n").encode())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("destination", metavar="DEST", type=Path)
    destination = parser.parse_args().destination
    taken: set[tuple[int, ...]] = set()
    table = [f"; NAME: espeak-ng's accent+variant/pitch/speed\n;\n;{'ID':<4}|SEX| {'SUBSET':<7}|MINUTES| NAME"]
    for first_speaker, (subset, voices) in zip((101, 201, 301), VOICES.items(), strict=True):
        for speaker, voice in enumerate(voices.split(), first_speaker):
            folder = destination / subset / str(speaker) / "1"
            minutes = make_voice(folder, speaker, voice, SECONDS_PER_VOICE[subset], taken) / 60
            table.append(f"{speaker:<5}| {'F' if '+f' in voice else 'M'} | {subset:<7}| {minutes:<6.2f}| {voice}")
            print(table[-1])  # noqa: T201 - progress of a script
    write(destination / "SPEAKERS.TXT", ("\n".join(table) + "\n").encode())


if __name__ == "__main__":
    main()
