"""Language models: n-gram and recurrent models, the texts they are trained on, and their perplexity."""

from asr.lm.evaluation import Perplexity as Perplexity
from asr.lm.models import is_recurrent as is_recurrent
from asr.lm.models import load as load
from asr.lm.models import perplexity as perplexity
from asr.lm.recurrent import RnnLm as RnnLm
from asr.lm.text import LmError as LmError
from asr.lm.text import TextReader as TextReader
from asr.lm.text import TextSource as TextSource
from asr.lm.text import characters as characters
from asr.lm.text import read_vocabulary as read_vocabulary
from asr.lm.text import tokens as tokens
