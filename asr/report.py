"""Scores -> text for a person, JSON for a program."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jiwer

from asr.files import whole
from asr.scoring import Rate, Score, UtteranceScore, worst

SCHEMA = 1


def percent(rate: Rate) -> str:
    """Return a rate and its interval in percent."""
    return f"{100 * rate.value:.2f} %  (95 % interval {100 * rate.low:.2f} to {100 * rate.high:.2f})"


def aligned(row: UtteranceScore) -> list[str]:
    """Return the reference and the hypothesis as two lines, word under word, errors in brackets, gaps as stars."""
    output = jiwer.process_words(row.reference, row.hypothesis)
    reference, hypothesis = row.reference.split(), row.hypothesis.split()
    upper: list[str] = []
    lower: list[str] = []
    for chunk in output.alignments[0]:
        left = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        right = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
        width = max(len(left), len(right))
        for one, other in zip(left + [""] * (width - len(left)), right + [""] * (width - len(right)), strict=True):
            size = max(len(one), len(other))
            mark = one != other
            upper.append((one or "*" * size).ljust(size) if not mark else f"[{(one or '*' * size).ljust(size)}]")
            lower.append((other or "*" * size).ljust(size) if not mark else f"[{(other or '*' * size).ljust(size)}]")
    return [" ".join(upper).rstrip(), " ".join(lower).rstrip()]


def text(score: Score, facts: dict[str, str], count: int = 5) -> str:
    """Return the report for a terminal: the facts, the rates, the counts and the `count` worst utterances."""
    rows = [
        *facts.items(),
        ("WER", percent(score.wer)),
        ("CER", percent(score.cer)),
        ("utterances", f"{score.utterances}"),
        (
            "word errors",
            f"{score.substitutions + score.deletions + score.insertions} of {score.words} words "
            f"(substitutions {score.substitutions}, deletions {score.deletions}, insertions {score.insertions})",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.ljust(width)}  {value}" for name, value in rows]
    wrong = worst(score, count)
    if wrong:
        lines += ["", "Most errors (reference above hypothesis, [errors] in brackets):"]
    for row in wrong:
        lines += [f"  {row.id}: errors {row.errors}, words {row.words}", *(f"    {line}" for line in aligned(row))]
    return "\n".join(lines)


def write_json(path: str | Path, score: Score, facts: dict[str, Any]) -> None:
    """Write rates (fractions), counts, facts and every utterance as one JSON object, whole or not at all."""
    # What is no plain file, /dev/stdout say, cannot be renamed to.
    path = Path(path).resolve()
    body = asdict(score)
    utterances = body.pop("utterance_scores")
    row = {"schema": SCHEMA, **body, **facts, "utterance_scores": utterances}
    text = json.dumps(row, ensure_ascii=False, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    with whole(path) as out:
        out.write(text.encode())
