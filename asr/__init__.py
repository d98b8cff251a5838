"""Speech recognition with recurrent networks and CTC: prepare, train, transcribe, evaluate.

The names below are the public API. They are imported when they are first used, so that `asr --help` does not wait for
torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from asr.version import __version__ as __version__

if TYPE_CHECKING:
    from asr.config import read as read_settings
    from asr.corpora.manifest import Utterance
    from asr.corpora.manifest import read as read_manifest
    from asr.corpora.manifest import write as write_manifest
    from asr.decoding.decoder import DecoderConfig, DecoderSettings, LanguageModels, read_decoder
    from asr.errors import AsrError
    from asr.recognition import Recognizer, TranscribeOptions
    from asr.recognition.evaluation import Evaluation, evaluate
    from asr.recognition.loading import load
    from asr.recognition.streaming import Stream
    from asr.training import train
    from asr.training.recipe import Recipe
    from asr.transcripts.records import FileResult, Hypothesis, Segment, Transcript, Word

# Name -> its module, and its name there if it differs.
_EXPORTS = {
    "AsrError": "errors",
    "DecoderConfig": "decoding.decoder",
    "DecoderSettings": "decoding.decoder",
    "Evaluation": "recognition.evaluation",
    "FileResult": "transcripts.records",
    "Hypothesis": "transcripts.records",
    "LanguageModels": "decoding.decoder",
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

__all__ = [
    "AsrError",
    "DecoderConfig",
    "DecoderSettings",
    "Evaluation",
    "FileResult",
    "Hypothesis",
    "LanguageModels",
    "Recipe",
    "Recognizer",
    "Segment",
    "Stream",
    "TranscribeOptions",
    "Transcript",
    "Utterance",
    "Word",
    "evaluate",
    "load",
    "read_decoder",
    "read_manifest",
    "read_settings",
    "train",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].partition(":")
    return getattr(import_module(f"asr.{module}"), attribute or name)
