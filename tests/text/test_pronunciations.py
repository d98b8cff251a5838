"""Pronouncing dictionaries: their two forms, alternatives, and errors."""

import gzip
from pathlib import Path

import pytest

from asr.files import EncodingError
from asr.text import TextError
from asr.text import pronunciations as dictionaries
from asr.text.pronunciations import ARPABET, Pronunciations

CMUDICT = b""";;; a comment of older releases
tomato  T AH0 M EY1 T OW0
tomato(2) T AH0 M AA1 T OW0 # british
the DH AH0

a EY1
A AH0
"""


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_lines_of_cmudict_become_strings_of_phonemes(tmp_path: Path) -> None:
    for path, content in (("words.dict", CMUDICT), ("words.dict.gz", gzip.compress(CMUDICT))):
        found = dictionaries.read(written(tmp_path / path, content))
        assert found.words == {"TOMATO": ("txmeto", "txmato"), "THE": ("Dx",), "A": ("e", "x")}
        assert found.phonemes == "".join(sorted(set("txmetoaD")))


def test_normaliser_none_keeps_the_words(tmp_path: Path) -> None:
    assert set(dictionaries.read(written(tmp_path / "words", "élan e l\n".encode()), "none").words) == {"élan"}


def test_each_phoneme_of_arpabet_has_its_own_character() -> None:
    named = {name: character for name, character in ARPABET.items() if name != "AH0"}
    assert len(set(named.values())) == len(named) == 40
    assert all(len(character) == 1 and character.isprintable() for character in named.values())


def test_text_is_pronounced_by_first_pronunciations() -> None:
    known = Pronunciations({"THE": ("Dx", "Di"), "TOE": ("to",)})
    assert known.pronounce("THE TOE THE") == "Dx to Dx"
    assert known.pronounce("") == ""
    assert known.pronounce("THE FOOT") is None


def test_written_dictionary_reads_back(tmp_path: Path) -> None:
    known = Pronunciations({"THE": ("Dx", "Di"), "TOE": ("to",), "LEFT": ("lEft",)})
    known.write(tmp_path / "some.gz", ["TOE", "THE", "UNKNOWN"])
    assert dictionaries.read(tmp_path / "some.gz").words == {"THE": ("Dx", "Di"), "TOE": ("to",)}
    first = (tmp_path / "some.gz").read_bytes()
    known.write(tmp_path / "some.gz", ["THE", "TOE"])
    assert (tmp_path / "some.gz").read_bytes() == first


@pytest.mark.parametrize("end", ["\n", ""])
def test_phonemes_may_follow_a_tab(end: str, tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text("A\tAH0\nARE\tAA1 R\nO\tOW1" + end, encoding="utf-8")
    assert dictionaries.read(path).words == {"A": ("x",), "ARE": ("ar",), "O": ("o",)}
    path.write_text("A\tAH0\nO\tOW1" + end, encoding="utf-8")
    assert dictionaries.read(path).words == {"A": ("x",), "O": ("o",)}


def test_a_dictionary_that_is_too_large_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionaries, "_LARGEST", 2 << 20)
    place = tmp_path / "large.gz"
    place.write_bytes(gzip.compress(b"one W AH1 N\n" * 200_000))
    with pytest.raises(TextError, match=r"large\.gz: more than 2 MiB"):
        dictionaries.read(place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no words; a line is a word and its phonemes"),
        (b"# nothing\n", "no words"),
        (b"one W AH1 N\ntwo\n", "line 2: 'two' has no phonemes; write them after the word"),
        (b"one W AH1 NN\n", "line 1: the phoneme 'NN' is neither of ARPAbet nor a single character"),
        (gzip.compress(CMUDICT)[:-20], "a damaged gzip file"),
    ],
)
def test_bad_dictionaries_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = written(tmp_path / "words.dict", content)
    with pytest.raises(TextError, match=message) as caught:
        dictionaries.read(path)
    assert str(caught.value).startswith(str(path))


def test_bytes_that_are_not_utf_8_are_named(tmp_path: Path) -> None:
    with pytest.raises(EncodingError, match=r"words\.dict, line 1"):
        dictionaries.read(written(tmp_path / "words.dict", b"\xff W\n"))
