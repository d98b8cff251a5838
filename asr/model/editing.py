"""Model files made from trained ones without training: the mean of weights, other chunks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asr import config, files
from asr.model import checkpoint
from asr.model.checkpoint import Contents, ModelFileError
from asr.model.weights import Tensors


def average(models: Sequence[Path], shares: Sequence[float], out: Path) -> None:
    """Write the weighted mean of models that have been trained from the same weights (Wortsman et al., 2022).

    shares: that of each model; they add up to 1. The settings must be equal but for dropout and the treatment of
    unknown characters, which are those of the first model, as are the matrices of the features. Raise ModelFileError,
    and OSError if the file cannot be written.
    """
    first, tensors = checkpoint.read(models[0])
    mean: Tensors = {name: shares[0] * tensor for name, tensor in tensors.items()}
    for path, share in zip(models[1:], shares[1:], strict=True):
        contents, tensors = checkpoint.read(path)
        if differences := config.differences(_compared(first), _compared(contents)):
            keys = ", ".join(line.partition(":")[0] for line in differences)
            raise ModelFileError(f"{path}: other settings than {models[0]}: {keys}")
        for name, tensor in tensors.items():
            mean[name] += share * tensor
    parts = [
        {"file": path.name, "sha256": files.sha256(path)[:16], "share": share}
        for path, share in zip(models, shares, strict=True)
    ]
    _write(out, mean, first, {"average": parts})


def rechunk(model: Path, chunk: int, lookahead: int, out: Path) -> None:
    """Write a streaming model with other chunks than it was trained with, both in output frames.

    Raise ModelFileError if the model does not compute in chunks, and OSError if the file cannot be written.
    """
    contents, tensors = checkpoint.read(model)
    before = contents.settings.model
    if not before.chunk:
        raise ModelFileError(f"{model}: model.chunk is 0; train it with chunks first (asr train --from)")
    try:
        changed = replace(before, chunk=chunk, lookahead=lookahead)
    except ValueError as error:
        raise ModelFileError(f"{model}: {error}") from error
    note = {"trained with": {"chunk": before.chunk, "lookahead": before.lookahead}}
    contents = replace(contents, settings=replace(contents.settings, model=changed))
    _write(out, tensors, contents, note | contents.card)


def _compared(contents: Contents) -> dict[str, Any]:
    """Return the settings that models must share for a mean of their weights."""
    settings = contents.settings
    text = replace(settings.text, unknown="drop")
    return config.to_dict(replace(settings, text=text, model=replace(settings.model, dropout=0.0)))


def _write(out: Path, tensors: Tensors, contents: Contents, card: dict[str, Any]) -> None:
    matrices = checkpoint.matrices(contents)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(out, tensors, contents.settings, contents.card | card, matrices)
