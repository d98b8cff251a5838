"""Sentences of text files, manifests and standard input, plain and compressed, and errors that name the line."""

import bz2
import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.corpora import manifest
from asr.corpora.manifest import CorpusError, Utterance
from asr.files import EncodingError
from asr.lm.text import STANDARD_INPUT, LmError, TextReader, TextSource

LINES = ["hello, world", "", "it’s  fine\r", "   ", "ÉTÉ", "…"]
READ = ["HELLO WORLD", "IT'S FINE", "ÉTÉ"]


def text(folder: Path, lines: list[str], name: str = "a.txt") -> Path:
    path = folder / name
    data = "\n".join(lines).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".bz2":
        data = bz2.compress(data)
    path.write_bytes(data)
    return path


def reader(*paths: Path, normaliser: str = "upper", alphabet: str | None = None, ids: bool | None = None) -> TextReader:
    return TextReader(TextSource(paths, normaliser, alphabet, ids))


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.bz2", "a"])
def test_read_text_file(name: str, tmp_path: Path) -> None:
    path = text(tmp_path, LINES, name)
    found = reader(path, path)
    assert list(found) == READ * 2
    assert (found.sentences, found.words, found.characters) == (6, 10, 46)
    assert (found.left_out, found.with_ids) == (0, [])
    # Another iteration starts over.
    assert len(list(found)) == found.sentences == 6
    assert list(reader(path, normaliser="none"))[:2] == ["hello, world", "it’s fine"]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:30] + b"#" + data[31:]])
def test_read_damaged_bzip2_file(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.txt.bz2"
    path.write_bytes(damage(bz2.compress(b"one\n" * 100)))
    with pytest.raises(LmError, match=r"a\.txt\.bz2:\d+: the compressed file is damaged or truncated"):
        list(reader(path))


def test_line_that_looks_like_the_head_of_a_bzip2_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("BZh9 is not a word\n")
    assert list(reader(tmp_path / "a.txt")) == ["BZH9 IS NOT A WORD"]


def test_byte_order_mark_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\n")
    assert list(reader(tmp_path / "a.txt", normaliser="none")) == ["a"]


@pytest.mark.parametrize("packed", [False, True])
def test_read_standard_input(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = "\n".join(LINES).encode()
    stream = io.BufferedReader(io.BytesIO(gzip.compress(data) if packed else data))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=stream))
    found = reader(STANDARD_INPUT, alphabet=" 'ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert list(found) == READ[:2]
    assert found.names == "standard input"
    assert found.first_left_out.startswith("standard input:5: 'É' is not in the alphabet")


def test_read_manifest(tmp_path: Path) -> None:
    rows = [Utterance(str(i), f"{i}.wav", 1.0, words) for i, words in enumerate(("a b", "", "c"))]
    path = tmp_path / "rows.jsonl"
    manifest.write(path, rows)
    assert list(reader(path)) == ["A B", "C"]
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(reader(packed)) == ["A B", "C"]
    path.write_text(path.read_text() + "{oops\n")
    with pytest.raises(CorpusError, match=r"rows\.jsonl, line 4: not JSON"):
        list(reader(path))


IDS = [f"19-198-000{i} ROW {'ABCDEFG'[i]}" for i in range(7)]


def test_ids_are_detected_and_removed(tmp_path: Path) -> None:
    path = text(tmp_path, [*IDS, "19-198-0009"])
    found = reader(path)
    assert list(found) == [f"ROW {letter}" for letter in "ABCDEFG"]
    assert found.with_ids == [str(path)]
    found = reader(path, ids=False)
    assert next(iter(found)) == "19 198 0000 ROW A"
    assert found.with_ids == []


@pytest.mark.parametrize(
    "lines",
    [
        IDS[:4],  # too few lines
        [*IDS, IDS[0]],  # one is repeated
        [*IDS, "and so on"],
        ["all-in one", "so-so two", "a-b c", "d-e f", "g-h i"],  # no digits
        ["1 a", "2 b", "3 c", "4 d", "5 e", "6 f"],  # no separators
    ],
)
def test_words_that_may_not_be_ids_are_kept(lines: list[str], tmp_path: Path) -> None:
    path = text(tmp_path, lines)
    found = reader(path, normaliser="none")
    assert list(found) == lines
    assert found.with_ids == []
    assert list(reader(path, normaliser="none", ids=True)) == [line.split(maxsplit=1)[1] for line in lines]


def test_sentences_outside_the_alphabet_are_left_out(tmp_path: Path) -> None:
    path = text(tmp_path, ["a b", "café", "c", "x=1", "½"])
    found = reader(path, alphabet=" ABC")
    assert list(found) == ["A B", "C"]
    assert (found.sentences, found.words, found.characters, found.left_out) == (2, 3, 4, 3)
    assert found.first_left_out == f"{path}:2: 'F' is not in the alphabet ' ABC'"
    with pytest.raises(LmError) as caught:
        list(reader(path, alphabet="Z"))
    assert str(caught.value) == f"{path}:1: 'A' is not in the alphabet 'Z'; all 5 sentences are left out"


def test_unreadable_files(tmp_path: Path) -> None:
    path = text(tmp_path, ["", "…"])
    with pytest.raises(LmError, match=r"a\.txt, .*a\.txt: no sentences$"):
        list(reader(path, path))
    path.write_bytes(b"a\n\n\xff\n")
    with pytest.raises(EncodingError, match=r"a\.txt, line 3: not UTF-8 \(byte 1 is"):
        list(reader(path))
    path.write_bytes(gzip.compress(b"a\n" * 9999)[:-9])
    with pytest.raises(LmError, match=r"a\.txt:\d+: the compressed file is damaged or truncated after this line"):
        list(reader(path))
    row = tmp_path / "rows.jsonl"
    row.write_text('{"id": "a", "audio": "a.wav", "duration": 1, "text": "\\ud800"}\n')
    with pytest.raises(LmError, match=r"rows\.jsonl:1: the text contains an unpaired surrogate"):
        list(reader(row, normaliser="none"))
    with pytest.raises(FileNotFoundError):
        list(reader(tmp_path / "none.txt"))


def test_progress_in_bytes(tmp_path: Path) -> None:
    path = text(tmp_path, ["a"] * 2500)
    seen: list[tuple[int, int]] = []
    size = path.stat().st_size
    assert len(list(TextReader(TextSource((path, path)), lambda done, total: seen.append((done, total))))) == 5000
    assert [total for _, total in seen] == [2 * size] * 4
    assert [done for done, _ in seen] == [2000, 4000, size + 2000, size + 4000]


@settings(deadline=None, max_examples=50)
@given(lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20), max_size=8))
def test_sentences_are_normalised_and_counted(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = text(tmp_path_factory.mktemp("text"), ["a", *lines])
    found = reader(path, ids=False)
    texts = list(found)
    assert all(one == " ".join(one.split()) for one in texts)
    assert (found.sentences, found.words) == (len(texts), sum(len(one.split()) for one in texts))
    assert found.characters == sum(map(len, texts))
    # Normalised sentences are unchanged.
    again = text(tmp_path_factory.mktemp("again"), texts)
    assert list(reader(again, ids=False)) == texts
