"""Recurrent language models of characters or words: the network, its training and its file."""

from asr.lm.recurrent.file import LmFileSettings as LmFileSettings
from asr.lm.recurrent.file import inspect as inspect
from asr.lm.recurrent.file import load as load
from asr.lm.recurrent.file import save as save
from asr.lm.recurrent.network import LmState as LmState
from asr.lm.recurrent.network import RnnLm as RnnLm
from asr.lm.recurrent.network import RnnLmSettings as RnnLmSettings
from asr.lm.recurrent.training import LmEpoch as LmEpoch
from asr.lm.recurrent.training import LmStep as LmStep
from asr.lm.recurrent.training import RnnLmTraining as RnnLmTraining
from asr.lm.recurrent.training import train as train
from asr.lm.recurrent.vocabulary import BOUNDARY as BOUNDARY
