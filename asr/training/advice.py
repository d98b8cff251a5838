"""What the numbers of a training run say that its user should know."""

import math
from collections.abc import Callable, Sequence
from itertools import takewhile
from statistics import median

from asr.training.events import Epoch

# Above this share of blanks a model writes next to nothing.
_BLANK = 0.99
_PLATEAU = 3
_LONG_PLATEAU = 10
_RECENT = 5
_SPIKE = 20.0
_GROWTH = 10.0
_GROWTH_EPOCHS = 3
_STALE = 5
_WORSE = 1.1
_WAITING = 0.2


def advice(rows: Sequence[Epoch]) -> list[str]:
    """Return the messages that are due after the last of all finished epochs of a run, oldest first.

    A message is due at the epoch from which on it holds, and again if it holds anew after it did not.
    """
    told = []
    for check in _CHECKS:
        message = check(rows)
        if message and not check(rows[:-1]):
            told.append(message)
    return told


def _blank_epochs(rows: Sequence[Epoch]) -> int:
    """Count the last epochs in a row in which the model wrote next to nothing."""
    return sum(1 for _ in takewhile(lambda row: row.blank_share > _BLANK, reversed(rows)))


def _plateau(rows: Sequence[Epoch]) -> str:
    if _blank_epochs(rows) < _PLATEAU:
        return ""
    return (
        "the model writes blanks only. This is the blank plateau, normal in the first epochs of CTC training; "
        "on a small set it usually breaks within some ten epochs."
    )


def _long_plateau(rows: Sequence[Epoch]) -> str:
    count = _blank_epochs(rows)
    if count < _LONG_PLATEAU:
        return ""
    return (
        f"the model has written blanks only for {count} epochs. Raise training.learning_rate, try a longer or shorter "
        "training.warmup_epochs, check with `asr doctor` that the transcripts belong to the audio, or train on "
        "shorter utterances first."
    )


def _infinite(rows: Sequence[Epoch]) -> str:
    count = rows[-1].infinite if rows else 0
    if not count:
        return ""
    subject = "1 training utterance was" if count == 1 else f"{count} training utterances were"
    return (
        f"{subject} left out of the last epoch since the loss was infinite. "
        "`asr doctor MANIFEST --recipe RECIPE` names those with too long a text for their audio."
    )


def _exploding(rows: Sequence[Epoch]) -> str:
    """Compare finite norms only: in float16 some steps overflow as a matter of course and are skipped."""
    norms = [row.gradient_norm for row in rows]
    usual = [norm for norm in norms[-_RECENT - 1 : -1] if math.isfinite(norm)]
    if not usual:
        return ""
    lower = "If the losses rise too, lower training.learning_rate or training.clip."
    largest, middle = rows[-1].largest_norm, median(usual)
    if _SPIKE * middle < largest < math.inf:
        return (
            f"the largest gradient norm, {largest:.3g}, is more than {_SPIKE:g} times what is usual in this run "
            f"({middle:.3g}). {lower}"
        )
    least = min(usual[-_GROWTH_EPOCHS:])
    if _GROWTH * least < norms[-1] < math.inf:
        return (
            f"the median gradient norm grew more than tenfold, from {least:.3g} to {norms[-1]:.3g}, within "
            f"{_GROWTH_EPOCHS} epochs. {lower}"
        )
    return ""


def _lowest(values: Sequence[float]) -> int:
    """Return where the first of the lowest values stands; what is not a number is never the lowest."""
    return min(range(len(values)), key=lambda index: math.inf if math.isnan(values[index]) else values[index])


def _overfitting(rows: Sequence[Epoch]) -> str:
    if len(rows) <= _STALE:
        return ""
    lowest, best = _lowest([row.dev_loss for row in rows]), _lowest([row.dev_wer for row in rows])
    then, now = rows[lowest], rows[-1]
    stale = len(rows) - 1 - max(lowest, best) >= _STALE
    if not (stale and now.train_loss < then.train_loss and now.dev_loss >= _WORSE * then.dev_loss):
        return ""
    return (
        f"the model overfits: the train loss still falls, but the dev loss is {now.dev_loss:.3g} after "
        f"{then.dev_loss:.3g} in epoch {then.epoch}, and the best dev WER is of epoch {rows[best].epoch}. More "
        "model.dropout, augment.time_masks or training data would help; training.patience stops such a run."
    )


def _starving(rows: Sequence[Epoch]) -> str:
    if not rows or not rows[-1].data_wait > _WAITING:
        return ""
    return (
        f"{rows[-1].data_wait:.0%} of the time went into waiting for features. Put the manifest's folder on a faster "
        "disk, or raise training.batch_seconds."
    )


_CHECKS: tuple[Callable[[Sequence[Epoch]], str], ...] = (
    _plateau,
    _long_plateau,
    _infinite,
    _exploding,
    _overfitting,
    _starving,
)
