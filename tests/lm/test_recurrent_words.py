"""The recurrent language model of words: its vocabulary, its probabilities, its training and its file."""

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
    UNKNOWN,
    LmFileSettings,
    RnnLmSettings,
    RnnLmTraining,
    Vocabulary,
    WordLm,
    scoring,
)
from asr.lm.recurrent import training as room
from asr.lm.recurrent.words import vocabulary_of
from asr.model import CELLS
from asr.text import Alphabet, TextSettings

SMALL = RnnLmSettings(layers=2, embedding=8, hidden=7, dropout=0.0)
TEXT = TextSettings(normaliser="none", alphabet=" ABC")
KNOWN = Vocabulary(("A", "B", "AB", "BA"), rare=3)
TEXTS = ["A B A", "AB", "", "B C A", "BA BA CC A"]


def make(shape: RnnLmSettings = SMALL, vocabulary: Vocabulary = KNOWN) -> WordLm:
    torch.manual_seed(0)
    return WordLm(vocabulary, Alphabet(" ABC"), shape).eval()


def following(model: WordLm, text: str) -> list[float]:
    """Return the probability of each token after a text."""
    x, _ = model.remember(torch.tensor([[BOUNDARY, *model.encode(text)]]))
    tokens = torch.arange(len(model.vocabulary))
    found: list[float] = model.foretell(x[0, -1].expand(len(tokens), -1), tokens).exp().tolist()
    return found


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("text", ["", "A", "B C A"])
def test_probabilities_sum_to_one_when_each_rare_word_has_its_share(cell: str, text: str) -> None:
    found = following(make(replace(SMALL, cell=cell)), text)
    # Of unknown words there are the three rare ones and one that no text had.
    assert sum(found) + (KNOWN.rare + 1 - 1) * found[UNKNOWN] == pytest.approx(1.0, abs=1e-5)


def test_many_words_are_in_three_parts_and_sum_to_one() -> None:
    model = make(vocabulary=Vocabulary(tuple(f"W{number}" for number in range(8_100))))
    assert model.output.cutoffs == [2_000, 8_000, 8_102]
    with torch.no_grad():
        rows = model.output.log_prob(torch.randn(3, 8))
    assert rows.exp().sum(1).tolist() == pytest.approx([1.0] * 3, abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from(TEXTS), max_size=6), st.sampled_from([1, 16, 2**14]))
def test_a_score_is_that_of_its_words_whatever_is_scored_beside_it(texts: list[str], batch: int) -> None:
    model = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.lm.recurrent.scoring._BATCH", batch)
        patch.setattr("asr.lm.recurrent.scoring._CHUNK", 2)
        found = model.log_probs(texts)
    for text, row in zip(texts, found, strict=True):
        words = text.split()
        ids = [*model.encode(text), BOUNDARY]
        expected = [math.log(following(model, " ".join(words[:n]))[token]) for n, token in enumerate(ids)]
        assert row.tolist() == pytest.approx(expected, abs=1e-5)
    assert model.score(texts) == pytest.approx([float(row.sum()) for row in found], abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.sampled_from(["A", "B", "C"]), max_size=5).map(" ".join), max_size=12), st.booleans())
def test_texts_that_begin_alike_have_the_scores_that_each_has_alone(texts: list[str], of_words: bool) -> None:
    torch.manual_seed(1)
    model = make() if of_words else rnnlm.RnnLm(Alphabet(" ABC"), replace(SMALL, cell="gru")).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.lm.recurrent.scoring._ALIKE", 0.0)
        alone = [model.score([text])[0] for text in texts]
        patch.setattr("asr.lm.recurrent.scoring._ALIKE", 9.0)
        assert model.score(texts) == pytest.approx(alone, abs=1e-5)
        assert model.score(texts[::-1]) == model.score(texts)[::-1]


def test_a_tree_has_a_node_for_each_beginning() -> None:
    # A, AB, ABC, AC and B, each with its end or without: A, AB, ABC, ABC-end, AB-end, AC, AC-end, B, B-end.
    tree = scoring._Tree([[2, 3, 4], [2, 3], [2, 4], [3]])
    assert tree.nodes == 9
    assert scoring._Tree([]).nodes == 0
    assert scoring._Tree([[]]).nodes == 1


def test_words_of_which_nothing_is_known_are_one_token() -> None:
    assert make().encode("A C CC BA") == [2, UNKNOWN, UNKNOWN, 5]
    assert make().score(["A C"]) == make().score(["A CC"])


