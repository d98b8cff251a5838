"""Speech recognition with recurrent networks and CTC: prepare, train, transcribe, evaluate.

The names below are the public ones. They are imported when first used, so that `asr --help` does not wait for torch.
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
    from asr.recognition import Recognizer
    from asr.recognition.evaluation import Evaluation, evaluate
    from asr.recognition.listening import Listening
    from asr.recognition.pretrained.loading import load
    from asr.recognition.streaming import Stream
    from asr.training import train
    from asr.training.recipe import Recipe
    from asr.transcripts.records import Hypothesis, Word

_HOMES = {
    "DecoderConfig": ("decoding.decoder", "DecoderConfig"),
    "DecoderSettings": ("decoding.decoder", "DecoderSettings"),
    "Evaluation": ("recognition.evaluation", "Evaluation"),
    "Hypothesis": ("transcripts.records", "Hypothesis"),
    "LanguageModels": ("decoding.decoder", "LanguageModels"),
    "Listening": ("recognition.listening", "Listening"),
    "Recipe": ("training.recipe", "Recipe"),
    "Recognizer": ("recognition", "Recognizer"),
    "Stream": ("recognition.streaming", "Stream"),
    "Utterance": ("corpora.manifest", "Utterance"),
    "Word": ("transcripts.records", "Word"),
    "evaluate": ("recognition.evaluation", "evaluate"),
    "load": ("recognition.pretrained.loading", "load"),
    "read_decoder": ("decoding.decoder", "read_decoder"),
    "read_manifest": ("corpora.manifest", "read"),
    "read_settings": ("config", "read"),
    "train": ("training", "train"),
    "write_manifest": ("corpora.manifest", "write"),
}

__all__ = [
    "DecoderConfig",
    "DecoderSettings",
    "Evaluation",
    "Hypothesis",
    "LanguageModels",
    "Listening",
    "Recipe",
    "Recognizer",
    "Stream",
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
    if name not in _HOMES:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(f"asr.{module}"), attribute)
