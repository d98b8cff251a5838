"""Text: normalisers, and the alphabet that turns characters into token ids.

Normalisers are imported from `asr.text.normalisers`: they load num2words, which decoding does not need.
"""

from asr.text.alphabet import BLANK as BLANK
from asr.text.alphabet import ENGLISH as ENGLISH
from asr.text.alphabet import Alphabet as Alphabet
from asr.text.alphabet import TextError as TextError
from asr.text.alphabet import TextSettings as TextSettings
