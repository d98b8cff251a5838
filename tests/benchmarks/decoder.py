"""How fast and how good the beam search is beside flashlight's (C++) and pyctcdecode's, on the same log-probabilities.

usage: python tests/benchmarks/decoder.py [MODEL MANIFEST LM.arpa [LM_WEIGHT [WORD_BONUS [UTTERANCES]]]]

Without a model the log-probabilities are made up, in the shape that models give, and only ours are timed. All run on
one thread and get the same matrices, language model, weights and beam. flashlight is given our margin of scores (its
own default, 50, is slower) and the same lexicon lock; pyctcdecode its own defaults, and ours the same margins beside
it. Needs flashlight-text; where pyctcdecode is (`pip install --no-deps pyctcdecode pygtrie`) it is timed too, its
language model by flashlight-text's KenLM.
"""

import math
import platform
import sys
import time
import types
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from asr import beam, decoding, manifest, recognition, tuning
from asr.beam import BeamSettings, LmSettings
from asr.beam.language import Prior
from asr.ngram import NgramModel, arpa
from asr.text import ENGLISH, Alphabet

FRAMES_PER_SECOND = 25
SECONDS = 10
Decode = Callable[[decoding.LogProbs], str]


def log_probs(seed: int) -> decoding.LogProbs:
    """Return (T', V) in which, as in a trained model's, most frames are sure of one token, mostly the blank."""
    random = np.random.default_rng(seed)
    alphabet = Alphabet(ENGLISH)
    logits = random.normal(0, 1.5, (SECONDS * FRAMES_PER_SECOND, len(alphabet)))
    tokens = np.where(random.random(len(logits)) < 0.5, 0, random.integers(1, len(alphabet), len(logits)))
    logits[np.arange(len(logits)), tokens] += 8
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), dtype=np.float32)


def made_up() -> None:
    """Print the rates on made-up log-probabilities, without a language model."""
    alphabet = Alphabet(ENGLISH)
    rows = [log_probs(number) for number in range(9)]
    audio = SECONDS * len(rows)
    _, seconds = timed(lambda row: decoding.greedy(row, alphabet).text, rows)
    print(f"RATIO greedy_vs_real_time {audio / seconds:.0f}")
    for width in (10, 50, 100, 200):
        _, seconds = timed(ours(alphabet, None, BeamSettings(width)), rows)
        print(f"RATIO beam_{width}_vs_real_time {audio / seconds:.0f}")


def timed(decode: Decode, rows: Sequence[decoding.LogProbs]) -> tuple[list[str], float]:
    """Return the texts and the seconds for them all, the best of three rounds."""
    decode(rows[0])
    best = math.inf
    for _ in range(3):
        begin = time.perf_counter()
        texts = [decode(row) for row in rows]
        best = min(best, time.perf_counter() - begin)
    return texts, best


def ours(alphabet: Alphabet, prior: Prior | None, search: BeamSettings) -> Decode:
    """Return our decoder."""
    return lambda row: beam.beam_search(row, alphabet, search, prior, 1)[0].text


def flashlight(alphabet: Alphabet, path: str, model: NgramModel, settings: LmSettings, search: BeamSettings) -> Decode:
    """Return flashlight's lexicon decoder; every word of its lexicon ends in a space."""
    from flashlight.lib.text import decoder as rival
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    words = [word for word in model.words if word[:1] != "<" and not alphabet.unknown(word)]
    space, size = alphabet.encode(" ")[0], len(alphabet)
    lm = KenLM(path, Dictionary([*words, "<unk>"]))
    trie, start = rival.Trie(size, space), lm.start(False)
    for number, word in enumerate(words):
        trie.insert([*alphabet.encode(word), space], number, lm.score(start, number)[1])
    trie.smear(rival.SmearingMode.MAX)
    options = rival.LexiconDecoderOptions(
        beam_size=search.beam_width,
        beam_size_token=size,
        beam_threshold=search.beam_margin,
        lm_weight=settings.lm_weight * math.log(10),  # KenLM's scores are of base 10
        word_score=settings.word_bonus,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=True,
        criterion_type=rival.CriterionType.CTC,
    )
    made = rival.LexiconDecoder(options, trie, lm, space, 0, len(words), [], False)
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
    from flashlight.lib.text import decoder as rival

    options = rival.LexiconFreeDecoderOptions(
        beam_size=search.beam_width,
        beam_size_token=len(alphabet),
        beam_threshold=search.beam_margin,
        lm_weight=0.0,
        sil_score=0.0,
        log_add=True,
        criterion_type=rival.CriterionType.CTC,
    )
    lm = rival.ZeroLM()
    made = rival.LexiconFreeDecoder(options, lm, alphabet.encode(" ")[0], 0, [])

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


def compare(arguments: Sequence[str]) -> None:
    """Print what each decoder makes of a manifest, and how fast."""
    path, rows_of, lm_path = arguments[:3]
    weight, bonus = (float(arguments[place]) if len(arguments) > place else 0.8 for place in (3, 4))
    recognizer = recognition.load(path)
    utterances = manifest.read(rows_of)
    if len(arguments) > 5:
        utterances = utterances[:: max(1, len(utterances) // int(arguments[5]))]
    dev = tuning.hear(recognizer, utterances)
    alphabet, model = recognizer.settings.alphabet, arpa.read(Path(lm_path))
    lock = LmSettings(weight, bonus, lexicon_only=True)
    locked = Prior(alphabet, lock, model)
    for width in (50, 100, 200):
        search = BeamSettings(width)
        tried: dict[str, Decode] = {
            "ours": ours(alphabet, locked, search),
            "flashlight": flashlight(alphabet, lm_path, model, lock, search),
            "ours_open": ours(alphabet, locked.having(LmSettings(weight, bonus)), search),
            "ours_free": ours(alphabet, None, search),
            "flashlight_free": free_flashlight(alphabet, search),
        }
        if find_spec("pyctcdecode"):
            # Its own defaults leave out what is less likely than e^-5, and prefixes e^-10 times as likely as the best.
            tried["ours_narrow"] = ours(alphabet, locked.having(LmSettings(weight, bonus)), BeamSettings(width, 5, 10))
            tried["pyctcdecode"] = pyctcdecode(alphabet, lm_path, model, lock, search)
        found = {name: timed(decode, dev.rows) for name, decode in tried.items()}
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
