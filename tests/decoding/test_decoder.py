"""Decoders: settings, rescoring, words with times and confidences, and batches."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.config import ConfigError
from asr.decoding import DecodingError, GreedyDecoder, best_path, decoder
from asr.decoding.alignment import LogProbs
from asr.decoding.beam import EXACT, BeamSettings, LmSettings, Scorer, beam_search
from asr.decoding.decoder import GREEDY, Decoder, DecoderConfig, DecoderSettings, LanguageModels
from asr.decoding.priors import PriorSettings
from asr.lm import LmError, espeak
from asr.lm import recurrent as rnnlm
from asr.lm.ngram import NgramModel, arpa
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.recurrent import RnnLm
from asr.lm.recurrent.network import RnnLmNetwork
from asr.text import ENGLISH, Alphabet, TextSettings
from asr.text.pronunciations import Pronunciations
from asr.transcripts.records import Hypothesis, Word
from tests.decoding.test_beam_recurrent import SHAPE, make
from tests.decoding.test_greedy import Matrix, path, random_log_probs, spoken
from tests.lm.samples import ngram_scores

LETTERS = Alphabet(" AB")
SECONDS = 0.04
SEARCH = DecoderSettings(search=EXACT)
TEXTS = ["A B", "AB BA A", "BA", "", "B AB", "AB AB AB", "A", "BB A BA"]


def words_model() -> NgramModel:
    return estimate([text.split() for text in TEXTS], EstimateSettings(order=2))


def two_texts() -> Matrix:
    """Return log-probabilities of "A B", 0.6, and "A A", 0.4, and of nothing else."""
    with np.errstate(divide="ignore"):
        log_probs: Matrix = np.log(np.array([[0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0.4, 0.6]]))
    return log_probs


# --- hypotheses -------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(["A", "B", "AB", "BBA"]), max_size=5))
def test_greedy_and_beam_agree_on_clear_input(seed: int, said: list[str]) -> None:
    text = " ".join(said)
    log_probs = spoken(text, LETTERS, seed, (14.0, 16.0))
    (one,) = DecoderConfig().build(LETTERS, SECONDS).decode(log_probs, count=3, words=True)
    other = Decoder(LETTERS, SECONDS, SEARCH).decode(log_probs, words=True)[0]
    assert one.text == other.text == text
    assert [(word.text, word.start, word.end) for word in one.words] == [
        (word.text, word.start, word.end) for word in other.words
    ]
    assert all(word.confidence > 0.9 for word in (*one.words, *other.words))
    assert replace(one, words=()) == best_path(log_probs, LETTERS)


@pytest.mark.parametrize("count", [1, 3, 1000])
@pytest.mark.parametrize("words", [False, True])
def test_hypotheses_are_ordered_and_the_best_has_words(count: int, words: bool) -> None:
    log_probs, model = random_log_probs(4, 20, 4), words_model()
    weights = LmSettings(0.4, 0.2)
    found = Decoder(
        LETTERS, SECONDS, replace(SEARCH, weights=weights), LanguageModels(model, hotwords={"AB": 1.0})
    ).decode(log_probs, count, words)
    expected = beam_search(log_probs, LETTERS, EXACT, Scorer(LETTERS, weights, model, {"AB": 1.0}), count)
    assert [replace(one, words=()) for one in found] == expected
    assert [bool(one.words) for one in found] == [words] + [False] * (len(expected) - 1)


def test_rescoring_reorders_as_computed_by_hand() -> None:
    model = next(one for one in (make(seed=seed) for seed in range(20)) if np.diff(one.score(["A B", "A A"])) > 0.1)
    first, second = model.score(["A B", "A A"])
    turning = math.log(0.6 / 0.4) / (second - first)
    for weight, best in ((0.9 * turning, "A B"), (1.1 * turning, "A A"), (0.0, "A B")):
        with_rescorer = Decoder(
            LETTERS, SECONDS, replace(SEARCH, rescorer_weight=weight), LanguageModels(rescorer=model)
        )
        found = with_rescorer.decode(two_texts(), count=2)
        assert found[0].text == best
        scores = {"A B": math.log(0.6) + weight * first, "A A": math.log(0.4) + weight * second}
        assert {one.text: one.score for one in found} == pytest.approx(scores)
        assert {one.text: one.acoustic_score for one in found} == pytest.approx(
            {"A B": math.log(0.6), "A A": math.log(0.4)}
        )
        # All hypotheses are rescored, though one is requested.
        assert with_rescorer.decode(two_texts()) == found[:1]


def test_rescoring_adds_to_the_lm_score_of_the_search() -> None:
    model, recurrent, log_probs = words_model(), make("lstm"), random_log_probs(6, 12, 4)
    setting = replace(SEARCH, weights=LmSettings(0.5, 0.3), rescorer_weight=0.8)
    before = Decoder(LETTERS, SECONDS, setting, LanguageModels(model)).decode(log_probs, 1000)
    expected = {
        one.text: one.score + 0.8 * score
        for one, score in zip(before, recurrent.score([one.text for one in before]), strict=True)
    }
    after = Decoder(LETTERS, SECONDS, setting, LanguageModels(model, recurrent)).decode(log_probs, 1000)
    assert {one.text: one.score for one in after} == pytest.approx(expected)
    assert [one.text for one in after] == sorted(expected, key=lambda text: -expected[text])


def test_rescoring_lm_scale_keeps_bonuses() -> None:
    model, recurrent, log_probs = words_model(), make("lstm"), random_log_probs(6, 12, 4)
    setting = replace(SEARCH, weights=LmSettings(0.5, 0.3), rescorer_weight=0.8, rescoring_lm_scale=0.25)
    before = Decoder(LETTERS, SECONDS, setting, LanguageModels(model, hotwords={"AB": 1.0})).decode(log_probs, 1000)
    texts = [one.text for one in before]
    lm_scores = [sum(ngram_scores(model, text.split())) for text in texts]
    scores = [one.score for one in before]
    rows = zip(texts, scores, lm_scores, recurrent.score(texts), strict=True)
    expected = {text: score - 0.75 * 0.5 * less + 0.8 * more for text, score, less, more in rows}
    after = Decoder(LETTERS, SECONDS, setting, LanguageModels(model, recurrent, {"AB": 1.0})).decode(log_probs, 1000)
    assert {one.text: one.score for one in after} == pytest.approx(expected)
    assert [one.text for one in after] == sorted(expected, key=lambda text: -expected[text])


def test_rescorer_with_zero_weight_is_not_run() -> None:
    class Silent(RnnLm):
        def __init__(self) -> None:
            self.alphabet = LETTERS

        def score(self, texts: object) -> list[float]:
            raise AssertionError(texts)

    silent = Silent()
    log_probs, model = random_log_probs(6, 12, 4), words_model()
    setting = replace(SEARCH, rescorer_weight=0.0)
    expected = Decoder(LETTERS, SECONDS, setting, LanguageModels(model)).decode(log_probs, 5)
    assert Decoder(LETTERS, SECONDS, setting, LanguageModels(model, silent)).decode(log_probs, 5) == expected


def test_search_rescores_the_best_hundred_texts() -> None:
    setting = replace(SEARCH, search=replace(EXACT, beam_width=500), rescorer_weight=0.5)
    log_probs, recurrent = random_log_probs(6, 12, 4), make("lstm")
    every = Decoder(LETTERS, SECONDS, replace(setting, rescorer_weight=0.0)).decode(log_probs, 1000)
    found = Decoder(LETTERS, SECONDS, setting, LanguageModels(rescorer=recurrent)).search(log_probs)
    assert len(every) > 100 and found.hypotheses == every[:100]
    assert found.rescorer == pytest.approx(recurrent.score([one.text for one in every[:100]]))
    assert list(found.lm) == [0.0] * 100


def test_rescoring_lm_scale_one_does_not_score_texts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def said(scorer: Scorer, texts: list[str]) -> list[float]:
        asked.append(scale)
        return [0.0] * len(texts)

    monkeypatch.setattr(Scorer, "log_probs", said)
    models = LanguageModels(words_model(), make("lstm"))
    for scale in (1.0, 0.5):
        setting = replace(SEARCH, rescorer_weight=0.5, rescoring_lm_scale=scale)
        Decoder(LETTERS, SECONDS, setting, models).decode(random_log_probs(6, 12, 4))
    assert asked == [0.5]


@pytest.mark.parametrize(
    "models", [LanguageModels(make(alphabet=Alphabet("AB"))), LanguageModels(rescorer=make(alphabet=Alphabet("AB")))]
)
def test_model_of_another_alphabet_is_an_error(models: LanguageModels) -> None:
    with pytest.raises(DecodingError, match="alphabet is 'AB', the acoustic model's ' AB'"):
        Decoder(LETTERS, SECONDS, SEARCH, models)


# --- words ------------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.integers(0, 25),
    st.sampled_from([0.0, 0.3, 0.6]),
    st.booleans(),
    st.sampled_from([" AB", "AB"]),
)
def test_words_are_ordered_within_the_audio(
    seed: int, frames: int, impossible: float, by_path: bool, characters: str
) -> None:
    alphabet = Alphabet(characters)
    log_probs = random_log_probs(seed, frames, len(alphabet), impossible)
    setting = GREEDY if by_path else DecoderSettings(search=BeamSettings(8))
    best = DecoderConfig(setting).build(alphabet, SECONDS).decode(log_probs, words=True)[0]
    assert [word.text for word in best.words] == best.text.split()
    times = [time for word in best.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert all(word.start < word.end for word in best.words)
    assert not times or (times[0] >= 0 and times[-1] <= frames * SECONDS + 1e-9)
    assert all(0 <= word.confidence <= 1 for word in best.words)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_confidence_is_the_share_of_hypotheses_times_acoustic_evidence(temperature: float) -> None:
    best = Decoder(LETTERS, 0.5, replace(SEARCH, temperature=temperature)).decode(two_texts(), words=True)[0]
    shares = np.array([0.6, 0.4]) ** (1 / temperature)
    first, second = best.words
    assert [(word.text, word.start, word.end) for word in best.words] == [("A", 0.0, 0.5), ("B", 1.0, 1.5)]
    assert first.confidence == pytest.approx(1.0)
    # The network gives B a probability of 0.6.
    assert second.confidence == pytest.approx(0.6 * shares[0] / shares.sum())


def test_greedy_confidence_is_the_models_posterior() -> None:
    (best,) = DecoderConfig().build(LETTERS, 0.5).decode(path("AB-", LETTERS, 0.7), words=True)
    assert best.words[0].confidence == pytest.approx(0.7)


# --- what is hardly probable ------------------------------------------------------------------------------------

CASES = [
    # A space that is all there can be, before the text and twice within it, where a tidy text has none.
    ([" ", "A"], "A"),
    (["A", " ", "-", " ", "B"], "A B"),
    (["A", " ", "-", " "], "A"),
    (["A"], "A"),
    ([" "], ""),
    ([], ""),
]


@pytest.mark.parametrize("by_path", [True, False])
@pytest.mark.parametrize(("frames", "text"), CASES)
def test_certain_frames(frames: list[str], text: str, by_path: bool) -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.eye(4)[["- AB".index(one) for one in frames]].reshape(-1, 4))
    (best,) = DecoderConfig(GREEDY if by_path else SEARCH).build(LETTERS, SECONDS).decode(log_probs, words=True)
    assert (best.text, best.score) == (text, 0.0)
    assert [word.text for word in best.words] == text.split()
    assert all(0 <= word.start < word.end <= len(frames) * SECONDS for word in best.words)


@pytest.mark.parametrize("by_path", [True, False])
@pytest.mark.parametrize("frames", [1, 3])
def test_impossible_frames(frames: int, by_path: bool) -> None:
    decode = DecoderConfig(GREEDY if by_path else SEARCH).build(LETTERS, SECONDS).decode
    assert decode(np.full((frames, 4), -np.inf), words=True) == [Hypothesis("", -np.inf)]


def test_one_impossible_frame() -> None:
    log_probs = path("A-B", LETTERS)
    log_probs[1] = -np.inf
    best = DecoderConfig().build(LETTERS, SECONDS).decode(log_probs, words=True)[0]
    assert (best.text, best.score) == ("AB", -np.inf)
    assert [word.text for word in best.words] == ["AB"]
    assert Decoder(LETTERS, SECONDS, SEARCH).decode(log_probs, words=True) == [Hypothesis("", -np.inf)]


@pytest.mark.parametrize("setting", [GREEDY, SEARCH])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_errors(value: float, setting: DecoderSettings) -> None:
    log_probs = path("AB", LETTERS)
    log_probs[1, 1] = value
    with pytest.raises(DecodingError, match=r"log_probs contains NaN or \+inf"):
        DecoderConfig(setting).build(LETTERS, SECONDS).decode(log_probs, words=True)


def test_without_a_space_the_text_is_one_word() -> None:
    for setting in (GREEDY, SEARCH):
        best = (
            DecoderConfig(setting).build(Alphabet("BA"), 1.0).decode(path("A-AB", Alphabet("BA"), 0.98), words=True)[0]
        )
        assert best.text == "AAB"
        assert [(word.text, word.start, word.end) for word in best.words] == [("AAB", 0.0, 4.0)]


# --- many utterances --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["greedy", "n-gram", "rescored", "recurrent"])
def test_decode_batch_is_independent_of_threads(kind: str) -> None:
    alphabet = Alphabet(ENGLISH)
    recurrent = make("gru", alphabet)
    models = {
        "n-gram": LanguageModels(words_model(), hotwords={"AB": 2.0}),
        "rescored": LanguageModels(words_model(), recurrent),
        "recurrent": LanguageModels(recurrent),
    }.get(kind, LanguageModels())
    setting = GREEDY if kind == "greedy" else DecoderSettings(search=BeamSettings(12), weights=LmSettings(0.2, 0.1))
    rows = [spoken(text, alphabet, seed, (2.0, 9.0)) for seed, text in enumerate(TEXTS * 2)]
    decode = DecoderConfig(setting, models).build(alphabet, SECONDS)
    alone = [decode.decode(row, 3, words=True) for row in rows]
    assert any(len(one) == 3 for one in alone) == (kind != "greedy")
    assert decode.decode_batch(iter(rows), 3, words=True, threads=1) == alone
    assert decode.decode_batch(iter(rows), 3, words=True, threads=4) == alone
    assert decode.decode_batch(reversed(rows), 3, words=True, threads=4) == alone[::-1]
    assert decode.decode_batch(rows, 3, words=True) == alone
    assert decode.decode_batch([]) == []


def test_decode_batch_raises_the_error_of_a_row() -> None:
    rows = [path("A", LETTERS), np.zeros((2, 3)), path("B", LETTERS)]
    for threads in (1, 3):
        with pytest.raises(DecodingError, match=r"log_probs has shape \(2, 3\)"):
            Decoder(LETTERS, SECONDS, SEARCH).decode_batch(rows, threads=threads)


def test_greedy_settings_build_the_greedy_decoder() -> None:
    # Models are ignored: those of another alphabet too.
    models = LanguageModels(rescorer=make(alphabet=Alphabet("AB")))
    assert isinstance(DecoderConfig(GREEDY, models).build(LETTERS, SECONDS), GreedyDecoder)
    assert isinstance(DecoderConfig(DecoderSettings()).build(LETTERS, SECONDS), Decoder)


# --- settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        DecoderSettings(),
        GREEDY,
        DecoderSettings(
            False,
            rescorer_weight=0.25,
            temperature=2.5,
            search=BeamSettings(7, math.inf, 3.5, 0.97),
            weights=LmSettings(1.25, -0.5, -7.0, True),
            priors=PriorSettings(0.6, (0.75, 0.25, 1e-7)),
        ),
    ],
)
def test_settings_survive_their_file(setting: DecoderSettings, tmp_path: Path) -> None:
    place = tmp_path / "decoder.toml"
    place.write_text(decoder.to_toml(setting, tmp_path), encoding="utf-8")
    assert decoder.read_settings(place) == setting


def test_settings_accept_the_old_names_of_keys(tmp_path: Path) -> None:
    place = tmp_path / "decoder.toml"
    place.write_text("guide_weight = 0.2\n[search]\ntoken_margin = 3.0\nbeam_margin = 4.0\n")
    settings = decoder.read_settings(place)
    assert (settings.rescoring_lm_scale, settings.search.token_threshold, settings.search.beam_threshold) == (0.2, 3, 4)
    assert decoder.settings_from_card({"decoder": {"search": {"beam_margin": 4}}}) == DecoderSettings(
        search=BeamSettings(beam_threshold=4.0)
    )
    with pytest.raises(ConfigError, match="'guide_weight' is the old name of 'rescoring_lm_scale'; give only one"):
        decoder.read_settings(place, ["rescoring_lm_scale=0.3"])


@pytest.mark.parametrize("name", ["lm 𝄞.arpa", 'a"b\\c.arpa', "tab\t\x7f\n.arpa", "naïve.arpa"])
def test_settings_survive_any_path(name: str, tmp_path: Path) -> None:
    place = tmp_path / "decoder.toml"
    setting = DecoderSettings(lm=str(tmp_path / name), rescorer=str(tmp_path / "folder" / name))
    place.write_text(decoder.to_toml(setting, tmp_path), encoding="utf-8")
    assert decoder.read_settings(place) == setting


def test_settings_of_no_folder_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert f'lm = "{(tmp_path / "lm.arpa").resolve()}"' in decoder.to_toml(DecoderSettings(lm="lm.arpa"), None)


def test_a_path_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DecodingError, match="the path is not UTF-8"):
        decoder.to_toml(DecoderSettings(lm=str(tmp_path / "lm\udcff.arpa")), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("temperature = 0", "temperature = 0.0 is not positive and finite"),
        ("temperature = nan", "temperature = nan is not positive and finite"),
        ("rescorer_weight = -1", "rescorer_weight = -1.0 is negative or not finite"),
        ("guide_weight = -1", "rescoring_lm_scale = -1.0 is negative or not finite"),
        ("rescorer_weight = inf", "rescorer_weight = inf is negative or not finite"),
        ("[search]\nbeam_width = 0", r"\[search\] beam_width = 0 is not between 1 and 1,000,000"),
        ("[search]\nbeam_width = 1.5", "search.beam_width must be a whole number, not 1.5"),
        ("[search]\nbeam_threshold = 0", r"\[search\] beam_threshold = 0.0 is not positive"),
        ("[weights]\nlm_weight = -0.5", r"\[weights\] lm_weight = -0.5 is negative"),
        ("[weights]\nword_bonus = inf", r"\[weights\] word_bonus = inf is not finite"),
        ("[weights]\nlm_wieght = 1", "unknown key 'weights.lm_wieght'; did you mean 'lm_weight'?"),
        ("[priors]\nscale = -1", r"\[priors\] scale = -1.0 is negative or not finite"),
        ("[priors]\nscale = 0.5", r"\[priors\] scale = 0.5 needs probabilities, which asr tune writes"),
        ("[priors]\nprobabilities = [0.5, 1.5]", r"\[priors\] probabilities: 1.5 is not between 0 and 1"),
        ("beam_width = 5", "unknown key 'beam_width'"),
        ("greedy = 1", "greedy must be true or false, not 1"),
        ("greedy", "not TOML"),
    ],
)
def test_invalid_settings_name_the_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    place = tmp_path / "decoder.toml"
    place.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"decoder\.toml: {message}"):
        decoder.read_settings(place)


def test_paths_are_relative_to_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    arpa.write(folder / "lm.arpa", words_model())
    network = RnnLmNetwork(LETTERS, replace(SHAPE, cell="gru"))
    recurrent = network.inference()
    card: dict[str, Any] = {}
    rnnlm.save(
        folder / "rnn.safetensors",
        network,
        rnnlm.LmFileSettings(TextSettings("none", " AB"), replace(SHAPE, cell="gru")),
        card,
    )
    place = folder / "decoder.toml"
    place.write_text("lm = 'lm.arpa'\nrescorer = 'rnn.safetensors'\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = decoder.read_settings(Path("bundle/decoder.toml"))
    assert (Path(found.lm), Path(found.rescorer)) == (Path("bundle/lm.arpa"), Path("bundle/rnn.safetensors"))
    models = decoder.open_models(found, {"A": 1.0})
    assert isinstance(models.lm, NgramModel)
    assert isinstance(models.rescorer, RnnLm)
    assert models.rescorer.score(["A B"]) == pytest.approx(recurrent.score(["A B"]))
    assert models.hotwords == {"A": 1.0}
    log_probs = random_log_probs(3, 15, 4)
    expected = Decoder(LETTERS, SECONDS, found, LanguageModels(words_model(), recurrent, {"A": 1.0})).decode(
        log_probs, 5
    )
    opened = Decoder(LETTERS, SECONDS, found, models).decode(log_probs, 5)
    assert [one.text for one in opened] == [one.text for one in expected]
    # Absolute paths stay; overrides count as in the file.
    absolute = str(folder / "lm.arpa")
    assert decoder.read_settings(place, [f"lm={absolute}", "search.beam_width=3"]).lm == absolute
    assert decoder.read_settings(place, ["search.beam_width=3"]).search.beam_width == 3


def open_with_hotwords(folder: Path, hotwords: dict[str, float]) -> LanguageModels:
    arpa.write(folder / "lm.arpa", words_model())
    (folder / "words.dict").write_text("AB AE B\nKALDI K AA L D IY\nVOSKS V AO S K S\nIZ IH Z\n", encoding="utf-8")
    settings = DecoderSettings(lm=str(folder / "lm.arpa"), pronunciations=str(folder / "words.dict"))
    return decoder.open_models(settings, hotwords)


def test_hotwords_get_pronunciations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "is_installed", lambda: False)
    models = open_with_hotwords(tmp_path, {"AB KALDI'S": 8.0, "VOSKS'": 2.0})
    assert models.pronounces_hotwords and models.pronunciations
    assert models.pronunciations.words["KALDI'S"] == ("kaldiz",)
    assert models.pronunciations.words["VOSKS'"] == ("vcsks",)
    models = open_with_hotwords(tmp_path, {"AB KALDI'S": 8.0, "BLAVIK AB": 2.0})
    assert models.unpronounced == ["BLAVIK"] and not models.pronounces_hotwords


def test_espeak_pronounces_hotwords(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"BLAVIK": ("blavik",), "ZOO": ("zu",)}
    monkeypatch.setattr(espeak, "is_installed", lambda: True)
    monkeypatch.setattr(espeak, "pronounce", lambda words, language: {word: said[word] for word in words})
    models = open_with_hotwords(tmp_path, {"BLAVIK AB": 2.0, "ZOO": 3.0})
    # The dictionary has no UW, so the acoustic model may not either.
    assert models.unpronounced == ["ZOO"]
    assert models.pronunciations and models.pronunciations.words["BLAVIK"] == ("blavik",)


def test_espeak_is_asked_for_english_words_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "is_installed", lambda: True)
    monkeypatch.setattr(espeak, "pronounce", lambda words, language: dict.fromkeys(words, ("b",)))
    arpa.write(tmp_path / "lm.arpa", words_model())
    (tmp_path / "words.dict").write_text("AB a b q\n", encoding="utf-8")
    settings = DecoderSettings(lm=str(tmp_path / "lm.arpa"), pronunciations=str(tmp_path / "words.dict"))
    assert decoder.open_models(settings, {"BLAVIK": 2.0}).unpronounced == ["BLAVIK"]


def test_dictionary_of_few_words_is_reported(tmp_path: Path) -> None:
    arpa.write(tmp_path / "lm.arpa", words_model())
    settings = DecoderSettings(lm=str(tmp_path / "lm.arpa"), pronunciations=str(tmp_path / "words.dict"))
    words = sorted(word for word in words_model().words if word[:1] != "<")
    (tmp_path / "words.dict").write_text(f"{words[0].lower()} AE B\n42 F AO R\n", encoding="utf-8")
    models = decoder.open_models(settings)
    assert models.pronunciations and words[0] in models.pronunciations.words
    count = len(words)
    assert models.check_pronunciations().startswith(f"{count - 1} of {count} words of the language model have no pron")
    (tmp_path / "words.dict").write_text("".join(f"{word} AE B\n" for word in words), encoding="utf-8")
    assert decoder.open_models(settings).check_pronunciations() == ""
    assert LanguageModels().check_pronunciations() == ""


SPELLED = Alphabet(" ABCDEFGHORTUW", "tuaw")
SAID = Pronunciations({"A": ("a",), "TWO": ("u",), "THROUGH": ("tu",), "CAFÉ": ("wa",)})


def said(phonemes: str) -> LogProbs:
    """Return log-probabilities of a phoneme, or - for blank, in each frame, whose likeliest character is blank."""
    log_probs = np.full((len(phonemes), SPELLED.outputs), -9.0)
    log_probs[:, 0] = -0.1
    assert SPELLED.phonemes
    for frame, phoneme in enumerate(phonemes):
        column = 0 if phoneme == "-" else SPELLED.phonemes.encode(phoneme)[0]
        log_probs[frame, len(SPELLED) + column] = -0.01
    return log_probs


def phoneme_decoder(hotwords: dict[str, float]) -> Decoder:
    model = estimate([["A", "TWO"], ["THROUGH"], ["CAFÉ"]], EstimateSettings(2))
    settings = DecoderSettings(weights=LmSettings(0.5, 0.0, lexicon_only=True), character_weight=0.0)
    return Decoder(SPELLED, 0.04, settings, LanguageModels(model, None, hotwords, SAID))


def test_words_whose_characters_do_not_fit_into_the_frames_have_times() -> None:
    (best,) = phoneme_decoder({}).decode(said("tu-"), words=True)
    assert best.text == "THROUGH"
    (word,) = best.words
    assert word == Word("THROUGH", 0.0, word.end, 0.0) and word.end == pytest.approx(0.12)


def test_words_that_cannot_be_spelled_are_not_output() -> None:
    (best,) = phoneme_decoder({}).decode(said("wa" + 8 * "-"), words=True)
    assert "CAFÉ" not in best.text
    with pytest.raises(DecodingError, match="hotword 'CAFÉ': 'É' is not in the alphabet"):
        phoneme_decoder({"CAFÉ": 8.0})


def test_hotwords_with_phonemes_of_another_model_are_refused() -> None:
    said_otherwise = Pronunciations({**SAID.words, "CAR": ("kar",)})
    models = LanguageModels(estimate([["A", "TWO"]], EstimateSettings(2)), None, {"CAR": 2.0}, said_otherwise)
    with pytest.raises(DecodingError, match="hotword 'CAR': 'CAR' has no pronunciation"):
        Decoder(SPELLED, 0.04, DecoderSettings(weights=LmSettings(0.5, 0.0, lexicon_only=True)), models)


def test_open_models_rejects_unsuitable_models(tmp_path: Path) -> None:
    arpa.write(tmp_path / "lm.arpa", words_model())
    words = str(tmp_path / "lm.arpa")
    with pytest.raises(LmError, match=r"missing\.arpa: no such file"):
        decoder.open_models(DecoderSettings(lm=str(tmp_path / "missing.arpa")))
    with pytest.raises(LmError, match=r"lm\.arpa: an n-gram model; the rescorer must be a recurrent language model"):
        decoder.open_models(DecoderSettings(rescorer=words))
    assert decoder.open_models(DecoderSettings()) == LanguageModels()
    # Greedy needs no model, and asks for none.
    assert decoder.open_models(DecoderSettings(greedy=True, lm="missing.arpa"), {"A": 1.0}) == LanguageModels()
