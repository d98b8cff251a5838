"""The settings of MFCC features, and the number of frames.

`asr.features.reference` computes the features with librosa, `asr.features.frontend` the same values in NumPy.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from asr.config import check_choices, check_ranges

Features = NDArray[np.float32]
# Settings that given features have.
_GIVEN = ("kind", "coefficients", "hop", "normalisation", "mean", "scale")
_GIVEN_NORMALISATIONS = ("utterance", "corpus", "none")

NORMALISATIONS = ("speech", "running", "utterance", "corpus", "none")
# Those that depend on no later frame.
CAUSAL = ("running", "corpus", "none")


@dataclass(frozen=True, eq=False)
class Matrices:
    """The mel filter bank (mel_bands, bins) and the cosine transform (coefficients, mel_bands)."""

    mel: NDArray[np.float32]
    dct: NDArray[np.float32]


# Given features need none.
NO_MATRICES = Matrices(np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))


@dataclass(frozen=True)
class FeatureSettings:
    """Settings of the features.

    `kind`: `mfcc` of a waveform, or `given`: arrays that the manifest names, of `coefficients` features per frame and a
    frame every `hop`. Only `normalisation` is also used of them, and not `speech`.

    `window` and `hop` in s, frequencies in Hz (`high_frequency` 0: half the sample rate).

    `deltas`: 0, 1 (first differences are added) or 2 (and second differences). `top_db`: energies are raised to at
    least this many dB below the loudest one of the utterance, of `speech` normalisation below its level; 0: only to 100
    dB below that of a full-scale sample, of `speech` to 200.

    `normalisation`: each coefficient to mean 0 and variance 1: `speech` (over the speech around each frame, after the
    level is set: independent of gain and silence), `running` (the same from the speech so far, at first the training
    speech), `utterance` (over the utterance), `corpus` (over the training speech, whose `mean` and `scale` are stored
    in the model) or `none`. A model that transcribes streams needs `running`, `corpus` or `none`, and `top_db` = 0.
    """

    kind: str = "mfcc"
    sample_rate: int = 16_000
    coefficients: int = 40
    mel_bands: int = 80
    window: float = 0.025
    hop: float = 0.010
    low_frequency: float = 20.0
    high_frequency: float = 0.0
    deltas: int = 0
    top_db: float = 80.0
    normalisation: str = "speech"
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_choices(self, kind=("mfcc", "given"))
        if self.kind == "given":
            self._check_given()
        else:
            self._check_mfcc()
        for name in ("mean", "scale"):
            count = len(getattr(self, name))
            if count not in (0, self.dimension):
                raise ValueError(f"{name} has {count} values, but there are {self.dimension} features")
        if not all(map(math.isfinite, self.mean)):
            raise ValueError("mean has a value that is not finite")
        if not all(0 < value < math.inf for value in self.scale):
            raise ValueError("scale has a value that is not more than 0")

    def _check_given(self) -> None:
        check_ranges(self, coefficients=(1, 10_000), hop=(1e-6, 86_400))
        if self.normalisation not in _GIVEN_NORMALISATIONS:
            raise ValueError(
                f'normalisation = {self.normalisation!r} is for audio; with kind = "given" it is one of '
                f"{', '.join(_GIVEN_NORMALISATIONS)}"
            )
        for field in fields(self):
            if field.name not in _GIVEN and getattr(self, field.name) != field.default:
                raise ValueError(f'{field.name} is for audio; leave it out with kind = "given"')

    def _check_mfcc(self) -> None:
        check_ranges(self, sample_rate=(4_000, 96_000), mel_bands=(1, 256), top_db=(0, 1000))
        check_choices(self, deltas=(0, 1, 2), normalisation=NORMALISATIONS)
        if not 1 <= self.coefficients <= self.mel_bands:
            raise ValueError(f"coefficients = {self.coefficients} is not between 1 and mel_bands ({self.mel_bands})")
        if not 0.001 <= self.hop <= self.window <= 0.2:
            raise ValueError(
                f"hop = {self.hop} and window = {self.window} must satisfy 0.001 <= hop <= window <= 0.2 s"
            )
        if not 0 <= self.low_frequency < self.highest_frequency <= self.sample_rate / 2:
            raise ValueError(
                f"low_frequency = {self.low_frequency} and high_frequency = {self.high_frequency} must satisfy "
                f"0 <= low < high <= {self.sample_rate / 2:g} Hz"
            )

    @property
    def highest_frequency(self) -> float:
        """Return the upper edge of the mel filter bank in Hz."""
        return self.high_frequency or self.sample_rate / 2

    @property
    def window_length(self) -> int:
        """Return the window in samples."""
        return round(self.window * self.sample_rate)

    @property
    def hop_length(self) -> int:
        """Return the hop in samples."""
        return round(self.hop * self.sample_rate)

    @property
    def input_rate(self) -> float:
        """Return the samples of a waveform, or the given frames, in a second."""
        return 1 / self.hop if self.kind == "given" else self.sample_rate

    @property
    def frame_duration(self) -> float:
        """Return the time from one frame to the next in s."""
        return self.hop if self.kind == "given" else self.hop_length / self.sample_rate

    @property
    def fft_length(self) -> int:
        """Return the smallest power of two that is not less than the window."""
        return int(1 << (self.window_length - 1).bit_length())

    @property
    def streams(self) -> bool:
        """Return whether a frame's features are independent of all later samples."""
        independent = self.normalisation in CAUSAL and not self.top_db and not self.deltas
        return independent and self.kind == "mfcc"

    @property
    def power_floor(self) -> float:
        """Return the power that smaller ones of a mel band are raised to; librosa.power_to_db has 1e-10."""
        return 1e-20 if self.normalisation == "speech" else 1e-10

    @property
    def dimension(self) -> int:
        """Return F, the number of features per frame."""
        return self.coefficients * (1 + self.deltas)


def frame_count(samples: int, settings: FeatureSettings) -> int:
    """Return T, the number of frames of a waveform: one is centred on every hop, an empty waveform has none.

    Given features are frames already.
    """
    if settings.kind == "given":
        return samples
    return 0 if samples == 0 else 1 + samples // settings.hop_length
