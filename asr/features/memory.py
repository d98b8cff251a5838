"""Features of encoded recordings in memory, which worker processes compute."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from asr import audio
from asr.audio import AudioError
from asr.corpora.shards import Sample
from asr.features.cache import Copy, compute
from asr.features.settings import Features, FeatureSettings


class MemoryCache:
    """The features of utterances, as `FeatureCache` has them on disk."""

    def __init__(self, frames: Sequence[NDArray[np.float16]]) -> None:
        self.lengths: NDArray[np.int64] = np.array([len(utterance) for utterance in frames], np.int64)
        self._frames = frames

    def __getitem__(self, index: int) -> Features:
        """Return the features (T, F), float32, before normalisation."""
        return self._frames[index].astype(np.float32)


def compute_copies(
    sample: Sample, settings: FeatureSettings, copies: Sequence[Copy]
) -> list[NDArray[np.float16]] | str:
    """Return the stored features (T, F) of each copy of an utterance, or why its recording cannot be read."""
    try:
        waveform = audio.load(sample.open(), settings.sample_rate)
    except AudioError as error:
        return str(error)
    return [compute(waveform, sample.utterance.id, settings, copy) for copy in copies]
