"""Train a recurrent language model by truncated backpropagation through time.

The texts, with a boundary before, between and after them, are one long sequence, which is divided into B parallel
streams and these into chunks. The hidden state is carried from chunk to chunk; gradients stay within a chunk (Williams
and Peng, 1990).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.compute import autocast_dtype
from asr.config import check_choices, check_ranges
from asr.lm.evaluation import Perplexity
from asr.lm.recurrent.file import LmFileSettings, Start
from asr.lm.recurrent.network import NetworkState, RnnLmNetwork, build
from asr.lm.recurrent.vocabulary import BOUNDARY, Vocabulary, build_vocabulary
from asr.lm.text import LmError
from asr.model.schedule import learning_rate_factor
from asr.text import Alphabet, TextError

# Targets without a loss: the padding of the last stream.
_PADDING = -100
# The end of a text before words have tokens.
_END = -1
# By default at most _STREAMS parallel streams, and few enough that an epoch has _STEPS steps.
_STREAMS, _STEPS = 64, 20
# Texts that are encoded or shuffled at a time.
_BLOCK = 10_000


@dataclass(frozen=True)
class RnnLmTraining:
    """How a language model is trained.

    `streams`: B; 0 means 64, or fewer if a small corpus would make less than twenty steps per epoch. `chunk`: tokens of
    each stream per step. `min_count`: words that occur less often are unknown. AdamW's `learning_rate` rises over the
    fraction `warmup` of all steps, then falls to 0 as a cosine. `clip`: the maximum gradient norm. `shuffle`: use
    another order of the texts in each epoch. `device`: torch's name. `precision`: "float32" or "bfloat16", of matrix
    products; weights and losses are always float32.
    """

    epochs: int = 10
    seed: int = 1
    streams: int = 0
    chunk: int = 128
    min_count: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    clip: float = 1.0
    shuffle: bool = True
    device: str = "cpu"
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_choices(self, precision=("float32", "bfloat16"))
        check_ranges(
            self,
            epochs=(1, 100_000),
            seed=(0, 2**31 - 1),
            streams=(0, 100_000),
            chunk=(1, 1_000_000),
            min_count=(1, 1_000_000),
            warmup=(0, 1),
            weight_decay=(0, math.inf),
        )
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is not more than 0")


@dataclass(frozen=True)
class LmEpoch:
    """The result of an epoch. `train_loss`: nats per token. `best`: the dev perplexity is the lowest so far.

    `done`: the fraction of the epoch, less than 1 if training was stopped.
    """

    number: int
    done: float
    train_loss: float
    dev: Perplexity
    best: bool


@dataclass(frozen=True)
class LmStep:
    """Progress within an epoch: tokens `done` of `total`, and their mean `loss` in nats."""

    epoch: int
    done: int
    total: int
    loss: float


@dataclass(frozen=True)
class Trained:
    """The model with the weights of the best epoch, in evaluation mode, and the results of all epochs."""

    model: RnnLmNetwork
    epochs: tuple[LmEpoch, ...]
    stopped: bool


@dataclass(frozen=True)
class Corpus:
    """Texts as token ids (N,), each followed by BOUNDARY; `lengths` include it."""

    tokens: NDArray[np.unsignedinteger]
    lengths: NDArray[np.int64]

    def shuffled(self, random: np.random.Generator) -> "Corpus":
        """Return the texts in a random order."""
        order = random.permutation(len(self.lengths))
        starts, lengths = (np.cumsum(self.lengths) - self.lengths)[order], self.lengths[order]
        tokens, filled = np.empty_like(self.tokens), 0
        for first in range(0, len(order), _BLOCK):
            sizes = lengths[first : first + _BLOCK]
            total = int(sizes.sum())
            index = np.repeat(starts[first : first + _BLOCK] - (np.cumsum(sizes) - sizes), sizes) + np.arange(total)
            tokens[filled : filled + total] = self.tokens[index]
            filled += total
        return Corpus(tokens, lengths)


@dataclass(frozen=True)
class Chunk:
    """Some tokens of each stream (B, L), and the tokens that follow them (B, L)."""

    inputs: Tensor
    targets: Tensor


def encode_characters(texts: Iterable[str], alphabet: Alphabet, name: str) -> Corpus:
    """Encode the texts of the set `name`. Raises LmError if it is empty, and TextError naming row and character."""
    dtype = np.min_scalar_type(len(alphabet))
    parts: list[NDArray[np.unsignedinteger]] = []
    lengths: list[NDArray[np.int64]] = []
    rest, done = iter(texts), 0
    while block := list(islice(rest, _BLOCK)):
        ids = alphabet.ids("".join(block)).astype(dtype)
        if not ids.all():
            number, text = next((row, text) for row, text in enumerate(block, done + 1) if alphabet.unknown(text))
            raise TextError(
                f"{name} text {number}: {alphabet.unknown(text)[0]!r} is not in the alphabet {alphabet.characters!r}"
            )
        sizes = np.array([len(text) for text in block])
        parts.append(np.insert(ids, np.cumsum(sizes), BOUNDARY))
        lengths.append(sizes + 1)
        done += len(block)
    if not parts:
        raise LmError(f"no {name} texts")
    return Corpus(np.concatenate(parts), np.concatenate(lengths))


def encode_words(
    texts: Iterable[str], min_count: int, vocabulary: Vocabulary | None = None
) -> tuple[Vocabulary, Corpus]:
    """Encode the training texts by a vocabulary, or that of the words that occur at least `min_count` times.

    Raises LmError if there are no texts or no such words.
    """
    numbers: dict[str, int] = {}
    parts: list[NDArray[np.int32]] = []
    lengths: list[NDArray[np.int64]] = []
    rest = iter(texts)
    while block := [text.split() for text in islice(rest, _BLOCK)]:
        # Words are numbered by their first occurrence until the vocabulary is known.
        rows = [[*(numbers.setdefault(word, len(numbers)) for word in words), _END] for words in block]
        parts.append(np.fromiter(chain.from_iterable(rows), np.int32))
        lengths.append(np.array(list(map(len, rows))))
    if not parts:
        raise LmError("no train texts")
    corpus = np.concatenate(parts)
    if vocabulary is None:
        counts = np.bincount(corpus[corpus != _END], minlength=len(numbers))
        try:
            vocabulary = build_vocabulary(zip(numbers, counts.tolist(), strict=True), min_count)
        except ValueError as error:
            raise LmError(f"no word occurs at least {min_count} times in the train texts") from error
    # _END is -1, so the last entry is its token.
    ids = np.array([*(vocabulary.encode(word)[0] for word in numbers), BOUNDARY])
    return vocabulary, Corpus(ids.astype(np.min_scalar_type(len(vocabulary)))[corpus], np.concatenate(lengths))


def chunks(corpus: Corpus, streams: int, length: int) -> Iterator[Chunk]:
    """Divide the corpus into parallel streams and yield their chunks; the end of the last stream is padding."""
    total = len(corpus.tokens)
    size = -(-total // streams)
    inputs, targets = np.full((2, streams * size), BOUNDARY, corpus.tokens.dtype)
    inputs[1:total], targets[:total] = corpus.tokens[:-1], corpus.tokens
    inputs, targets = inputs.reshape(streams, size), targets.reshape(streams, size)
    for start in range(0, size, length):
        columns = slice(start, start + length)
        positions = size * np.arange(streams)[:, None] + np.arange(size)[columns]
        following = np.where(positions < total, targets[:, columns].astype(np.int64), _PADDING)
        yield Chunk(torch.from_numpy(inputs[:, columns].astype(np.int64)), torch.from_numpy(following))


def backward(
    model: RnnLmNetwork, chunk: Chunk, state: NetworkState | None, precision: str = "float32"
) -> tuple[Tensor, NetworkState]:
    """Add the gradient of a chunk's mean loss; return the sum of its losses (nats) and the state after it."""
    dtype = autocast_dtype(model.device, precision)
    with torch.autocast(model.device.type, dtype) if dtype else nullcontext():
        x, following = model.hidden(chunk.inputs, state)
        mask = chunk.targets != _PADDING
        log_probs = model.log_probs(x[mask], chunk.targets[mask])
    total: Tensor = -log_probs.sum()
    mean: Tensor = total / max(len(log_probs), 1)
    mean.backward()  # type: ignore[no-untyped-call]
    return total.detach(), following.detach()


