"""The reference that is nearest to a hypothesis, of all that a text with alternatives describes."""

from collections.abc import Sequence

# The costs of sclite, so that the same alternatives are chosen.
_SUBSTITUTION, _GAP = 4, 3


def nearest_reference(parts: Sequence[Sequence[str]], hypothesis: str) -> str:
    """Return the text with one alternative of each part that costs least to turn into the hypothesis.

    Dynamic programming over the words of the hypothesis, as for one text; of equal alternatives the first is taken.
    """
    words = hypothesis.split()
    costs = [index * _GAP for index in range(len(words) + 1)]
    steps: list[list[tuple[int, str]]] = []
    for part in parts:
        options = [(alternative, *_after(costs, alternative.split(), words)) for alternative in part]
        best = [min(range(len(options)), key=lambda option: options[option][1][index]) for index in range(len(costs))]
        steps.append([(options[option][2][index], options[option][0]) for index, option in enumerate(best)])
        costs = [options[option][1][index] for index, option in enumerate(best)]
    chosen: list[str] = []
    position = len(words)
    for step in reversed(steps):
        position, text = step[position]
        chosen.append(text)
    return " ".join(filter(None, reversed(chosen)))


def _after(costs: list[int], reference: Sequence[str], words: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the costs after words of the reference, by position in the hypothesis, and the position before them."""
    begins = list(range(len(costs)))
    for expected in reference:
        new, new_begins = [costs[0] + _GAP], [begins[0]]
        for index, word in enumerate(words, 1):
            new.append(costs[index - 1] + (0 if word == expected else _SUBSTITUTION))
            new_begins.append(begins[index - 1])
            for cost, begin in ((costs[index] + _GAP, begins[index]), (new[index - 1] + _GAP, new_begins[index - 1])):
                if cost < new[index]:
                    new[index], new_begins[index] = cost, begin
        costs, begins = new, new_begins
    return costs, begins
