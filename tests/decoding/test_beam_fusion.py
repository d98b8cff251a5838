"""Beam search with a word n-gram model, against enumerated paths and the model's own scores."""

from pathlib import Path

import numpy as np
import pytest

from asr.decoding import beam
from asr.decoding.beam import EXACT, BeamSettings, LmSettings, Scorer, lexicon
from asr.decoding.beam.lexicon import OUTSIDE, build, descend
from asr.lm.ngram import NgramModel, arpa
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.text import Alphabet
from tests.decoding.test_greedy import Matrix, enumerate_paths, path, random_log_probs
from tests.lm.samples import ngram_scores

LETTERS = Alphabet(" AB")
ARPA = r"""
\data\
ngram 1=6
ngram 2=5

\1-grams:
-2.0	<unk>	0
-99	<s>	-0.3
-0.6	</s>	0
-0.7	A	-0.2
-0.9	AB	-0.4
-1.1	BA	-0.1

\2-grams:
-0.2	<s> A
-0.5	A AB
-1.5	A </s>
-0.1	AB BA
-0.3	BA </s>

\end\
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    place = tmp_path_factory.mktemp("lm") / "lm.arpa"
    place.write_text(ARPA.strip() + "\n", encoding="utf-8")
    return arpa.read(place)


def share(model: NgramModel, text: str, settings: LmSettings) -> float:
    """Return what the model adds to a text, from its own scores."""
    words = text.split()
    unknown = sum(word not in model.vocabulary for word in words)
    if unknown and settings.lexicon_only:
        return -np.inf
    return (
        settings.lm_weight * sum(ngram_scores(model, words))
        + settings.word_bonus * len(words)
        + (settings.unknown_score * unknown if unknown else 0.0)
    )


CASES = [
    LmSettings(0.5, 0.0, -1.0),
    LmSettings(1.5, 2.0, -3.0),
    LmSettings(0.0, 0.0, 0.0),
    LmSettings(2.0, -1.0, 4.0),
    LmSettings(0.7, 0.5, lexicon_only=True),
]


@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_enumerated_paths_and_the_model(seed: int, settings: LmSettings, model: NgramModel) -> None:
    log_probs = random_log_probs(seed, 6, 4, impossible=0.1 * (seed % 2))
    expected = {
        text: score + share(model, text, settings) for text, score in enumerate_paths(log_probs, LETTERS).items()
    }
    expected = {text: score for text, score in expected.items() if score > -np.inf}
    lm = Scorer(LETTERS, settings, model)
    found = beam.beam_search(log_probs, LETTERS, BeamSettings(5000, np.inf, np.inf, np.inf), lm)
    if not expected:
        assert [(one.text, one.score) for one in found] == [("", -np.inf)]
        return
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-6)
    assert found[0].score == max(one.score for one in found)


def noisy(text: str, probability: float) -> Matrix:
    return path(text, LETTERS, probability)


@pytest.mark.parametrize("weights", [None, *CASES], ids=str)
def test_parts_give_the_result_of_the_whole_and_stable_words_stay(
    weights: LmSettings | None, model: NgramModel
) -> None:
    scorer = Scorer(LETTERS, weights, model) if weights else Scorer(LETTERS)
    seen = set()
    for seed in range(20):
        random = np.random.default_rng(seed)
        log_probs = random_log_probs(seed, 40, 4) * random.choice([1.0, 4.0])
        limits = BeamSettings(int(random.integers(1, 30)))
        search, stable = beam.BeamSearch(LETTERS, limits, scorer), ""
        for part in np.split(log_probs, np.sort(random.integers(0, 41, 8))):
            search.extend(part)
            for text in (search.text, search.stable, search.hypotheses(1)[0].text):
                assert text.split()[: len(search.stable.split())] == search.stable.split()
            assert search.stable.split()[: len(stable.split())] == stable.split()
            stable = search.stable
            seen.add(stable)
        assert search.hypotheses() == beam.beam_search(log_probs, LETTERS, limits, scorer)
    assert len(seen) > 3


def test_model_word_wins_over_slightly_better_acoustics(model: NgramModel) -> None:
    log_probs = noisy("A-B-B-", 0.96)
    log_probs[4, :] = np.log([0.40, 0.02, 0.08, 0.50])
    plain = beam.beam_search(log_probs, LETTERS, EXACT)
    guided = beam.beam_search(log_probs, LETTERS, EXACT, Scorer(LETTERS, LmSettings(1.0, 0.0, -2.0), model))
    assert plain[0].text == "ABB"
    assert guided[0].text == "AB"


def test_lookahead_keeps_a_likely_word_in_a_narrow_beam(model: NgramModel) -> None:
    # Two prefixes: what begins no word of the model is held against it before the word ends.
    log_probs = np.log(np.array([[0.02, 0.02, 0.44, 0.52], [0.02, 0.02, 0.02, 0.94]]))
    lm = Scorer(LETTERS, LmSettings(1.0, 0.0, -8.0), model)
    assert beam.beam_search(log_probs, LETTERS, BeamSettings(1, np.inf, np.inf, np.inf), lm)[0].text == "AB"


def test_lexicon_only_allows_only_its_words(model: NgramModel) -> None:
    lm = Scorer(LETTERS, LmSettings(0.1, 0.0, lexicon_only=True), model)
    for seed in range(20):
        found = beam.beam_search(random_log_probs(seed, 40, 4), LETTERS, BeamSettings(50), lm)
        assert {word for one in found for word in one.text.split()} <= {"A", "AB", "BA"}


def test_lexicon_only_drops_an_unfinished_last_word(model: NgramModel) -> None:
    lm = Scorer(LETTERS, LmSettings(0.1, 0.0, lexicon_only=True), model)
    found = beam.beam_search(path("A-B- -B-", LETTERS, 0.999), LETTERS, BeamSettings(2), lm)
    assert [one.text for one in found] == ["AB"]
    assert found[0].score > -np.inf
    assert found[0].lm_score == pytest.approx(share(model, "AB", lm.settings))


def test_word_model_rejects_an_alphabet_without_space(model: NgramModel) -> None:
    with pytest.raises(ValueError, match="needs a space in the alphabet"):
        Scorer(Alphabet("AB"), lm=model)


def test_lexicon_nodes_have_words_and_best_log_probs(model: NgramModel) -> None:
    nodes, words = build(model, LETTERS)
    a, b = LETTERS.encode("AB")
    first = descend(nodes, 0, a)
    both = descend(nodes, first, b)
    assert [model.words[words[nodes["first_word"][node]]] for node in (first, both)] == ["A", "AB"]
    only_b = descend(nodes, 0, b)
    assert nodes["first_word"][only_b] == nodes["first_word"][only_b + 1]
    assert descend(nodes, both, a) == descend(nodes, OUTSIDE, a) == OUTSIDE
    ln = np.log(10)
    assert nodes["best"][[0, first, both]] == pytest.approx([-0.7 * ln, -0.7 * ln, -0.9 * ln])


def test_lexicon_leaves_out_words_outside_the_alphabet(tmp_path: Path) -> None:
    place = tmp_path / "lm.arpa"
    place.write_text(ARPA.strip().replace("BA", "Bé") + "\n", encoding="utf-8")
    assert len(build(arpa.read(place), LETTERS).nodes) == 4


def test_words_that_are_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = estimate([["AB", "AABB", "B"]], EstimateSettings(1))
    monkeypatch.setattr(lexicon, "_LONGEST", 3)
    nodes, words = build(model, LETTERS)
    assert {model.words[word] for word in words} == {"AB", "B"} and len(nodes) == 1 + 3 + 1


@pytest.mark.parametrize("penalty", [-5.0, -18.0, -25.0])
def test_unknown_word_keeps_its_characters_at_any_unknown_score(penalty: float, model: NgramModel) -> None:
    log_probs = noisy("A-B B-B-A-A-B A-", 0.99999)
    log_probs = np.maximum(log_probs, -50.0)
    scorer = Scorer(LETTERS, LmSettings(1.0, 0.0, penalty), model)
    found = beam.beam_search(log_probs, LETTERS, scorer=scorer)[0]
    # Each letter that is left out costs more than it is to stay unknown.
    assert found.text == "AB BBAAB A"
    assert found.score == pytest.approx(share(model, found.text, scorer.settings), abs=0.01)
