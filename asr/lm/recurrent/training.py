"""Training of the language model by truncated backpropagation through time.

The texts, a boundary before, between and after them, are one long sequence. It is cut into B streams that lie side by
side, and these into chunks. The hidden state goes on from chunk to chunk, the gradient stays within its chunk
(Williams and Peng, 1990).
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.config import check_ranges
from asr.lm.recurrent.file import LmFileSettings
from asr.lm.recurrent.network import RnnLm
from asr.lm.recurrent.scoring import BOUNDARY, LmState, Perplexity
from asr.lm.recurrent.words import Vocabulary, WordLm, vocabulary_of
from asr.lm.text import LmError
from asr.model.schedule import learning_rate_factor
from asr.text import Alphabet, TextError

_LOG = logging.getLogger(__name__)
# In the last stream, behind its end: no loss.
_NOTHING = -100
# The end of a text while its words have no tokens yet.
_END = -1
# Of the corpus side by side, if nothing is said: at most, and so that an epoch has this many steps.
_STREAMS, _STEPS = 64, 20
# Texts that are put into ids, or into another order, at a time.
_TOGETHER = 10_000


@dataclass(frozen=True)
class RnnLmTraining:
    """How a language model is trained.

    `streams`: B (0: 64, or so many fewer that a small corpus still makes twenty steps an epoch), and `chunk`: the
    characters, or words, of each stream in one step. `least`: a word that occurs less often is unknown. AdamW's
    `learning_rate` rises over the fraction `warmup` of all steps, then falls to 0 as a cosine. `clip`: the largest
    gradient norm. `shuffle`: the order of the texts is another in each epoch. `device`: torch's name of it.
    """

    epochs: int = 10
    seed: int = 1
    streams: int = 0
    chunk: int = 128
    least: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    clip: float = 1.0
    shuffle: bool = True
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_ranges(
            self,
            epochs=(1, 100_000),
            seed=(0, 2**31 - 1),
            streams=(0, 100_000),
            chunk=(1, 1_000_000),
            least=(1, 1_000_000),
            warmup=(0, 1),
        )
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not more than 0")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay = {self.weight_decay} is not 0 or more")

    def rate(self, progress: float) -> float:
        """Return the learning rate when the fraction `progress` of all steps is done."""
        return self.learning_rate * learning_rate_factor(progress, total=1.0, warmup=self.warmup, hold=self.warmup)


@dataclass(frozen=True)
class LmEpoch:
    """What an epoch came to. `train_loss`: nats per character, or word.

    `best`: no epoch before had a lower dev perplexity.
    """

    number: int
    train_loss: float
    dev: Perplexity
    best: bool


@dataclass(frozen=True)
class LmStep:
    """How far an epoch has come: characters, or words, `done` of `total`, and their mean `loss` in nats."""

    epoch: int
    done: int
    total: int
    loss: float


@dataclass(frozen=True)
class Trained:
    """A model with its best weights, ready for inference, and how it came to them."""

    model: RnnLm | WordLm
    epochs: tuple[LmEpoch, ...]


@dataclass(frozen=True)
class Corpus:
    """Texts as token ids (N,), each followed by BOUNDARY; `lengths` with it."""

    tokens: NDArray[np.unsignedinteger]
    lengths: NDArray[np.int64]

    def shuffled(self, random: np.random.Generator) -> "Corpus":
        """Return the texts in another order."""
        order = random.permutation(len(self.lengths))
        starts, lengths = (np.cumsum(self.lengths) - self.lengths)[order], self.lengths[order]
        tokens, filled = np.empty_like(self.tokens), 0
        for first in range(0, len(order), _TOGETHER):
            sizes = lengths[first : first + _TOGETHER]
            total = int(sizes.sum())
            index = np.repeat(starts[first : first + _TOGETHER] - (np.cumsum(sizes) - sizes), sizes) + np.arange(total)
            tokens[filled : filled + total] = self.tokens[index]
            filled += total
        return Corpus(tokens, lengths)


@dataclass(frozen=True)
class Chunk:
    """Some tokens of each stream (B, L), and the ones that follow them (B, L)."""

    inputs: Tensor
    targets: Tensor


def encode(texts: Iterable[str], alphabet: Alphabet, which: str) -> Corpus:
    """Turn the `which` texts into ids. Raises LmError if there are none, TextError naming row and character."""
    kind = np.min_scalar_type(len(alphabet))
    parts: list[NDArray[np.unsignedinteger]] = []
    lengths: list[NDArray[np.int64]] = []
    rest, done = iter(texts), 0
    while part := list(islice(rest, _TOGETHER)):
        ids = alphabet.ids("".join(part)).astype(kind)
        if not ids.all():
            number, text = next((row, text) for row, text in enumerate(part, done + 1) if alphabet.unknown(text))
            raise TextError(
                f"{which} text {number}: {alphabet.unknown(text)[0]!r} is not in the alphabet {alphabet.characters!r}"
            )
        sizes = np.array([len(text) for text in part])
        parts.append(np.insert(ids, np.cumsum(sizes), BOUNDARY))
        lengths.append(sizes + 1)
        done += len(part)
    if not parts:
        raise LmError(f"no {which} texts")
    return Corpus(np.concatenate(parts), np.concatenate(lengths))


def count(texts: Iterable[str], least: int) -> tuple[Vocabulary, Corpus]:
    """Find the words of texts that occur `least` times or more, and turn all into ids. Raises LmError."""
    first_seen: dict[str, int] = {}
    parts: list[NDArray[np.int32]] = []
    lengths: list[NDArray[np.int64]] = []
    rest = iter(texts)
    while part := [text.split() for text in islice(rest, _TOGETHER)]:
        # In order of appearance for now; END is the number of no word.
        numbers = [[*(first_seen.setdefault(word, len(first_seen)) for word in words), _END] for words in part]
        parts.append(np.fromiter(chain.from_iterable(numbers), np.int32))
        lengths.append(np.array([len(row) for row in numbers]))
    if not parts:
        raise LmError("no train texts")
    tokens = np.concatenate(parts)
    counts = np.bincount(tokens[tokens != _END], minlength=len(first_seen))
    try:
        vocabulary = vocabulary_of(zip(first_seen, counts.tolist(), strict=True), least)
    except ValueError as error:
        raise LmError(f"no word occurs {least} times or more in the train texts") from error
    # The last entry is that of END.
    ids = np.array([*(vocabulary.encode(word)[0] for word in first_seen), BOUNDARY])
    return vocabulary, Corpus(ids.astype(np.min_scalar_type(len(vocabulary)))[tokens], np.concatenate(lengths))


def chunks(corpus: Corpus, streams: int, length: int) -> Iterator[Chunk]:
    """Lay the corpus out as parallel streams and go along them; of the last stream the end may have no targets."""
    total = len(corpus.tokens)
    count = -(-total // streams)
    inputs, targets = np.full((2, streams * count), BOUNDARY, corpus.tokens.dtype)
    inputs[1:total], targets[:total] = corpus.tokens[:-1], corpus.tokens
    inputs, targets = inputs.reshape(streams, count), targets.reshape(streams, count)
    for start in range(0, count, length):
        part = slice(start, start + length)
        places = count * np.arange(streams)[:, None] + np.arange(count)[part]
        following = np.where(places < total, targets[:, part].astype(np.int64), _NOTHING)
        yield Chunk(torch.from_numpy(inputs[:, part].astype(np.int64)), torch.from_numpy(following))


def backward(model: RnnLm | WordLm, chunk: Chunk, state: LmState | None) -> tuple[Tensor, LmState]:
    """Add the gradient of a chunk's mean loss; return the sum of its losses (nats) and the state to go on from."""
    x, following = model.remember(chunk.inputs, state)
    asked = chunk.targets != _NOTHING
    log_probs = model.foretell(x[asked], chunk.targets[asked])
    total: Tensor = -log_probs.sum()
    mean: Tensor = total / max(len(log_probs), 1)
    mean.backward()  # type: ignore[no-untyped-call]
    return total.detach(), following.detach()


