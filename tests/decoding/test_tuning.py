"""Tuning on constructed utterances with known best settings."""

from dataclasses import replace

import numpy as np
import pytest

from asr import lm
from asr.decoding.decoder import GREEDY, Decoder, DecoderSettings, LanguageModels
from asr.decoding.tuning import DevSet, Trial, TrialRunner, search, trial_count, tune
from asr.decoding.tuning.search import BONUSES, FEW_BONUSES, FEW_WEIGHTS, WEIGHTS
from asr.lm.ngram import NgramModel
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.recurrent import RnnLm
from asr.text import Alphabet
from tests.decoding.test_greedy import Matrix, path

ALPHABET = Alphabet(" ABCD")
SENTENCES = [["AB", "CD"], ["CD", "AB", "AB"], ["AB", "AB"], ["CD", "CD", "AB"]] * 5


def model() -> NgramModel:
    return estimate(SENTENCES, EstimateSettings(2))


def character_model() -> NgramModel:
    return estimate(
        map(lm.characters, map(" ".join, SENTENCES)), EstimateSettings(4, vocabulary=lm.characters(" ABCD"))
    )


def noisy(text: str, wrong: str, frames: int, probability: float = 0.5) -> Matrix:
    """Return log-probabilities of a text of which a wrong one is, in some frames, a little likelier."""
    matrix = np.exp(path("-".join(text) + "-", ALPHABET, 0.9))
    rows = [place for place in range(0, len(matrix), 2) if wrong[place // 2] != text[place // 2]][:frames]
    for place in rows:
        matrix[place] = 0.01
        matrix[place, ALPHABET.encode(wrong[place // 2])[0]] = probability
        matrix[place, ALPHABET.encode(text[place // 2])[0]] = 0.96 - probability
    log_probs: Matrix = np.log(matrix / matrix.sum(axis=1, keepdims=True))
    return log_probs


def dev(pairs: list[tuple[str, str]]) -> DevSet:
    return DevSet([noisy(text, wrong, 9) for text, wrong in pairs], [text for text, _ in pairs], 10.0, 0.03)


MISHEARD = [("AB CD", "AB CC"), ("CD AB", "CB AB"), ("AB AB", "AB AB"), ("CD CD AB", "CD AD AB")]


def test_helpful_language_model_gets_a_positive_weight() -> None:
    trials: list[Trial] = []
    found = tune(
        TrialRunner(dev(MISHEARD), ALPHABET, LanguageModels(model()), trials.append), DecoderSettings(lm="words.arpa")
    )
    assert found.greedy.settings == GREEDY
    assert (found.greedy.total_errors, found.best.total_errors) == (3, 0)
    assert not found.settings.greedy
    assert found.settings.weights.lm_weight > 0
    assert found.settings.lm == "words.arpa"
    assert found.settings.temperature > 0
    assert len(found.grid) == len(WEIGHTS) * len(BONUSES)
    assert abs(len(trials) - trial_count(LanguageModels(model()))) < 20
    rate = found.improvement()
    assert rate.value == pytest.approx(3 / 9) and rate.low >= 0
    again = Decoder(ALPHABET, 0.03, found.settings, LanguageModels(model()))
    assert [again.decode(row)[0].text for row in dev(MISHEARD).rows] == [text for text, _ in MISHEARD]


def test_character_model_takes_fewer_trials() -> None:
    trials: list[Trial] = []
    models = LanguageModels(character_model())
    found = tune(TrialRunner(dev(MISHEARD), ALPHABET, models, trials.append), DecoderSettings(lm="letters.arpa"))
    assert (found.greedy.total_errors, found.best.total_errors) == (3, 0)
    assert found.settings.weights.lm_weight > 0
    assert {one.settings.weights.unknown_score for one in trials} == {DecoderSettings().weights.unknown_score}
    assert len(trials) <= trial_count(LanguageModels(character_model())) < trial_count(LanguageModels(model())) / 2
    widths = [one.settings.search.beam_width for one in found.searches]
    assert widths[-1] == 100 and widths[:-1] == sorted(widths[:-1])
    assert found.best.total_errors <= found.searches[-1].total_errors


def test_useless_character_model_leaves_the_greedy_decoder() -> None:
    found = tune(TrialRunner(dev([("AB CD", "AB CD"), ("CD", "CD")]), ALPHABET, LanguageModels(character_model())))
    assert found.settings == GREEDY


def test_coarse_grid_is_part_of_the_full_grid() -> None:
    assert set(FEW_WEIGHTS) <= set(WEIGHTS)
    assert set(FEW_BONUSES) <= set(BONUSES)


def test_slow_models_are_tuned_on_a_part_and_compared_on_the_whole_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FEW_WORDS", 9)
    monkeypatch.setattr(search, "MORE_WORDS", 18)
    trials: list[Trial] = []
    data = dev(MISHEARD * 5)
    found = tune(TrialRunner(data, ALPHABET, LanguageModels(character_model()), trials.append))
    assert (found.best.total_errors, found.best.words, found.greedy.words) == (0, 45, 45)
    assert {one.words for one in trials[1 : 1 + len(FEW_WEIGHTS) * len(FEW_BONUSES)]} == {9}
    # Twenty utterances, every second of them.
    assert {len(one.errors) for one in found.grid} == {10}
    assert {len(one.errors) for one in found.searches} == {20}


def test_subset_is_spread_over_the_set() -> None:
    runner = TrialRunner(dev(MISHEARD * 5), ALPHABET, LanguageModels())
    assert runner.subset(45) is runner and runner.subset(23) is runner
    assert runner.subset(9).run(GREEDY).errors == runner.run(GREEDY).errors[::5]


def test_settings_no_better_than_greedy_are_not_chosen() -> None:
    found = tune(TrialRunner(dev([("AB CD", "AB CD"), ("CD", "CD")]), ALPHABET, LanguageModels(model())))
    assert found.settings == GREEDY
    assert found.best.total_errors == found.greedy.total_errors == 0


def test_tuning_without_language_model() -> None:
    found = tune(TrialRunner(dev(MISHEARD), ALPHABET))
    assert found.grid == ()
    assert found.best.total_errors <= found.greedy.total_errors


class Teacher(RnnLm):
    """A rescorer that knows the texts."""

    def __init__(self, texts: list[str]) -> None:
        self.alphabet, self._texts, self.asked = ALPHABET, texts, 0

    def score(self, texts: object) -> list[float]:
        assert isinstance(texts, list)
        self.asked += len(texts)
        return [0.0 if text in self._texts else -20.0 for text in texts]


def test_rescorer_scores_each_text_once_and_is_dropped_if_useless() -> None:
    teacher = Teacher([text for text, _ in MISHEARD])
    found = tune(
        TrialRunner(dev(MISHEARD), ALPHABET, LanguageModels(rescorer=teacher)),
        DecoderSettings(rescorer="r.safetensors"),
    )
    assert found.best.total_errors == 0 and found.settings.rescorer_weight > 0 and found.settings.rescorer
    assert teacher.asked < 5000
    useless = Teacher([])
    found = tune(
        TrialRunner(dev(MISHEARD), ALPHABET, LanguageModels(model(), useless)),
        DecoderSettings(rescorer="r.safetensors"),
    )
    assert found.settings.rescorer_weight == 0 and found.settings.rescorer == ""


def test_other_settings_of_the_base_are_kept() -> None:
    base = DecoderSettings()
    base = replace(base, weights=replace(base.weights, lexicon_only=True))
    assert tune(TrialRunner(dev(MISHEARD), ALPHABET, LanguageModels(model())), base).settings.weights.lexicon_only


def test_lexicon_only_tunes_the_unknown_score_for_any_word() -> None:
    trials: list[Trial] = []
    base = replace(DecoderSettings(), weights=replace(DecoderSettings().weights, lexicon_only=True))
    found = tune(TrialRunner(dev(MISHEARD), ALPHABET, LanguageModels(model()), trials.append), base).settings
    opened = [one for one in trials if not one.settings.greedy and not one.settings.weights.lexicon_only]
    assert found.weights.lexicon_only
    assert {one.settings.weights.unknown_score for one in opened} == {
        DecoderSettings().weights.unknown_score,
        *search.UNKNOWN_SCORES,
    }
    best = min(opened, key=lambda one: one.total_errors)
    assert found.weights.unknown_score == best.settings.weights.unknown_score
