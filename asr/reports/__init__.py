"""Scores -> text for a person; see `document` for programs and `sclite` for those who are used to that."""

from collections.abc import Iterable, Mapping

from asr.reports.document import Document, expanded
from asr.reports.document import write as write_json
from asr.reports.scored import Scored, scored
from asr.scoring import Rate, UtteranceScore, worst
from asr.scoring.alignment import CORRECT, Edit
from asr.scoring.groups import by_speaker
from asr.scoring.words import Confusion, word_errors

__all__ = ["Scored", "aligned", "comparison_text", "percent", "scored", "text", "write_json"]

# Errors of each kind, and utterances that systems differ on, that a terminal shows.
_SHOWN = 5
# Facts that are for the files alone.
UNSHOWN = ("date", "asr")
# What would steer a terminal, or cannot be written to it: control characters and halves of surrogate pairs.
_UNPRINTABLE = dict.fromkeys({*range(32), *range(127, 160), *range(0xD800, 0xE000)} - {ord("\n")}, "\ufffd")


def percent(rate: Rate) -> str:
    """Return a rate and its interval in percent."""
    return f"{100 * rate.value:.2f} %  (95 % interval {100 * rate.low:.2f} to {100 * rate.high:.2f})"


def _lines(edits: Iterable[Edit]) -> list[str]:
    upper: list[str] = []
    lower: list[str] = []
    for edit in edits:
        size = max(len(edit.reference), len(edit.hypothesis))
        form = "{}" if edit.operation == CORRECT else "[{}]"
        upper.append(form.format((edit.reference or "*" * size).ljust(size)))
        lower.append(form.format((edit.hypothesis or "*" * size).ljust(size)))
    return [" ".join(upper).rstrip(), " ".join(lower).rstrip()]


def aligned(row: UtteranceScore) -> list[str]:
    """Return the reference and the hypothesis as two lines, word under word, errors in brackets, gaps as stars."""
    return _lines(row.edits())


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {value}" for name, value in rows]


def _named(confusions: Iterable[Confusion]) -> str:
    return ", ".join(
        f"{' -> '.join(word for word in (one.reference, one.hypothesis) if word)} ({one.count})" for one in confusions
    )


def _frequent(result: Scored) -> list[tuple[str, str]]:
    errors = word_errors(result.score, _SHOWN)
    kinds = {"confused": errors.substitutions, "deleted": errors.deletions, "inserted": errors.insertions}
    # An error that was made once is shown with its utterance, or not at all.
    often = {name: [one for one in found if one.count > 1] for name, found in kinds.items()}
    return [(name, _named(found)) for name, found in often.items() if found]


def _speakers(result: Scored) -> list[tuple[str, str]]:
    rated = [(group.wer.value, group.name) for group in by_speaker(result.score, result.details) if group.wer]
    if len(rated) < 2:
        return []
    (most, last), (least, first) = rated[0], rated[-1]
    return [("speakers", f"{len(rated)}, WER from {100 * least:.2f} % ({first}) to {100 * most:.2f} % ({last})")]


def text(result: Scored, facts: Mapping[str, str], count: int = 5) -> str:
    """Return the report for a terminal: the facts, the rates, the counts and the `count` worst utterances."""
    score = result.score
    lines = _table(
        [
            *facts.items(),
            ("normaliser", result.normaliser),
            ("WER", percent(score.wer)),
            *([] if result.raw is score else [("WER as given", percent(result.raw.wer))]),
            ("CER", percent(score.cer)),
            ("SER", percent(score.ser)),
            ("utterances", f"{score.utterances}"),
            (
                "word errors",
                f"{score.errors} of {score.words} words "
                f"(substitutions {score.substitutions}, deletions {score.deletions}, insertions {score.insertions})",
            ),
            *_speakers(result),
            *_frequent(result),
        ]
    )
    wrong = worst(score, count)
    if wrong:
        lines += ["", "Most errors (reference above hypothesis, [errors] in brackets):"]
    for row in wrong:
        lines += [f"  {row.id}: errors {row.errors}, words {row.words}", *(f"    {line}" for line in aligned(row))]
    return "\n".join(lines).translate(_UNPRINTABLE)


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"


def _contrast(pair: Document, several: bool) -> list[str]:
    test, bootstrap = pair["mapsswe"], pair["bootstrap"]
    z = "" if test["z"] is None else f"z = {test['z']:.2f}, "
    corrected = ", corrected (Holm)" if several else ""
    return [
        "",
        f"{pair['first']} and {pair['second']}: {pair['verdict']}",
        f"  paired bootstrap {_p(bootstrap['p_corrected'])}, MAPSSWE {_p(test['p_corrected'])}{corrected} "
        f"({z}{test['segments']} segments)",
        f"  {pair['second']} has fewer errors in {pair['wins']} utterances, more in {pair['losses']}, "
        f"as many in {pair['ties']}",
    ]


def _differing(document: Document, count: int) -> list[str]:
    def spread(row: Document) -> int:
        errors: list[int] = [one["errors"] for one in row["systems"]]
        return max(errors) - min(errors)

    rows = sorted(document["utterance_scores"], key=lambda row: (-spread(row), row["words"], row["id"]))
    lines = []
    for row in [row for row in rows if spread(row)][:count]:
        lines.append(f"  {row['id']}: words {row['words']}")
        for system, one in zip(document["systems"], row["systems"], strict=True):
            lines += [
                f"    {system['name']}: errors {one['errors']}",
                *(f"      {x}" for x in _lines(expanded(one["alignment"]))),
            ]
    return ["", "Where they differ most (reference above hypothesis):", *lines] if lines else []


def comparison_text(document: Document, count: int = _SHOWN) -> str:
    """Return a comparison's document for a terminal: the systems, the verdicts and `count` differing utterances."""
    lines = _table(
        [
            *((name, str(value)) for name, value in document["facts"].items() if name not in UNSHOWN),
            ("utterances", f"{document['utterances']}, {document['words']} words"),
            *(
                (
                    f"WER of {one['name']}",
                    f"{percent(Rate(**one['wer']))}, as given {100 * one['raw']['wer']['value']:.2f} %",
                )
                for one in document["systems"]
            ),
        ]
    )
    for pair in document["pairs"]:
        lines += _contrast(pair, len(document["pairs"]) > 1)
    return "\n".join(lines + _differing(document, count)).translate(_UNPRINTABLE)
