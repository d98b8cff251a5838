"""Loading of all kinds of language models, and their perplexity."""

import gzip
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import lm
from asr.lm import LmError, Perplexity, TextReader, TextSource
from asr.lm import recurrent as rnnlm
from asr.lm.ngram import NgramModel, arpa, binary, is_character_model
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.ngram.model import LOG_10
from asr.lm.recurrent import RnnLm, RnnLmSettings
from asr.lm.recurrent.network import RnnLmNetwork
from asr.text import Alphabet, TextError, TextSettings
from tests.lm.samples import TINY, ngram_scores

SHAPE = RnnLmSettings(cell="gru", layers=1, embedding=4, hidden=5)
TEXTS = ["AB BA", "A", "BBAB A", "BA AB"]


def network() -> RnnLmNetwork:
    torch.manual_seed(1)
    return RnnLmNetwork(Alphabet(" AB"), SHAPE)


def recurrent() -> RnnLm:
    return network().inference()


def reader(folder: Path, *texts: str, normaliser: str = "none") -> TextReader:
    path = folder / "text"
    path.write_text("\n".join(texts), encoding="utf-8")
    return TextReader(TextSource((path,), normaliser))


@pytest.fixture
def words() -> NgramModel:
    return estimate([text.split() for text in TEXTS], EstimateSettings(order=2))


@pytest.fixture
def letters() -> NgramModel:
    return estimate(map(lm.characters, TEXTS), EstimateSettings(order=3, vocabulary=lm.characters(" AB")))


def refuse(path: Path) -> NoReturn:
    raise AssertionError(f"{path} is written")


def test_load_by_content(words: NgramModel, tmp_path: Path) -> None:
    arpa.write(tmp_path / "lm.arpa", words)
    (tmp_path / "named-otherwise").write_bytes(gzip.compress((tmp_path / "lm.arpa").read_bytes()))
    binary.write(tmp_path / "compact", words)
    built: list[Path] = []
    for name in ("lm.arpa", "named-otherwise", "compact"):
        found = lm.load(tmp_path / name, built.append)
        assert isinstance(found, NgramModel)
        assert ngram_scores(found, ["AB"]) == pytest.approx(ngram_scores(words, ["AB"]))
    assert built == [tmp_path / "lm.arpa.bin", tmp_path / "named-otherwise.bin"]
    lm.load(str(tmp_path / "lm.arpa"), refuse)
    model = recurrent()
    for name in ("lm.safetensors", "rnn"):
        rnnlm.save(tmp_path / name, network(), rnnlm.LmFileSettings(TextSettings("none", " AB"), SHAPE), {})
        found = lm.load(tmp_path / name, refuse)
        assert isinstance(found, RnnLm)
        assert found.score(TEXTS) == model.score(TEXTS)


def test_load_of_other_files(tmp_path: Path) -> None:
    with pytest.raises(LmError, match=r"none: no such file; expected a language model: \.arpa, "):
        lm.load(tmp_path / "none")
    with pytest.raises(LmError, match="is a folder; expected a language model"):
        lm.load(tmp_path)
    path = tmp_path / "text"
    for content in (b"", b"hello\n", b"\x1f\x8b", gzip.compress(b"hello")):
        path.write_bytes(content)
        with pytest.raises(LmError, match="text:"):
            lm.load(path)
    (tmp_path / "x.safetensors").write_bytes(b"hello")
    with pytest.raises(LmError, match=r"x\.safetensors: not a safetensors file"):
        lm.load(tmp_path / "x.safetensors")


def test_tokens_by_word_and_character(tmp_path: Path) -> None:
    assert list(lm.tokens(reader(tmp_path, "a bc", "d"), "word")) == [["a", "bc"], ["d"]]
    assert list(lm.tokens(reader(tmp_path, "a bc", "d"), "character")) == [["a", "▁", "b", "c"], ["d"]]
    with pytest.raises(LmError, match=r"text:2: </s> marks the end of a sentence"):
        list(lm.tokens(reader(tmp_path, "a", "b </s> c"), "word"))


def test_read_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("the\n\nit’s\n")
    assert lm.read_vocabulary(path, "upper") == ["THE", "IT'S"]
    path.write_text("the\nice cream\n")
    with pytest.raises(LmError, match=r"words:2: 'ICE CREAM' is not a word; the file has one word per line"):
        lm.read_vocabulary(path, "upper")


