"""Manifest rows -> normalised, encoded, alignable utterances, and their batches."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr import features
from asr.audio import SUFFIXES
from asr.corpora.manifest import Utterance
from asr.errors import AsrError
from asr.features import Features, FeatureSettings, batching
from asr.features.augment import AugmentSettings, Masking
from asr.features.batching import Batch
from asr.features.cache import Copy, FeatureCache, Noise, Progress, open_caches
from asr.model import output_length
from asr.text import BLANK, Alphabet, TextError, TextSettings, normalise

Tokens = NDArray[np.uint8] | NDArray[np.int32]
# Utterances by which a corpus is normalised.
_MEASURED = 2000


@dataclass(frozen=True)
class Item:
    """One utterance as the loop sees it. Without tokens it is scored but has no loss."""

    id: str
    text: str
    tokens: Tokens
    duration: float
    frames: int


@dataclass(frozen=True)
class Variation:
    """How an epoch's features differ from the recordings': masked, and a fraction of them noisy; by chance, seeded."""

    masking: Masking
    noise_share: float
    seed: tuple[int, int]


@dataclass(frozen=True)
class Dataset:
    """The utterances that can be used, each at every speed, as columns; and the ids of those that could not, and why.

    `ids` and `lengths` (seconds) have one entry for an utterance, whose tokens end at `ends[n]` in `tokens`; `texts`
    has what the alphabet cannot write. `rows`, `speed_numbers`, `frames` and `trained` have one entry for an item: its
    utterance, its speed's place in `speeds`, its length, and whether it has a loss. `caches` holds, for each speed,
    the clean features and the noisy copies.
    """

    ids: tuple[str, ...]
    lengths: NDArray[np.float64]
    texts: Mapping[int, str]
    alphabet: Alphabet
    features: FeatureSettings
    speeds: tuple[float, ...]
    rows: NDArray[np.int32]
    speed_numbers: NDArray[np.int8]
    frames: NDArray[np.int32]
    trained: NDArray[np.bool_]
    tokens: Tokens
    ends: NDArray[np.int64]
    caches: tuple[tuple[FeatureCache, ...], ...]
    unalignable: tuple[str, ...]
    unknown: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        """Return one item. Raises IndexError."""
        row, speed = int(self.rows[index]), self.speeds[int(self.speed_numbers[index])]
        name = self.ids[row] if speed == 1.0 else f"{self.ids[row]} at speed {speed:g}"
        text = self.texts[row] if row in self.texts else self.alphabet.decode(self._tokens(row))
        return Item(name, text, self.tokens_of(index), float(self.durations[index]), int(self.frames[index]))

    def tokens_of(self, index: int) -> Tokens:
        """Return the token ids (L,) of an item, none where it has no loss."""
        return self._tokens(int(self.rows[index])) if self.trained[index] else self.tokens[:0]

    def _tokens(self, row: int) -> Tokens:
        return self.tokens[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])]

    @cached_property
    def durations(self) -> NDArray[np.float64]:
        """Return the seconds of audio of each item."""
        found: NDArray[np.float64] = self.lengths[self.rows]
        found /= np.array(self.speeds)[self.speed_numbers]
        return found

    @cached_property
    def token_counts(self) -> NDArray[np.int64]:
        """Return L, the number of tokens, of each item."""
        found: NDArray[np.int64] = np.diff(self.ends, prepend=0)[self.rows] * self.trained
        return found

    @property
    def seconds(self) -> float:
        """Return the seconds of audio."""
        return float(self.durations.sum())

    def batch(self, indices: NDArray[np.int64], variation: Variation | None = None) -> Batch:
        """Return the padded features and tokens of some items.

        What an item looks like depends on the variation's seed and its index alone, not on the batch it is in.
        """
        found = [self._features(int(index), variation) for index in indices]
        return batching.pad(found, [self.tokens_of(int(index)) for index in indices])

    def _features(self, index: int, variation: Variation | None) -> Features:
        clean, *noisy = self.caches[int(self.speed_numbers[index])]
        row = int(self.rows[index])
        if variation is None:
            return features.normalise(clean[row], self.features)
        random = np.random.default_rng((*variation.seed, index))
        heard = clean
        if noisy and random.random() < variation.noise_share:
            heard = noisy[int(random.integers(len(noisy)))]
        frames = heard[row]
        # As the recogniser will normalise: by what was heard, not by what the masks left of it.
        mean, scale = features.normalisation(frames, self.features)
        return (variation.masking(frames, random) - mean) / scale


def measured(data: Dataset) -> FeatureSettings:
    """Return the features' settings with mean and scale over the speech of a dataset, as normalisation = corpus wants.

    Of a large corpus some utterances tell enough, evenly chosen.
    """
    clean = data.caches[0][0]
    rows = np.unique(np.linspace(0, len(clean.lengths) - 1, _MEASURED).astype(np.int64))
    count, sums, squares = 0, np.zeros(data.features.dimension), np.zeros(data.features.dimension)
    for row in rows.tolist():
        frames = clean[row].astype(np.float64)
        count, sums, squares = count + len(frames), sums + frames.sum(0), squares + np.square(frames).sum(0)
    mean = sums / max(count, 1)
    scale = np.sqrt(np.maximum(squares / max(count, 1) - np.square(mean), 1e-6))
    values = [tuple(round(float(value), 4) for value in column) for column in (mean, scale)]
    return replace(data.features, mean=values[0], scale=values[1])


def frames_needed(tokens: Sequence[int] | Tokens) -> int:
    """Return the fewest output frames that CTC can write the tokens in: one each, and a blank between repeats."""
    found = np.asarray(tokens)
    return len(found) + int(np.count_nonzero(found[1:] == found[:-1]))


def alphabet_of(utterances: Sequence[Utterance], settings: TextSettings) -> Alphabet:
    """Return the alphabet that the settings name, or for `auto` that of the transcripts."""
    if settings.alphabet != "auto":
        return Alphabet(settings.alphabet)
    return Alphabet.of(normalise(utterance.text, settings.normaliser) for utterance in utterances)


@dataclass(frozen=True)
class DatasetSource:
    """Where a dataset comes from; `folder` is that of the feature cache.

    `keep`: what cannot be trained on stays as an item without tokens, so that a score counts every utterance.
    `copies`: of each speed, the clean copy first; all speeds have as many copies.
    """

    utterances: Sequence[Utterance]
    folder: Path
    copies: tuple[tuple[Copy, ...], ...] = ((Copy(),),)
    keep: bool = False


def _is_recording(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def copies_of(settings: AugmentSettings) -> tuple[tuple[Copy, ...], ...]:
    """Return the copies of the training speech that the settings ask for, by speed. Raises ValueError for no noise."""
    noises: list[Noise | None] = [None]
    if settings.noise:
        folder = Path(settings.noise)
        files = tuple(sorted(str(path.resolve()) for path in folder.rglob("*") if _is_recording(path)))
        if not files:
            raise NoiseError(f"augment.noise = {settings.noise!r}: no folder with recordings in it")
        for number in range(settings.noise_copies):
            noises.append(Noise(files, settings.noise_snr_low, settings.noise_snr_high, number))
    return tuple(
        tuple(
            Copy(speed, noise and Noise(noise.files, noise.low, noise.high, noise.number + len(noises) * place))
            for noise in noises
        )
        for place, speed in enumerate(settings.speeds)
    )


class NoiseError(AsrError):
    """A folder of noise without recordings."""


@dataclass(frozen=True)
class _Encoded:
    """The rows that can be used, their tokens one after another, where each ends, and the frames that each needs.

    `outside`: the rows with characters outside the alphabet.
    """

    rows: NDArray[np.int32]
    tokens: Tokens
    ends: NDArray[np.int64]
    needed: NDArray[np.int32]
    outside: NDArray[np.int32]


def _encode(utterances: Sequence[Utterance], settings: TextSettings, keep: bool) -> _Encoded:
    alphabet = Alphabet(settings.alphabet)
    # A million transcripts: bytes and arrays, no objects.
    kind = np.uint8 if len(alphabet) <= 256 else np.int32
    tokens = bytearray()
    rows, outside, lengths, needed = array("i"), array("i"), array("i"), array("i")
    for row, utterance in enumerate(utterances):
        text = normalise(utterance.text, settings.normaliser)
        ids = alphabet.ids(text)
        unknown = bool((ids == BLANK).any())
        if unknown and settings.unknown == "error":
            listed = ", ".join(map(repr, alphabet.unknown(text)))
            raise TextError(
                f"row {row + 1} ({utterance.id}): {listed} not in the alphabet {settings.alphabet!r}; correct the "
                'text, or set text.alphabet = "auto", or text.unknown = "drop"'
            )
        if unknown:
            outside.append(row)
            ids = ids[:0]
        if keep or not unknown:
            rows.append(row)
            lengths.append(len(ids))
            needed.append(max(frames_needed(ids), 1))
            tokens += ids.astype(kind).tobytes()
    columns = [np.frombuffer(column, np.int32) for column in (rows, needed, outside)]
    ends = np.cumsum(np.frombuffer(lengths, np.int32), dtype=np.int64)
    ids = np.frombuffer(tokens, np.uint8) if kind is np.uint8 else np.frombuffer(tokens, np.int32)
    return _Encoded(columns[0], ids, ends, columns[1], columns[2])


def load(
    source: DatasetSource,
    text: TextSettings,
    settings: FeatureSettings,
    time_reduction: int,
    progress: Progress | None = None,
) -> Dataset:
    """Build a dataset, one item for each utterance and speed; `text.alphabet` must be spelled out.

    An item with fewer output frames than its transcript needs is left out (unless `source.keep`) and named in
    `unalignable`. Raises TextError, AudioError and FeatureCacheError.
    """
    encoded = _encode(source.utterances, text, source.keep)
    whole = len(encoded.rows) == len(source.utterances)
    kept = source.utterances if whole else [source.utterances[row] for row in encoded.rows.tolist()]
    flat = [copy for copies in source.copies for copy in copies]
    caches = open_caches(kept, settings, source.folder, flat, progress)
    width = len(source.copies[0])
    by_speed = tuple(tuple(caches[start : start + width]) for start in range(0, len(caches), width))
    speeds = tuple(copies[0].speed for copies in source.copies)
    known = ~np.isin(encoded.rows, encoded.outside)
    rows, numbers, frames, trained, unalignable = [], [], [], [], []
    for number, (clean, *_) in enumerate(by_speed):
        fits = output_length(clean.lengths, time_reduction) >= encoded.needed
        name = "" if speeds[number] == 1.0 else f" at speed {speeds[number]:g}"
        unalignable += [kept[row].id + name for row in np.flatnonzero(~fits).tolist()]
        chosen = np.arange(len(kept), dtype=np.int32) if source.keep else np.flatnonzero(fits).astype(np.int32)
        rows.append(chosen)
        numbers.append(np.full(len(chosen), number, np.int8))
        frames.append(clean.lengths[chosen].astype(np.int32))
        trained.append((fits & known)[chosen])
    return Dataset(
        ids=tuple(utterance.id for utterance in kept),
        lengths=np.fromiter((utterance.duration for utterance in kept), np.float64, len(kept)),
        texts={row: normalise(kept[row].text, text.normaliser) for row in np.flatnonzero(~known).tolist()},
        alphabet=Alphabet(text.alphabet),
        features=settings,
        speeds=speeds,
        rows=np.concatenate(rows),
        speed_numbers=np.concatenate(numbers),
        frames=np.concatenate(frames),
        trained=np.concatenate(trained),
        tokens=encoded.tokens,
        ends=encoded.ends,
        caches=by_speed,
        unalignable=tuple(unalignable),
        unknown=tuple(source.utterances[row].id for row in encoded.outside.tolist()),
    )
