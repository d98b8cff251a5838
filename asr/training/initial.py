"""A trained model to start from, in place of random weights."""

from dataclasses import dataclass, replace
from pathlib import Path

from asr import config, files
from asr.model import Model, checkpoint
from asr.model.checkpoint import ModelFileSettings
from asr.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Start:
    """The model of a file; `digest` tells the file from others."""

    path: Path
    model: Model
    settings: ModelFileSettings
    digest: str


def read(path: Path) -> Start:
    """Read the model to start from. Raises ModelFileError."""
    model, contents = checkpoint.load(path)
    return Start(path, model, contents.settings, files.digest(path))


def fitted(recipe: Recipe, start: Start) -> tuple[Recipe, list[str]]:
    """Return the recipe with the features, alphabet and shape of the model, and what that changed in it.

    Dropout, which has no weights, and what becomes of unknown characters stay as the recipe has them.
    """
    found = start.settings
    model = replace(found.model, dropout=recipe.model.dropout)
    text = replace(found.text, unknown=recipe.text.unknown)
    new = replace(recipe, features=found.features, text=text, model=model)
    changed = config.differences(config.to_dict(recipe), config.to_dict(new))
    # What it hears is normalised by and what characters there are, a recipe seldom says.
    quiet = ("features.mean:", "features.scale:", "text.alphabet:")
    return new, [one for one in changed if not one.startswith(quiet)]