def train(
    settings: LmFileSettings,
    training: RnnLmTraining,
    train_texts: Iterable[str],
    dev_texts: Sequence[str],
    report: Callable[[LmStep | LmEpoch, RnnLm | WordLm], None] | None = None,
) -> Trained:
    """Train a language model, and keep the weights of the epoch whose dev perplexity is lowest.

    One of words gets its vocabulary from the texts.

    `report` is called after each step and each epoch with the model as it is then. On one machine the same seed gives
    the same weights; torch's own random numbers are left where they were. Raises LmError for no texts and for a loss
    that is no number, and TextError.
    """
    device = torch.device(training.device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed)
        model, corpus = _begun(settings, training, train_texts)
        if isinstance(model, RnnLm):
            encode(dev_texts, model.alphabet, "dev")
        elif not dev_texts:
            raise LmError("no dev texts")
        model.to(device)
        optimiser = torch.optim.AdamW(model.parameters(), weight_decay=training.weight_decay)
        epochs: list[LmEpoch] = []
        best: dict[str, Tensor] = {}
        lowest = math.inf
        for number in range(1, training.epochs + 1):
            loss = math.nan
            for step in _epoch(model, optimiser, corpus, training, number):
                loss = step.loss
                if report:
                    report(step, model)
            dev = model.perplexity(dev_texts)
            if not math.isfinite(loss) or not math.isfinite(dev.log_prob):
                raise LmError(f"epoch {number}: the loss is no number; a lower learning_rate or clip may help")
            epochs.append(LmEpoch(number, loss, dev, -dev.log_prob < lowest))
            if epochs[-1].best:
                lowest = -dev.log_prob
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            _LOG.info("epoch %d: loss %.4f, dev perplexity %.4f per character", number, loss, dev.per_character)
            if report:
                report(epochs[-1], model)
    model.load_state_dict(best)
    return Trained(model.eval(), tuple(epochs))


