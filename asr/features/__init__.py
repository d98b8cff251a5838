"""Waveforms -> MFCC frames: settings, the torch front end, librosa's reference, augmentation, cache, batches."""

from asr.features.settings import Features as Features
from asr.features.settings import FeatureSettings as FeatureSettings
from asr.features.settings import Matrices as Matrices
from asr.features.settings import frame_count as frame_count
from asr.features.settings import normalise as normalise
from asr.features.settings import statistics as statistics
