"""A recurrent language model, of characters or of words: the network, its training and its file."""

from asr.rnnlm.file import Contents, Settings, inspect, load, save
from asr.rnnlm.network import RnnLm, RnnLmSettings
from asr.rnnlm.scoring import BOUNDARY, Perplexity, RnnLmError, State
from asr.rnnlm.training import Epoch, RnnLmTraining, Step, Trained, train
from asr.rnnlm.words import UNKNOWN, Vocabulary, WordLm

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