def _begun(settings: LmFileSettings, training: RnnLmTraining, texts: Iterable[str]) -> tuple[RnnLm | WordLm, Corpus]:
    """Return a network as initialised, and the texts as its tokens."""
    if settings.unit == "word":
        vocabulary, corpus = count(texts, training.least)
        return settings.of(vocabulary).build(), corpus
    model = settings.build()
    return model, encode(texts, model.alphabet, "train")


def _epoch(
    model: RnnLm | WordLm, optimiser: torch.optim.Optimizer, corpus: Corpus, training: RnnLmTraining, number: int
) -> Iterator[LmStep]:
    """Go through the corpus once, step by step."""
    if training.shuffle:
        corpus = corpus.shuffled(np.random.default_rng([training.seed, number]))
    model.train()
    size = len(corpus.tokens)
    streams = min(training.streams or min(max(size // (_STEPS * training.chunk), 1), _STREAMS), size)
    steps = math.ceil(math.ceil(len(corpus.tokens) / streams) / training.chunk)
    device = model.device
    state, total, done = None, 0.0, 0
    for step, chunk in enumerate(chunks(corpus, streams, training.chunk)):
        for group in optimiser.param_groups:
            group["lr"] = training.rate((number - 1 + step / steps) / training.epochs)
        optimiser.zero_grad()
        loss, state = backward(model, Chunk(chunk.inputs.to(device), chunk.targets.to(device)), state)
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimiser.step()
        total += float(loss)
        done += int((chunk.targets != _NOTHING).sum())
        yield LmStep(number, done, len(corpus.tokens), total / max(done, 1))
