"""The mean of the weights of several epochs, often better than the best of them (Polyak and Juditsky, 1992)."""

from pathlib import Path

import torch

from asr.model import checkpoint
from asr.training.events import Epoch
from asr.training.run import Run
from asr.training.validation import validate

FOLDER = "epochs"
PATTERN = f"{6 * '[0-9]'}.safetensors"


def chosen(rows: list[Epoch], count: int, which: str) -> list[int]:
    """Return the epochs whose weights are averaged, in order: the `count` "last" ones or those with the "best" WER."""
    order = [(-row.epoch,) if which == "last" else (row.dev_wer, row.dev_loss, row.epoch) for row in rows]
    ranked = sorted(range(len(rows)), key=order.__getitem__)[:count]
    return sorted(rows[place].epoch for place in ranked)


def _path(run: Run, epoch: int) -> Path:
    return run.out / FOLDER / f"{epoch:06d}.safetensors"


def keep(run: Run) -> None:
    """Keep the weights of the last epoch if they may be averaged, and take away those that no longer will be."""
    settings = run.engine.recipe.training
    if not settings.average:
        return
    wanted = chosen(run.progress.rows, settings.average, settings.average_of)
    (run.out / FOLDER).mkdir(exist_ok=True)
    if run.progress.epoch in wanted:
        checkpoint.save(_path(run, run.progress.epoch), run.engine.model, run.settings, run.card_now(), run.matrices)
    for path in (run.out / FOLDER).glob(PATTERN):
        if int(path.stem) not in wanted:
            path.unlink(missing_ok=True)


def finish(run: Run) -> None:
    """Average the weights that were kept; the average becomes the best model if its dev score is better."""
    engine, progress = run.engine, run.progress
    settings, best = engine.recipe.training, progress.best
    epochs = chosen(progress.rows, settings.average, settings.average_of)
    if len(epochs) < 2 or best is None:
        return
    own = {name: value.clone() for name, value in engine.model.state_dict().items()}
    mean = {name: torch.zeros_like(value) for name, value in own.items()}
    if engine.world.leads:
        for epoch in epochs:
            model, _ = checkpoint.load(_path(run, epoch))
            for name, value in model.state_dict().items():
                mean[name] += value.to(engine.place) / len(epochs)
    engine.model.load_state_dict({name: engine.world.total(value) for name, value in mean.items()})
    found = validate(engine, run.dev, run.settings.alphabet, run.longest)
    wer = found.score.wer.value
    better = (wer, found.loss) < progress.lowest
    if better:
        progress.averaged = (wer, found.loss)
        if engine.world.leads:
            card = run.card_now() | {"averaged": epochs, "dev_wer": wer}
            checkpoint.save(run.out / "best.safetensors", engine.model, run.settings, card, run.matrices)
    engine.model.load_state_dict(own)
    run.tell(
        f"the mean of epochs {', '.join(map(str, epochs))}: dev loss {found.loss:.3f}, dev WER {100 * wer:.2f} %, "
        + ("the best model now" if better else f"not better than epoch {best.epoch}, which stays the best model")
    )
