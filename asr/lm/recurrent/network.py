"""The recurrent language model: the previous tokens -> log-probabilities of the next token.

Dimensions are those of asr.model; L is the length of a chunk of text. BOUNDARY precedes and follows each text. It is
the acoustic model's blank token, so a character model and an acoustic model have the same columns.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from asr.lm.recurrent.file import LmFileSettings
from asr.lm.recurrent.model import RnnLm
from asr.lm.recurrent.settings import DIVISOR, RnnLmSettings, cutoffs
from asr.lm.recurrent.vocabulary import UNKNOWN_TOKEN, Vocabulary
from asr.model import ModelSettings
from asr.model.network import Dropout, RecurrentLayer
from asr.text import Alphabet


@dataclass(frozen=True)
class NetworkState:
    """The recurrent state of B texts: h of each layer (layers, B, H), and c of an LSTM."""

    hidden: Tensor
    cell: Tensor | None = None

    def detach(self) -> "NetworkState":
        """Return the state without its gradient history."""
        return NetworkState(self.hidden.detach(), None if self.cell is None else self.cell.detach())


class RnnLmNetwork(nn.Module):
    """Embedding, unidirectional recurrent layers and output layer (Mikolov et al., 2010; Graves, 2013).

    Without a `vocabulary` the tokens are characters, with a softmax; with one they are words, with an adaptive softmax
    (Grave et al., 2017). The unknown token stands for the rare words and one unseen word, which are equally likely.
    """

    output: nn.Linear | nn.AdaptiveLogSoftmaxWithLoss | None

    def __init__(self, alphabet: Alphabet, settings: RnnLmSettings, vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self.alphabet, self.settings, self.vocabulary = alphabet, settings, vocabulary
        size = len(alphabet if vocabulary is None else vocabulary)
        self.embedding = _embedding(size, settings.embedding)
        shape = ModelSettings(cell=settings.cell, hidden=settings.hidden, bidirectional=False)
        sizes = [settings.embedding] + [settings.hidden] * (settings.layers - 1)
        self.layers = nn.ModuleList(RecurrentLayer(inputs, shape).recurrence for inputs in sizes)
        self.dropout = Dropout(settings.dropout)
        if vocabulary is None:
            self.bias = nn.Parameter(torch.zeros(size))
            self.output = None if settings.tied else nn.Linear(settings.hidden, size, bias=False)
        else:
            self.narrow = nn.Linear(settings.hidden, settings.embedding)
            self.output = nn.AdaptiveLogSoftmaxWithLoss(settings.embedding, size, cutoffs(size), float(DIVISOR))

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.embedding.weight.device

    def initial_state(self, batch: int) -> NetworkState:
        """Return the state before a batch of texts; the first token of each text is BOUNDARY."""
        zeros = self.embedding.weight.new_zeros(self.settings.layers, batch, self.settings.hidden)
        return NetworkState(zeros, zeros if self.settings.cell == "lstm" else None)

    def forward(self, tokens: Tensor, state: NetworkState | None = None) -> tuple[Tensor, NetworkState]:
        """Map tokens (B, L) to the log-probabilities (B, L, V) of the token after each, and the state after the last.

        The texts continue from `state`, or begin if it is None. UNKNOWN_TOKEN has the probability of all unknown words.
        """
        x, following = self.hidden(tokens, state)
        if isinstance(self.output, nn.AdaptiveLogSoftmaxWithLoss):
            log_probs = self.output.log_prob(self.narrow(x).flatten(0, 1))
            return log_probs.view(*x.shape[:2], -1), following
        return self._softmax(x), following

    def hidden(self, tokens: Tensor, state: NetworkState | None = None) -> tuple[Tensor, NetworkState]:
        """Map tokens (B, L) to the output (B, L, H) of the last layer, and the state after the last token.

        The texts continue from `state`, or begin if it is None.
        """
        state = state or self.initial_state(len(tokens))
        x = self.dropout(self.embedding(tokens))
        hidden, cell = [], []
        for index, layer in enumerate(self.layers):
            h = state.hidden[index, None].contiguous()
            if state.cell is None:
                x, h = layer(x, h)
            else:
                x, (h, c) = layer(x, (h, state.cell[index, None].contiguous()))
                cell.append(c)
            hidden.append(h)
            x = self.dropout(x)
        return x, NetworkState(torch.cat(hidden), torch.cat(cell) if cell else None)

    def log_probs(self, x: Tensor, targets: Tensor) -> Tensor:
        """Return the log-probability (N,) of each target token (N,), given the output (N, H) of the last layer.

        That of UNKNOWN_TOKEN is the log-probability of one unknown word.
        """
        if isinstance(self.output, nn.AdaptiveLogSoftmaxWithLoss):
            log_probs: Tensor = self.output(self.narrow(x), targets).output
            rare = self.vocabulary.rare if self.vocabulary else 0
            return log_probs - math.log(rare + 1) * (targets == UNKNOWN_TOKEN)
        return self._softmax(x).gather(1, targets[:, None])[:, 0]

    def _softmax(self, x: Tensor) -> Tensor:
        weight = self.output.weight if isinstance(self.output, nn.Linear) else self.embedding.weight
        return torch.log_softmax(functional.linear(x, weight, self.bias), dim=-1)

    def inference(self) -> RnnLm:
        """Return the model with the weights of now, for inference on the CPU."""
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in self.state_dict().items()}
        return RnnLm(self.alphabet, self.settings, self.vocabulary, tensors)


def build(settings: LmFileSettings) -> RnnLmNetwork:
    """Build a network with initial weights. Raises ValueError for words without a vocabulary."""
    vocabulary = Vocabulary(settings.vocabulary, settings.rare) if settings.unit == "word" else None
    return RnnLmNetwork(Alphabet(settings.text.alphabet), settings.model, vocabulary)


def _embedding(size: int, width: int) -> nn.Embedding:
    embedding = nn.Embedding(size, width)
    # Small enough that a tied output layer begins near the uniform distribution.
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding
