"""A character-level recurrent language model: the network, its training and its file."""

from asr.rnnlm.file import Contents, Settings, inspect, load, save
from asr.rnnlm.network import BOUNDARY, Perplexity, RnnLm, RnnLmError, RnnLmSettings, State
from asr.rnnlm.training import Epoch, RnnLmTraining, Step, Trained, train

__all__ = [
    "BOUNDARY",
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
    "inspect",
    "load",
    "save",
    "train",
]
