"""Checks of a run's epochs for typical problems, and what to do about them."""

import math
from collections.abc import Sequence
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

    A message is new in the first epoch of each period in which its problem exists.
    """
    before = _problems(rows[:-1])
    return [message for problem, message in _problems(rows).items() if problem not in before]


def _problems(rows: Sequence[Epoch]) -> dict[str, str]:
    """Return the message of each problem that exists after the last epoch, by the name of the problem."""
    problems: dict[str, str] = {}
    if not rows:
        return problems
    last = rows[-1]
    blank = sum(1 for _ in takewhile(lambda row: row.blank_share > _BLANK_SHARE, reversed(rows)))
    if blank >= _PLATEAU_EPOCHS:
        problems["plateau"] = (
            "the model outputs only blanks. This blank plateau is normal in the first epochs of CTC training; "
            "on a small data set it usually ends within ten epochs."
        )
    if blank >= _LONG_PLATEAU_EPOCHS:
        problems["long plateau"] = (
            f"the model has output only blanks for {blank} epochs. Raise training.learning_rate, change "
            "training.warmup_epochs, check with `asr doctor` that the transcripts match the audio, or train on shorter "
            "utterances first."
        )
    if last.infinite:
        subject = "1 training utterance was" if last.infinite == 1 else f"{last.infinite} training utterances were"
        problems["infinite loss"] = (
            f"{subject} left out of the last epoch because the loss was infinite. "
            "`asr doctor MANIFEST --recipe RECIPE` lists those whose text is too long for their audio."
        )
    problems |= _gradient_problems(rows) | _overfitting(rows)
    if last.data_wait > _MAX_DATA_WAIT:
        problems["slow data"] = (
            f"{last.data_wait:.0%} of the time was spent waiting for features. Put the manifest's folder on a faster "
            "disk, or raise training.batch_seconds. Shards need more processor cores, or a manifest with a cache."
        )
    return problems


def _gradient_problems(rows: Sequence[Epoch]) -> dict[str, str]:
    problems: dict[str, str] = {}
    # Infinite norms are normal in float16: such steps are skipped.
    recent = [row.gradient_norm for row in rows[-_RECENT_EPOCHS - 1 : -1] if math.isfinite(row.gradient_norm)]
    if not recent:
        return problems
    remedy = "If the losses rise too, lower training.learning_rate or training.clip."
    last, usual, lowest = rows[-1], median(recent), min(recent[-_GROWTH_EPOCHS:])
    if _SPIKE_FACTOR * usual < last.largest_norm < math.inf:
        problems["gradient"] = (
            f"the largest gradient norm, {last.largest_norm:.3g}, is more than {_SPIKE_FACTOR:g} times the usual norm "
            f"of this run ({usual:.3g}). {remedy}"
        )
    elif _GROWTH_FACTOR * lowest < last.gradient_norm < math.inf:
        problems["gradient"] = (
            f"the median gradient norm grew more than tenfold, from {lowest:.3g} to {last.gradient_norm:.3g}, within "
            f"{_GROWTH_EPOCHS} epochs. {remedy}"
        )
    return problems


def _overfitting(rows: Sequence[Epoch]) -> dict[str, str]:
    by_loss = min(rows, key=lambda row: (math.isnan(row.dev_loss), row.dev_loss))
    by_wer = min(rows, key=lambda row: (math.isnan(row.error), row.error))
    last = rows[-1]
    stale = last.epoch - max(by_loss.epoch, by_wer.epoch) >= _STALE_EPOCHS
    worse = last.train_loss < by_loss.train_loss and last.dev_loss >= _OVERFIT_FACTOR * by_loss.dev_loss
    if not stale or not worse:
        return {}
    return {
        "overfitting": (
            f"the model overfits: the train loss still falls, but the dev loss rose from {by_loss.dev_loss:.3g} in "
            f"epoch {by_loss.epoch} to {last.dev_loss:.3g}, and the best dev WER was in epoch {by_wer.epoch}. More "
            "model.dropout, augment.time_masks or training data may help; training.patience stops such a run."
        )
    }
