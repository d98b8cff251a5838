"""Text: normalisers, and the alphabet that turns characters into token ids."""

from asr.text.alphabet import BLANK as BLANK
from asr.text.alphabet import ENGLISH as ENGLISH
from asr.text.alphabet import Alphabet as Alphabet
from asr.text.alphabet import TextError as TextError
from asr.text.alphabet import TextSettings as TextSettings
from asr.text.normalisers import NORMALISERS as NORMALISERS
from asr.text.normalisers import normalise as normalise
from asr.text.normalisers import normaliser as normaliser
