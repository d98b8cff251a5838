"""Compare the beam search with flashlight's (C++) and pyctcdecode's, in speed and WER on the same log-probabilities.

usage: python tests/benchmarks/decoder.py [MODEL MANIFEST LM.arpa [LM_WEIGHT [WORD_BONUS [UTTERANCES]]]]

With MODEL `sure` or `doubtful` no model and no audio are used: the log-probabilities are generated from the manifest's
texts, with a greedy WER of about 2 or 75 %. Without arguments they are random, shaped like a model's, and only our
decoder is timed. The decoders take turns at each utterance, so that the load of the machine affects all alike; the
median of three rounds counts. All run on one thread with the same log-probabilities, language model, weights and beam
width. flashlight gets our beam threshold (its default, 50, is slower) and the same lexicon; pyctcdecode its default
thresholds, and ours the same ones for that comparison. Needs flashlight-text. pyctcdecode is timed if it is installed
(`pip install --no-deps pyctcdecode pygtrie`), with flashlight-text's KenLM.
"""

import math
import platform
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from asr import decoding, recognition
from asr.corpora import manifest
from asr.decoding import beam, tuning
from asr.decoding.beam import BeamSettings, LmSettings, Scorer
from asr.lm.ngram import NgramModel, arpa
from asr.recognition import evaluation
from asr.text import ENGLISH, Alphabet
from asr.text.normalisers import normalise

FRAMES_PER_SECOND = 25
SECONDS = 10
# Amount of noise, by the first argument.
DOUBTS = {"sure": (0.33, 1e-5), "doubtful": (0.75, 0.02)}
Decode = Callable[[decoding.LogProbs], str]


def log_probs(seed: int) -> decoding.LogProbs:
    """Return (T', V) in which, as in a trained model's, most frames are sure of one token, mostly the blank."""
    random = np.random.default_rng(seed)
    alphabet = Alphabet(ENGLISH)
    logits = random.normal(0, 1.5, (SECONDS * FRAMES_PER_SECOND, len(alphabet)))
    tokens = np.where(random.random(len(logits)) < 0.5, 0, random.integers(1, len(alphabet), len(logits)))
    logits[np.arange(len(logits)), tokens] += 8
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), dtype=np.float32)


def noisy(text: str, alphabet: Alphabet, seed: int, doubt: float, floor: float) -> decoding.LogProbs:
    """Return (T', V) of a text with confusions between similar tokens.

    Each token is a point in 8 dimensions and is observed at a distance of about `doubt`. `floor`: the share of the
    prior in the mixture with the likelihoods.
    """
    random = np.random.default_rng(seed)
    size = len(alphabet)
    places = np.random.default_rng(0).normal(0, 1, (size, 8))
    tokens: list[int] = []
    for token in alphabet.encode(text):
        if tokens and tokens[-1] == token:
            tokens.append(0)
        tokens += [token] * random.integers(1, 3) + [0] * random.integers(0, 2)
    points = places[tokens] + random.normal(0, doubt, (len(tokens), 8))
    share = np.full(size, 0.6 / (size - 1))
    share[0] = 0.4
    logits = np.log(share) - ((points[:, None] - places) ** 2).sum(axis=2) / (2 * doubt**2)
    likely = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    return np.asarray(np.log((1 - floor) * likely + floor * share), dtype=np.float32)


def made_up() -> None:
    """Print the rates on made-up log-probabilities, without a language model."""
    alphabet = Alphabet(ENGLISH)
    rows = [log_probs(number) for number in range(9)]
    audio = SECONDS * len(rows)
    tried: dict[str, Decode] = {"greedy": lambda row: decoding.best_path(row, alphabet).text}
    tried |= {f"beam_{width}": ours(alphabet, None, BeamSettings(width)) for width in (10, 50, 100, 200)}
    for name, (_, seconds) in timed(tried, rows).items():
        print(f"RATIO {name}_vs_real_time {audio / seconds:.0f}")


def timed(tried: Mapping[str, Decode], rows: Sequence[decoding.LogProbs]) -> dict[str, tuple[list[str], float]]:
    """Return each one's texts and its seconds of processor time for them all, the median of three rounds."""
    for decode in tried.values():
        decode(rows[0])
    texts: dict[str, list[str]] = {}
    rounds = np.zeros((3, len(tried)))
    for seconds in rounds:
        texts = {name: [] for name in tried}
        for row in rows:
            for place, (name, decode) in enumerate(tried.items()):
                begin = time.thread_time()
                texts[name].append(decode(row))
                seconds[place] += time.thread_time() - begin
    return {name: (texts[name], float(seconds)) for name, seconds in zip(tried, np.median(rounds, axis=0), strict=True)}


