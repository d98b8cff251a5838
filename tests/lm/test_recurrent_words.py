"""The recurrent word model: its vocabulary, probabilities, training and file."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import lm
from asr.lm import LmError
from asr.lm import recurrent as rnnlm
from asr.lm.recurrent import (
    BOUNDARY,
    LmFileSettings,
    RnnLm,
    RnnLmSettings,
    training,
)
from asr.lm.recurrent.model import PrefixTree
from asr.lm.recurrent.network import RnnLmNetwork
from asr.lm.recurrent.training import RnnLmTraining
from asr.lm.recurrent.vocabulary import UNKNOWN_TOKEN, Vocabulary, build_vocabulary
from asr.model import CELLS
from asr.text import Alphabet, TextSettings

SMALL = RnnLmSettings(layers=2, embedding=8, hidden=7, dropout=0.0)
TEXT = TextSettings(normaliser="none", alphabet=" ABC")
KNOWN = Vocabulary(("A", "B", "AB", "BA"), rare=3)
TEXTS = ["A B A", "AB", "", "B C A", "BA BA CC A"]


def make_network(shape: RnnLmSettings = SMALL, vocabulary: Vocabulary | None = KNOWN) -> RnnLmNetwork:
    torch.manual_seed(0)
    return RnnLmNetwork(Alphabet(" ABC"), shape, vocabulary).eval()


def make(shape: RnnLmSettings = SMALL, vocabulary: Vocabulary | None = KNOWN) -> RnnLm:
    return make_network(shape, vocabulary).inference()


def following(model: RnnLmNetwork, text: str) -> list[float]:
    """Return the probability of each token after a text."""
    x, _ = model.hidden(torch.tensor([[BOUNDARY, *KNOWN.encode(text)]]))
    tokens = torch.arange(len(KNOWN))
    probs: list[float] = model.log_probs(x[0, -1].expand(len(tokens), -1), tokens).exp().tolist()
    return probs


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("text", ["", "A", "B C A"])
def test_probabilities_sum_to_one_with_all_unknown_words(cell: str, text: str) -> None:
    model = make_network(replace(SMALL, cell=cell))
    probs = following(model, text)
    # The unknown words are the three rare words and one unseen word.
    assert sum(probs) + KNOWN.rare * probs[UNKNOWN_TOKEN] == pytest.approx(1.0, abs=1e-5)
    log_probs, _ = model(torch.tensor([[BOUNDARY, *KNOWN.encode(text)]]))
    probs[UNKNOWN_TOKEN] *= KNOWN.rare + 1
    assert log_probs[0, -1].exp().tolist() == pytest.approx(probs, abs=1e-6)


def test_probabilities_of_a_large_vocabulary_sum_to_one() -> None:
    model = make(vocabulary=Vocabulary(tuple(f"W{number}" for number in range(8_100))))
    log_probs, _ = model.step(model.initial_state(3), np.array([BOUNDARY, 2, 8_101]))
    assert log_probs.shape == (3, 8_102)
    assert np.exp(log_probs).sum(axis=1).tolist() == pytest.approx([1.0] * 3, abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from(TEXTS), max_size=6), st.sampled_from([1, 16, 2**14]))
def test_score_is_the_sum_of_its_words_in_any_batch(texts: list[str], batch: int) -> None:
    model = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.lm.recurrent.model._BATCH", batch)
        patch.setattr("asr.lm.recurrent.model._CHUNK", 2)
        found = model.token_log_probs(texts)
    for text, row in zip(texts, found, strict=True):
        words = text.split()
        ids = [*model.encode(text), BOUNDARY]
        expected = [math.log(following(make_network(), " ".join(words[:n]))[token]) for n, token in enumerate(ids)]
        assert row.tolist() == pytest.approx(expected, abs=1e-5)
    assert model.score(texts) == pytest.approx([float(row.sum()) for row in found], abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.sampled_from(["A", "B", "C"]), max_size=5).map(" ".join), max_size=12), st.booleans())
def test_scores_by_a_prefix_tree_are_those_of_single_texts(texts: list[str], of_words: bool) -> None:
    model = make() if of_words else make(replace(SMALL, cell="gru"), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.lm.recurrent.model._MAX_DISTINCT", 0.0)
        alone = [model.score([text])[0] for text in texts]
        patch.setattr("asr.lm.recurrent.model._MAX_DISTINCT", 9.0)
        assert model.score(texts) == pytest.approx(alone, abs=1e-5)
        assert model.score(texts[::-1]) == model.score(texts)[::-1]


def test_prefix_tree_has_a_node_for_each_prefix() -> None:
    # A, AB, ABC, AC and B, with and without the end: A, AB, ABC, ABC-end, AB-end, AC, AC-end, B, B-end.
    assert len(PrefixTree([[2, 3, 4], [2, 3], [2, 4], [3]])) == 9
    assert len(PrefixTree([])) == 0
    assert len(PrefixTree([[]])) == 1


def test_unknown_words_are_one_token() -> None:
    assert make().encode("A C CC BA") == [2, UNKNOWN_TOKEN, UNKNOWN_TOKEN, 5]
    assert make().score(["A C"]) == make().score(["A CC"])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from(["A", "B", "C", "AB", "É"]), max_size=5), min_size=1, max_size=20))
def test_encode_words(texts: list[list[str]]) -> None:
    counts = {word: sum(text.count(word) for text in texts) for word in itertools.chain.from_iterable(texts)}
    frequent = [word for word, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if count >= 2]
    if not frequent:
        with pytest.raises(LmError, match="no word occurs at least 2 times in the train texts"):
            training.encode_words(map(" ".join, texts), 2)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_BLOCK", 3)
        vocabulary, corpus = training.encode_words(map(" ".join, texts), 2)
    assert list(vocabulary.words) == frequent
    assert vocabulary.rare == len(counts) - len(frequent)
    expected = [[*vocabulary.encode(" ".join(text)), BOUNDARY] for text in texts]
    assert corpus.tokens.tolist() == list(itertools.chain.from_iterable(expected))
    assert corpus.lengths.tolist() == list(map(len, expected))


def test_invalid_texts_vocabularies_and_settings() -> None:
    with pytest.raises(LmError, match="no train texts"):
        training.encode_words([], 1)
    with pytest.raises(ValueError, match="'A' is repeated"):
        Vocabulary(("A", "B", "A"))
    with pytest.raises(ValueError, match="has no words"):
        build_vocabulary([("A", 1)], 2)
    with pytest.raises(ValueError, match="rare = -1 is not 0 or more"):
        Vocabulary(("A",), -1)
    with pytest.raises(ValueError, match="unit = 'syllable' is not one of character, word"):
        LmFileSettings(unit="syllable")
    with pytest.raises(ValueError, match="vocabulary: only word models have a vocabulary"):
        LmFileSettings(vocabulary=("A",))
    with pytest.raises(ValueError, match=r"model\.tied = true: only character models can be tied"):
        LmFileSettings(model=RnnLmSettings(tied=True, embedding=512), unit="word")


def sentences(count: int, seed: int) -> list[str]:
    """Return texts whose every second word is determined by the word before it."""
    random = np.random.default_rng(seed)
    after = {"A": "B", "AB": "BA", "C": "CC"}
    return [" ".join(f"{one} {after[one]}" for one in random.choice(list(after), 3)) for _ in range(count)]


def test_training_learns_word_pairs_and_is_repeatable() -> None:
    shape = LmFileSettings(TEXT, replace(SMALL, layers=1, hidden=16, dropout=0.1), unit="word")
    run = RnnLmTraining(epochs=12, streams=8, chunk=8, learning_rate=2e-2)
    found = training.train(shape, run, sentences(300, 1), sentences(40, 2))
    # Three words of three equally likely ones, three words that are certain, and the end.
    assert found.epochs[-1].dev.per_word < 1.1 * 3 ** (3 / 7)
    assert found.epochs[0].dev.per_word > found.epochs[-1].dev.per_word
    again = training.train(shape, run, iter(sentences(300, 1)), sentences(40, 2))
    assert again.epochs == found.epochs
    with pytest.raises(LmError, match="no dev texts"):
        training.train(shape, run, sentences(9, 1), [])


def test_bfloat16_training_is_close_to_float32() -> None:
    shape = LmFileSettings(TEXT, replace(SMALL, layers=1, hidden=16, dropout=0.0), unit="word")
    run = RnnLmTraining(epochs=4, streams=8, chunk=8, learning_rate=2e-2)
    exact, rounded = (
        training.train(shape, replace(run, precision=precision), sentences(300, 1), sentences(40, 2))
        for precision in ("float32", "bfloat16")
    )
    assert rounded.epochs != exact.epochs
    assert rounded.epochs[-1].dev.per_word == pytest.approx(exact.epochs[-1].dev.per_word, rel=0.05)
    assert all(tensor.dtype == torch.float32 for tensor in rounded.model.state_dict().values())


@pytest.mark.parametrize("bits", [32, 8])
def test_round_trip_with_vocabulary(bits: int, tmp_path: Path) -> None:
    network, path = make_network(replace(SMALL, embedding=64, hidden=64)), tmp_path / "lm.safetensors"
    model = network.inference()
    shape = LmFileSettings(TEXT, model.settings, "word")
    rnnlm.save(tmp_path / "exact", network, shape, {"made": "here"})
    rnnlm.pack(path, tmp_path / "exact", bits)
    loaded, contents = rnnlm.load(path)
    opened = lm.load(path)
    assert isinstance(opened, RnnLm) and loaded.unit == opened.unit == "word"
    assert (loaded.vocabulary, contents.settings) == (KNOWN, replace(shape, vocabulary=KNOWN.words, rare=KNOWN.rare))
    assert loaded.score(TEXTS) == pytest.approx(model.score(TEXTS), abs=1e-5 if bits == 32 else 0.2)


def test_perplexity_counts_unknown_words() -> None:
    model = make()
    found = lm.perplexity(model, TEXTS)
    ids = [[*model.encode(text), BOUNDARY] for text in TEXTS]
    values = itertools.chain.from_iterable(row.tolist() for row in model.token_log_probs(TEXTS))
    pairs = list(zip(itertools.chain.from_iterable(ids), values, strict=True))
    assert (found.sentences, found.words, found.unknown_words, found.unknown_characters) == (5, 11, 2, 3)
    assert found.log_prob == pytest.approx(sum(value for _, value in pairs))
    assert found.unknown_log_prob == pytest.approx(sum(value for token, value in pairs if token == UNKNOWN_TOKEN))
    assert model.perplexity(TEXTS).per_word == pytest.approx(found.per_word)
