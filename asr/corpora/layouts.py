"""A corpus in one of the layouts that are known -> its sets of utterances; the layout is guessed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.corpora import (
    audio_folder,
    common_voice,
    fleurs,
    kaldi,
    lhotse,
    ljspeech,
    mls,
    nemo,
    tedlium,
    voxforge,
)
from asr.corpora.manifest import CorpusError, Utterance
from asr.corpora.rows import OnSkip, Progress, Row, utterances


@dataclass(frozen=True)
class Corpus:
    """The utterances of each set, and the name of the layout in which they were found."""

    layout: str
    sets: dict[str, list[Utterance]]


@dataclass(frozen=True)
class _Layout:
    name: str
    matches: Callable[[Path], bool]
    sets: Callable[[Path], Mapping[str, Sequence[Row | CorpusError]]]


# The first that matches is taken.
_LAYOUTS = (
    _Layout("Common Voice", common_voice.matches, common_voice.sets),
    _Layout("LJSpeech", ljspeech.matches, ljspeech.sets),
    _Layout("Kaldi", kaldi.matches, kaldi.sets),
    _Layout("Lhotse", lhotse.matches, lhotse.sets),
    _Layout("TED-LIUM", tedlium.matches, tedlium.sets),
    _Layout("VoxForge", voxforge.matches, voxforge.sets),
    _Layout("MLS", mls.matches, mls.sets),
    _Layout("FLEURS", fleurs.matches, fleurs.sets),
    _Layout("Hugging Face audio folder", audio_folder.matches, audio_folder.sets),
    _Layout("NeMo", nemo.matches, nemo.sets),
)


def read(root: str | Path, on_progress: Progress | None = None, on_skip: OnSkip | None = None) -> Corpus:
    """Read a corpus from its folder, or a NeMo manifest, in the order of the ids of each set.

    `on_progress` is called with the number of sound files read and of all of a set; `on_skip`
    as in `utterances`. Raises CorpusError.
    """
    root = Path(root)
    if not root.exists():
        raise CorpusError(f"{root}: no such file or folder")
    root = root.resolve()
    layouts = [layout for layout in _LAYOUTS if layout.name == "NeMo" or root.is_dir()]
    layout = next((layout for layout in layouts if layout.matches(root)), None)
    if layout is None:
        names = ", ".join(layout.name for layout in _LAYOUTS)
        raise CorpusError(
            f"{root}: none of the layouts {names}; asr prepare table reads tables and folders of recordings and texts, "
            "asr prepare librispeech and an4 these corpora"
        )
    sets = {
        name: utterances(rows, "remove one of them", on_progress, on_skip) for name, rows in layout.sets(root).items()
    }
    for name, rows in sets.items():
        if not rows:
            raise CorpusError(f"{root}: no utterances in {name} ({layout.name})")
    return Corpus(layout.name, sets)