def ours(alphabet: Alphabet, scorer: Scorer | None, search: BeamSettings) -> Decode:
    """Return our decoder."""
    return lambda row: beam.beam_search(row, alphabet, search, scorer, 1)[0].text


def flashlight(alphabet: Alphabet, path: str, model: NgramModel, settings: LmSettings, search: BeamSettings) -> Decode:
    """Return flashlight's lexicon decoder; every word of its lexicon ends in a space."""
    from flashlight.lib.text import decoder as theirs
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    words = [word for word in model.words if word[:1] != "<" and not alphabet.unknown(word)]
    space, size = alphabet.encode(" ")[0], len(alphabet)
    lm = KenLM(path, Dictionary([*words, "<unk>"]))
    trie, start = theirs.Trie(size, space), lm.start(False)
    for number, word in enumerate(words):
        trie.insert([*alphabet.encode(word), space], number, lm.score(start, number)[1])
    trie.smear(theirs.SmearingMode.MAX)
    options = theirs.LexiconDecoderOptions(
        beam_size=search.beam_width,
        beam_size_token=size,
        beam_threshold=search.beam_threshold,
        lm_weight=settings.lm_weight * math.log(10),  # KenLM's scores are of base 10
        word_score=settings.word_bonus,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=True,
        criterion_type=theirs.CriterionType.CTC,
    )
    made = theirs.LexiconDecoder(options, trie, lm, space, 0, len(words), [], False)
    last = np.full((1, size), -30.0, np.float32)
    last[0, space] = 0.0

    def decode(row: decoding.LogProbs) -> str:
        matrix = np.ascontiguousarray(np.concatenate([row, last]), np.float32)
        results = made.decode(matrix.ctypes.data, len(matrix), size)
        return " ".join(words[number] for number in results[0].words if number >= 0) if results else ""

    # What the decoder refers to must live as long as it does.
    decode.keeps = (lm, trie)  # type: ignore[attr-defined]
    return decode


def free_flashlight(alphabet: Alphabet, search: BeamSettings) -> Decode:
    """Return flashlight's decoder without lexicon and language model."""
    from flashlight.lib.text import decoder as theirs

    options = theirs.LexiconFreeDecoderOptions(
        beam_size=search.beam_width,
        beam_size_token=len(alphabet),
        beam_threshold=search.beam_threshold,
        lm_weight=0.0,
        sil_score=0.0,
        log_add=True,
        criterion_type=theirs.CriterionType.CTC,
    )
    lm = theirs.ZeroLM()
    made = theirs.LexiconFreeDecoder(options, lm, alphabet.encode(" ")[0], 0, [])

    def decode(row: decoding.LogProbs) -> str:
        matrix = np.ascontiguousarray(row, np.float32)
        path = np.array(made.decode(matrix.ctypes.data, len(matrix), len(alphabet))[0].tokens)
        first = np.concatenate([[True], path[1:] != path[:-1]]) & (path > 0)
        return " ".join(alphabet.decode(path[first].tolist()).split())

    decode.keeps = lm  # type: ignore[attr-defined]
    return decode


def pyctcdecode(alphabet: Alphabet, path: str, model: NgramModel, settings: LmSettings, search: BeamSettings) -> Decode:
    """Return pyctcdecode's decoder, with flashlight-text's KenLM in the place of the bindings that need a compiler."""
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    words = [word for word in model.words if word[:1] != "<"]
    dictionary = Dictionary([*words, "<unk>"])
    numbers = {word: number for number, word in enumerate(words)}
    lm = KenLM(path, dictionary)

    class State:
        inner: Any = None

    class Model:
        order = model.order

        def __contains__(self, word: str) -> bool:
            return word in numbers

        def BeginSentenceWrite(self, state: State) -> None:  # noqa: N802
            state.inner = lm.start(False)

        def BaseScore(self, before: State, word: str, after: State) -> float:  # noqa: N802
            if word == "</s>":
                after.inner, score = lm.finish(before.inner)
            else:
                after.inner, score = lm.score(before.inner, numbers.get(word, len(words)))
            return float(score)

    module = types.ModuleType("kenlm")
    module.State, module.Model = State, Model  # type: ignore[attr-defined]
    sys.modules["kenlm"] = module
    from pyctcdecode.alphabet import Alphabet as RivalAlphabet
    from pyctcdecode.decoder import BeamSearchDecoderCTC
    from pyctcdecode.language_model import LanguageModel

    language = LanguageModel(
        Model(), words, alpha=settings.lm_weight * math.log(10), beta=settings.word_bonus, unk_score_offset=-5.0
    )
    labels = RivalAlphabet.build_alphabet(["", *alphabet.characters])
    made = BeamSearchDecoderCTC(labels, language)
    return lambda row: str(made.decode(row, beam_width=search.beam_width))


