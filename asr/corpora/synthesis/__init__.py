"""Speech synthesised from text: texts and a synthesizer -> sound files and their manifest.

`asr.corpora.synthesis.kokoro` is imported on its own: it loads onnxruntime and phonemizer, if they are installed.
"""

from asr.corpora.synthesis.command import Command as Command
from asr.corpora.synthesis.generation import FORMATS as FORMATS
from asr.corpora.synthesis.generation import Skipped as Skipped
from asr.corpora.synthesis.generation import Synthesis as Synthesis
from asr.corpora.synthesis.generation import SynthesisSettings as SynthesisSettings
from asr.corpora.synthesis.generation import Synthesizer as Synthesizer
from asr.corpora.synthesis.generation import synthesize as synthesize
from asr.corpora.synthesis.speech import Speech as Speech
from asr.corpora.synthesis.speech import SynthesisError as SynthesisError
from asr.corpora.synthesis.speech import TooLongError as TooLongError
from asr.corpora.synthesis.speech import select_voices as select_voices
