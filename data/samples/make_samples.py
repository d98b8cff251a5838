"""Synthesise the sentences of data/samples with espeak-ng, and write them to a folder with a table of their texts."""

import argparse
import csv
import io
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Samples = npt.NDArray[np.float64]

SEED = 2026
SAMPLE_RATE = 16000
COMPRESSION_LEVEL = 0.93  # about 25 kbit/s
# espeak-ng's accent+variant/pitch/speed, and what the voice says.
SENTENCES = (
    ("en-us+m3/45/150", "The old man walked slowly down to the river and sat under a tree."),
    ("en-us+f2/50/155", "She opened the letter, read it twice, and put it back in the drawer."),
    ("en+m1/48/150", "It had rained all night, and the road was covered with water."),
    ("en+f3/45/150", "My sister has been waiting for you since early in the morning."),
    ("en-gb-x-rp+m3/50/145", "There was nothing left in the house but a table and two chairs."),
    ("en-gb-x-rp+f4/52/150", "We could hear the children laughing on the other side of the wall."),
    ("en-gb-scotland+m2/44/150", "He never told anyone what he had seen on the island."),
    ("en-us+f4/46/160", "In the winter the lake is frozen, and people cross it on foot."),
    ("en-us+m7/40/145", "The captain looked at the sky and said that the wind would change."),
    ("en+f5/44/150", "Nobody knew the name of the stranger who had paid for the dinner."),
)


def speak(voice: str, sentence: str) -> Samples:
    name, pitch, speed = voice.split("/")
    # Amplitude 70 keeps espeak-ng itself from clipping.
    command = ["espeak-ng", f"-v{name}", "-a70", f"-p{pitch}", f"-s{speed}", "--stdout", sentence]
    wave = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603 - constants only
    samples = soxr.resample(*soundfile.read(io.BytesIO(wave)), SAMPLE_RATE)
    audible = np.flatnonzero(np.abs(samples) > 1e-3 * np.abs(samples).max())
    return np.asarray(samples[audible[0] : audible[-1] + 1])


def record(rng: np.random.Generator, speech: Samples) -> Samples:
    """Put speech between pauses, add light white noise and set the peak level."""
    samples = np.pad(speech, (rng.uniform(0.2, 0.4, size=2) * SAMPLE_RATE).astype(int))
    noise = rng.standard_normal(samples.size)
    samples += noise * (np.std(speech) / 10 ** (rng.uniform(30.0, 40.0) / 20))
    return np.asarray(samples * (10 ** (-6.0 / 20) / np.abs(samples).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("destination", metavar="DEST", type=Path)
    destination = parser.parse_args().destination
    destination.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    rows = [("audio", "text", "speaker")]
    for number, (voice, sentence) in enumerate(SENTENCES, 1):
        name = f"sample-{number:02d}.opus"
        samples = record(rng, speak(voice, sentence))
        soundfile.write(
            destination / name, samples, SAMPLE_RATE, "OPUS", format="OGG", compression_level=COMPRESSION_LEVEL
        )
        text = "".join(character for character in sentence if character not in ".,")
        rows.append((name, text, voice.split("/")[0]))
        print(f"{name}: {samples.size / SAMPLE_RATE:.1f} s, {voice}")  # noqa: T201 - progress of a script
    with (destination / "samples.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
