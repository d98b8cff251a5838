"""Sound files and arrays -> mono float32 waveforms at the model's sample rate."""

from asr.audio.reading import HIGHEST_RATE as HIGHEST_RATE
from asr.audio.reading import LONGEST as LONGEST
from asr.audio.reading import LOWEST_RATE as LOWEST_RATE
from asr.audio.reading import SAMPLE_RATE as SAMPLE_RATE
from asr.audio.reading import SUFFIXES as SUFFIXES
from asr.audio.reading import AudioError as AudioError
from asr.audio.reading import AudioInfo as AudioInfo
from asr.audio.reading import SilenceError as SilenceError
from asr.audio.reading import Waveform as Waveform
from asr.audio.reading import blocks as blocks
from asr.audio.reading import from_array as from_array
from asr.audio.reading import info as info
from asr.audio.reading import load as load
from asr.audio.reading import resample as resample
