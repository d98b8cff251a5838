"""Training on shards: buffers of utterances, whose features are computed while the network trains on the one before.

In each epoch the shards are divided among the processes in a random order. A process reads its shards from front to
back into buffers of `training.buffer_hours`, and batches are planned within a buffer, as otherwise within a manifest.
So memory does not depend on the size of the corpus, and everything depends only on the seed and the number of
processes. A buffer begins at a `Place`, which the training state contains.
"""

import os
import threading
import zlib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from asr.audio import AudioError
from asr.corpora import shards
from asr.corpora.shards import Index, Sample, Shard
from asr.features.cache import Copy, stored_settings
from asr.features.memory import MemoryCache, compute_copies
from asr.parallel.processes import map_processes
from asr.text import Alphabet, TextError
from asr.text.normalisers import normalise
from asr.text.pronunciations import Pronunciations
from asr.training import dataset
from asr.training.dataset import Dataset, DatasetSource
from asr.training.distributed import World
from asr.training.recipe import Recipe
from asr.training.step import TrainingError

# The index of a shard in a process's order, a byte in it, and the number of utterances before that byte.
Place = tuple[int, int, int]
START: Place = (0, 0, 0)
# The utterances whose statistics stand for the corpus. Their order in shards is random.
_SAMPLE = 500
# Seconds of audio up to which starting worker processes takes longer than they save.
_IN_PROCESS = 600.0


@dataclass(frozen=True)
class Buffer:
    """Utterances that are shuffled together, where they begin, and why recordings were left out of them."""

    place: Place
    data: Dataset
    skipped: tuple[str, ...]

    @property
    def dropped(self) -> int:
        """Return the number of utterances, at each speed, that cannot be trained on."""
        return len(self.data.unalignable) + (len(self.data.unknown) + len(self.skipped)) * len(self.data.speeds)


@dataclass(frozen=True)
class Pass:
    """One epoch: its number, its speeds and the fraction of distorted utterances."""

    epoch: int
    speeds: tuple[float, ...]
    noise_share: float


