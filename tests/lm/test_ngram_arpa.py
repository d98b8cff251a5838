"""ARPA files: a round trip gives the same model, and errors name the line."""

import gzip
import math
import re
from pathlib import Path

import numpy as np
import pytest

from asr.lm import LmError, load
from asr.lm.ngram import NgramModel, arpa, binary, packed
from asr.lm.ngram.estimate import EstimateSettings, estimate
from tests.conftest import ROOT
from tests.lm.samples import TINY, ngram_scores, sentences


def same(left: NgramModel, right: NgramModel) -> bool:
    return (
        left.words == right.words
        and left.counts == right.counts
        and all(np.array_equal(a, b) for a, b in zip(left.arrays, right.arrays, strict=True))
    )


def read(tmp_path: Path, text: str | bytes) -> NgramModel:
    path = tmp_path / "lm.arpa"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return arpa.read(path)


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_round_trip_gives_the_same_model(name: str, order: int, tmp_path: Path) -> None:
    model = estimate([*sentences(200, "abcdé"), ["no\u00a0break", "界"]], EstimateSettings(order=order))
    path = tmp_path / name
    arpa.write(path, model)
    first = path.read_bytes()
    again = arpa.read(path)
    assert same(model, again)
    arpa.write(path, again)
    assert path.read_bytes() == first
    assert (first[:2] == b"\x1f\x8b") == (path.suffix == ".gz")


def test_read_lines_in_any_order_with_any_white_space(tmp_path: Path) -> None:
    lines = TINY.split("\n")
    start = lines.index("\\2-grams:") + 1
    lines[start : start + 4] = [line.replace(" ", "\t") + "\r" for line in reversed(lines[start : start + 4])]
    assert same(read(tmp_path, TINY), read(tmp_path, "made by hand\n\n" + "\n".join(lines)))


def test_read_unk_at_any_line_in_capitals(tmp_path: Path) -> None:
    moved = TINY.replace("-1.5\t<unk>\n", "").replace("-0.7\tb\t-0.2\n", "-0.7\tb\t-0.2\n-1.5\t<UNK>\n")
    assert same(read(tmp_path, TINY), read(tmp_path, moved))


def test_read_entry_without_its_suffix(tmp_path: Path) -> None:
    # Pruned models drop "a b" and keep "<s> a b".
    text = TINY.replace("ngram 2=4", "ngram 2=3").replace("-0.35\ta b\t-0.15\n", "")
    text = text.replace("ngram 3=2", "ngram 3=1").replace("-0.15\ta b a\n", "")
    model = read(tmp_path, text)
    assert [p / np.log(10) for p in ngram_scores(model, ["a", "b"])] == pytest.approx([-0.25, -0.05, -0.55])


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("\\data\\", "data", 24, "without a line \\data\\"),
        ("ngram 1=5\nngram 2=4\nngram 3=2\n", "", 4, "expected counts"),
        ("ngram 2=4\n", "", 4, "the count of order 2 is missing"),
        ("ngram 2=4", "ngram 2=5", 20, "the header says 5 entries of order 2, but there are 4"),
        ("ngram 2=4", "ngram 2=3", 18, "more entries than the header says"),
        ("\\2-grams:", "\\4-grams:", 14, "expected '\\\\2-grams:', not '\\\\4-grams:'"),
        ("-0.35\ta b", "-0.3.5\ta b", 16, "the log-probability '-0.3.5' is not a number"),
        ("-0.35\ta b", "nan\ta b", 16, "the log-probability 'nan' is not a number"),
        ("-0.35\ta b", "0.35\ta b", 16, "the log-probability '0.35' is positive"),
        ("a b\t-0.15", "a b\tx", 16, "the back-off 'x' is not a number"),
        ("a b\t-0.15", "a\t-0.15", 16, "the word '-0.15' is not among the unigrams"),
        ("a b\t-0.15", "a", 16, "2 fields; a line of order 2"),
        ("a b\t-0.15", "a z\t-0.15", 16, "the word 'z' is not among the unigrams"),
        ("-0.45\tb a", "-0.45\ta b", 17, "this n-gram is repeated"),
        ("-0.7\tb", "-0.7\ta", 12, "the unigram 'a' is repeated"),
        ("a b a", "b b a", 22, "the context of this n-gram is not an entry"),
        ("a b a", "a b a\t-0.5", 22, "the back-off '-0.5' is not allowed at the highest order"),
        ("\\end\\\n", "\\end\\\nmore\n", 25, "unexpected 'more' after '\\\\end\\\\'"),
        ("\n\\end\\\n", "", 22, "the file ends before '\\\\end\\\\'"),
        ("-0.15\ta b a\n\n\\end\\\n", "", 21, "the file ends after 1 of 2 entries of order 3"),
        ("\n\\1-grams:", "", 7, "expected '\\\\1-grams:'"),
    ],
)
def test_read_damaged_file_names_the_line(old: str, new: str, line: int, problem: str, tmp_path: Path) -> None:
    assert old in TINY
    with pytest.raises(LmError) as caught:
        read(tmp_path, TINY.replace(old, new, 1))
    assert str(caught.value).startswith(f"{tmp_path / 'lm.arpa'}:{line}: ")
    assert problem in str(caught.value)


