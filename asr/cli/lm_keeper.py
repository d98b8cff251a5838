"""A recurrent language model while it is trained: shown, written where it is the best, stopped on a wish."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.progress import Display
from asr.cli.stopping import Asked

if TYPE_CHECKING:
    from asr.lm.recurrent import LmEpoch, LmFileSettings, LmStep, Perplexity, RnnLm, RnnLmTraining, WordLm


@dataclass(frozen=True)
class Run:
    """What a model is trained with."""

    training: "RnnLmTraining"
    texts: tuple[str, ...]
    dev: Sequence[str]


class Keeper:
    """Shows how training goes, and writes the model of each epoch that is the best so far.

    Once `asked` says yes, the model as it is then is measured, written if it is the best, and training ends with
    KeyboardInterrupt. `best`: the file and what is in it, empty if nothing is written.
    """

    def __init__(self, display: Display, out: Path, settings: "LmFileSettings", run: Run) -> None:
        self.display, self.out, self.settings, self.run = display, out, settings, run
        self.asked = Asked()
        self.best = ""
        self._lowest: Perplexity | None = None
        self._begin = time.monotonic()

    def __call__(self, event: "LmStep | LmEpoch", model: "RnnLm | WordLm") -> None:
        """Take note of a step or an epoch."""
        from asr.lm.recurrent import LmStep

        epochs = self.run.training.epochs
        if not isinstance(event, LmStep):
            self.display.close()
            best = self._keep(f"epoch {event.number} of {epochs}", event.dev, model)
            seconds, self._begin = time.monotonic() - self._begin, time.monotonic()
            line = f"epoch {event.number}/{epochs}: loss {event.train_loss:.3f}, {_figures(event.dev)}"
            self.display.say(f"{line}{' (best)' if best else ''}, {seconds:.1f} s")
        elif self.asked():
            self.display.close()
            reached = f"epoch {event.epoch} of {epochs}, {event.done / event.total:.0%} of it"
            self._keep(reached, model.perplexity(self.run.dev), model)
            raise KeyboardInterrupt
        else:
            title, note = f"epoch {event.epoch}/{epochs}", f"loss {event.loss:.3f}"
            self.display.update(title, event.done, event.total, f"{self.settings.unit}s", note)

    def _keep(self, reached: str, dev: "Perplexity", model: "RnnLm | WordLm") -> bool:
        """Write the model if it is the best so far, and say whether it is."""
        from asr.lm import recurrent as rnnlm
        from asr.version import __version__

        if self._lowest is not None and dev.log_prob <= self._lowest.log_prob:
            return False
        card = {
            "texts": list(self.run.texts),
            "training": asdict(self.run.training),
            "reached": reached,
            "dev_perplexity_per_character": dev.per_character,
            "dev_perplexity_per_word": dev.per_word,
            "asr": __version__,
        }
        rnnlm.save(self.out, model, self.settings, card)
        self._lowest, self.best = dev, f"{self.out}: {reached}, {_figures(dev)}"
        return True


def _figures(dev: "Perplexity") -> str:
    return f"dev perplexity {dev.per_character:.4f} per character, {dev.per_word:.2f} per word"