@dataclass(frozen=True)
class Corpus:
    """The shards of an index, to train on in this process of `world`. The recipe's alphabet must not be `auto`.

    `skip_bad`: recordings that cannot be read are left out. `pronunciations`: as in `DatasetSource`. Raises
    TrainingError for settings that need a manifest.
    """

    index: Index
    recipe: Recipe
    world: World
    skip_bad: bool = False
    pronunciations: Pronunciations | None = None

    def __post_init__(self) -> None:
        """Check the settings and the number of shards."""
        count = len(self.index.shards)
        if count < self.world.size:
            raise TrainingError(
                f"{self.index.path}: {count} shards for {self.world.size} processes; each needs one: write smaller "
                "shards with asr prepare shard --megabytes, or start fewer processes"
            )
        if self.recipe.features.kind == "given":
            raise TrainingError(f'{self.index.path}: shards have recordings; features.kind = "given" needs a manifest')
        if self.recipe.augment.babble:
            raise TrainingError(
                "augment.babble mixes utterances of a manifest; with shards set it to 0, and augment.noise to a folder "
                "with recordings of babble"
            )

    @cached_property
    def copies(self) -> dict[float, tuple[Copy, ...]]:
        """Return the clean copy and the noisy ones of each speed. Raises NoiseError."""
        return {copies[0].speed: copies for copies in dataset.copies_of(self.recipe.augment, ())}

    @cached_property
    def sample(self) -> Dataset:
        """Return the first utterances of the index at speed 1, the same in all processes."""
        samples = (sample for shard in self.index.shards for sample in shards.verified(shard))
        buffer = self._load(START, list(islice(samples, _SAMPLE)), Pass(0, (1.0,), 0.0))
        if not buffer or not buffer.data.token_counts.any():
            raise TrainingError(f"{self.index.path}: none of the first {_SAMPLE} utterances can be used")
        return buffer.data

    @property
    def distinct_seconds(self) -> float:
        """Return the duration of the recordings in s."""
        return 3600 * self.index.hours

    def seconds(self, speeds: Sequence[float]) -> float:
        """Return the duration of an epoch with these speeds in s."""
        return self.distinct_seconds * sum(1 / speed for speed in speeds)

    def order(self, epoch: int) -> list[Shard]:
        """Return the shards of this process in the order of an epoch."""
        order = np.random.default_rng((self.recipe.training.seed, epoch)).permutation(len(self.index.shards))
        return [self.index.shards[number] for number in order[self.world.rank :: self.world.size].tolist()]

    def buffers(self, epoch: Pass, place: Place = START) -> Generator[Buffer]:
        """Yield the buffers of this process from a place on; the next one is computed in the background.

        Raises ShardError and TextError, and AudioError unless `skip_bad`, which name shard and member.
        """
        stopped = threading.Event()
        with closing(self._buffers(epoch, place, stopped.is_set)) as buffers, ThreadPoolExecutor(1) as pool:
            try:
                following = pool.submit(next, buffers, None)
                while buffer := following.result():
                    following = pool.submit(next, buffers, None)
                    yield buffer
            finally:
                stopped.set()

    def _buffers(self, epoch: Pass, place: Place, is_stopped: Callable[[], bool]) -> Generator[Buffer]:
        samples: list[Sample] = []
        seconds = 0.0
        first, *inside = place
        for number, shard in enumerate(self.order(epoch.epoch)[first:], first):
            for sample in shards.verified(shard, *(inside if number == first else ())):
                if is_stopped():
                    return
                if not samples:
                    place = number, sample.offset, sample.number
                samples.append(sample)
                seconds += sample.utterance.duration
                if seconds >= 3600 * self.recipe.training.buffer_hours:
                    buffer = self._load(place, samples, epoch, is_stopped)
                    if not buffer:
                        return
                    yield buffer
                    samples, seconds = [], 0.0
        if samples and (buffer := self._load(place, samples, epoch, is_stopped)):
            yield buffer

    def _load(
        self, place: Place, samples: Sequence[Sample], epoch: Pass, is_stopped: Callable[[], bool] = bool
    ) -> Buffer | None:
        """Compute the features of samples in worker processes; return None if stopped."""
        settings = stored_settings(self.recipe.features)
        jobs = ((sample, settings, self._copies(sample, epoch)) for sample in samples)
        in_process = sum(sample.utterance.duration for sample in samples) * len(epoch.speeds) < _IN_PROCESS
        # The processes of one machine share its cores.
        workers = max((os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
        # By identity: two recordings of a shard may have one name.
        frames, skipped = {}, []
        for sample, result in zip(samples, map_processes(compute_copies, jobs, in_process, workers), strict=True):
            if is_stopped():
                return None
            if not isinstance(result, str):
                frames[id(sample.utterance)] = result
            elif self.skip_bad:
                skipped.append(result)
            else:
                raise AudioError(f"{result}; leave it out with --skip-bad")
        usable = [sample.utterance for sample in samples if id(sample.utterance) in frames]
        source = DatasetSource(
            usable,
            Path(self.index.path),
            tuple((Copy(speed),) for speed in epoch.speeds),
            open_caches=lambda kept, *_: [
                MemoryCache([frames[id(row)][index] for row in kept]) for index in range(len(epoch.speeds))
            ],
            pronunciations=self.pronunciations,
        )
        recipe = self.recipe
        try:
            data = dataset.load(source, recipe.text, recipe.features, recipe.model.time_reduction)
        except TextError as error:
            alphabet = Alphabet(recipe.text.alphabet)
            for row in usable:
                if unknown := alphabet.unknown(normalise(row.text, recipe.text.normaliser)):
                    listed = ", ".join(map(repr, unknown))
                    message = f"{row.audio} ({row.id}): {listed} not in the alphabet {alphabet.characters!r}"
                    raise TextError(f'{message}; set text.alphabet = "auto", or text.unknown = "drop"') from error
            raise
        return Buffer(place, data, tuple(skipped))

    def _copies(self, sample: Sample, epoch: Pass) -> list[Copy]:
        """Return the copy of an utterance at each speed that an epoch uses."""
        chosen = []
        for index, speed in enumerate(epoch.speeds):
            clean, *noisy = self.copies.get(speed, (Copy(speed),))
            identity = zlib.crc32(sample.utterance.id.encode("utf-8", "surrogatepass"))
            random = np.random.default_rng((self.recipe.training.seed, epoch.epoch, identity, index))
            distorted = noisy and random.random() < epoch.noise_share
            chosen.append(noisy[int(random.integers(len(noisy)))] if distorted else clean)
        return chosen


def find(paths: Sequence[str | Path]) -> Index | None:
    """Return the index of the shards that paths name, joined if there are several; None if they name manifests.

    Raises TrainingError if they name both, ShardError and OSError.
    """
    found = {str(path): shards.find_index(path) for path in paths}
    indexes = [shards.read_index(path) for path in found.values() if path]
    if not indexes:
        return None
    if len(indexes) < len(paths):
        manifest = next(path for path, index in found.items() if not index)
        raise TrainingError(f"{manifest} is no index of shards, unlike others; train on manifests or on shards")
    if len({index.digest for index in indexes}) < len(indexes):
        raise TrainingError(f"{', '.join(map(str, paths))}: the same shards are given twice")
    joined = tuple(shard for index in indexes for shard in index.shards)
    return Index("+".join(index.path for index in indexes), joined, "+".join(index.digest for index in indexes))
