"""The model that a run starts from: what of its settings the recipe takes, and its weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from asr import config
from asr.model import network
from asr.model.checkpoint import Contents, ModelFileSettings
from asr.model.network import Model
from asr.text import Alphabet, TextSettings, pronunciations
from asr.text.pronunciations import Pronunciations
from asr.training.recipe import Recipe
from asr.training.step import TrainingError


def fitted(
    recipe: Recipe, start: tuple[Model, Contents] | None, alphabet_of: Callable[[TextSettings], Alphabet]
) -> tuple[Recipe, list[str]]:
    """Return the recipe with its alphabet, and the settings of the model to start from; and notes for the user."""
    recipe, notes = _continued(recipe, start[1].settings, alphabet_of) if start else (recipe, [])
    return replace(recipe, text=replace(recipe.text, alphabet=alphabet_of(recipe.text).characters)), notes


def _continued(
    recipe: Recipe, settings: ModelFileSettings, alphabet_of: Callable[[TextSettings], Alphabet]
) -> tuple[Recipe, list[str]]:
    """Return the recipe of a run that starts from a model, and notes for the user.

    With an alphabet of `auto`, texts with characters that the model does not have keep the recipe's text settings.
    """
    fitted, changed = with_model_settings(recipe, settings)
    notes = [f"settings as the model was trained: {'; '.join(changed)}"] if changed else []
    if recipe.text.alphabet == "auto":
        new = settings.alphabet.unknown(alphabet_of(recipe.text).characters)
        if new:
            fitted = replace(fitted, text=recipe.text)
            notes.append(f"new output layer, as the model does not have {', '.join(map(repr, new))}")
    return fitted, notes


def with_model_settings(recipe: Recipe, settings: ModelFileSettings) -> tuple[Recipe, list[str]]:
    """Return the recipe with the features, text settings and shape of a model, and what that changed.

    Dropout and the treatment of unknown characters stay those of the recipe, and so do chunks and normalisation where
    it makes a streaming model of a bidirectional one.
    """
    model = replace(settings.model, dropout=recipe.model.dropout)
    features = settings.features
    text = replace(settings.text, unknown=recipe.text.unknown)
    try:
        if recipe.model.chunk and model.bidirectional and not model.chunk:
            model = replace(model, chunk=recipe.model.chunk, lookahead=recipe.model.lookahead)
            normalisation, top_db = recipe.features.normalisation, recipe.features.top_db
            features = replace(features, normalisation=normalisation, top_db=top_db, mean=(), scale=())
        fitted = replace(recipe, features=features, text=text, model=model)
    except ValueError as error:  # features that the recipe's settings do not fit
        raise TrainingError(f"the recipe does not fit the model: {error}") from error
    changed = config.differences(config.to_dict(recipe), config.to_dict(fitted))
    # A recipe seldom contains these.
    implied = ("features.mean:", "features.scale:", "text.alphabet:", "text.phonemes:")
    return fitted, [line for line in changed if not line.startswith(implied)]


def with_pronunciations(recipe: Recipe, path: Path | None) -> tuple[Recipe, Pronunciations | None, list[str]]:
    """Return the recipe with the phonemes of a pronouncing dictionary, the dictionary, and notes for the user.

    Without one the network outputs characters only. Raises TextError, and TrainingError for a phoneme that the model to
    start from does not have.
    """
    known = recipe.text.phonemes
    if path is None:
        notes = ["its output of phonemes is left out; --pronunciations trains it, too"] if known else []
        return replace(recipe, text=replace(recipe.text, phonemes="")), None, notes
    dictionary = pronunciations.read(path, recipe.text.normaliser)
    if new := "".join(phoneme for phoneme in dictionary.phonemes if known and phoneme not in known):
        raise TrainingError(f"{path}: the model to start from does not have the phonemes {new!r}; it has {known!r}")
    return replace(recipe, text=replace(recipe.text, phonemes=known or dictionary.phonemes)), dictionary, []


def build_network(start: tuple[Model, Contents] | None, settings: ModelFileSettings) -> Model:
    """Return a network of these settings with the weights of the model to start from, or new ones."""
    model = network.build(settings)
    if start:
        before, contents = start
        text, old = settings.text, contents.settings.text
        if (text.alphabet, text.phonemes) != (old.alphabet, old.phonemes):
            before.change_alphabet(contents.settings.alphabet, settings.alphabet)
        model.load_state_dict(before.state_dict())
    return model
