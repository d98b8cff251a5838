"""Language models: open a file, measure a model; n-gram and recurrent models."""

from asr.lm.models import UNITS as UNITS
from asr.lm.models import LanguageModel as LanguageModel
from asr.lm.models import Perplexity as Perplexity
from asr.lm.models import characters as characters
from asr.lm.models import is_recurrent as is_recurrent
from asr.lm.models import load as load
from asr.lm.models import perplexity as perplexity
from asr.lm.models import tokens as tokens
from asr.lm.models import vocabulary as vocabulary
from asr.lm.text import LmError as LmError
