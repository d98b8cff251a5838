"""Lists of equivalent spellings, a line `colour = color` for each, and their replacement in normalised text."""

from collections.abc import Callable, Iterator

from asr.text.alphabet import TextError

Normaliser = Callable[[str], str]


def replacer(content: str, normaliser: Normaliser, name: str) -> Normaliser:
    """Return a function that replaces the spellings of a list in normalised text, whole words, the longest first.

    A line of `content` is `spelling = replacement`, of one or more words, which are normalised too; # begins a
    comment. `name` is for messages. Raises TextError for a line of another form or of which the normaliser leaves
    nothing, two replacements of one spelling, and a circle of replacements.
    """
    replacements: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), 1):
        pair = line.partition("#")[0].strip()
        if not pair:
            continue
        sides = [side.strip() for side in pair.split("=")]
        if len(sides) != 2 or not all(sides):
            raise TextError(f"{name}, line {number}: {pair[:60]!r} is not of the form 'colour = color'")
        spelling, replacement = map(normaliser, sides)
        if not spelling or not replacement:
            raise TextError(f"{name}, line {number}: the normaliser leaves nothing of {sides[bool(spelling)]!r}")
        if replacements.get(spelling, replacement) != replacement:
            raise TextError(
                f"{name}, line {number}: {spelling!r} is already replaced by {replacements[spelling]!r}; delete one"
            )
        if spelling != replacement:
            replacements[spelling] = replacement
            if _final(replacements, spelling) == spelling:
                raise TextError(f"{name}, line {number}: {spelling!r} is replaced by itself; delete one of the lines")
    final = {spelling: _final(replacements, spelling) for spelling in replacements}
    # The number of words of the longest spelling, by its first word.
    longest: dict[str, int] = {}
    for words in map(str.split, final):
        longest[words[0]] = max(longest.get(words[0], 0), len(words))
    return lambda text: " ".join(_replace(text.split(), final, longest))


def _final(replacements: dict[str, str], spelling: str) -> str:
    """Return the end of a chain of replacements, or `spelling` itself if the chain returns to it."""
    end = replacements[spelling]
    while end in replacements and end != spelling:
        end = replacements[end]
    return end


def _replace(words: list[str], final: dict[str, str], longest: dict[str, int]) -> Iterator[str]:
    index = 0
    while index < len(words):
        for size in range(longest.get(words[index], 0), 0, -1):
            spelling = " ".join(words[index : index + size])
            if spelling in final:
                yield final[spelling]
                index += size
                break
        else:
            yield words[index]
            index += 1
