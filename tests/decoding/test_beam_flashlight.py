"""Beam search against flashlight-text's decoders (C++), where their definitions agree with ours."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asr import lm
from asr.decoding import beam
from asr.decoding.beam import BeamSettings, LmSettings, Scorer
from asr.lm.ngram import SPACE, NgramModel, arpa
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.ngram.model import LOG_10
from asr.text import BLANK, ENGLISH, Alphabet
from tests.decoding.test_greedy import Matrix, enumerate_paths, random_log_probs, spoken
from tests.lm.samples import ngram_scores

flashlight = pytest.importorskip("flashlight.lib.text.decoder")
kenlm = pytest.importorskip("flashlight.lib.text.decoder.kenlm")
dictionary = pytest.importorskip("flashlight.lib.text.dictionary")

ALPHABET = Alphabet(ENGLISH)
SILENCE = ALPHABET.encode(" ")[0]
SENTENCES = [
    "THE OLD MILLER GROUND THE CORN",
    "A MILL STOOD BY THE COLD RIVER",
    "THE RIVER RAN DOWN TO THE SEA",
    "OLD SAILORS SEE THE SEA AND THE SKY",
    "SHE SELLS THE CORN AND THE MEAL",
    "THE MEAL WAS COLD AND THE SKY WAS OLD",
    "A SAILOR RAN TO THE MILL BY THE SEA",
    "HE WON ONE AND SHE WON TWO",
    "THEY WENT TO SEE THE OTHER SIDE",
    "IT'S THE MILLER'S CORN",
]
# Half of what is said is in the text of the model, half is made of its words.
SAID = [*SENTENCES[::2], "THE COLD SAILOR WON THE SEA", "SHE SEES A MILL", "THE OTHER MILLER RAN TO THE SKY", "A SEA"]
# Nothing is left out but by the width and by what is 20 nats under the best, as in theirs.
MARGIN = 20.0


def utterances(least: float) -> list[Matrix]:
    """Return log-probabilities in which a right letter stands out by at least so many nats, and seldom by 10."""
    return [
        spoken(text.replace("SEES", "SEE"), ALPHABET, 10 * seed + number, (least, 10.0))
        .astype(np.float32)
        .astype(float)
        for seed in range(2)
        for number, text in enumerate(SAID)
    ]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[NgramModel, Path]:
    place = tmp_path_factory.mktemp("words") / "lm.arpa"
    arpa.write(place, estimate([text.split() for text in SENTENCES], EstimateSettings(order=3)))
    return arpa.read(place), place


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> tuple[NgramModel, Path]:
    place = tmp_path_factory.mktemp("letters") / "lm.arpa"
    setting = EstimateSettings(order=4, vocabulary=lm.characters(ENGLISH))
    arpa.write(place, estimate(map(lm.characters, SENTENCES), setting))
    return arpa.read(place), place


def options(kind: Any, width: int, weight: float, **more: float) -> Any:
    return kind(
        beam_size=width,
        beam_size_token=len(ALPHABET),
        beam_threshold=MARGIN,
        lm_weight=weight * LOG_10,
        sil_score=0.0,
        log_add=True,
        criterion_type=flashlight.CriterionType.CTC,
        **more,
    )


def decoded(decoder: Any, log_probs: Matrix) -> Any:
    matrix = np.ascontiguousarray(log_probs, np.float32)
    return decoder.decode(matrix.ctypes.data, *matrix.shape)[0]


def lexicon_free(width: int, weight: float = 0.0, place: Path | None = None) -> Callable[[Matrix], str]:
    """Return flashlight's decoder without a lexicon, with no model or one of characters."""
    shown = ["<blank>", *(SPACE if one == " " else one for one in ALPHABET.characters)]
    model = kenlm.KenLM(str(place), dictionary.Dictionary(shown)) if place else flashlight.ZeroLM()
    setting = options(flashlight.LexiconFreeDecoderOptions, width, weight)
    decoder = flashlight.LexiconFreeDecoder(setting, model, SILENCE, 0, [])

    def decode(log_probs: Matrix) -> str:
        tokens = np.array(decoded(decoder, log_probs).tokens)
        changes = tokens[np.concatenate([[True], tokens[1:] != tokens[:-1]])]
        return " ".join(ALPHABET.decode(changes.tolist()).split())

    return decode


