"""Synthesise the sentences of data/samples with Kokoro-82M, and write them to a folder with a table of their texts.

Needs numpy, soundfile, soxr, onnxruntime, phonemizer-fork and espeakng-loader. The parts of Kokoro-82M (Apache-2.0):
MODEL is kokoro-v1.0.int8.onnx, VOCABULARY a JSON file {"vocab": {phoneme: token}}, VOICES a folder of NAME.bin, float32
(510, 256) style vectors, one row for each number of tokens.
"""

import argparse
import csv
import json
from pathlib import Path

import espeakng_loader
import numpy as np
import numpy.typing as npt
import onnxruntime
import soundfile
import soxr
from phonemizer.backend import EspeakBackend
from phonemizer.backend.espeak.wrapper import EspeakWrapper

Samples = npt.NDArray[np.float32]

SEED = 2026
KOKORO_RATE = 24000
SAMPLE_RATE = 16000
COMPRESSION_LEVEL = 0.9  # about 27 kbit/s
# Voice, speed and text. Voices that begin with a are American, those that begin with b are British.
SENTENCES = (
    ("af_sarah", 1.0, "Could you pick up some bread and milk on the way home?"),
    ("am_michael", 0.95, "The last train to the city leaves at ten minutes past eleven."),
    ("bf_emma", 1.0, "She opened the letter, read it twice, and put it back in the drawer."),
    ("bm_george", 1.0, "We could hear the children laughing on the other side of the wall."),
    ("af_kore", 1.05, "I think we should wait until the rain stops before we go for a walk."),
    ("am_fenrir", 1.0, "The old man walked slowly down to the river and sat under a tree."),
    ("bf_isabella", 0.95, "There was nothing left in the house but a table and two chairs."),
    ("bm_fable", 1.0, "Nobody knew the name of the stranger who had paid for the dinner."),
    ("af_aoede", 1.0, "My brother is moving to another town because he found a better job there."),
    ("am_puck", 1.0, "The captain looked at the sky and said that the wind would change."),
)


class Kokoro:
    """Kokoro-82M on onnxruntime, one thread, so that a run can be repeated."""

    def __init__(self, model: Path, vocabulary: Path, voices: Path) -> None:
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._vocabulary = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        self._voices = voices

    def speak(self, voice: str, speed: float, sentence: str) -> Samples:
        """Return float32 (samples,) at 24 kHz."""
        espeak = EspeakBackend("en-gb" if voice[0] == "b" else "en-us", preserve_punctuation=True, with_stress=True)
        phonemes = espeak.phonemize([sentence])[0].strip().replace("r", "ɹ")
        tokens = [self._vocabulary[phoneme] for phoneme in phonemes if phoneme in self._vocabulary]
        style = np.fromfile(self._voices / f"{voice}.bin", np.float32).reshape(-1, 1, 256)[len(tokens)]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style,
            "speed": np.array([speed], np.float32),
        }
        return np.asarray(self._session.run(None, inputs)[0].ravel(), np.float32)


def record(random: np.random.Generator, speech: Samples) -> Samples:
    """Resample the speech, put it between pauses, add light white noise and set the peak level."""
    speech = soxr.resample(speech, KOKORO_RATE, SAMPLE_RATE)
    audible = np.flatnonzero(np.abs(speech) > 1e-3 * np.abs(speech).max())
    speech = speech[audible[0] : audible[-1] + 1]
    samples = np.pad(speech, (random.uniform(0.2, 0.4, size=2) * SAMPLE_RATE).astype(int))
    samples += random.standard_normal(samples.size) * (np.std(speech) / 10 ** (random.uniform(35.0, 45.0) / 20))
    return np.asarray(samples * (10 ** (-3.0 / 20) / np.abs(samples).max()), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "vocabulary", "voices", "destination"):
        parser.add_argument(name, metavar=name.upper(), type=Path)
    given = parser.parse_args()
    given.destination.mkdir(parents=True, exist_ok=True)
    kokoro = Kokoro(given.model, given.vocabulary, given.voices)
    random = np.random.default_rng(SEED)
    rows = [("audio", "text", "speaker")]
    for number, (voice, speed, sentence) in enumerate(SENTENCES, 1):
        path = given.destination / f"sample-{number:02d}.opus"
        samples = record(random, kokoro.speak(voice, speed, sentence))
        soundfile.write(path, samples, SAMPLE_RATE, "OPUS", format="OGG", compression_level=COMPRESSION_LEVEL)
        rows.append((path.name, sentence.rstrip(".?").replace(",", ""), voice))
        print(f"{path.name}: {samples.size / SAMPLE_RATE:.1f} s, {voice}")  # noqa: T201 - progress of a script
    with (given.destination / "samples.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
