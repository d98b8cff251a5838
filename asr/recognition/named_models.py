"""Models by name: those in the package and those in the user's cache folder.

A bundle is a set of files in one folder: NAME.safetensors (the acoustic model), NAME.toml (the settings of its
decoder, as `asr tune` writes them), the language models that they name (NAME.lm.bin, NAME.rescorer.safetensors, or
those of another model in the folder), NAME.pronunciations.gz, and NAME.md, its card, which may begin with facts between
two lines of ---, such as `hours: 20`.
"""

import difflib
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from asr.errors import AsrError

DEFAULT = "english-small"
_MODEL = ".safetensors"
_LANGUAGE_MODELS = (".lm.bin", ".lm.safetensors", ".rescorer.safetensors")
PRONUNCIATIONS = ".pronunciations.gz"
_ENDINGS = (_MODEL, ".toml", ".md", *_LANGUAGE_MODELS, PRONUNCIATIONS)
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class ModelNameError(AsrError):
    """A name for which there is no model, or a bundle that cannot be used or written."""


@dataclass(frozen=True)
class Bundle:
    """A named model in a folder."""

    name: str
    folder: Path

    @property
    def model(self) -> Path:
        """Return the file of the acoustic model."""
        return self.folder / f"{self.name}{_MODEL}"

    @property
    def decoder(self) -> Path | None:
        """Return the file of the decoder's settings, or None.

        Raise ModelNameError if they name files other than those of a bundle in its folder: a bundle of unknown origin
        opens no others.
        """
        path = self.folder / f"{self.name}.toml"
        if not path.is_file():
            return None
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            return path  # its reader reports the line
        allowed = {"lm": _LANGUAGE_MODELS, "rescorer": _LANGUAGE_MODELS, "pronunciations": (PRONUNCIATIONS,)}
        for key, endings in allowed.items():
            value = settings.get(key, "")
            if value and not _is_file_of(value, endings):
                kind = "a pronouncing dictionary" if key == "pronunciations" else "a language model"
                raise ModelNameError(f"{path}: {key} = {value!r} is not {kind} in its folder; pack it again")
        return path

    @property
    def files(self) -> list[Path]:
        """Return its files, sorted by name."""
        return sorted(path for ending in _ENDINGS if (path := self.folder / f"{self.name}{ending}").is_file())

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def card(self) -> str:
        """Return the text of its card; empty without one."""
        path = self.folder / f"{self.name}.md"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    @property
    def facts(self) -> dict[str, str]:
        """Return the facts at the head of its card."""
        lines = self.card.splitlines()
        if lines[:1] != ["---"] or "---" not in lines[1:]:
            return {}
        pairs = (line.partition(":") for line in lines[1 : lines.index("---", 1)])
        return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def user_folder() -> Path:
    """Return the folder of the user's own models: $ASR_MODELS, or `models` in the user's cache folder of asr."""
    return Path(os.environ.get("ASR_MODELS") or platformdirs.user_cache_path("asr") / "models")


def search_folders() -> list[Path]:
    """Return the folders in which models are searched, in order."""
    return [Path(__file__).parent / "bundled", user_folder()]


def bundles() -> list[Bundle]:
    """Return all named models in the order of the folders; of several with one name, the first."""
    named: dict[str, Bundle] = {}
    for folder in search_folders():
        for path in sorted(folder.glob(f"*{_MODEL}")):
            # The names of rescorers have a dot.
            if is_name(path.stem):
                named.setdefault(path.stem, Bundle(path.stem, folder))
    return list(named.values())


def _is_file_of(value: object, endings: tuple[str, ...]) -> bool:
    """Return whether a setting names a file of a bundle with one of these endings."""
    name, dot, ending = value.partition(".") if isinstance(value, str) else ("", "", "")
    return is_name(name) and dot + ending in endings


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a model: letters, digits, - and _."""
    return bool(_NAME.fullmatch(text))


def find(name: str) -> Bundle | None:
    """Return the model of a name; None for a path: an existing file, or a text that cannot be a name.

    Raise ModelNameError if there is no such model.
    """
    if not is_name(name) or Path(name).is_file():
        return None
    named = {bundle.name: bundle for bundle in bundles()}
    if name in named:
        return named[name]
    if not named:
        raise ModelNameError(
            f"no model {name!r}: no model is bundled with this installation and {user_folder()} has none; give the "
            "path of a model file"
        )
    near = difflib.get_close_matches(name, named, n=1)
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    raise ModelNameError(f"no model {name!r}; {suggestion}Models: {', '.join(named)}; or give the path of a model file")
