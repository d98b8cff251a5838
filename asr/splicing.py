"""Utterances -> new ones, cut at the pauses between words and joined in another order, each of one speaker.

From a few hours of speech a network learns which words follow each other, by heart, and hears what it expects. In new
orders of the same words it has to listen (after Lam et al., 2021, who put single words into other sentences).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from asr import audio
from asr.aligning import Aligned
from asr.alignment import Word
from asr.audio import Waveform
from asr.files import whole
from asr.manifest import Utterance
from asr.recognition import Recognizer

# Seconds: of a window of energy and of the steps between two; around what the model calls a gap, for it hears a letter
# where it is sure of it; of the fades at a cut. Of all windows, so many are softer than loud speech.
_WINDOW, _STEP, _AROUND, _FADE = 0.02, 0.005, 0.03, 0.005
_LOUD = 0.9
# Seconds of one speaker's speech that are held, and of the longest utterance made.
_HELD, _LONGEST = 3600.0, 16.0


class SplicingError(ValueError):
    """Utterances of which no new ones can be made."""


@dataclass(frozen=True)
class SpliceSettings:
    """How utterances are spliced.

    `copies`: how many times each piece is used, each time among others. A pause is softer than loud speech by `depth`
    dB or more. Each new utterance is faster by a factor from `slowest` to `fastest`, by chance, pitch and all.
    """

    copies: int = 4
    seed: int = 1
    depth: float = 22.0
    slowest: float = 0.9
    fastest: float = 1.12

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("copies", 1, 1000),
            ("seed", 0, 2**31 - 1),
            ("depth", 0, 200),
            ("slowest", 0.5, 2),
            ("fastest", self.slowest, 2),
        ):
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(f"{name} = {getattr(self, name)} is not within {lowest} to {highest}")


@dataclass(frozen=True)
class Piece:
    """Some words of an utterance, from sample `start` to `end` of it."""

    utterance: Utterance
    start: int
    end: int
    text: str


def pieces(utterance: Utterance, waveform: Waveform, words: Sequence[Word], rate: int, depth: float) -> list[Piece]:
    """Cut a waveform (samples,) at the pauses between its words, where it is softest."""
    step = round(_STEP * rate)
    energies = _energies(waveform, step, round(_WINDOW * rate))
    if not len(energies) or not words:
        return []
    highest = float(np.quantile(energies, _LOUD)) - depth
    found: list[Piece] = []
    start, said = 0, [words[0].text]
    for before, word in pairwise(words):
        first = max(round((before.end - _AROUND) / _STEP), 0)
        gap = energies[first : round((word.start + _AROUND) / _STEP)]
        place = (first + int(gap.argmin())) * step if len(gap) else 0
        if place > start and gap.min() <= highest:
            found.append(Piece(utterance, start, place, " ".join(said)))
            start, said = place, []
        said.append(word.text)
    return [*found, Piece(utterance, start, len(waveform), " ".join(said))]


def _energies(waveform: Waveform, step: int, window: int) -> NDArray[np.float64]:
    """Return the energy in dB around each step."""
    sums = np.cumsum(np.square(np.pad(waveform, window // 2), dtype=np.float64))
    starts = np.arange(0, len(waveform), step)
    starts = starts[starts + window < len(sums)]
    energies: NDArray[np.float64] = 10 * np.log10((sums[starts + window] - sums[starts]) / window + 1e-10)
    return energies


def splice(
    recognizer: Recognizer, rows: Iterable[Aligned], folder: Path, settings: SpliceSettings = SpliceSettings()
) -> Iterator[Utterance]:
    """Yield new utterances, whose recordings are written into a folder; one without a speaker is spliced with itself.

    `rows` as the recogniser's model aligned them; those that it could not align are left out. The same rows and
    settings make the same files. Raises SplicingError if nothing is left, AudioError and OSError.
    """
    by_speaker: dict[str, list[Piece]] = {}
    for row in rows:
        if row.hypothesis is not None:
            one = row.utterance
            cut = pieces(one, _load(one, recognizer), row.hypothesis.words, recognizer.sample_rate, settings.depth)
            by_speaker.setdefault(one.speaker or one.id, []).extend(cut)
    if not any(by_speaker.values()):
        raise SplicingError("no utterance could be aligned with its text: is the model one of this language?")
    folder.mkdir(parents=True, exist_ok=True)
    # The folder's name keeps the ids of several corpora apart, the count those of speakers whose names become one.
    count = 0
    for number, speaker in enumerate(sorted(by_speaker)):
        random = np.random.default_rng((settings.seed, number))
        name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in f"{folder.name}-{speaker}")
        for held in _held(by_speaker[speaker], recognizer.sample_rate):
            for waveform, text in _joined(held, recognizer, settings, random):
                count += 1
                path = folder / f"{name}-{count:06d}.flac"
                with whole(path) as file:
                    soundfile.write(file, waveform, recognizer.sample_rate, format="FLAC", subtype="PCM_16")
                duration = len(waveform) / recognizer.sample_rate
                yield Utterance(path.stem, str(path.resolve()), duration, text, speaker)


def _load(one: Utterance, recognizer: Recognizer) -> Waveform:
    return audio.load(one.audio, recognizer.sample_rate, one.offset, one.duration)


def _held(found: Sequence[Piece], rate: int) -> Iterator[list[Piece]]:
    """Part a speaker's pieces so that the recordings of each part fit into memory."""
    held: list[Piece] = []
    seconds = 0.0
    for piece in found:
        if held and seconds > _HELD and piece.utterance is not held[-1].utterance:
            yield held
            held, seconds = [], 0.0
        held.append(piece)
        seconds += (piece.end - piece.start) / rate
    # Of a recording that is shorter than a window there is no piece.
    if held:
        yield held


def _joined(
    held: Sequence[Piece], recognizer: Recognizer, settings: SpliceSettings, random: np.random.Generator
) -> Iterator[tuple[Waveform, str]]:
    """Yield waveforms of pieces in a new order, about as long as the utterances that they are from, and their texts."""
    rate = recognizer.sample_rate
    waveforms = {one: _load(one, recognizer) for one in dict.fromkeys(piece.utterance for piece in held)}
    lengths = [min(one.duration, _LONGEST) * rate for one in waveforms]
    for _ in range(settings.copies):
        taken: list[Piece] = []
        wanted, size = random.choice(lengths), 0
        for place in [*random.permutation(len(held)).tolist(), None]:
            piece = None if place is None else held[place]
            if taken and (piece is None or size + piece.end - piece.start > wanted):
                parts = [waveforms[one.utterance][one.start : one.end] for one in taken]
                speed = random.uniform(settings.slowest, settings.fastest)
                faded = np.concatenate([_faded(part, round(_FADE * rate)) for part in parts])
                yield audio.resample(faded, rate * speed, rate).clip(-1, 1), " ".join(one.text for one in taken)
                taken, wanted, size = [], random.choice(lengths), 0
            if piece is not None:
                taken.append(piece)
                size += piece.end - piece.start


def _faded(waveform: Waveform, length: int) -> Waveform:
    """Return a copy that rises from silence and falls to it, so that a cut makes no click."""
    faded = waveform.copy()
    length = min(length, len(faded) // 2)
    slope = np.linspace(0, 1, length, dtype=np.float32)
    faded[:length] *= slope
    faded[len(faded) - length :] *= slope[::-1]
    return faded