def test_read_without_sentence_marker(tmp_path: Path) -> None:
    text = "\\data\\\nngram 1=2\n\n\\1-grams:\n-1 <s>\n-1 a\n\n\\end\\\n"
    with pytest.raises(LmError, match="no unigram </s>"):
        read(tmp_path, text)


def test_read_word_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(LmError, match=r"arpa:12: .*not UTF-8"):
        read(tmp_path, TINY.encode().replace(b"-0.7\tb", b"-0.7\t\xff"))


@pytest.mark.parametrize("cut", [5, 40, -12, -3])
def test_read_truncated_gzip(cut: int, tmp_path: Path) -> None:
    with pytest.raises(LmError, match=r"lm.arpa:\d+: the compressed file is damaged or truncated"):
        read(tmp_path, gzip.compress(TINY.encode())[:cut])


def test_read_truncated_file(tmp_path: Path) -> None:
    whole = TINY.encode().rstrip()
    for length in range(0, len(whole), 3):
        with pytest.raises(LmError, match=r"lm.arpa:\d+: "):
            read(tmp_path, whole[:length])


KENLM = ROOT / "tests" / "saved" / "kenlm"


def recorded(name: str) -> list[float]:
    """Return KenLM's total log10 probability of each of sentences.txt (see the README.md there)."""
    return [float(total) for total in re.findall(r"Total: (\S+) ", (KENLM / name).read_text())]


def totals(model: NgramModel) -> list[float]:
    lines = (KENLM / "sentences.txt").read_text().splitlines()
    return [model.perplexity([line]).log_prob / math.log(10) for line in lines]


def test_backoffs_count_below_an_order_without_entries() -> None:
    model = arpa.read(KENLM / "empty-order.arpa")
    assert totals(model) == pytest.approx(recorded("empty-order.txt"), abs=1e-5)
    assert model.counts == (5, 4, 0)


def test_minus_infinity_is_the_logarithm_of_zero() -> None:
    found, expected = totals(arpa.read(KENLM / "infinite.arpa")), recorded("infinite.txt")
    finite = [index for index, value in enumerate(expected) if math.isfinite(value)]
    # KenLM keeps -inf; with a finite number, a weight of 0 gives 0.
    assert len(finite) == 4 and expected[1] == -math.inf
    assert [found[index] for index in finite] == pytest.approx([expected[index] for index in finite], abs=1e-5)
    assert -200 < found[1] < -99


def test_minus_infinity_as_a_back_off_is_the_logarithm_of_zero(tmp_path: Path) -> None:
    # KenLM refuses the file.
    text = (KENLM / "infinite.arpa").read_text().replace("the cat\t-0.6", "the cat\t-inf")
    found = totals(read(tmp_path, text))
    assert found[0] == pytest.approx(-0.4 - 0.7 - 0.9 - 99 - 1.0, abs=1e-4)


@pytest.mark.parametrize("name", ["lm.arpa", "lm.bin", "packed"])
def test_an_empty_order_is_written_and_read(name: str, tmp_path: Path) -> None:
    model = arpa.read(KENLM / "empty-order.arpa")
    path = tmp_path / name
    {"lm.arpa": arpa.write, "lm.bin": binary.write, "packed": packed.write}[name](path, model)
    again = binary.load(path)
    assert totals(again) == pytest.approx(recorded("empty-order.txt"), abs=0.05 if name == "packed" else 1e-5)


def test_a_blank_line_does_not_move_the_lines_of_messages(tmp_path: Path) -> None:
    text = (KENLM / "empty-order.arpa").read_text()
    with pytest.raises(LmError, match=r"lm\.arpa:12: the log-probability 'x' is not a number"):
        read(tmp_path, text.replace("-1.1\tcat", "x\tcat"))
    with pytest.raises(LmError, match=r"lm\.arpa:14: the header says 6 entries of order 1, but there are 5"):
        read(tmp_path, text.replace("ngram 1=5", "ngram 1=6"))


def test_a_binary_file_of_kenlm_is_named(tmp_path: Path) -> None:
    (tmp_path / "lm.bin").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(100))
    with pytest.raises(LmError, match=r"lm\.bin: a binary file of KenLM, which cannot be read; give the ARPA file"):
        load(tmp_path / "lm.bin")
