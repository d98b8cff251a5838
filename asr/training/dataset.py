"""Manifest rows -> normalised, encoded, alignable utterances, and their batches."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr import features
from asr.audio import SUFFIXES
from asr.corpora.manifest import Utterance
from asr.errors import AsrError
from asr.features import Features, FeatureSettings, Statistics
from asr.features.augment import AugmentSettings, Masking
from asr.features.cache import Computation, Compute, Copy, FeatureCache, open_caches, place_in
from asr.features.distortion import Distortion, Excerpt
from asr.features.given import GivenFeatures
from asr.features.memory import MemoryCache
from asr.features.normalisation import normalisation
from asr.model import output_length
from asr.text import BLANK, Alphabet, TextError, TextSettings
from asr.text.normalisers import normalise
from asr.text.pronunciations import Pronunciations
from asr.training.batch import Batch, pad

Tokens = NDArray[np.uint8] | NDArray[np.int32]
Cache = FeatureCache | GivenFeatures | MemoryCache
# The utterances whose statistics stand for the corpus.
_STATISTICS_UTTERANCES = 2000
# The utterances that babble is made of.
_BABBLE_UTTERANCES = 100


class NoiseError(AsrError):
    """A noise folder without recordings."""


@dataclass(frozen=True)
class Item:
    """One utterance at one speed, `frames` in its longest copy. Without tokens it is scored, but has no loss."""

    id: str
    text: str
    tokens: Tokens
    duration: float
    frames: int


@dataclass(frozen=True)
class Variation:
    """The augmentation of an epoch: masks, and noise for a random share of the items. `seed` fixes both."""

    masking: Masking
    noise_share: float
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """The usable utterances at each speed, stored as columns, and the ids of those that are not usable.

    One entry per utterance: `ids`, `lengths` (s), `ends` (utterance n ends at `ends[n]` in `tokens`), `shortest` (the
    fewest frames that its tokens fit into); `texts` has the texts with characters outside the alphabet. One entry per
    item: `rows` (its utterance), `speed_indices` (its index in `speeds`), `frames`, `trained` (whether it has a loss).
    `caches`: for each speed the clean features and the noisy copies. `passes`: how often the items repeat, one pass
    after the other, in an epoch. `pronunciations`: for the targets of a network that outputs phonemes.
    """

    ids: tuple[str, ...]
    lengths: NDArray[np.float64]
    texts: Mapping[int, str]
    alphabet: Alphabet
    features: FeatureSettings
    speeds: tuple[float, ...]
    rows: NDArray[np.int32]
    speed_indices: NDArray[np.int8]
    frames: NDArray[np.int32]
    trained: NDArray[np.bool_]
    tokens: Tokens
    ends: NDArray[np.int64]
    shortest: NDArray[np.int32]
    caches: tuple[tuple[Cache, ...], ...]
    unalignable: tuple[str, ...]
    unknown: tuple[str, ...]
    passes: int = 1
    pronunciations: Pronunciations | None = None

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        """Return one item. Raises IndexError."""
        row, speed = int(self.rows[index]), self.speeds[int(self.speed_indices[index])]
        text = self.texts[row] if row in self.texts else self.alphabet.decode(self._tokens(row))
        name = self.ids[row] + _at_speed(speed)
        return Item(name, text, self.tokens_of(index), float(self.durations[index]), int(self.frames[index]))

    def tokens_of(self, index: int) -> Tokens:
        """Return the token ids (L,) of an item, or none if it has no loss."""
        return self._tokens(int(self.rows[index])) if self.trained[index] else self.tokens[:0]

    def _tokens(self, row: int) -> Tokens:
        return self.tokens[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])]

    @cached_property
    def durations(self) -> NDArray[np.float64]:
        """Return the duration of each item in s."""
        durations: NDArray[np.float64] = self.lengths[self.rows] / np.array(self.speeds)[self.speed_indices]
        return durations

    @cached_property
    def token_counts(self) -> NDArray[np.int64]:
        """Return L, the number of tokens, of each item."""
        counts: NDArray[np.int64] = np.diff(self.ends, prepend=0)[self.rows] * self.trained
        return counts

    @property
    def seconds(self) -> float:
        """Return the total duration in s."""
        return float(self.durations.sum())

    @property
    def distinct_seconds(self) -> float:
        """Return the duration in s of the utterances, each counted once."""
        return float(self.lengths[np.unique(self.rows)].sum())

    def batch(self, indices: NDArray[np.int64], variation: Variation | None = None) -> Batch:
        """Return the padded features and tokens of some items.

        The augmentation of an item depends on the variation's seed and the item's index, not on the batch.
        """
        frames = [self._features(int(index), variation) for index in indices]
        tokens = [self.tokens_of(int(index)) for index in indices]
        return pad(frames, tokens, [self._phonemes(row) for row in tokens] if self.pronunciations else None)

    def _phonemes(self, tokens: Tokens) -> NDArray[np.int32] | None:
        """Return the ids of the phonemes of a text, or None if a word has no pronunciation."""
        text = self.pronunciations.pronounce(self.alphabet.decode(tokens)) if self.pronunciations else None
        return None if text is None or self.alphabet.phonemes is None else self.alphabet.phonemes.ids(text)

    @property
    def without_pronunciation(self) -> list[str]:
        """Return the ids of the utterances that have a word without a pronunciation."""
        rows = range(len(self.ids)) if self.pronunciations else ()
        return [self.ids[row] for row in rows if self._phonemes(self._tokens(row)) is None]

    def _features(self, index: int, variation: Variation | None) -> Features:
        cache, *noisy = self.caches[int(self.speed_indices[index])]
        row = int(self.rows[index])
        if variation is None:
            return features.normalise(cache[row], self.features)
        random = np.random.default_rng((*variation.seed, index))
        if noisy and random.random() < variation.noise_share:
            cache = noisy[int(random.integers(len(noisy)))]
        frames = cache[row]
        # Recognition normalises unmasked frames, so the statistics are those before masking.
        mean, scale = normalisation(frames, self.features)
        normalised = (variation.masking(frames, random) - mean) / scale
        return variation.masking.change_tempo(normalised, int(self.shortest[row]), random)


def with_corpus_statistics(data: Dataset) -> FeatureSettings:
    """Return the feature settings with the mean and scale of the clean speech, for `normalisation` = corpus
    or running.

    At most 2000 evenly spaced utterances are read.
    """
    clean = data.caches[0][0]
    statistics = Statistics(data.features.dimension, data.features.kind == "given")
    running = data.features.normalisation == "running"
    for row in np.unique(np.linspace(0, len(clean.lengths) - 1, _STATISTICS_UTTERANCES).astype(np.int64)).tolist():
        frames = clean[row]
        statistics.add(features.CausalNormalisation(data.features).speech(frames) if running else frames)
    # Rounded to digits, not to decimals: given features have any scale.
    mean, scale = (tuple(float(f"{x:.7g}") for x in row.tolist()) for row in (statistics.mean, statistics.scale))
    return replace(data.features, mean=mean, scale=scale)


def part(data: Dataset, divisor: int, seed: int) -> Dataset:
    """Return a random one `divisor`th of the utterances, by duration, in as many passes: an epoch is as long.

    A smaller part of the same seed is in a larger one.
    """
    order = np.random.default_rng(seed).permutation(len(data.ids))
    seconds = np.cumsum(data.lengths[order])
    chosen = order[: int(np.searchsorted(seconds, seconds[-1] / divisor)) + 1]
    items = np.tile(np.flatnonzero(np.isin(data.rows, chosen)), divisor)
    columns = {name: getattr(data, name)[items] for name in ("rows", "speed_indices", "frames", "trained")}
    return replace(data, **columns, passes=divisor)


def frames_needed(tokens: Sequence[int] | Tokens) -> int:
    """Return the minimum number of output frames for CTC: one per token, and a blank between repeated tokens."""
    ids = np.asarray(tokens)
    return len(ids) + int(np.count_nonzero(ids[1:] == ids[:-1]))


def alphabet_of(utterances: Sequence[Utterance], settings: TextSettings) -> Alphabet:
    """Return the alphabet of the settings, or that of the transcripts if it is `auto`."""
    if settings.alphabet != "auto":
        return Alphabet(settings.alphabet)
    return Alphabet.of(normalise(utterance.text, settings.normaliser) for utterance in utterances)


@dataclass(frozen=True)
class DatasetSource:
    """The utterances of a manifest and the copies to use of them.

    `copies`: for each speed the clean copy, then the noisy ones; all speeds have equally many. `keep_all`: an utterance
    that cannot be trained on stays as an item without tokens, so that a score counts every utterance. `cache`: the
    folder of the features, if not beside the manifest. `open_caches`: what computes the features. `compute`: as in
    `asr.features.cache.Computation`. `pronunciations`: of the words, for a network that outputs phonemes.
    """

    utterances: Sequence[Utterance]
    manifest: Path
    copies: tuple[tuple[Copy, ...], ...] = ((Copy(),),)
    keep_all: bool = False
    cache: Path | None = None
    open_caches: Callable[..., Sequence[Cache]] = open_caches
    compute: Compute | None = None
    pronunciations: Pronunciations | None = None


def copies_of(settings: AugmentSettings, utterances: Sequence[Utterance]) -> tuple[tuple[Copy, ...], ...]:
    """Return the copies of the training speech that the settings describe, by speed. Raises NoiseError."""
    if not settings.distorts:
        return tuple((Copy(speed),) for speed in settings.speeds)
    files: tuple[str, ...] = ()
    if settings.noise:
        paths = (path for path in Path(settings.noise).rglob("*") if path.suffix.lower() in SUFFIXES)
        files = tuple(sorted(str(path.resolve()) for path in paths if not path.name.startswith(".") and path.is_file()))
        if not files:
            raise NoiseError(f"augment.noise = {settings.noise!r}: not a folder with recordings")
    voices: tuple[Excerpt, ...] = ()
    if settings.babble:
        chosen = np.unique(np.linspace(0, len(utterances) - 1, _BABBLE_UTTERANCES).astype(np.int64)).tolist()
        voices = tuple(Excerpt(u.audio, u.offset, u.duration) for u in (utterances[index] for index in chosen))
    distortion = Distortion(
        noise=files,
        voices=voices,
        babble=settings.babble,
        synthetic=settings.synthetic_noise,
        low=settings.noise_snr_low,
        high=settings.noise_snr_high,
        reverberation=settings.reverberation,
        telephone=settings.telephone,
        codec=settings.codec,
        silence=settings.silence,
        gain=settings.gain,
        level_changes=settings.level_changes,
        clicks=settings.clicks,
    )
    count = settings.noise_copies
    return tuple(
        (Copy(speed), *(Copy(speed, replace(distortion, number=k + (count + 1) * index)) for k in range(count)))
        for index, speed in enumerate(settings.speeds)
    )


@dataclass(frozen=True)
class _Encoded:
    """The usable rows, their concatenated tokens, where each ends, and the output frames that each needs.

    `outside`: the rows with characters outside the alphabet.
    """

    rows: NDArray[np.int32]
    tokens: Tokens
    ends: NDArray[np.int64]
    needed: NDArray[np.int32]
    outside: NDArray[np.int32]


def _encode(utterances: Sequence[Utterance], settings: TextSettings, keep_all: bool) -> _Encoded:
    alphabet = Alphabet(settings.alphabet)
    # Bytes and arrays, because a million transcripts as Python objects need gigabytes.
    dtype = np.uint8 if len(alphabet) <= 256 else np.int32
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
        if keep_all or not unknown:
            rows.append(row)
            lengths.append(len(ids))
            needed.append(max(frames_needed(ids), 1))
            tokens += ids.astype(dtype).tobytes()
    columns = [np.frombuffer(column, np.int32) for column in (rows, needed, outside)]
    ends = np.cumsum(np.frombuffer(lengths, np.int32), dtype=np.int64)
    ids = np.frombuffer(tokens, np.uint8) if dtype is np.uint8 else np.frombuffer(tokens, np.int32)
    return _Encoded(columns[0], ids, ends, columns[1], columns[2])


def load(
    source: DatasetSource,
    text: TextSettings,
    settings: FeatureSettings,
    time_reduction: int,
    on_progress: Callable[[float, float, int], None] | None = None,
) -> Dataset:
    """Build a dataset with one item per utterance and speed; `text.alphabet` must not be `auto`.

    An item with fewer output frames than its transcript needs is listed in `unalignable` and, unless
    `source.keep_all`, left out. Raises TextError, AudioError and FeatureCacheError.
    """
    encoded = _encode(source.utterances, text, source.keep_all)
    complete = len(encoded.rows) == len(source.utterances)
    kept = source.utterances if complete else [source.utterances[row] for row in encoded.rows.tolist()]
    place = place_in(source.cache, source.manifest) if source.cache else source.manifest
    flat = [copy for copies in source.copies for copy in copies]
    caches = source.open_caches(kept, settings, place, flat, Computation(on_progress, source.compute))
    width = len(source.copies[0])
    by_speed = tuple(tuple(caches[start : start + width]) for start in range(0, len(caches), width))
    speeds = tuple(copies[0].speed for copies in source.copies)
    known = ~np.isin(encoded.rows, encoded.outside)
    rows, indices, frames, trained, unalignable = [], [], [], [], []
    for index, (clean, *distorted) in enumerate(by_speed):
        # Distorted copies may be longer; batches must have room for them.
        longest = np.max([clean.lengths, *(copy.lengths for copy in distorted)], axis=0)
        fits = output_length(clean.lengths, time_reduction) >= encoded.needed
        unalignable += [kept[row].id + _at_speed(speeds[index]) for row in np.flatnonzero(~fits).tolist()]
        chosen = np.arange(len(kept), dtype=np.int32) if source.keep_all else np.flatnonzero(fits).astype(np.int32)
        rows.append(chosen)
        indices.append(np.full(len(chosen), index, np.int8))
        frames.append(longest[chosen].astype(np.int32))
        trained.append((fits & known)[chosen])
    return Dataset(
        ids=tuple(utterance.id for utterance in kept),
        lengths=np.fromiter((utterance.duration for utterance in kept), np.float64, len(kept)),
        texts={row: normalise(kept[row].text, text.normaliser) for row in np.flatnonzero(~known).tolist()},
        alphabet=Alphabet(text.alphabet, text.phonemes),
        features=settings,
        speeds=speeds,
        rows=np.concatenate(rows),
        speed_indices=np.concatenate(indices),
        frames=np.concatenate(frames),
        trained=np.concatenate(trained),
        tokens=encoded.tokens,
        ends=encoded.ends,
        # An output frame more for every `time_reduction` frames, rounded up.
        shortest=(encoded.needed - 1) * time_reduction + 1,
        caches=by_speed,
        unalignable=tuple(unalignable),
        unknown=tuple(source.utterances[row].id for row in encoded.outside.tolist()),
        pronunciations=source.pronunciations,
    )


def _at_speed(speed: float) -> str:
    return "" if speed == 1.0 else f" at speed {speed:g}"
