"""Validation: loss, greedy transcripts and word error rate of the dev set, shared among all processes."""

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
    """`loss` in nats per character; `blank_share`: the fraction of frames whose likeliest token is the blank."""

    loss: float
    score: Score
    blank_share: float
    samples: tuple[Sample, ...]


def validate(engine: Engine, data: Dataset, alphabet: Alphabet, longest: int) -> Validation:
    """Score a dataset in batches of at most `longest` frames; the result is the same for any number of processes.

    Raises TrainingError if the loss is not finite.
    """
    world = engine.world
    # Phonemes are not decoded.
    alphabet = Alphabet(alphabet.characters)
    # Each process fills the rows of its items, so the sum over processes is exact. A hypothesis is at most as long as
    # its frames.
    losses = torch.zeros(len(data), dtype=torch.float64)
    frames = torch.zeros(len(data), 2, dtype=torch.int64)
    tokens = torch.zeros(len(data), max(int(data.frames.max()), 1), dtype=torch.int32)
    engine.model.eval()
    with torch.inference_mode():
        for indices in batching.plan(data.frames, longest)[world.rank :: world.size]:
            batch = data.batch(indices)
            result = engine.losses(batch)
            if not bool(torch.isfinite(result.plain).all()):
                raise TrainingError("training diverged: the dev loss is not finite")
            losses[indices] = torch.where(batch.target_lengths > 0, result.plain.double().cpu(), 0.0)
            log_probs = result.log_probs.float().cpu().numpy()
            for index, row, length in zip(indices, log_probs, result.lengths.tolist(), strict=True):
                text = best_path(row[:length], alphabet).text
                tokens[index, : len(text)] = torch.tensor(alphabet.encode(text))
                frames[index] = torch.tensor([(row[:length].argmax(1) == BLANK).sum(), length])
    losses, frames, tokens = (world.sum(values) for values in (losses, frames, tokens))
    items = [data[index] for index in range(len(data))]
    hypotheses = [alphabet.decode(row) for row in tokens.tolist()]
    characters = sum(len(item.tokens) for item in items)
    score = scoring.score([item.text for item in items], hypotheses, [item.id for item in items])
    blanks, total = frames.sum(dim=0).tolist()
    shown = np.linspace(0, len(items) - 1, min(_SAMPLES, len(items))).astype(int).tolist()
    samples = tuple(Sample(items[index].id, items[index].text, hypotheses[index]) for index in shown)
    return Validation(losses.sum().item() / max(characters, 1), score, blanks / max(total, 1), samples)
