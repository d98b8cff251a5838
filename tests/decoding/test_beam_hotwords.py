"""Hotwords: the score of each occurrence, the look-ahead of partial ones, and recall by weight."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.decoding import DecodingError, beam
from asr.decoding.beam import BeamSettings, LmSettings, Scorer, hotwords
from asr.lm.ngram import NgramModel, arpa
from asr.text import ENGLISH, Alphabet
from tests.decoding.test_beam_fusion import ARPA, LETTERS
from tests.decoding.test_greedy import Matrix, enumerate_paths, path, random_log_probs, spoken
from tests.lm.samples import ngram_scores

# As wide as there are prefixes.
WIDE = BeamSettings(5000, np.inf, np.inf, np.inf)
SOLID = Alphabet("AB")


@pytest.fixture(scope="module", params=["<unk>", "no <unk>"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NgramModel:
    """A word model, with and without a probability of its own for unknown words."""
    place = tmp_path_factory.mktemp("lm") / "lm.arpa"
    text = ARPA if request.param == "<unk>" else ARPA.replace("-2.0\t<unk>\t0\n", "").replace("1=6", "1=5")
    place.write_text(text.strip() + "\n", encoding="utf-8")
    return arpa.read(place)


def occurrences(text: str, phrase: str, alphabet: Alphabet) -> int:
    """Count where a phrase stands as whole words, overlapping ones too; without a space, anywhere."""
    whole, part = f" {text} ", f" {phrase} "
    if " " not in alphabet.characters:
        whole, part = text, phrase.replace(" ", "")
    return sum(whole.startswith(part, place) for place in range(len(whole)))


def added(text: str, hot: Mapping[str, float], alphabet: Alphabet = LETTERS) -> float:
    return sum(weight * occurrences(text, " ".join(phrase.split()), alphabet) for phrase, weight in hot.items())


def of_words(text: str, model: NgramModel, weights: LmSettings, hot: Mapping[str, float]) -> float:
    """Return what the word model adds: an unknown hotword is of the lexicon, so it pays no `unknown_score`."""
    words = text.split()
    more = {word for phrase in hot for word in phrase.split()}
    floor = min(ngram_scores(model, [word], begin=False, end=False)[0] for word in ("A", "AB", "BA"))
    # Without <unk> a model would rule out what it does not have; then it has what the rarest word has.
    scores = ngram_scores(model, words)
    total = sum(max(score, floor) if score < -200 else score for score in scores)
    strange = [word for word in words if word not in model.vocabulary and word not in more]
    if strange and weights.lexicon_only:
        return -np.inf
    return weights.lm_weight * total + weights.word_bonus * len(words) + weights.unknown_score * len(strange)


HOT: list[dict[str, float]] = [
    {"A": 1.5},
    {"AB": 3.0},
    {"A B": 2.0},
    {"A B": 2.0, "B A": 1.0},
    {"A": 1.0, "AB": 2.0, "A B": 4.0, "A B A": 0.5},
    {"A A": 2.5, "A": 0.25},
    {" BB  A ": 7.0},
    {"B": -2.0, "BA": 20.0},
    {"A": 0.0},
]


@pytest.mark.parametrize("hot", HOT, ids=str)
def test_scores_equal_enumerated_paths_and_weights(hot: dict[str, float]) -> None:
    log_probs = random_log_probs(len(hot), 6, 4)
    expected = {text: score + added(text, hot) for text, score in enumerate_paths(log_probs, LETTERS).items()}
    found = beam.beam_search(log_probs, LETTERS, WIDE, Scorer(LETTERS, hot=hot))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-9)
    assert {one.text: one.lm_score for one in found} == pytest.approx(
        {text: added(text, hot) for text in expected}, abs=1e-9
    )


@settings(deadline=None, derandomize=True, max_examples=15)
@given(
    st.integers(0, 2**32),
    st.dictionaries(st.from_regex(r"[AB]{1,2}( [AB]{1,2})?", fullmatch=True), st.floats(-5, 20), max_size=4),
)
def test_any_phrases(seed: int, hot: dict[str, float]) -> None:
    log_probs = random_log_probs(seed, 5, 4, impossible=0.1)
    expected = {text: score + added(text, hot) for text, score in enumerate_paths(log_probs, LETTERS).items()}
    found = beam.beam_search(log_probs, LETTERS, WIDE, Scorer(LETTERS, hot=hot))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("hot", [{"A": 2.0}, {"AA": 1.0, "ABA": 3.0, "BA": -1.0}, {"A B": 4.0}], ids=str)
def test_phrase_counts_anywhere_if_the_alphabet_has_no_space(hot: dict[str, float]) -> None:
    log_probs = random_log_probs(5, 7, 3)
    expected = {text: score + added(text, hot, SOLID) for text, score in enumerate_paths(log_probs, SOLID).items()}
    found = beam.beam_search(log_probs, SOLID, WIDE, Scorer(SOLID, hot=hot))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("weights", [LmSettings(0.7, 0.5, -3.0), LmSettings(0.4, 0.0, lexicon_only=True)], ids=str)
@pytest.mark.parametrize("hot", [{"AB": 3.0}, {"B": 2.0, "BB A": 5.0}, {"B B": -1.0}], ids=str)
def test_hotwords_with_a_word_model(weights: LmSettings, hot: dict[str, float], model: NgramModel) -> None:
    log_probs = random_log_probs(3, 6, 4)
    expected = {
        text: score + added(text, hot) + of_words(text, model, weights, hot)
        for text, score in enumerate_paths(log_probs, LETTERS).items()
    }
    expected = {text: score for text, score in expected.items() if score > -np.inf}
    found = beam.beam_search(log_probs, LETTERS, WIDE, Scorer(LETTERS, weights, model, hot))
    assert {one.text: one.score for one in found} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("AB", "AB", 1),
        ("AB A", "AB", 1),
        ("A AB", "AB", 1),
        ("AB AB AB", "AB", 3),
        ("AB AB AB", "AB AB", 2),
        ("ABA", "AB", 0),
        ("BAB", "AB", 0),
        ("A B", "AB", 0),
        ("AB", "A B", 0),
        ("AB A", "AB AB", 0),
        ("A", "AB", 0),
        ("", "AB", 0),
    ],
)
def test_hotword_scores_by_hand(text: str, phrase: str, expected: int) -> None:
    frames = "-".join(text) or "-"
    (best, *_) = beam.beam_search(path(frames, LETTERS, 0.999), LETTERS, scorer=Scorer(LETTERS, hot={phrase: 0.5}))
    assert (best.text, best.lm_score) == (text, 0.5 * expected)


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("frames", ["A-B-A", "A-A", "B-A B-B", "AB", "A-B A"])
def test_lookahead_of_a_partial_word_is_taken_back(frames: str, width: int) -> None:
    hot = {"ABBBB": 4.0, "AB AB AB": 4.0}
    log_probs = path(frames, LETTERS, 0.98)
    plain = beam.beam_search(log_probs, LETTERS, BeamSettings(width))[0]
    found = beam.beam_search(log_probs, LETTERS, BeamSettings(width), Scorer(LETTERS, hot=hot))[0]
    assert (found.text, found.lm_score) == (plain.text, 0.0)
    # A narrow beam keeps other paths with a look-ahead than without.
    assert found.acoustic_score == pytest.approx(plain.acoustic_score, abs=0.02)


def test_unknown_hotword_is_allowed_with_lexicon_only(model: NgramModel) -> None:
    log_probs = path("B-B-A BA", LETTERS, 0.9)
    lexicon_only = LmSettings(0.3, 0.0, lexicon_only=True)
    scorer = Scorer(LETTERS, lexicon_only, model, {"BBA BA": 3.0})
    best = beam.beam_search(log_probs, LETTERS, scorer=scorer)[0]
    assert best.text == "BBA BA"
    assert "BBA" not in beam.beam_search(log_probs, LETTERS, scorer=Scorer(LETTERS, lexicon_only, model))[0].text
    # The same models with other settings have the same hotwords.
    again = beam.beam_search(
        log_probs, LETTERS, scorer=scorer.with_settings(LmSettings(0.0)).with_settings(lexicon_only)
    )[0]
    assert again == best


# --- recall -----------------------------------------------------------------------------------------------------

NAME = "OKONKWO"
ALPHABET = Alphabet(ENGLISH)
TEXTS = [
    "THE LETTER FROM OKONKWO CAME TOO LATE",
    "OKONKWO SAID NOTHING",
    "THEY ASKED FOR OKONKWO",
    "WHO IS OKONKWO AND WHERE IS OKONKWO NOW",
    "THE CONGO IS A RIVER",
    "NO ONE KNOWS THE OWNER OF THE OKRA",
]
WEIGHTS = [0.0, 1.0, 2.0, 4.0, 7.0, 10.0, 14.0, 20.0]


def misheard(text: str, seed: int) -> Matrix:
    """Return log-probabilities of a text in which characters of the name resemble others or none."""
    random = np.random.default_rng(seed)
    log_probs = spoken(text, ALPHABET, seed, (9.0, 12.0))
    frames = np.flatnonzero(log_probs.argmax(axis=1))
    for place in range(len(text)):
        if text.startswith(NAME, place):
            for letter in random.choice(len(NAME), 2, replace=False):
                row = log_probs[frames[place + letter]]
                row[random.choice([0, *ALPHABET.encode("ACEU")])] = row.max() + random.uniform(0.2, 6.0)
    normalised: Matrix = log_probs - np.logaddexp.reduce(log_probs, axis=1, keepdims=True)
    return normalised


def others(text: str) -> list[str]:
    return [word for word in text.split() if word in set(" ".join(TEXTS).split()) - {NAME}]


@pytest.mark.parametrize("width", [10, 100])
def test_recall_rises_with_the_weight_without_harming_other_words(width: int) -> None:
    cases = [(text, misheard(text, seed)) for seed in range(3) for text in TEXTS]
    recalls = []
    for weight in WEIGHTS:
        scorer = Scorer(ALPHABET, hot={NAME: weight})
        found = [beam.beam_search(row, ALPHABET, BeamSettings(width), scorer, 1)[0].text for _, row in cases]
        recalls.append([text.split().count(NAME) for text in found])
        for (text, _), hypothesis in zip(cases, found, strict=True):
            assert others(hypothesis) == others(text), weight
            assert len(hypothesis.split()) == len(text.split())
            if NAME not in text:
                assert hypothesis == text
    # In each utterance by itself, not only in their sum.
    assert (np.diff(recalls, axis=0) >= 0).all()
    totals = np.sum(recalls, axis=1)
    assert totals[0] < 0.3 * totals[-1]
    assert totals[-1] == sum(text.split().count(NAME) for text, _ in cases)
    assert len(set(totals.tolist())) >= 4


@pytest.mark.parametrize("weight", [5.0, 20.0, 40.0])
def test_lookahead_does_not_prune_better_words(weight: float) -> None:
    # The other word shares most characters with the hotword, and so most of its look-ahead, until they differ.
    log_probs = spoken("THE KATALOGUPHOTIC ORDER", ALPHABET, 1, (14.0, 16.0))
    row = log_probs[np.flatnonzero(log_probs.argmax(axis=1))[4]]
    row[ALPHABET.encode("C")] = row[ALPHABET.encode("K")] - 1.0
    found = beam.beam_search(log_probs, ALPHABET, scorer=Scorer(ALPHABET, hot={"CATALOGUEENTRY": weight}))
    assert [one.text for one in found[:2]] == ["THE KATALOGUPHOTIC ORDER", "THE CATALOGUPHOTIC ORDER"]
    assert [one.lm_score for one in found[:2]] == [0.0, 0.0]


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hot", "message"),
    [
        ({"": 1.0}, "a hotword is empty"),
        ({" \t": 1.0}, "a hotword is empty"),
        ({"A": np.nan}, "hotword 'A': the weight nan is not finite"),
        ({"A": np.inf}, "hotword 'A': the weight inf is not finite"),
        ({"AC": 1.0}, "hotword 'AC': 'C' is not in the alphabet ' AB'"),
        ({"ab": 1.0}, "hotword 'ab': 'a' is not in the alphabet ' AB'"),
    ],
)
def test_invalid_hotwords_are_errors(hot: dict[str, float], message: str) -> None:
    with pytest.raises(DecodingError, match=message):
        Scorer(LETTERS, hot=hot)


def test_too_many_hotwords_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hotwords, "_LARGEST", 100)
    with pytest.raises(DecodingError, match="30 hotwords are too many"):
        hotwords.build_of_words({f"W{i}": 1.0 for i in range(30)}, {f"W{i}": i for i in range(30)}, 30)


def test_no_hotwords_add_nothing() -> None:
    log_probs = random_log_probs(1, 30, 4)
    assert beam.beam_search(log_probs, LETTERS, scorer=Scorer(LETTERS, hot={})) == beam.beam_search(log_probs, LETTERS)
