"""Small corpora and a small trained model, made once for all tests."""

import os
from pathlib import Path

# Before NumPy and torch are imported: the tensors of the tests are too small to be shared out to threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import soundfile

from asr.corpora import manifest
from asr.corpora.manifest import Utterance

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_RATE = 16_000


def tone(
    frequency: float, duration: float, sample_rate: int = SAMPLE_RATE
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return a sine of amplitude 0.3 with a little noise."""
    times = np.arange(round(duration * sample_rate)) / sample_rate
    noise = np.random.default_rng(int(frequency)).normal(0, 0.003, len(times))
    return (0.3 * np.sin(2 * np.pi * frequency * times) + noise).astype(np.float32)


def vowel(resonances: tuple[float, ...], duration: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return a voiced sound with these resonances in Hz, which voice activity detection takes for speech."""
    times = np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * (135 * times - 60 * times**2)
    sound = np.random.default_rng(int(resonances[0])).normal(0, 0.003, len(times))
    for harmonic in range(1, 28):
        pitch = 130.0 * harmonic
        gain = sum(1 / (1 + ((pitch - resonance) / 80) ** 2) for resonance in resonances)
        sound += 0.15 * gain * np.sin(harmonic * phase)
    ramp = np.minimum(1, np.minimum(times, times[::-1]) / 0.02)
    return (sound * ramp).astype(np.float32)


# Letters as vowels, so that a tiny network learns to read them within seconds.
VOWELS = {"A": (700.0, 1700.0, 2500.0), "B": (300.0, 2200.0, 3000.0), "C": (450.0, 800.0, 2400.0)}


def spell(text: str, seconds: float = 0.16) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return the vowels of a text, each with a short pause after it."""
    pause = np.random.default_rng(len(text)).normal(0, 0.003, round(0.06 * SAMPLE_RATE)).astype(np.float32)
    parts = [pause]
    for character in text:
        parts += [pause if character == " " else vowel(VOWELS[character], seconds), pause]
    return np.concatenate(parts)


def random_texts(count: int, seed: int) -> list[str]:
    """Return texts of one to three words of one to three letters."""
    random = np.random.default_rng(seed)
    return [
        " ".join("".join(random.choice(list("ABC"), random.integers(1, 4))) for _ in range(random.integers(1, 4)))
        for _ in range(count)
    ]


def write_corpus(folder: Path, name: str, texts: list[str]) -> Path:
    """Write WAV files of spelled texts and their manifest; return the manifest's path."""
    utterances = []
    for number, text in enumerate(texts):
        path = folder / name / f"{name}-{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        waveform = spell(text)
        soundfile.write(path, waveform, SAMPLE_RATE)
        utterances.append(Utterance(f"{name}-{number}", str(path), len(waveform) / SAMPLE_RATE, text, f"s{number % 3}"))
    manifest.write(folder / f"{name}.jsonl", utterances)
    return folder / f"{name}.jsonl"


# A recipe that fits the tones.
TINY = """
name = "tiny"
[text]
alphabet = " ABC"
[features]
coefficients = 13
mel_bands = 40
[augment]
speeds = [1.0]
mel_masks = 0
time_masks = 0
[model]
cell = "gru"
layers = 1
hidden = 32
channels = 8
dropout = 0
[training]
epochs = 12
batch_seconds = 10
learning_rate = 1e-2
warmup_epochs = 0.5
"""


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl and dev.jsonl of tones that spell letters, and tiny.toml, a recipe that fits them."""
    folder = tmp_path_factory.mktemp("tones")
    write_corpus(folder, "train", random_texts(60, 1))
    write_corpus(folder, "dev", random_texts(12, 2))
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def trained(tones: Path) -> Path:
    """The run folder of a model trained on the tones."""
    from asr import config, training
    from asr.training.recipe import Recipe

    recipe = config.read(tones / "tiny.toml", Recipe)
    training.train(recipe, tones / "train.jsonl", tones / "dev.jsonl", tones / "run")
    return tones / "run"


# What makes a recipe one of a model that streams.
STREAMING = ["model.bidirectional=false", "features.normalisation=corpus", "features.top_db=0"]


@pytest.fixture(scope="session")
def streaming(tones: Path) -> Path:
    """A model file that was trained on the tones to hear a stream."""
    from asr import config, training
    from asr.training.recipe import Recipe

    recipe = config.read(tones / "tiny.toml", Recipe, STREAMING)
    result = training.train(recipe, tones / "train.jsonl", tones / "dev.jsonl", tones / "streaming")
    assert result.model
    return result.model
