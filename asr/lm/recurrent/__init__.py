"""A recurrent language model, of characters or of words: the network, its training and its file."""

from asr.lm.recurrent.file import Contents, LmFileSettings, inspect, load, save
from asr.lm.recurrent.network import RnnLm, RnnLmSettings
from asr.lm.recurrent.scoring import BOUNDARY, LmState, Perplexity
from asr.lm.recurrent.training import LmEpoch, LmStep, RnnLmTraining, Trained, train
from asr.lm.recurrent.words import UNKNOWN, Vocabulary, WordLm

__all__ = [
    "BOUNDARY",
    "UNKNOWN",
    "Contents",
    "LmEpoch",
    "LmFileSettings",
    "LmState",
    "LmStep",
    "Perplexity",
    "RnnLm",
    "RnnLmSettings",
    "RnnLmTraining",
    "Trained",
    "Vocabulary",
    "WordLm",
    "inspect",
    "load",
    "save",
    "train",
]
