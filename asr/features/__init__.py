"""Waveforms -> MFCC frames: settings, librosa reference, NumPy front end, block-wise form, augmentation, cache."""

from asr.features.normalisation import CausalNormalisation as CausalNormalisation
from asr.features.normalisation import Statistics as Statistics
from asr.features.normalisation import normalise as normalise
from asr.features.settings import NO_MATRICES as NO_MATRICES
from asr.features.settings import Features as Features
from asr.features.settings import FeatureSettings as FeatureSettings
from asr.features.settings import Matrices as Matrices
from asr.features.settings import frame_count as frame_count
