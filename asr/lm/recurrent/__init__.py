"""A recurrent language model, of characters or of words: the network, its training and its file."""

from asr.lm.recurrent.file import Contents, Settings, inspect, load, save
from asr.lm.recurrent.network import RnnLm, RnnLmSettings
from asr.lm.recurrent.scoring import BOUNDARY, Perplexity, RnnLmError, State
from asr.lm.recurrent.training import Epoch, RnnLmTraining, Step, Trained, train
from asr.lm.recurrent.words import UNKNOWN, Vocabulary, WordLm

__all__ = [
    "BOUNDARY",
    "UNKNOWN",
    "Contents",
    "Epoch",
    "Perplexity",
    "RnnLm",
    "RnnLmError",
    "RnnLmSettings",
    "RnnLmTraining",
    "Settings",
    "State",
    "Step",
    "Trained",
    "Vocabulary",
    "WordLm",
    "inspect",
    "load",
    "save",
    "train",
]
