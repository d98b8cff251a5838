"""N-gram language models: queries, estimation, pruning and their files."""

from asr.lm.ngram.model import UNKNOWN_LOG_PROB as UNKNOWN_LOG_PROB
from asr.lm.ngram.model import Arrays as Arrays
from asr.lm.ngram.model import NgramModel as NgramModel
from asr.lm.ngram.model import advance as advance
from asr.lm.ngram.model import is_character_model as is_character_model
from asr.lm.text import END as END
from asr.lm.text import SPACE as SPACE
