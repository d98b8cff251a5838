"""Pairs of texts -> scores -> the JSON document of SCHEMA.md, which programs and the HTML pages read."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from asr.files import write_text
from asr.scoring import Score, UtteranceScore
from asr.scoring import score as score_texts
from asr.scoring.alternatives import nearest_reference
from asr.scoring.calibration import calibration
from asr.scoring.comparison import LEVEL, Contrast, compare
from asr.scoring.confusions import HarmfulWord, character_errors, harmful_words, word_errors
from asr.scoring.counts import CORRECT, INSERTION, Edit
from asr.scoring.groups import Group, by_duration, by_length, by_position, by_speaker, by_speaking_rate
from asr.text.normalisers import Normaliser
from asr.text.normalisers import normaliser as find_normaliser
from asr.transcripts.matching import Pair

SCHEMA = 2
Document = dict[str, Any]
_COUNTS = ("utterances", "sentence_errors", "words", "substitutions", "deletions", "insertions")
_CHARACTERS = ("characters", "character_errors")
# The normaliser of `ScoredPairs.raw`.
RAW = "none"


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs as given and two scores in the same order: `score` with the normaliser, `raw` as given.

    `raw` is `score` itself where the normaliser changes no text.
    """

    pairs: tuple[Pair, ...]
    normaliser: str
    score: Score
    raw: Score


def score_pairs(pairs: Sequence[Pair], normaliser: str = RAW, equivalents: Path | None = None) -> ScoredPairs:
    """Normalise both texts of each pair in the same way and score them.

    Raises TextError, and ScoringError if there are no pairs or no words in the references.
    """
    normalise = find_normaliser(normaliser, equivalents)
    ids = [pair.id for pair in pairs]
    plain = find_normaliser(RAW)
    given, normalised = ([_texts(pair, form) for pair in pairs] for form in (plain, normalise))
    chosen = frozenset(pair.id for pair in pairs if pair.alternatives)

    def scores(texts: Sequence[tuple[str, str]]) -> Score:
        return score_texts([reference for reference, _ in texts], [hypothesis for _, hypothesis in texts], ids, chosen)

    result = scores(normalised)
    return ScoredPairs(tuple(pairs), normaliser, result, result if given == normalised else scores(given))


def _texts(pair: Pair, normalise: Normaliser) -> tuple[str, str]:
    """Return the normalised reference, the nearest one if it has alternatives, and hypothesis."""
    hypothesis = normalise(pair.hypothesis)
    if not pair.alternatives:
        return normalise(pair.reference), hypothesis
    parts = [tuple(map(normalise, part)) for part in pair.alternatives]
    return nearest_reference(parts, hypothesis), hypothesis


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _known(rate: Document) -> Document:
    """Return a rate with null for the bounds of an interval that cannot be given."""
    return {name: None if math.isnan(value) else value for name, value in rate.items()}


def _totals(score: Score) -> Document:
    # Rates are not rounded: at six decimals the error count of a large corpus could not be recovered.
    rates = {name: _known(asdict(getattr(score, name))) for name in ("wer", "cer", "ser")}
    return rates | {name: getattr(score, name) for name in ("errors", *_COUNTS, *_CHARACTERS, "segments")}


def _scores(result: ScoredPairs) -> Document:
    return _totals(result.score) | {"raw": {"normaliser": RAW, **_totals(result.raw)}}


def _parts(parts: Iterable[Group | HarmfulWord]) -> list[Document]:
    return [_rounded(asdict(part)) for part in parts]


def compact(edits: Iterable[Edit]) -> list[list[str]]:
    """Return an alignment as ["=", "correct words in a row"] and [operation, reference word, hypothesis word]."""
    items: list[list[str]] = []
    for correct, run in groupby(edits, key=lambda edit: edit.operation == CORRECT):
        if correct:
            items.append([CORRECT, " ".join(edit.reference for edit in run)])
        else:
            items += [[edit.operation, edit.reference, edit.hypothesis] for edit in run]
    return items


def expanded(alignment: Iterable[Sequence[str]]) -> Iterator[Edit]:
    """Yield the words of a compact alignment."""
    position = 0
    for operation, reference, *hypothesis in alignment:
        if operation == CORRECT:
            for word in reference.split():
                yield Edit(operation, word, word, position)
                position += 1
        else:
            yield Edit(operation, reference, hypothesis[0], position)
            position += operation != INSERTION


def _result(row: UtteranceScore) -> Document:
    """Return a system's hypothesis for an utterance and its errors."""
    names = ("substitutions", "deletions", "insertions", *_CHARACTERS)
    counts = {name: getattr(row, name) for name in names}
    return {"hypothesis": row.hypothesis, "errors": row.errors, **counts, "alignment": compact(row.edits())}


