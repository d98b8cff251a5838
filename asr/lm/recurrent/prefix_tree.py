"""Texts as a tree of prefixes, so that a network computes each shared prefix once."""

from collections.abc import Sequence
from typing import NamedTuple

from asr.lm.recurrent.vocabulary import BOUNDARY


class TreeStep(NamedTuple):
    """The nodes at one depth: one for each different prefix of that length."""

    parents: list[int]  # the node of the previous step that precedes each node
    inputs: list[int]  # the token before each node's own
    tokens: list[int]  # the token of each node
    nodes: dict[int, int]  # the node of each text that is long enough


class PrefixTree:
    """The prefixes of encoded texts, each text followed by BOUNDARY."""

    def __init__(self, encoded: Sequence[list[int]]) -> None:
        self.steps: list[TreeStep] = []
        nodes = dict.fromkeys(range(len(encoded)), 0)
        previous = [BOUNDARY]
        while nodes:
            depth = len(self.steps)
            known: dict[tuple[int, int], int] = {}
            reached: dict[int, int] = {}
            for text, parent in nodes.items():
                token = encoded[text][depth] if depth < len(encoded[text]) else BOUNDARY
                reached[text] = known.setdefault((parent, token), len(known))
            parents, tokens = [parent for parent, _ in known], [token for _, token in known]
            self.steps.append(TreeStep(parents, [previous[parent] for parent in parents], tokens, reached))
            previous = tokens
            nodes = {text: node for text, node in reached.items() if depth < len(encoded[text])}

    def __len__(self) -> int:
        """Return the number of nodes."""
        return sum(len(step.tokens) for step in self.steps)
