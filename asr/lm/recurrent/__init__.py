"""Recurrent language models of characters or words: the model, its file and its training.

What needs torch is in `asr.lm.recurrent.network` and `asr.lm.recurrent.training`.
"""

from asr.lm.recurrent.file import LmFileSettings as LmFileSettings
from asr.lm.recurrent.file import Start as Start
from asr.lm.recurrent.file import inspect as inspect
from asr.lm.recurrent.file import load as load
from asr.lm.recurrent.file import pack as pack
from asr.lm.recurrent.file import read as read
from asr.lm.recurrent.file import save as save
from asr.lm.recurrent.model import LmState as LmState
from asr.lm.recurrent.model import RnnLm as RnnLm
from asr.lm.recurrent.settings import RnnLmSettings as RnnLmSettings
from asr.lm.recurrent.vocabulary import BOUNDARY as BOUNDARY
