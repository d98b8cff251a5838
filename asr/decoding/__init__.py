"""Log-probabilities -> text: greedy, beam search with language models, confidences, forced alignment, tuning."""

from asr.decoding.greedy import Decoder as Decoder
from asr.decoding.greedy import DecodingError as DecodingError
from asr.decoding.greedy import Greedy as Greedy
from asr.decoding.greedy import LogProbs as LogProbs
from asr.decoding.greedy import check as check
from asr.decoding.greedy import greedy as greedy
from asr.decoding.greedy import with_words as with_words
from asr.transcripts.records import Hypothesis as Hypothesis
