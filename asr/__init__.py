"""Speech recognition with recurrent networks and CTC: prepare, train, transcribe, evaluate.

The names below are the public API. They are imported when they are first used, so that `asr --help` does not wait for
torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from asr.version import __version__ as __version__

if TYPE_CHECKING:
    from asr import config as _config
    from asr.corpora import manifest as _manifest
    from asr.corpora.manifest import Utterance as Utterance
    from asr.decoding.decoder import DecoderConfig as DecoderConfig
    from asr.decoding.decoder import DecoderSettings as DecoderSettings
    from asr.decoding.decoder import LanguageModels as LanguageModels
    from asr.decoding.decoder import read_decoder as read_decoder
    from asr.errors import AsrError as AsrError
    from asr.recognition import Recognizer as Recognizer
    from asr.recognition import TranscribeOptions as TranscribeOptions
    from asr.recognition.evaluation import Evaluation as Evaluation
    from asr.recognition.evaluation import evaluate as evaluate
    from asr.recognition.live import LiveOptions as LiveOptions
    from asr.recognition.live import LiveResult as LiveResult
    from asr.recognition.live import LiveTranscriber as LiveTranscriber
    from asr.recognition.loading import load as load
    from asr.recognition.streaming import Stream as Stream
    from asr.training import train as train
    from asr.training.recipe import Recipe as Recipe
    from asr.transcripts.records import FileResult as FileResult
    from asr.transcripts.records import Hypothesis as Hypothesis
    from asr.transcripts.records import Segment as Segment
    from asr.transcripts.records import Transcript as Transcript
    from asr.transcripts.records import Word as Word

    read_settings, read_manifest, write_manifest = _config.read, _manifest.read, _manifest.write

# Name -> its module, and its name there if it differs.
_EXPORTS = {
    "AsrError": "errors",
    "DecoderConfig": "decoding.decoder",
    "DecoderSettings": "decoding.decoder",
    "Evaluation": "recognition.evaluation",
    "FileResult": "transcripts.records",
    "Hypothesis": "transcripts.records",
    "LanguageModels": "decoding.decoder",
    "LiveOptions": "recognition.live",
    "LiveResult": "recognition.live",
    "LiveTranscriber": "recognition.live",
    "Recipe": "training.recipe",
    "Recognizer": "recognition",
    "Segment": "transcripts.records",
    "Stream": "recognition.streaming",
    "TranscribeOptions": "recognition",
    "Transcript": "transcripts.records",
    "Utterance": "corpora.manifest",
    "Word": "transcripts.records",
    "evaluate": "recognition.evaluation",
    "load": "recognition.loading",
    "read_decoder": "decoding.decoder",
    "read_manifest": "corpora.manifest:read",
    "read_settings": "config:read",
    "train": "training",
    "write_manifest": "corpora.manifest:write",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    return getattr(import_module(f"asr.{module}"), attribute or name)
