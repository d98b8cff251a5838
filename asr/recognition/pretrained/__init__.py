"""Models by name: those that come with the package, and those in the user's cache.

A bundle is a set of files beside each other: NAME.safetensors (the acoustic model), NAME.toml (the settings of its
decoder, as asr tune writes them), the language models that those name (NAME.lm.bin, NAME.rescorer.safetensors), and
NAME.md, its card, whose first lines, between two of ---, are facts: `hours: 20`.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr.errors import AsrError

# What is used where none is asked for.
DEFAULT = "english-small"
_MODEL = ".safetensors"
_ENDINGS = (_MODEL, ".toml", ".md", ".lm.bin", ".lm.safetensors", ".rescorer.safetensors")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


class PretrainedError(AsrError):
    """A model that is not there by that name, or a bundle that cannot be made."""


@dataclass(frozen=True)
class Bundle:
    """A model by name, and the folder where it lies."""

    name: str
    folder: Path

    @property
    def model(self) -> Path:
        """Return the file of the acoustic model."""
        return self.folder / f"{self.name}{_MODEL}"

    @property
    def decoder(self) -> Path | None:
        """Return the settings of the decoder, if there are any.

        Raises PretrainedError where they name files that are not beside them: a bundle from elsewhere opens no others.
        """
        path = self.folder / f"{self.name}.toml"
        if not path.is_file():
            return None
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            return path  # told by who reads it, with the line
        for key in ("lm", "rescorer"):
            named = settings.get(key, "")
            beside = isinstance(named, str) and named.startswith(f"{self.name}.") and not set(named) & set("/\\:")
            if named and not beside:
                raise PretrainedError(f"{path}: {key} = {named!r} is no file of this bundle; pack it again")
        return path

    @property
    def files(self) -> list[Path]:
        """Return all its files, in order of their names."""
        return sorted(path for ending in _ENDINGS if (path := self.folder / f"{self.name}{ending}").is_file())

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        return sum(path.stat().st_size for path in self.files)

    @property
    def card(self) -> str:
        """Return the text of its card; empty if it has none."""
        path = self.folder / f"{self.name}.md"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    @property
    def facts(self) -> dict[str, str]:
        """Return what stands between the two lines of --- at the head of its card."""
        lines = self.card.splitlines()
        if lines[:1] != ["---"] or "---" not in lines[1:]:
            return {}
        pairs = (line.partition(":") for line in lines[1 : lines.index("---", 1)])
        return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def cache() -> Path:
    """Return the folder of the user's own models, which need not exist: ASR_MODELS, or asr/models in the cache."""
    if chosen := os.environ.get("ASR_MODELS"):
        return Path(chosen)
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - there may be no home
    return Path(users) / "asr" / "models"


def places() -> list[Path]:
    """Return the folders where models are looked for, in order."""
    return [Path(__file__).parent, cache()]


def bundles() -> list[Bundle]:
    """Return all models that there are by name, in order of the places; the first of a name hides the others."""
    found: dict[str, Bundle] = {}
    for one in _all():
        found.setdefault(one.name, one)
    return list(found.values())


def _all() -> Iterator[Bundle]:
    for folder in places():
        for path in sorted(folder.glob(f"*{_MODEL}")):
            # Of the rescorer's file the name has a dot in it.
            if is_name(path.stem):
                yield Bundle(path.stem, folder)


def is_name(given: str) -> bool:
    """Say whether something can be the name of a model: letters, digits, - and _."""
    return bool(_NAME.fullmatch(given))


def named(given: str) -> Bundle | None:
    """Return the model of that name; None for what is a path: a file that exists, or what cannot be a name.

    Raises PretrainedError for a name that there is not, saying which there are.
    """
    if not is_name(given) or Path(given).is_file():
        return None
    there = {one.name: one for one in bundles()}
    if given in there:
        return there[given]
    if not there:
        raise PretrainedError(
            f"no model {given!r}: none comes with this asr, and none is in {cache()}; name the file of one that "
            "asr train wrote"
        )
    near = difflib.get_close_matches(given, there, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ";"
    raise PretrainedError(f"no model {given!r}{meant} there are {', '.join(there)}, and files that asr train wrote")
