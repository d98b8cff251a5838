"""Lists of equivalent spellings, a line `colour = color` for each, and their replacement in normalised text."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from asr.text.alphabet import TextError

Normaliser = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A spelling, one or more words, and its replacement."""

    spelling: str
    replacement: str
    line: int


def parse(lines: Iterable[str], name: str) -> Iterator[Equivalent]:
    """Yield the equivalents of lines `spelling = replacement`, # before a comment. Raises TextError with the line."""
    for number, line in enumerate(lines, 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        spelling, equals, replacement = (part.strip() for part in content.partition("="))
        if not equals or not spelling or not replacement or "=" in replacement:
            raise TextError(f"{name}, line {number}: {content[:60]!r} is not of the form 'colour = color'")
        yield Equivalent(spelling, replacement, number)


def replacer(equivalents: Iterable[Equivalent], normaliser: Normaliser, name: str) -> Normaliser:
    """Return a function that replaces the spellings in normalised text, whole words, the longest first.

    Both sides of an equivalent are normalised too. Raises TextError for an equivalent of which the normaliser leaves
    nothing, two replacements of one spelling, and a circle of replacements.
    """
    replacements: dict[str, str] = {}
    for row in equivalents:
        spelling, replacement = normaliser(row.spelling), normaliser(row.replacement)
        if not spelling or not replacement:
            empty = row.replacement if spelling else row.spelling
            raise TextError(f"{name}, line {row.line}: the normaliser leaves nothing of {empty!r}")
        if replacements.get(spelling, replacement) != replacement:
            raise TextError(
                f"{name}, line {row.line}: {spelling!r} is already replaced by {replacements[spelling]!r}; delete one"
            )
        if spelling != replacement:
            replacements[spelling] = replacement
            if _final(replacements, spelling) == spelling:
                raise TextError(f"{name}, line {row.line}: {spelling!r} is replaced by itself; delete one of the lines")
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
