"""CTC prefix beam search with language models and hotwords."""

from asr.decoding.beam.compiling import caches as caches
from asr.decoding.beam.decode import EXACT as EXACT
from asr.decoding.beam.decode import BeamSearch as BeamSearch
from asr.decoding.beam.decode import BeamSettings as BeamSettings
from asr.decoding.beam.decode import beam_search as beam_search
from asr.decoding.beam.decode import compile_search as compile_search
from asr.decoding.beam.decode import compiling_pays as compiling_pays
from asr.decoding.beam.decode import search_is_compiled as search_is_compiled
from asr.decoding.beam.decode import search_is_native as search_is_native
from asr.decoding.beam.fusion import LmSettings as LmSettings
from asr.decoding.beam.fusion import Scorer as Scorer
from asr.decoding.beam.hotwords import check_hotwords as check_hotwords
from asr.decoding.beam.spelling import check_pronunciations as check_pronunciations
from asr.decoding.beam.spelling import check_spelling as check_spelling
from asr.decoding.beam.spelling import sample as sample
from asr.decoding.beam.spelling import spelled as spelled
