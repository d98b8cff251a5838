"""The dev set: loss, greedy transcripts and word error rate, the work shared by all processes."""

from dataclasses import dataclass

import numpy as np
import torch

from asr import scoring
from asr.decoding import best_path
from asr.features import batching
from asr.scoring import Score
from asr.text import BLANK, Alphabet
from asr.training.dataset import Dataset
from asr.training.events import Sample
from asr.training.step import Engine, TrainingError

_SAMPLES = 3


@dataclass(frozen=True)
class Validation:
    """`loss` in nats a character; `blank_share`: the fraction of frames whose likeliest token is the blank."""

    loss: float
    score: Score
    blank_share: float
    samples: tuple[Sample, ...]


def validate(engine: Engine, data: Dataset, alphabet: Alphabet, longest: int) -> Validation:
    """Score a dataset in batches of at most `longest` frames; the same result for any number of processes.

    Raises TrainingError if the loss is no number.
    """
    world = engine.world
    # One row an item, filled by the process that has it: the sum over processes is exact. A hypothesis is never
    # longer than its frames.
    losses = torch.zeros(len(data), dtype=torch.float64)
    frames = torch.zeros(len(data), 2, dtype=torch.int64)
    written = torch.zeros(len(data), max(int(data.frames.max()), 1), dtype=torch.int32)
    engine.model.eval()
    with torch.inference_mode():
        for indices in batching.plan(data.frames, longest)[world.rank :: world.size]:
            batch = data.batch(indices)
            found = engine.losses(batch)
            if not bool(torch.isfinite(found.plain).all()):
                raise TrainingError("training diverged: the dev loss is no number")
            losses[indices] = torch.where(batch.target_lengths > 0, found.plain.double().cpu(), 0.0)
            for index, row, length in zip(
                indices, found.log_probs.float().cpu().numpy(), found.lengths.tolist(), strict=True
            ):
                text = best_path(row[:length], alphabet).text
                written[index, : len(text)] = torch.tensor(alphabet.encode(text))
                frames[index] = torch.tensor([(row[:length].argmax(1) == BLANK).sum(), length])
    losses, frames, written = (world.total(values) for values in (losses, frames, written))
    total = losses.sum().item()
    items = [data[index] for index in range(len(data))]
    hypotheses = [alphabet.decode(row) for row in written.tolist()]
    characters = sum(len(item.tokens) for item in items)
    result = scoring.score([item.text for item in items], hypotheses, [item.id for item in items])
    blanks, length = frames.sum(dim=0).tolist()
    shown = np.linspace(0, len(items) - 1, min(_SAMPLES, len(items))).astype(int).tolist()
    samples = tuple(Sample(items[index].id, items[index].text, hypotheses[index]) for index in shown)
    return Validation(total / max(characters, 1), result, blanks / max(length, 1), samples)