def train(
    begin: LmFileSettings | Start,
    training: RnnLmTraining,
    train_texts: Iterable[str],
    dev_texts: Sequence[str],
    on_event: Callable[[LmStep | LmEpoch, RnnLmNetwork], bool | None] = lambda event, model: None,
) -> Trained:
    """Train a language model and keep the weights of the epoch with the lowest dev perplexity.

    `begin`: the settings of a new model, which takes its vocabulary from the training texts if it is one of words, or
    what training continues from. `on_event` is called after each step and each epoch with
    the current model; if it returns True after a step, the epoch and training end there. On one machine the same seed
    gives the same weights; torch's global random state is unchanged. Raises TextError, and LmError without texts or if
    the loss is not finite.
    """
    device = torch.device(training.device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed)
        model, corpus = _initial(begin, training, train_texts)
        if model.vocabulary is None:
            encode_characters(dev_texts, model.alphabet, "dev")
        elif not dev_texts:
            raise LmError("no dev texts")
        model.to(device)
        optimiser = torch.optim.AdamW(model.parameters(), weight_decay=training.weight_decay, fused=True)
        epochs: list[LmEpoch] = []
        best: dict[str, Tensor] = {}
        highest = -math.inf
        stopped = False
        while len(epochs) < training.epochs and not stopped:
            number = len(epochs) + 1
            for step in _epoch(model, optimiser, corpus, training, number):
                stopped = bool(on_event(step, model))
                if stopped:
                    break
            dev = model.inference().perplexity(dev_texts)
            if not math.isfinite(step.loss) or not math.isfinite(dev.log_prob):
                raise LmError(f"epoch {number}: the loss is not finite; a lower learning_rate or clip may help")
            epochs.append(LmEpoch(number, step.done / step.total, step.loss, dev, dev.log_prob > highest))
            if epochs[-1].best:
                highest = dev.log_prob
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            on_event(epochs[-1], model)
    model.load_state_dict(best)
    return Trained(model.eval(), tuple(epochs), stopped)


