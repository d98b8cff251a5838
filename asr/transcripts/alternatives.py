"""Texts with alternatives, as NIST's scoring tools have them: `THE { COLOUR / COLOR } (UH) { YOU KNOW / @ }`.

`@` is no word. A word in brackets is optional. Alternatives may contain alternatives.
"""

import re
from itertools import product

from asr.transcripts.rows import TranscriptError, quoted

Parts = tuple[tuple[str, ...], ...]

_NOTHING = "@"
# Alternatives of one part, after those within them are multiplied out.
_LIMIT = 256
_ALTERNATIVES = re.compile(r"\{.*/.*\}")
_OPTIONAL = re.compile(r"\(([^()\s]+)\)")


def parse_alternatives(location: str, text: str, optional: bool = False) -> Parts:
    """Return the parts of a text, each with its alternatives; nothing if the text has none.

    `optional`: words in brackets are optional. Raises TranscriptError for braces that do not match.
    """
    if not _ALTERNATIVES.search(text) and not (optional and _OPTIONAL.search(text)):
        return ()
    tokens = _tokens(text)
    parts, position = _sequence(location, tokens, 0, optional)
    if position < len(tokens):
        raise TranscriptError(f"{location}: {tokens[position]!r} without '{{' in {quoted(text)}; write {{ A / B }}")
    return parts


def _tokens(text: str) -> list[str]:
    """Return the words, braces and, between braces, slashes."""
    tokens: list[str] = []
    depth = 0
    for piece in re.split(r"([{}])", text):
        tokens += (piece.replace("/", " / ") if depth else piece).split()
        depth += {"{": 1, "}": -1}.get(piece, 0)
    return tokens


def _sequence(
    location: str, tokens: list[str], position: int, optional: bool, inside: bool = False
) -> tuple[Parts, int]:
    """Return the parts up to the end of the text, or of this alternative."""
    parts: list[tuple[str, ...]] = []
    while position < len(tokens):
        word = tokens[position]
        if word == "}" or (inside and word == "/"):
            break
        position += 1
        if word == "{":
            choices, position = _choices(location, tokens, position, optional)
            parts.append(choices)
        elif word == _NOTHING:
            parts.append(("",))
        else:
            match = _OPTIONAL.fullmatch(word) if optional else None
            parts.append((match[1], "") if match else (word,))
    return tuple(parts), position


def _choices(location: str, tokens: list[str], position: int, optional: bool) -> tuple[tuple[str, ...], int]:
    """Return the alternatives between braces, from after `{`, and the position after `}`."""
    choices: list[str] = []
    slashes = 0
    while True:
        parts, position = _sequence(location, tokens, position, optional, inside=True)
        size = 1
        for part in parts:
            size *= len(part)
        if len(choices) + size > _LIMIT:
            raise TranscriptError(f"{location}: more than {_LIMIT} alternatives between braces; write fewer")
        choices += [" ".join(filter(None, words)) for words in product(*parts)]
        if position == len(tokens):
            raise TranscriptError(f"{location}: '{{' without '}}'; write {{ A / B }}")
        position += 1
        if tokens[position - 1] == "}":
            # Without a slash it is a word in braces, such as {laugh}.
            return tuple(dict.fromkeys(choices)) if slashes else (f"{{{choices[0]}}}",), position
        slashes += 1
