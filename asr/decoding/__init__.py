"""Log-probabilities -> text: greedy decoding, beam search with language models, forced alignment, tuning.

The beam decoder, which needs numba and the language models, is imported from `asr.decoding.decoder`.
"""

from asr.decoding.alignment import LogProbs as LogProbs
from asr.decoding.greedy import DecodingError as DecodingError
from asr.decoding.greedy import GreedyDecoder as GreedyDecoder
from asr.decoding.greedy import GreedyPath as GreedyPath
from asr.decoding.greedy import best_path as best_path
from asr.decoding.greedy import check_log_probs as check_log_probs
