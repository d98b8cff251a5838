"""Checks of a run's epochs for typical problems, and what to do about them."""

import math
from collections.abc import Callable, Sequence
from itertools import takewhile
from statistics import median

from asr.training.events import Epoch

# Above this share of blanks the transcripts are nearly empty.
_BLANK_SHARE = 0.99
_PLATEAU_EPOCHS, _LONG_PLATEAU_EPOCHS = 3, 10
# A gradient norm is compared with the median of this many earlier epochs.
_RECENT_EPOCHS = 5
_SPIKE_FACTOR = 20.0
_GROWTH_FACTOR, _GROWTH_EPOCHS = 10.0, 3
_STALE_EPOCHS, _OVERFIT_FACTOR = 5, 1.1
_MAX_DATA_WAIT = 0.2


def advice(rows: Sequence[Epoch]) -> list[str]:
    """Return the messages that are new after the last of all finished epochs.

    A message is new in the first epoch of each period in which its condition holds.
    """
    messages = ((check(rows), check(rows[:-1])) for check in _CHECKS)
    return [message for message, before in messages if message and not before]


def _blank_epochs(rows: Sequence[Epoch]) -> int:
    """Return the number of epochs since the model last output more than blanks."""
    return sum(1 for _ in takewhile(lambda row: row.blank_share > _BLANK_SHARE, reversed(rows)))


def _plateau(rows: Sequence[Epoch]) -> str:
    if _blank_epochs(rows) < _PLATEAU_EPOCHS:
        return ""
    return (
        "the model outputs only blanks. This blank plateau is normal in the first epochs of CTC training; "
        "on a small data set it usually ends within ten epochs."
    )


def _long_plateau(rows: Sequence[Epoch]) -> str:
    count = _blank_epochs(rows)
    if count < _LONG_PLATEAU_EPOCHS:
        return ""
    return (
        f"the model has output only blanks for {count} epochs. Raise training.learning_rate, change "
        "training.warmup_epochs, check with `asr doctor` that the transcripts match the audio, or train on shorter "
        "utterances first."
    )


def _infinite(rows: Sequence[Epoch]) -> str:
    count = rows[-1].infinite if rows else 0
    if not count:
        return ""
    subject = "1 training utterance was" if count == 1 else f"{count} training utterances were"
    return (
        f"{subject} left out of the last epoch because the loss was infinite. "
        "`asr doctor MANIFEST --recipe RECIPE` lists those whose text is too long for their audio."
    )


def _exploding(rows: Sequence[Epoch]) -> str:
    # Infinite norms are normal in float16: such steps are skipped.
    norms = [row.gradient_norm for row in rows]
    recent = [norm for norm in norms[-_RECENT_EPOCHS - 1 : -1] if math.isfinite(norm)]
    if not recent:
        return ""
    remedy = "If the losses rise too, lower training.learning_rate or training.clip."
    largest, usual = rows[-1].largest_norm, median(recent)
    if _SPIKE_FACTOR * usual < largest < math.inf:
        return (
            f"the largest gradient norm, {largest:.3g}, is more than {_SPIKE_FACTOR:g} times the usual norm of this "
            f"run ({usual:.3g}). {remedy}"
        )
    lowest = min(recent[-_GROWTH_EPOCHS:])
    if _GROWTH_FACTOR * lowest < norms[-1] < math.inf:
        return (
            f"the median gradient norm grew more than tenfold, from {lowest:.3g} to {norms[-1]:.3g}, within "
            f"{_GROWTH_EPOCHS} epochs. {remedy}"
        )
    return ""


def _overfitting(rows: Sequence[Epoch]) -> str:
    if len(rows) <= _STALE_EPOCHS:
        return ""

    def lowest(field: str) -> Epoch:
        return min(rows, key=lambda row: (math.isnan(getattr(row, field)), getattr(row, field)))

    by_loss, by_wer, last = lowest("dev_loss"), lowest("dev_wer"), rows[-1]
    stale = last.epoch - max(by_loss.epoch, by_wer.epoch) >= _STALE_EPOCHS
    worse = last.train_loss < by_loss.train_loss and last.dev_loss >= _OVERFIT_FACTOR * by_loss.dev_loss
    if not stale or not worse:
        return ""
    return (
        f"the model overfits: the train loss still falls, but the dev loss rose from {by_loss.dev_loss:.3g} in epoch "
        f"{by_loss.epoch} to {last.dev_loss:.3g}, and the best dev WER was in epoch {by_wer.epoch}. More "
        "model.dropout, augment.time_masks or training data may help; training.patience stops such a run."
    )


def _starving(rows: Sequence[Epoch]) -> str:
    if not rows or not rows[-1].data_wait > _MAX_DATA_WAIT:
        return ""
    return (
        f"{rows[-1].data_wait:.0%} of the time was spent waiting for features. Put the manifest's folder on a faster "
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
