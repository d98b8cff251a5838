"""Beam search of phonemes: words by their pronunciations."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pytest

from asr.compiling import interpreted
from asr.decoding import DecodingError, beam
from asr.decoding.beam import BeamSettings, LmSettings, Scorer, decode
from asr.decoding.beam.compiling import Doubles
from asr.decoding.beam.decode import interpreted_finish, interpreted_search
from asr.decoding.beam.lexicon import OUTSIDE, build, descend
from asr.decoding.beam.pruning import Pruning
from asr.decoding.beam.search import begin, finish, leading, search
from asr.lm.ngram import NgramModel
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.text import Alphabet
from tests.decoding.test_beam_hotwords import added
from tests.decoding.test_beam_native import assert_equal
from tests.decoding.test_beam_recurrent import make
from tests.decoding.test_greedy import enumerate_paths, path, random_log_probs
from tests.lm.samples import ngram_scores

PHONEMES = Alphabet(" tuaw")
MODEL = estimate([["GO", "TO", "A"], ["TWO", "TOO"], ["WAH", "TO", "TWO", "A"], ["A", "TWO"]], EstimateSettings(2))
PRONUNCIATIONS: Mapping[str, Sequence[str]] = {
    "TO": ["tu", "ta"],
    "TWO": ["tu"],
    "TOO": ["tu"],
    "A": ["a", "u"],
    "WAH": ["wa"],
    "GO": ["go"],
    "NOT IN THE MODEL": ["t"],
}
SETTINGS = LmSettings(0.8, 0.5, lexicon_only=True)
WIDE = BeamSettings(20_000, np.inf, np.inf, np.inf)
NARROW = Pruning(8, 9.0, 12.0, float(np.log(0.9)))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(PHONEMES, SETTINGS, MODEL, pronunciations=PRONUNCIATIONS)


def lm_score(words: Sequence[str], settings: LmSettings = SETTINGS) -> float:
    return settings.lm_weight * sum(ngram_scores(MODEL, words)) + settings.word_bonus * len(words)


HOT = ({"TO": 2.0}, {"TWO A": 3.0, "TWO": -1.0, "A": 0.5}, {"A TO A": 4.0, "TO A TWO": 1.0, "TOO": 2.5})


def best_texts(log_probs: Doubles) -> dict[str, tuple[float, float]]:
    """Return the acoustic and LM score of each text by its best pronunciation, summed over all CTC paths."""
    words: dict[str, list[str]] = {}
    for word, pronunciations in PRONUNCIATIONS.items():
        for pronunciation in pronunciations:
            if word in MODEL.vocabulary and not PHONEMES.unknown(pronunciation):
                words.setdefault(pronunciation, []).append(word)
    texts: dict[str, tuple[float, float]] = {}
    for phonemes, acoustic in enumerate_paths(log_probs, PHONEMES).items():
        for sequence in product(*(words.get(each, []) for each in phonemes.split())):
            text, scores = " ".join(sequence), (acoustic, lm_score(sequence))
            if sum(scores) > sum(texts.get(text, (-np.inf, 0.0))):
                texts[text] = scores
    return texts


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_enumerated_paths_and_the_model(seed: int, scorer: Scorer) -> None:
    log_probs = random_log_probs(seed, 6, len(PHONEMES), impossible=0.1 * (seed % 2))
    expected = best_texts(log_probs)
    found = beam.beam_search(log_probs, PHONEMES, WIDE, scorer)
    assert {one.text: one.acoustic_score for one in found} == pytest.approx(
        {text: acoustic for text, (acoustic, _) in expected.items()}, abs=1e-6
    )
    assert {one.text: one.lm_score for one in found} == pytest.approx(
        {text: score for text, (_, score) in expected.items()}, abs=1e-6
    )
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len(found) == len({one.text for one in found})


@pytest.mark.parametrize("hot", HOT, ids=str)
def test_hotwords_are_words_and_not_their_homophones(hot: dict[str, float]) -> None:
    log_probs = random_log_probs(len(hot), 7, len(PHONEMES))
    scorer = Scorer(PHONEMES, SETTINGS, MODEL, hot, PRONUNCIATIONS)
    expected = {text: lm + added(text, hot) for text, (_, lm) in best_texts(log_probs).items()}
    found = beam.beam_search(log_probs, PHONEMES, WIDE, scorer)
    assert {one.text: one.lm_score for one in found} == pytest.approx(expected, abs=1e-6)
    assert any(added(text, hot) for text in expected)


def test_a_hotword_wins_against_its_homophones(scorer: Scorer) -> None:
    for word in ("TO", "TWO", "TOO"):
        hot = Scorer(PHONEMES, SETTINGS, MODEL, {word: 8.0}, PRONUNCIATIONS)
        assert beam.beam_search(path("a tu ", PHONEMES, 0.999), PHONEMES, BeamSettings(5), hot)[0].text == f"A {word}"


OUTSIDE_WORDS = {**PRONUNCIATIONS, "TAWU": ["tawu"], "TUT": ["tut", "ta"], "WU": ["wu"]}
OUTSIDE_HOT = {"TAWU": 4.0, "TUT A": 5.0, "WU": 6.0}


def test_hotwords_outside_the_model_are_unknown_words() -> None:
    scorer = Scorer(PHONEMES, SETTINGS, MODEL, OUTSIDE_HOT, OUTSIDE_WORDS)
    for phonemes, text in (("a tawu ", "A TAWU"), ("tut a", "TUT A"), ("a wu a", "A WU A")):
        found = beam.beam_search(path(phonemes, PHONEMES, 0.9999), PHONEMES, BeamSettings(50), scorer)[0]
        log_prob = scorer.log_probs([text])[0]
        expected = SETTINGS.lm_weight * log_prob + SETTINGS.word_bonus * len(text.split()) + added(text, OUTSIDE_HOT)
        assert found.text == text
        assert found.lm_score == pytest.approx(expected)


def test_hotwords_outside_the_model_in_the_extension() -> None:
    scorer = Scorer(PHONEMES, SETTINGS, MODEL, OUTSIDE_HOT, OUTSIDE_WORDS)
    for seed in range(6):
        assert_equal(random_log_probs(seed, 40, len(PHONEMES)), NARROW, scorer)


@pytest.mark.parametrize(("words", "phonemes"), [("WAH TO TWO A", "wa-tu-tu-a-"), ("A TWO", "a- -tu-")])
def test_the_language_model_chooses_among_homophones(words: str, phonemes: str, scorer: Scorer) -> None:
    spaced = phonemes if " " in phonemes else phonemes.replace("-", " ")
    found = beam.beam_search(path(spaced, PHONEMES, 0.999), PHONEMES, scorer=scorer)
    assert found[0].text == words
    assert found[0].lm_score == pytest.approx(lm_score(words.split()))


def test_homophones_of_the_last_word_are_alternatives(scorer: Scorer) -> None:
    for phonemes in ("a tu", "a tu "):
        found = beam.beam_search(path(phonemes, PHONEMES, 0.9999), PHONEMES, scorer=scorer, count=3)
        assert found[0].text == "A TWO"
        assert {one.text for one in found} == {"A TO", "A TWO", "A TOO"}
        assert len({one.acoustic_score for one in found}) == 1


def test_a_word_may_have_two_pronunciations(scorer: Scorer) -> None:
    texts = {beam.beam_search(path(each, PHONEMES, 0.999), PHONEMES, scorer=scorer)[0].text for each in ("a", "u")}
    assert texts == {"A"}
    assert beam.beam_search(path("wa ta a", PHONEMES, 0.999), PHONEMES, scorer=scorer)[0].text == "WAH TO A"


def test_an_unfinished_last_word_is_dropped(scorer: Scorer) -> None:
    found = beam.beam_search(path("a tu w", PHONEMES, 0.9999), PHONEMES, BeamSettings(2), scorer)
    assert found[0].text == "A TWO"
    assert found[0].score > -np.inf


def test_text_has_the_likeliest_unfinished_word(scorer: Scorer) -> None:
    searched = beam.BeamSearch(PHONEMES, scorer=scorer)
    texts = []
    for phoneme in "wa tu ":
        searched.extend(path(phoneme, PHONEMES, 0.9999))
        texts.append(searched.text)
    # TWO is more frequent than TO, but not after WAH.
    assert texts == ["", "WAH", "WAH", "WAH", "WAH TWO", "WAH TO"]
    assert searched.stable.split() == ["WAH"]


@pytest.mark.parametrize("width", [1, 3, 30])
def test_parts_give_the_result_of_the_whole_and_stable_words_stay(width: int, scorer: Scorer) -> None:
    longest = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        log_probs = random_log_probs(seed, 40, len(PHONEMES)) * random.choice([1.0, 4.0])
        searched, stable = beam.BeamSearch(PHONEMES, BeamSettings(width), scorer), list[str]()
        for part in np.split(log_probs, np.sort(random.integers(0, 41, 8))):
            searched.extend(part)
            words = searched.stable.split()
            for text in (searched.text, searched.hypotheses(1)[0].text):
                assert text.split()[: len(words)] == words
            assert words[: len(stable)] == stable
            stable = words
        longest = max(longest, len(stable))
        assert searched.hypotheses() == beam.beam_search(log_probs, PHONEMES, BeamSettings(width), scorer)
    assert longest > 3


def test_as_many_different_texts_as_asked_for(scorer: Scorer) -> None:
    log_probs = random_log_probs(3, 12, len(PHONEMES))
    found = beam.beam_search(log_probs, PHONEMES, scorer=scorer)
    assert beam.beam_search(log_probs, PHONEMES, scorer=scorer, count=7) == found[:7]
    assert len({one.text for one in found[:7]}) == 7


@pytest.mark.skipif(not beam.search_is_native(), reason="asr was installed without a C++ compiler")
@pytest.mark.parametrize("pruning", [NARROW, Pruning(300, np.inf, np.inf, np.inf)])
def test_extension_and_compiled_reference_agree(
    pruning: Pruning, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "native", None)
    beam.compile_search()
    monkeypatch.undo()
    for seed in range(12):
        frames = (0, 1, 7, 40)[seed % 4]
        assert_equal(random_log_probs(seed, frames, len(PHONEMES), 0.1 * (seed % 3)), pruning, scorer)
        hot = Scorer(PHONEMES, SETTINGS, MODEL, HOT[seed % len(HOT)], PRONUNCIATIONS)
        assert_equal(random_log_probs(seed, frames, len(PHONEMES), 0.1 * (seed % 3)), pruning, hot)
    assert_equal(np.full((3, len(PHONEMES)), -np.inf), pruning, scorer)


def test_compiled_and_interpreted_reference_agree(scorer: Scorer) -> None:
    fusion = scorer.fusion
    for seed in range(5):
        matrix = random_log_probs(seed, 12, len(PHONEMES))
        slow_state = interpreted_search(begin(fusion), matrix, NARROW, fusion)
        fast_state = search(begin(fusion), matrix, NARROW, fusion)
        *texts, final = interpreted(leading)(slow_state, fusion, False)
        *same, count = leading(fast_state, fusion, False)
        assert ([each.tolist() for each in texts], final) == ([each.tolist() for each in same], count)
        slow, fast = interpreted_finish(slow_state, fusion), finish(fast_state, fusion)
        assert [each.tolist() for each in slow[:3]] == [each.tolist() for each in fast[:3]]
        assert slow.acoustic == pytest.approx(fast.acoustic, rel=1e-12)
        assert slow.lm == pytest.approx(fast.lm, rel=1e-12)


def test_lexicon_nodes_have_their_homophones_with_the_likeliest_first() -> None:
    nodes, words = build(MODEL, PHONEMES, pronunciations=PRONUNCIATIONS)
    t, u = PHONEMES.encode("tu")
    before = descend(nodes, 0, t)
    node = descend(nodes, before, u)
    ended = words[nodes["first_word"][node] : nodes["first_word"][node + 1]]
    assert {MODEL.words[word] for word in ended} == {"TO", "TWO", "TOO"}
    log_probs = MODEL.unigram_log_probs(ended.astype(np.int64))
    assert log_probs.tolist() == sorted(log_probs, reverse=True)
    assert nodes["best"][[before, node]] == pytest.approx(log_probs[0], rel=1e-6)
    assert nodes["first_word"][before] == nodes["first_word"][before + 1]
    assert "GO" not in {MODEL.words[word] for word in words}
    assert len(words) == 7
    assert OUTSIDE not in words


def test_other_settings_share_the_pronunciations(scorer: Scorer) -> None:
    settings = LmSettings(0.1, -1.0, lexicon_only=True)
    log_probs = random_log_probs(5, 20, len(PHONEMES))
    fresh = Scorer(PHONEMES, settings, MODEL, pronunciations=PRONUNCIATIONS)
    changed = scorer.with_settings(settings)
    assert beam.beam_search(log_probs, PHONEMES, scorer=changed) == beam.beam_search(log_probs, PHONEMES, scorer=fresh)
    with pytest.raises(DecodingError, match="lexicon_only"):
        scorer.with_settings(LmSettings())


CHARACTERS = estimate([list("TO▁A")], EstimateSettings(2))


@pytest.mark.parametrize(
    ("settings", "lm", "hot", "pronunciations", "message"),
    [
        (SETTINGS, None, {}, PRONUNCIATIONS, "need a word n-gram model"),
        (SETTINGS, CHARACTERS, {}, PRONUNCIATIONS, "need a word n-gram model"),
        (LmSettings(), MODEL, {}, PRONUNCIATIONS, "need lexicon_only = true"),
        (SETTINGS, MODEL, {"TWO B": 1.0}, PRONUNCIATIONS, "hotword 'TWO B': 'B' has no pronunciation"),
        (SETTINGS, MODEL, {"TWO": np.inf}, PRONUNCIATIONS, "hotword 'TWO': the weight inf is not finite"),
        (SETTINGS, MODEL, {" ": 1.0}, PRONUNCIATIONS, "a hotword is empty"),
        (SETTINGS, MODEL, {}, {}, "no word of the language model has a pronunciation"),
        (SETTINGS, MODEL, {}, {"TO": ["xu", ""], "A": ["a a"], "GONE": ["t"]}, "no word of the language model"),
    ],
)
def test_what_does_not_fit_pronunciations_is_an_error(
    settings: LmSettings,
    lm: NgramModel | None,
    hot: Mapping[str, float],
    pronunciations: Mapping[str, Sequence[str]],
    message: str,
) -> None:
    with pytest.raises(DecodingError, match=message):
        Scorer(PHONEMES, settings, lm, hot, pronunciations)


def test_a_recurrent_model_cannot_have_pronunciations() -> None:
    with pytest.raises(DecodingError, match="need a word n-gram model"):
        Scorer(PHONEMES, SETTINGS, make("gru", PHONEMES), pronunciations=PRONUNCIATIONS)