def load_dev_set(path: str, rows_of: str, count: int) -> tuple[Alphabet, tuning.DevSet]:
    """Return the alphabet and the dev set of `count` utterances (0: all), by the model or generated from texts."""
    utterances = manifest.read(rows_of)
    utterances = utterances[:: max(1, len(utterances) // count)] if count else utterances
    if path not in DOUBTS:
        recognizer = recognition.load(path)
        return recognizer.settings.alphabet, evaluation.tuning_set(recognizer, utterances)
    alphabet = Alphabet(ENGLISH)
    texts = [normalise(one.text) for one in utterances]
    rows = [noisy(text, alphabet, number, *DOUBTS[path]) for number, text in enumerate(texts)]
    return alphabet, tuning.DevSet(rows, texts, sum(map(len, rows)) / FRAMES_PER_SECOND, 1 / FRAMES_PER_SECOND)


def compare(arguments: Sequence[str]) -> None:
    """Print what each decoder makes of a manifest, and how fast."""
    path, rows_of, lm_path = arguments[:3]
    weight, bonus = (float(arguments[place]) if len(arguments) > place else 0.8 for place in (3, 4))
    alphabet, dev = load_dev_set(path, rows_of, int(arguments[5]) if len(arguments) > 5 else 0)
    greedy = 100 * jiwer.wer(list(dev.texts), [decoding.best_path(row, alphabet).text for row in dev.rows])
    print(f"{len(dev.rows)} utterances, greedy WER {greedy:.2f} %")
    model = arpa.read(Path(lm_path))
    lexicon_only_weights = LmSettings(weight, bonus, lexicon_only=True)
    lexicon_scorer = Scorer(alphabet, lexicon_only_weights, model)
    for width in (50, 100, 200):
        search = BeamSettings(width)
        tried: dict[str, Decode] = {
            "ours": ours(alphabet, lexicon_scorer, search),
            "flashlight": flashlight(alphabet, lm_path, model, lexicon_only_weights, search),
            "ours_open": ours(alphabet, lexicon_scorer.with_settings(LmSettings(weight, bonus)), search),
            "ours_free": ours(alphabet, None, search),
            "flashlight_free": free_flashlight(alphabet, search),
        }
        if find_spec("pyctcdecode"):
            # Its own defaults leave out what is less likely than e^-5, and prefixes e^-10 times as likely as the best.
            tried["ours_narrow"] = ours(
                alphabet, lexicon_scorer.with_settings(LmSettings(weight, bonus)), BeamSettings(width, 5, 10)
            )
            tried["pyctcdecode"] = pyctcdecode(alphabet, lm_path, model, lexicon_only_weights, search)
        found = timed(tried, dev.rows)
        for name, (texts, seconds) in found.items():
            wer = 100 * jiwer.wer(list(dev.texts), texts)
            print(f"beam {width:3d} {name:16s} WER {wer:6.2f} %  {dev.audio_seconds / seconds:7.0f} times real time")
        for one, other in (("ours", "flashlight"), ("ours_free", "flashlight_free"), ("ours_narrow", "pyctcdecode")):
            if other in found:
                same = np.mean([left == right for left, right in zip(found[one][0], found[other][0], strict=True)])
                print(f"RATIO {one}_vs_{other}_{width} {found[other][1] / found[one][1]:.2f}  same texts {same:.1%}")


def main() -> None:
    """Print the machine, then the ratios."""
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    if len(sys.argv) > 1:
        compare(sys.argv[1:])
    else:
        made_up()


if __name__ == "__main__":
    main()