def _initial(
    begin: LmFileSettings | Start, training: RnnLmTraining, texts: Iterable[str]
) -> tuple[RnnLmNetwork, Corpus]:
    """Return the network with its first weights, and the encoded texts."""
    settings = begin.settings if isinstance(begin, Start) else begin
    if settings.unit == "word" and not settings.vocabulary:
        vocabulary, corpus = encode_words(texts, training.min_count)
        return build(replace(settings, vocabulary=vocabulary.words, rare=vocabulary.rare)), corpus
    model = build(settings)
    if isinstance(begin, Start):
        model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in begin.tensors.items()})
    if model.vocabulary:
        return model, encode_words(texts, training.min_count, model.vocabulary)[1]
    return model, encode_characters(texts, model.alphabet, "train")


def _epoch(
    model: RnnLmNetwork, optimiser: torch.optim.Optimizer, corpus: Corpus, training: RnnLmTraining, number: int
) -> Iterator[LmStep]:
    """Train on the corpus once and yield after each step."""
    if training.shuffle:
        corpus = corpus.shuffled(np.random.default_rng([training.seed, number]))
    model.train()
    size = len(corpus.tokens)
    streams = min(training.streams or min(max(size // (_STEPS * training.chunk), 1), _STREAMS), size)
    steps = math.ceil(math.ceil(size / streams) / training.chunk)
    state, total, done = None, 0.0, 0
    for step, chunk in enumerate(chunks(corpus, streams, training.chunk)):
        progress = (number - 1 + step / steps) / training.epochs
        factor = learning_rate_factor(progress, total=1.0, warmup=training.warmup, hold=training.warmup)
        for group in optimiser.param_groups:
            group["lr"] = training.learning_rate * factor
        optimiser.zero_grad()
        moved = Chunk(chunk.inputs.to(model.device), chunk.targets.to(model.device))
        loss, state = backward(model, moved, state, training.precision)
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimiser.step()
        total += float(loss)
        done += int((chunk.targets != _PADDING).sum())
        yield LmStep(number, done, size, total / max(done, 1))