def _utterance(row: UtteranceScore, pair: Pair) -> Document:
    """Return the fields of an utterance that do not depend on the system."""
    return {
        "id": row.id,
        "speaker": pair.speaker,
        "duration": round(pair.duration, 3) if pair.duration else None,
        "reference": row.reference,
        "words": row.words,
    }


def _utterances(result: ScoredPairs) -> list[Document]:
    rows = []
    for row, raw, pair in zip(result.score.utterance_scores, result.raw.utterance_scores, result.pairs, strict=True):
        fields = _utterance(row, pair) | _result(row)
        if raw is not row and (raw.reference, raw.hypothesis) != (row.reference, row.hypothesis):
            fields |= {"raw_reference": raw.reference, "raw_hypothesis": raw.hypothesis}
        if pair.confidences:
            fields["confidences"] = [round(confidence, 4) for confidence in pair.confidences]
        rows.append(fields)
    return rows


def _timing(pairs: Sequence[Pair], seconds: float | None) -> Document:
    known = all(pair.duration for pair in pairs)
    audio = sum(pair.duration for pair in pairs) if known else None
    factor = round(seconds / audio, 6) if audio and seconds is not None else None
    return {
        "audio_seconds": round(audio, 3) if audio else None,
        "seconds": None if seconds is None else round(seconds, 3),
        "real_time_factor": factor,
    }


def evaluation(result: ScoredPairs, facts: Document, seconds: float | None = None) -> Document:
    """Return the document of one system; `seconds` is the time that recognition took."""
    score = result.score
    durations = [pair.duration for pair in result.pairs]
    calibrated = calibration(score, [pair.confidences for pair in result.pairs])
    return {
        "schema": SCHEMA,
        "kind": "evaluation",
        "facts": {**facts, "normaliser": result.normaliser},
        **_scores(result),
        **_timing(result.pairs, seconds),
        "speakers": _parts(by_speaker(score, [pair.speaker for pair in result.pairs])),
        "by_duration": _parts(by_duration(score, durations)),
        "by_speaking_rate": _parts(by_speaking_rate(score, durations)),
        "by_length": _parts(by_length(score)),
        "by_position": _parts(by_position(score)),
        "word_errors": _rounded(asdict(word_errors(score))),
        "character_confusions": _rounded(asdict(character_errors(score))),
        "harmful_words": _parts(harmful_words(score)),
        "calibration": _rounded(asdict(calibrated)) if calibrated else None,
        "utterance_scores": _utterances(result),
    }


def _contrast(contrast: Contrast) -> Document:
    row: Document = _rounded(asdict(contrast))
    row["difference"] = row["bootstrap"].pop("difference")
    for test in ("bootstrap", "mapsswe"):
        row[test]["p_corrected"] = row.pop(f"{test}_p")
    first = ("first", "second", "difference", "verdict", "shown", "better", "bootstrap", "mapsswe")
    return {name: row[name] for name in first} | row


def comparison(results: dict[str, ScoredPairs], facts: Document, sources: dict[str, Document]) -> Document:
    """Return the document of several systems by name; `sources` holds each system's own facts.

    `utterance_scores` holds only the utterances whose hypotheses differ. Raises ScoringError.
    """
    scores = {name: result.score for name, result in results.items()}
    pairs = next(iter(results.values())).pairs
    contrasts = compare(scores, [pair.speaker for pair in pairs])
    first = next(iter(scores.values()))
    rows = []
    for index, (row, pair) in enumerate(zip(first.utterance_scores, pairs, strict=True)):
        systems = [score.utterance_scores[index] for score in scores.values()]
        if len({one.hypothesis for one in systems}) > 1:
            rows.append(_utterance(row, pair) | {"systems": list(map(_result, systems))})
    return {
        "schema": SCHEMA,
        "kind": "comparison",
        "facts": {**facts, "normaliser": next(iter(results.values())).normaliser},
        "level": LEVEL,
        "utterances": first.utterances,
        "words": first.words,
        "systems": [{"name": name, **sources.get(name, {}), **_scores(result)} for name, result in results.items()],
        "pairs": list(map(_contrast, contrasts)),
        "same_utterances": first.utterances - len(rows),
        "utterance_scores": rows,
    }


def dumps(document: Document) -> str:
    """Return the document as JSON with one line per key and per item of a list of objects."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n  ".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in value)
            lines.append(f"{json.dumps(key)}: [\n  {items}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def write(path: str | Path, document: Document) -> None:
    """Write a document as JSON atomically. Raises OSError."""
    write_text(Path(path), dumps(document))
