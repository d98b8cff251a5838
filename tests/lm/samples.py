"""Models, sentences and helpers that several tests use."""

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asr.lm.ngram import END, NgramModel
from asr.lm.ngram.model import EMPTY_STATE, walk
from asr.lm.recurrent import RnnLmSettings
from asr.lm.recurrent.network import RnnLmNetwork
from asr.text import Alphabet, TextSettings

TINY = r"""
\data\
ngram 1=5
ngram 2=4
ngram 3=2

\1-grams:
-1.5	<unk>
0	<s>	-0.4
-0.8	</s>
-0.6	a	-0.3
-0.7	b	-0.2

\2-grams:
-0.25	<s> a	-0.1
-0.35	a b	-0.15
-0.45	b a
-0.55	b </s>

\3-grams:
-0.05	<s> a b
-0.15	a b a

\end\
"""


def sentences(count: int, words: str, seed: int = 1, longest: int = 12) -> list[list[str]]:
    """Draw sentences in which some words are much more frequent than others."""
    draw = random.Random(seed)
    weights = [1 / (i + 1) for i in range(len(words))]
    return [draw.choices(words, weights, k=draw.randint(0, longest)) for _ in range(count)]


def ngram_scores(model: NgramModel, words: Sequence[str], begin: bool = True, end: bool = True) -> list[float]:
    """Return the natural log-probability of each word, and of the end of the sentence if `end`.

    With `begin` the words begin a sentence, otherwise they have no context.
    """
    state = model.begin_state if begin else EMPTY_STATE
    log_probs: list[float] = walk(model.arrays, state, model.ids([*words, END] if end else words)).tolist()
    return log_probs


SMALL = RnnLmSettings(layers=2, embedding=5, hidden=7, dropout=0.0)
TEXT = TextSettings(normaliser="none", alphabet=" AB")


def make_rnn(shape: RnnLmSettings = SMALL, alphabet: str = " AB", seed: int = 0) -> RnnLmNetwork:
    """Return a network in double precision, in which equal means equal."""
    torch.manual_seed(seed)
    model = RnnLmNetwork(Alphabet(alphabet), shape).eval().double()
    # Large enough that characters far back matter.
    for parameter in model.parameters():
        parameter.data *= 1.3
    return model


def random_tokens(*shape: int, size: int = 4) -> Tensor:
    return torch.randint(size, shape, generator=torch.Generator().manual_seed(1))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-6) -> bool:
    found, expected = found.detach(), expected.detach()
    return bool(((found - expected).abs() <= tolerance * max(1.0, float(expected.abs().max()))).all())


def gradients(model: nn.Module) -> list[Tensor]:
    found = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    assert len(found) == len(list(model.parameters()))
    model.zero_grad()
    return found


def output_weight(model: RnnLmNetwork) -> Tensor:
    assert isinstance(model.output, nn.Linear)
    return model.output.weight
