"""Dictionaries of the words of a language model: lookup, possessives, and the file."""

import gzip
from pathlib import Path

import pytest

from asr import lm
from asr.lm import LmError, pronouncing
from asr.lm.ngram import NgramModel
from asr.text.pronunciations import Pronunciations, read
from tests.lm.samples import TINY

KNOWN = """GEORGE JH AO1 R JH
BOYS B OY1 Z
CAT K AE1 T
PATH P AE1 TH
DOG D AO1 G
DOG(2) D AA1 G
BOSS B AO1 S
TOMATO T AH0 M EY1 T OW0
TOMATO(2) T AH0 M AA1 T OW0
JAMES'S JH EY1 M Z AH0 Z
"""


@pytest.fixture
def dictionary(tmp_path: Path) -> Pronunciations:
    path = tmp_path / "dictionary"
    path.write_text(KNOWN)
    return read(path)


def written(path: Path, found: pronouncing.Lookup) -> list[str]:
    pronouncing.write(path, found.words)
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("word", "phonemes"),
    [
        ("GEORGE'S", ["JH AO R JH IH Z"]),
        ("BOSS'S", ["B AO S IH Z"]),
        ("CAT'S", ["K AE T S"]),
        ("PATH'S", ["P AE TH S"]),
        ("DOG'S", ["D AO G Z", "D AA G Z"]),
        ("TOMATO'S", ["T AX M EY T OW Z", "T AX M AA T OW Z"]),
        ("BOYS'", ["B OY Z"]),
        ("GEORGE'S'", ["JH AO R JH IH Z"]),
        # The dictionary has it.
        ("JAMES'S", ["JH EY M Z AX Z"]),
    ],
)
def test_possessive(word: str, phonemes: list[str], dictionary: Pronunciations, tmp_path: Path) -> None:
    found = pronouncing.look_up([word], [dictionary])
    assert [line.split(" ", 1)[1] for line in written(tmp_path / "out", found)] == phonemes
    assert found.derived == (word != "JAMES'S") and not found.missing


@pytest.mark.parametrize("word", ["'S", "S'", "HORSE'S", "HORSES'", "CAT'", "CAT'LL"])
def test_no_possessive_of_a_known_word(word: str, dictionary: Pronunciations) -> None:
    found = pronouncing.look_up([word], [dictionary])
    assert found.missing == [word] and not found.words


def test_first_dictionary_that_has_a_word_is_used(dictionary: Pronunciations) -> None:
    other = Pronunciations({"DOG": ("dog",), "EMU": ("imyu",), "CAT'S": ("k@z",)})
    words = ["DOG", "CAT'S", "EMU", "GNU", "DOG"]
    found = pronouncing.look_up(words, [dictionary, other])
    assert found.words == {"DOG": ("dcg", "dag"), "CAT'S": ("k@z",), "EMU": ("imyu",)}
    assert (found.found, found.derived, found.missing) == (3, 0, ["GNU"])
    assert pronouncing.look_up(words, [other, dictionary]).words["DOG"] == ("dog",)


def test_dictionary_is_sorted_and_read_back(dictionary: Pronunciations, tmp_path: Path) -> None:
    found = pronouncing.look_up(reversed(list(dictionary.words)), [dictionary])
    plain, compressed = tmp_path / "out", tmp_path / "out.gz"
    lines = written(plain, found)
    assert lines[0] == "BOSS B AO S" and lines[-1] == "TOMATO(2) T AX M AA T OW"
    assert lines == sorted(lines)
    pronouncing.write(compressed, found.words)
    assert gzip.decompress(compressed.read_bytes()) == plain.read_bytes()
    assert read(plain) == read(compressed)
    assert read(plain).words == dictionary.words


def test_words_that_the_format_cannot_hold() -> None:
    words = ["#1", ";;;", "DOG(2)", "A\u00a0B"]
    assert pronouncing.look_up(words, [Pronunciations({"#1": ("n",)})]).unwritable == words


def test_vocabulary_has_no_markers(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text(TINY)
    model = lm.load(path)
    assert isinstance(model, NgramModel)
    assert pronouncing.vocabulary(path, model) == ["a", "b"]


def test_character_model_has_no_words(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa"
    path.write_text("\\data\\\nngram 1=4\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n-1\t▁\n-1\tA\n\n\\end\\\n")
    model = lm.load(path)
    assert isinstance(model, NgramModel)
    with pytest.raises(LmError, match=r"lm\.arpa: a character model"):
        pronouncing.vocabulary(path, model)
