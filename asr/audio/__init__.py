"""Audio: sound files and arrays -> mono float32 waveforms at the model's sample rate."""

from asr.audio.reading import LONGEST as LONGEST
from asr.audio.reading import MEDIA_HINT as MEDIA_HINT
from asr.audio.reading import MEDIA_SUFFIXES as MEDIA_SUFFIXES
from asr.audio.reading import SUFFIXES as SUFFIXES
from asr.audio.reading import AudioReader as AudioReader
from asr.audio.reading import file_name as file_name
from asr.audio.reading import info as info
from asr.audio.reading import load as load
from asr.audio.waveforms import SAMPLE_RATE as SAMPLE_RATE
from asr.audio.waveforms import AudioError as AudioError
from asr.audio.waveforms import SilenceError as SilenceError
from asr.audio.waveforms import Waveform as Waveform
from asr.audio.waveforms import block_resampler as block_resampler
from asr.audio.waveforms import check_integers as check_integers
from asr.audio.waveforms import check_rate as check_rate
from asr.audio.waveforms import from_array as from_array
from asr.audio.waveforms import resample as resample