def lexicon(width: int, weights: LmSettings, place: Path, known: Sequence[str]) -> Callable[[Matrix], str]:
    """Return flashlight's decoder with the lexicon of a model."""
    model = kenlm.KenLM(str(place), dictionary.Dictionary([*known, "<unk>"]))
    trie = flashlight.Trie(len(ALPHABET), SILENCE)
    start = model.start(False)
    for number, word in enumerate(known):
        trie.insert([*ALPHABET.encode(word), SILENCE], number, model.score(start, number)[1])
    trie.smear(flashlight.SmearingMode.MAX)
    setting = options(
        flashlight.LexiconDecoderOptions,
        width,
        weights.lm_weight,
        word_score=weights.word_bonus,
        unk_score=-math.inf,
    )
    decoder = flashlight.LexiconDecoder(setting, trie, model, SILENCE, 0, len(known), [], False)
    # A word ends at a space there, the last one too.
    end = np.full((1, len(ALPHABET)), -30.0)
    end[0, SILENCE] = 0.0

    def decode(log_probs: Matrix) -> str:
        found = decoded(decoder, np.concatenate([log_probs, end]))
        return " ".join(known[number] for number in found.words if number >= 0)

    return decode


def exact(log_probs: Matrix, text: str, alphabet: Alphabet = ALPHABET) -> float:
    """Return the log-probability of a tidy text: of all paths, also of those with more spaces than the text has.

    The forward algorithm over prefixes of the text; theirs takes each number of spaces for another text.
    """
    # A space before the text and one after it may be there or not.
    tokens = np.array(alphabet.encode(f" {text} " if text else " "))
    stands = tokens == tokens[0]
    repeats = np.concatenate([[False], tokens[1:] == tokens[:-1]])
    blank, last = np.full((2, len(tokens)), -np.inf)
    blank[0] = 0.0
    for row in log_probs:
        total = np.logaddexp(blank, last)
        entering = np.concatenate([[-np.inf], np.where(repeats[1:], blank[:-1], total[:-1])])
        staying = np.where(stands, total, last)
        blank, last = total + row[BLANK], np.logaddexp(staying, entering) + row[tokens]
    return float(np.logaddexp.reduce([*blank[-2:], *last[-2:]]))


def compare(
    matrices: Sequence[Matrix],
    ours: Callable[[Matrix], str],
    theirs: Callable[[Matrix], str],
    share: Callable[[str], float] = lambda text: 0.0,
) -> None:
    """Assert the same texts, but for at most one in ten, of which ours then has the higher exact score.

    They differ where two texts are all but equal: theirs takes for two hypotheses what ends in blank and in a letter,
    and a text with two spaces in a row for another one, and so does not sum all paths of a text.
    """
    same = 0
    for log_probs in matrices:
        one, other = ours(log_probs), theirs(log_probs)
        same += one == other
        if one != other:
            scores = [exact(log_probs, text) + share(text) for text in (one, other)]
            assert scores[0] >= scores[1], (one, other)
    assert same >= 0.9 * len(matrices)


def searched(width: int, scorer: Scorer | None = None) -> Callable[[Matrix], str]:
    limits = BeamSettings(width, math.inf, MARGIN, math.inf)
    return lambda log_probs: beam.beam_search(log_probs, ALPHABET, limits, scorer, 1)[0].text


@pytest.mark.parametrize("seed", range(3))
def test_the_exact_score_is_the_sum_of_all_paths(seed: int) -> None:
    alphabet = Alphabet(" AB")
    log_probs = random_log_probs(seed, 6, 4)
    expected = enumerate_paths(log_probs, alphabet)
    assert {text: exact(log_probs, text, alphabet) for text in expected} == pytest.approx(expected)


@pytest.mark.parametrize("width", [50, 200])
def test_texts_without_lm_equal_the_lexicon_free_decoder(width: int) -> None:
    compare(utterances(5.5), searched(width), lexicon_free(width))


# At larger weights theirs sometimes has one character more: it scores the second of two spaces in a row.
@pytest.mark.parametrize("weight", [0.3, 0.6])
def test_texts_with_character_lm_equal_the_lexicon_free_decoder(
    weight: float, letters: tuple[NgramModel, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    model, place = letters
    theirs = lexicon_free(100, weight, place)
    capfd.readouterr()  # KenLM says on stderr how it loads
    ours = searched(100, Scorer(ALPHABET, LmSettings(weight), model))
    compare(utterances(5.5), ours, theirs, lambda text: weight * sum(ngram_scores(model, lm.characters(text))))


@pytest.mark.parametrize("weights", [(0.3, 0.0), (1.0, 1.5), (2.0, -1.0)], ids=str)
@pytest.mark.parametrize("width", [50, 200, 500])
def test_texts_with_lexicon_only_equal_the_lexicon_decoder(
    width: int, weights: tuple[float, float], words: tuple[NgramModel, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    model, place = words
    setting = LmSettings(*weights, lexicon_only=True)
    known = [word for word in model.words if not word.startswith("<")]
    theirs = lexicon(width, setting, place, known)
    capfd.readouterr()

    def share(text: str) -> float:
        said = text.split()
        return setting.lm_weight * sum(ngram_scores(model, said)) + setting.word_bonus * len(said)

    compare(utterances(2.5), searched(width, Scorer(ALPHABET, setting, model)), theirs, share)
