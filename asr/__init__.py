"""Speech recognition with recurrent networks and CTC: prepare, train, transcribe, evaluate.

The names below are the public ones. They are imported when first used, so that `asr --help` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from asr.version import __version__ as __version__

if TYPE_CHECKING:
    from asr.alignment import Word
    from asr.config import read as read_settings
    from asr.decoder import DecoderSettings, Models, Plan
    from asr.decoder import read as read_decoder
    from asr.decoding import Hypothesis
    from asr.evaluation import Evaluation, evaluate
    from asr.listening import Listening
    from asr.manifest import Utterance
    from asr.manifest import read as read_manifest
    from asr.manifest import write as write_manifest
    from asr.pretrained.loading import load
    from asr.recipe import Recipe
    from asr.recognition import Recognizer
    from asr.stream import Stream
    from asr.training import train

_HOMES = {
    "DecoderSettings": ("decoder", "DecoderSettings"),
    "Evaluation": ("evaluation", "Evaluation"),
    "Hypothesis": ("decoding", "Hypothesis"),
    "Listening": ("listening", "Listening"),
    "Models": ("decoder", "Models"),
    "Plan": ("decoder", "Plan"),
    "Recipe": ("recipe", "Recipe"),
    "Recognizer": ("recognition", "Recognizer"),
    "Stream": ("stream", "Stream"),
    "Utterance": ("manifest", "Utterance"),
    "Word": ("alignment", "Word"),
    "evaluate": ("evaluation", "evaluate"),
    "load": ("pretrained.loading", "load"),
    "read_decoder": ("decoder", "read"),
    "read_manifest": ("manifest", "read"),
    "read_settings": ("config", "read"),
    "train": ("training", "train"),
    "write_manifest": ("manifest", "write"),
}

__all__ = [
    "DecoderSettings",
    "Evaluation",
    "Hypothesis",
    "Listening",
    "Models",
    "Plan",
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
