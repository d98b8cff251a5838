"""Characters and marks in transcripts that would become outputs of a model by mistake."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from asr.corpora.manifest import Utterance
from asr.text.normalisers import normalise

# Characters that occur less often are learnt badly, and are often typing mistakes.
_RARE = 5
# <NOISE>, [laughter], {um}, whose words a normaliser keeps.
_MARK = re.compile(r"<[^<>\s]+>|\[[^\[\]]+\]|\{[^{}]+\}")


def marks(row: Utterance) -> str:
    """Return what is in brackets in the text of a row, or "" if nothing is."""
    return ", ".join(dict.fromkeys(_MARK.findall(row.text)))


def suspicious_characters(rows: Sequence[Utterance], normaliser: str) -> Iterator[tuple[str, str, str]]:
    """Yield the kind of a problem (rare, script or digits), the id of a row with it, and a message.

    Each is about one output that an alphabet of these texts would have.
    """
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row in rows:
        text = normalise(row.text, normaliser)
        counts.update(text)
        for character in text:
            first.setdefault(character, row.id)
    scripts: Counter[str] = Counter()
    for character, count in counts.items():
        if character.isalpha():
            scripts[_script(character)] += count
    main = scripts.most_common(1)[0][0] if scripts else ""
    for character in sorted(counts):
        times = f"occurs {counts[character]} {'time' if counts[character] == 1 else 'times'}"
        name = f"{character!r} ({unicodedata.name(character, 'unnamed')})"
        if character.isalpha() and _script(character) != main:
            yield "script", first[character], f"{name} {times}, but most letters are {main.capitalize()}"
        elif character.isdecimal():
            yield "digits", first[character], f"{name} {times}; write numbers as words, as they are spoken"
        elif counts[character] < _RARE and not character.isspace():
            yield "rare", first[character], f"{name} {times}; it becomes an output that cannot be learnt"


def _script(character: str) -> str:
    """Return the script of a letter, by the first word of its name; those of Japanese are one."""
    script = unicodedata.name(character, "").partition(" ")[0].removesuffix("-")
    return "CJK" if script in ("HIRAGANA", "KATAKANA", "HALFWIDTH", "CJK") else script