# --- the vocabulary -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from(["A", "B", "C", "AB", "É"]), max_size=5), min_size=1, max_size=20))
def test_words_are_counted_and_texts_are_their_tokens(texts: list[list[str]]) -> None:
    counts = {word: sum(text.count(word) for text in texts) for word in itertools.chain.from_iterable(texts)}
    frequent = [word for word, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if count >= 2]
    if not frequent:
        with pytest.raises(LmError, match="no word occurs 2 times or more in the train texts"):
            room.count(map(" ".join, texts), 2)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_TOGETHER", 3)
        vocabulary, corpus = room.count(map(" ".join, texts), 2)
    assert list(vocabulary.words) == frequent
    assert vocabulary.rare == len(counts) - len(frequent)
    expected = [[*vocabulary.encode(" ".join(text)), BOUNDARY] for text in texts]
    assert corpus.tokens.tolist() == list(itertools.chain.from_iterable(expected))
    assert corpus.lengths.tolist() == list(map(len, expected))


def test_no_texts_and_vocabularies_that_cannot_be_are_refused() -> None:
    with pytest.raises(LmError, match="no train texts"):
        room.count([], 1)
    with pytest.raises(ValueError, match="'A' stands twice in it"):
        Vocabulary(("A", "B", "A"))
    with pytest.raises(ValueError, match="has no words"):
        vocabulary_of([("A", 1)], 2)
    with pytest.raises(ValueError, match="rare = -1 is not 0 or more"):
        Vocabulary(("A",), -1)
    with pytest.raises(ValueError, match="unit = 'syllable' is not one of character, word"):
        LmFileSettings(unit="syllable")
    with pytest.raises(ValueError, match="vocabulary: of models of words alone"):
        LmFileSettings(vocabulary=("A",))
    with pytest.raises(ValueError, match=r"model\.tied = true: of models of characters alone"):
        LmFileSettings(model=RnnLmSettings(tied=True, embedding=512), unit="word")


# --- training -----------------------------------------------------------------------------------------------------


def sentences(count: int, seed: int) -> list[str]:
    """Return texts of which every second word is what the first one says."""
    random = np.random.default_rng(seed)
    after = {"A": "B", "AB": "BA", "C": "CC"}
    return [" ".join(f"{one} {after[one]}" for one in random.choice(list(after), 3)) for _ in range(count)]


def test_training_learns_what_follows_and_repeats_itself() -> None:
    shape = LmFileSettings(TEXT, replace(SMALL, layers=1, hidden=16, dropout=0.1), unit="word")
    run = RnnLmTraining(epochs=12, streams=8, chunk=8, learning_rate=2e-2)
    found = rnnlm.train(shape, run, sentences(300, 1), sentences(40, 2))
    # Three words by chance of three, three that are sure, and the end.
    assert found.epochs[-1].dev.per_word < 1.1 * 3 ** (3 / 7)
    assert found.epochs[0].dev.per_word > found.epochs[-1].dev.per_word
    again = rnnlm.train(shape, run, iter(sentences(300, 1)), sentences(40, 2))
    assert again.epochs == found.epochs
    with pytest.raises(LmError, match="no dev texts"):
        rnnlm.train(shape, run, sentences(9, 1), [])


# --- the file, and what is measured -------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [32, 8])
def test_a_file_brings_its_vocabulary(bits: int, tmp_path: Path) -> None:
    model, path = make(replace(SMALL, embedding=64, hidden=64)), tmp_path / "lm.safetensors"
    shape = LmFileSettings(TEXT, model.settings, "word")
    rnnlm.save(path, model, shape, {"made": "here"}, bits)
    loaded, contents = rnnlm.load(path)
    assert isinstance(loaded, WordLm) and isinstance(lm.load(path), WordLm)
    assert (loaded.vocabulary, contents.settings) == (KNOWN, shape.of(KNOWN))
    assert loaded.score(TEXTS) == pytest.approx(model.score(TEXTS), abs=1e-5 if bits == 32 else 0.2)


def test_unknown_words_are_told_apart_in_a_perplexity() -> None:
    model = make()
    found = lm.perplexity(model, TEXTS)
    ids = [[*model.encode(text), BOUNDARY] for text in TEXTS]
    values = itertools.chain.from_iterable(row.tolist() for row in model.log_probs(TEXTS))
    pairs = list(zip(itertools.chain.from_iterable(ids), values, strict=True))
    assert (found.sentences, found.words, found.unknown_words, found.unknown_characters) == (5, 11, 2, 3)
    assert found.log_prob == pytest.approx(sum(value for _, value in pairs))
    assert found.unknown_log_prob == pytest.approx(sum(value for token, value in pairs if token == UNKNOWN))
    assert model.perplexity(TEXTS).per_word == pytest.approx(found.per_word)