def test_perplexity_of_a_word_model_by_hand(tmp_path: Path) -> None:
    (tmp_path / "tiny.arpa").write_text(TINY, encoding="utf-8")
    found = lm.perplexity(lm.load(tmp_path / "tiny.arpa"), ["a b", "a xyz b", "<s>"])
    # An unknown word empties the context, and a marker inside a sentence is unknown.
    first, unknown, marker = 0.25 + 0.05 + 0.15 + 0.55, 0.1 + 0.3 + 1.5, 0.4 + 1.5
    rest = 0.25 + 0.7 + 0.55 + 0.8
    log_prob = -LOG_10 * (first + unknown + marker + rest)
    assert (found.sentences, found.words, found.characters) == (3, 6, 3 + 7 + 3)
    assert (found.unknown_words, found.unknown_characters) == (2, 6)
    assert found.unknown_rate == pytest.approx(1 / 3)
    assert found.log_prob == pytest.approx(log_prob, rel=1e-5)
    assert found.unknown_log_prob == pytest.approx(-LOG_10 * (unknown + marker), rel=1e-5)
    assert found.per_word == pytest.approx(math.exp(-log_prob / 9), rel=1e-5)
    assert found.per_character == pytest.approx(math.exp(-log_prob / 16), rel=1e-5)
    assert found.per_known_word == pytest.approx(10 ** ((first + rest) / 7), rel=1e-5)
    assert found.per_known_character == pytest.approx(10 ** ((first + rest) / 10), rel=1e-5)


def test_perplexity_of_a_character_model_counts_whole_unknown_words(letters: NgramModel) -> None:
    assert is_character_model(letters)
    found = lm.perplexity(letters, ["AB AXX B", "ÉÉ"])
    assert (found.words, found.unknown_words, found.unknown_characters) == (4, 2, 5)
    log_probs = ngram_scores(letters, lm.characters("AB AXX B")) + ngram_scores(letters, ["É", "É"])
    # Tokens 3 to 5 are AXX, tokens 9 and 10 ÉÉ.
    assert found.unknown_log_prob == pytest.approx(sum(log_probs[3:6]) + sum(log_probs[9:11]))
    assert found.log_prob == pytest.approx(sum(log_probs))


def test_perplexity_of_a_recurrent_model_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = recurrent()
    expected = model.perplexity(TEXTS)
    monkeypatch.setattr("asr.lm.models._BATCH", 3)
    found = lm.perplexity(model, iter(TEXTS))
    assert (found.sentences, found.words, found.characters) == (4, 7, 17)
    assert found.log_prob == pytest.approx(expected.log_prob)
    assert found.per_word == found.per_known_word == pytest.approx(expected.per_word)
    assert found.per_character == pytest.approx(expected.per_character)
    with pytest.raises(TextError, match="'Z' is not in the alphabet"):
        lm.perplexity(model, ["AZ"])


def test_perplexity_of_no_sentences(words: NgramModel) -> None:
    for model in (words, recurrent()):
        with pytest.raises(LmError, match="no sentences"):
            lm.perplexity(model, [])


def test_perplexity_too_large_for_a_float_is_infinite() -> None:
    worst = Perplexity(1, 0, 0, 0, 0, -1e6, 0.0)
    assert (worst.per_word, worst.unknown_rate) == (math.inf, 0.0)
    assert replace(worst, log_prob=0.0).per_character == 1.0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("ABX ", max_size=9).map(lambda text: " ".join(text.split())), min_size=1, max_size=8))
def test_perplexity_counts_in_any_order_of_texts(texts: list[str]) -> None:
    draw = random.Random(1)
    known = [" ".join("".join(draw.choices("AB", k=draw.randint(1, 3))) for _ in range(3)) for _ in range(9)]
    for cut in (str.split, lm.characters):
        model = estimate(map(cut, known), EstimateSettings(order=2))
        found = lm.perplexity(model, texts)
        assert found.words == sum(len(text.split()) for text in texts)
        assert found.characters == sum(map(len, texts))
        assert 0 <= found.unknown_words <= found.words
        assert found.unknown_characters <= found.characters
        assert found.log_prob <= found.unknown_log_prob <= 0
        assert found.unknown_words >= sum("X" in word for text in texts for word in text.split())
        assert found.log_prob == pytest.approx(lm.perplexity(model, texts[::-1]).log_prob)
