"""Manifest rows -> normalised, encoded, alignable utterances, and their batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from asr import augment, batching
from asr.augment import AugmentSettings
from asr.batching import Batch
from asr.cache import FeatureCache, Progress, open_cache
from asr.features import Features, FeatureSettings
from asr.manifest import Utterance
from asr.model import output_length
from asr.text import Alphabet, TextError, TextSettings, normalise


@dataclass(frozen=True)
class Item:
    """One utterance as the loop sees it: its normalised text, its token ids and where its features are.

    Without tokens it is scored but has no loss.
    """

    id: str
    text: str
    tokens: tuple[int, ...]
    duration: float
    frames: int
    cache: FeatureCache
    row: int

    @property
    def features(self) -> Features:
        """Return the features (T, F)."""
        return self.cache[self.row]


@dataclass(frozen=True)
class Dataset:
    """The utterances that can be used, and how many could not and why."""

    items: tuple[Item, ...]
    unalignable: tuple[str, ...]
    unknown: tuple[str, ...]

    @cached_property
    def seconds(self) -> float:
        """Return the seconds of audio."""
        return sum(item.duration for item in self.items)


def frames_needed(tokens: Sequence[int]) -> int:
    """Return the fewest output frames that CTC can write the tokens in: one each, and a blank between repeats."""
    return len(tokens) + sum(left == right for left, right in pairwise(tokens))


def alphabet_of(utterances: Sequence[Utterance], settings: TextSettings) -> Alphabet:
    """Return the alphabet that the settings name, or for `auto` that of the transcripts."""
    if settings.alphabet != "auto":
        return Alphabet(settings.alphabet)
    return Alphabet.of(normalise(utterance.text, settings.normaliser) for utterance in utterances)


def _encode(utterances: Sequence[Utterance], settings: TextSettings, keep: bool) -> tuple[list[Utterance], list[str]]:
    """Normalise the texts; leave out, where the settings say so, those with characters outside the alphabet."""
    alphabet = Alphabet(settings.alphabet)
    kept, dropped = [], []
    for row, utterance in enumerate(utterances, 1):
        text = normalise(utterance.text, settings.normaliser)
        unknown = alphabet.unknown(text)
        if unknown and settings.unknown == "error":
            listed = ", ".join(map(repr, unknown))
            raise TextError(
                f"row {row} ({utterance.id}): {listed} not in the alphabet {settings.alphabet!r}; correct the text, "
                'or set text.alphabet = "auto", or text.unknown = "drop"'
            )
        if unknown:
            dropped.append(utterance.id)
        if keep or not unknown:
            kept.append(Utterance(utterance.id, utterance.audio, utterance.duration, text, offset=utterance.offset))
    return kept, dropped


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from; `speeds` as in AugmentSettings, `folder` that of the feature cache.

    `keep`: what cannot be trained on stays as an item without tokens, so that a score counts every utterance.
    """

    utterances: Sequence[Utterance]
    folder: Path
    speeds: tuple[float, ...] = (1.0,)
    keep: bool = False


def load(
    source: Source, text: TextSettings, features: FeatureSettings, time_reduction: int, progress: Progress | None = None
) -> Dataset:
    """Build a dataset, one item for each utterance and speed; `text.alphabet` must be spelled out.

    An item with fewer output frames than its transcript needs is left out (unless `source.keep`) and named in
    `unalignable`. Raises TextError and AudioError naming the utterance.
    """
    kept, unknown = _encode(source.utterances, text, source.keep)
    alphabet = Alphabet(text.alphabet)
    outside = set(unknown)
    encoded = [() if one.id in outside else tuple(alphabet.encode(one.text)) for one in kept]
    items: list[Item] = []
    unalignable: list[str] = []
    for number, speed in enumerate(source.speeds):

        def overall(done: float, total: float, number: int = number) -> None:
            if progress:
                progress(done + number * total, len(source.speeds) * total)

        cached = open_cache(kept, features, source.folder, speed, overall)
        for row, utterance in enumerate(kept):
            tokens = encoded[row]
            frames = int(cached.lengths[row])
            name = utterance.id if speed == 1.0 else f"{utterance.id} at speed {speed:g}"
            if output_length(frames, time_reduction) < max(frames_needed(tokens), 1):
                unalignable.append(name)
                if not source.keep:
                    continue
                tokens = ()
            items.append(Item(name, utterance.text, tokens, utterance.duration / speed, frames, cached, row))
    return Dataset(tuple(items), tuple(unalignable), tuple(unknown))


def batches(
    dataset: Dataset, longest: int, random: np.random.Generator | None = None
) -> Iterator[tuple[list[int], Batch]]:
    """Yield the indices and the padded features of each batch of at most `longest` frames."""
    for indices in batching.plan([item.frames for item in dataset.items], longest, random):
        items = [dataset.items[index] for index in indices]
        yield indices, batching.pad([item.features for item in items], [item.tokens for item in items])


def masked(batch: Batch, indices: Sequence[int], settings: AugmentSettings, hop: float, seed: tuple[int, int]) -> Batch:
    """Return the batch with its features masked; `seed` is the run's and the epoch's.

    What an utterance looks like depends on the seed and its index alone, not on the batch it is in.
    """
    features = batch.features.numpy()
    for row, index in enumerate(indices):
        length = int(batch.feature_lengths[row])
        random = np.random.default_rng((*seed, index))
        features[row, :length] = augment.mask(features[row, :length], hop, settings, random)
    return batch
