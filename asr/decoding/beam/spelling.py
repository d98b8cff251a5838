"""Which words of an n-gram model an alphabet can spell: no hypothesis ever has the others."""

from collections.abc import Mapping, Sequence

import numpy as np

from asr.decoding.greedy import DecodingError
from asr.lm.ngram import SPACE, NgramModel, is_character_model
from asr.text import BLANK, Alphabet

# The share of words that may be missing without a warning, and the examples in it.
_TOLERATED = 0.05
_EXAMPLES = 5
# Looking up all words of a large model takes a tenth of a second.
_SAMPLE = 4096


def sample(words: Sequence[str]) -> Sequence[str]:
    """Return some thousands of the words, evenly picked; all of them if there are no more."""
    return words[:: 1 + len(words) // _SAMPLE]


def check_spelling(model: NgramModel, alphabet: Alphabet) -> str:
    """Return a warning if more than 5 % of the words cannot be spelled, "" otherwise.

    Raises DecodingError if none can.
    """
    words = [word for word in model.words if word[:1] != "<" and word != SPACE]
    missing = _missing(words, alphabet)
    unit = "character" if is_character_model(model) else "word"
    if words and len(missing) == len(words):
        raise DecodingError(
            f"no {unit} of the language model can be spelled with the alphabet {alphabet.characters!r} "
            f"({_examples(missing)}); {_remedy(missing, alphabet)}"
        )
    if len(missing) <= _TOLERATED * len(words):
        return ""
    return (
        f"{len(missing):,} of {len(words):,} {unit}s of the language model cannot be spelled with the alphabet and are "
        f"never output ({_examples(missing)}); {_remedy(missing, alphabet)}"
    )


def check_pronunciations(model: NgramModel, pronunciations: Mapping[str, Sequence[str]]) -> str:
    """Return a warning if more than 5 % of the words have no pronunciation, "" otherwise."""
    words = [word for word in model.words if word[:1] != "<" and word != SPACE]
    some = sample(words)
    if sum(word not in pronunciations for word in some) <= _TOLERATED * len(some):
        return ""
    missing = [word for word in words if word not in pronunciations]
    return (
        f"{len(missing):,} of {len(words):,} words of the language model have no pronunciation and are never output "
        f"({_examples(missing)}); asr lm pronounce writes a dictionary of all words"
    )


def spelled(pronunciations: Mapping[str, Sequence[str]], alphabet: Alphabet) -> Mapping[str, Sequence[str]]:
    """Return the pronunciations of the words that the alphabet can spell."""
    if set("".join(pronunciations)) <= set(alphabet.characters):
        return pronunciations
    return {word: each for word, each in pronunciations.items() if not alphabet.unknown(word)}


def _missing(words: list[str], alphabet: Alphabet) -> list[str]:
    if not words:
        return []
    ids = alphabet.ids("".join(words))
    ends = np.cumsum([len(word) for word in words])
    outside = np.concatenate([[0], np.cumsum(ids == BLANK)])
    starts = np.concatenate([[0], ends[:-1]])
    return [words[index] for index in np.flatnonzero(outside[ends] > outside[starts]).tolist()]


def _examples(words: list[str]) -> str:
    return ", ".join(repr(word[:40]) for word in words[:_EXAMPLES]) + (", …" if len(words) > _EXAMPLES else "")


def _remedy(words: list[str], alphabet: Alphabet) -> str:
    for name, change in (("upper", str.upper), ("lower", str.lower)):
        changed = list(map(change, words))
        if 2 * len(_missing(changed, alphabet)) < len(words):
            return f"they differ from it in case: train the language model on {name}-case text"
    return "train the language model on text of this language and normaliser"
