"""Scores -> the report on a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from asr.reports import formats
from asr.reports.document import Document, ScoredPairs, expanded
from asr.scoring import Rate, UtteranceScore, worst
from asr.scoring.blocks import BLOCK_WORDS
from asr.scoring.confusions import word_errors
from asr.scoring.counts import CORRECT, Edit
from asr.scoring.groups import by_speaker

# Facts of a document that the terminal does not show.
HIDDEN_FACTS = ("date", "asr")
# Errors of each kind that the terminal lists.
_ERRORS = 5
# Control characters and halves of surrogate pairs: they would control the terminal or cannot be encoded.
_UNPRINTABLE = dict.fromkeys({*range(32), *range(127, 160), *range(0xD800, 0xE000)} - {ord("\n")}, "\ufffd")


@dataclass(frozen=True)
class TextOptions:
    """What the report shows.

    `show`: "worst" (the `worst` utterances with the most errors), "all" or "none". `verbose`: settings, the rate of the
    texts as given, speakers and frequent errors too. `width`: columns after which an alignment continues below.
    """

    show: Literal["worst", "all", "none"] = "worst"
    worst: int = 5
    verbose: bool = False
    width: int = 100


def rate(value: Rate) -> str:
    """Return a rate and its interval in percent."""
    return f"{formats.percent(value.value)}  (95 % interval {formats.interval(asdict(value))})"


def _aligned(edits: Iterable[Edit], indent: str, width: int) -> list[str]:
    """Return the reference above the hypothesis, word above word: errors in brackets, missing words as stars.

    A line longer than `width` continues in further pairs of lines, indented by two more columns.
    """
    blocks: list[tuple[list[str], list[str]]] = [([], [])]
    used = len(indent)
    for edit in edits:
        size = max(len(edit.reference), len(edit.hypothesis))
        form = "{}" if edit.operation == CORRECT else "[{}]"
        words = [form.format((word or "*" * size).ljust(size)) for word in (edit.reference, edit.hypothesis)]
        if blocks[-1][0] and used + len(words[0]) > width:
            used = len(indent) + 2
            blocks.append(([], []))
        for line, word in zip(blocks[-1], words, strict=True):
            line.append(word)
        used += len(words[0]) + 1
    return [
        f"{indent}{'  ' if number else ''}{' '.join(line)}".rstrip()
        for number, block in enumerate(blocks)
        for line in block
    ]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name.ljust(width)}  {value}" for name, value in rows]


def _frequent_errors(result: ScoredPairs) -> list[tuple[str, str]]:
    errors = word_errors(result.score, _ERRORS)
    rows = []
    for name, confusions in (
        ("substituted", errors.substitutions),
        ("deleted", errors.deletions),
        ("inserted", errors.insertions),
    ):
        # An error that occurs once is seen with its utterance.
        texts = [
            f"{' -> '.join(filter(None, (confusion.reference, confusion.hypothesis)))} ({confusion.count})"
            for confusion in confusions
            if confusion.count > 1
        ]
        if texts:
            rows.append((name, ", ".join(texts)))
    return rows


def _speakers(result: ScoredPairs) -> list[tuple[str, str]]:
    rated = [
        (formats.percent(group.wer.value), group.name)
        for group in by_speaker(result.score, [pair.speaker for pair in result.pairs])
        if group.wer
    ]
    if len(rated) < 2:
        return []
    (most, last), (least, first) = rated[0], rated[-1]
    return [("speakers", f"{len(rated)}, WER from {least} ({first}) to {most} ({last})")]


def _utterances(rows: Sequence[UtteranceScore], title: str, width: int) -> list[str]:
    lines = ["", f"{title} (reference above hypothesis, errors in [brackets]):"] if rows else []
    for row in rows:
        counts = f"{formats.counted(row.errors, 'error')} in {formats.counted(row.words, 'word')}"
        lines += [f"  {row.id}: {counts}", *_aligned(row.edits(), "    ", width)]
    return lines


def evaluation(
    result: ScoredPairs,
    settings: Mapping[str, str],
    notes: Mapping[str, str],
    options: TextOptions = TextOptions(),
    default_normaliser: str = "none",
) -> str:
    """Return the report of one system: the rates, the error counts, `notes` and the utterances that `options` selects.

    The rate of the texts as given is shown if another normaliser than the default changes it, and if verbose.
    """
    score, verbose = result.score, options.verbose
    lines = [*_table([*settings.items(), ("normaliser", result.normaliser)]), ""] if verbose else []
    raw = result.raw is not score and (verbose or result.normaliser != default_normaliser)
    kinds = ", ".join(
        formats.counted(getattr(score, f"{kind}s"), kind) for kind in ("substitution", "deletion", "insertion")
    )
    lines += _table(
        [
            ("WER", rate(score.wer)),
            *([("WER as given", rate(result.raw.wer))] if raw else []),
            ("CER", rate(score.cer)),
            ("SER", rate(score.ser)),
            ("words", f"{formats.counted(score.errors, 'error')} in {formats.counted(score.words, 'word')}: {kinds}"),
            ("utterances", f"{score.sentence_errors:,} of {score.utterances:,} with errors"),
            *_intervals(score.segments),
            *notes.items(),
            *([*_speakers(result), *_frequent_errors(result)] if verbose else []),
        ]
    )
    if options.show == "all":
        lines += _utterances(score.utterance_scores, "Utterances", options.width)
    elif options.show == "worst":
        rows = worst(score, options.worst)
        lines += _utterances(rows, "Utterances with the most errors", options.width)
    return "\n".join(lines).translate(_UNPRINTABLE)


def _intervals(segments: int) -> list[tuple[str, str]]:
    """Return what the intervals of WER and CER are from, if not from the utterances."""
    return [("intervals", f"from {segments:,} segments of about {BLOCK_WORDS} words")] if segments else []


def _p(value: float) -> str:
    return f"p {'' if value < 0.001 else '= '}{formats.p_value(value)}"


def _contrast(pair: Document, several: bool) -> list[str]:
    test, bootstrap = pair["mapsswe"], pair["bootstrap"]
    z = "" if test["z"] is None else f"z = {test['z']:.2f}, "
    corrected = ", corrected (Holm)" if several else ""
    return [
        "",
        f"{pair['first']} and {pair['second']}: {pair['verdict']}",
        f"  paired bootstrap {_p(bootstrap['p_corrected'])}, MAPSSWE {_p(test['p_corrected'])}{corrected} "
        f"({z}{formats.counted(test['segments'], 'segment')})",
        f"  {pair['second']} has fewer errors in {formats.counted(pair['wins'], 'utterance')}, more in "
        f"{pair['losses']:,}, the same number in {pair['ties']:,}",
    ]


def _differing(document: Document, options: TextOptions) -> list[str]:
    def spread(row: Document) -> int:
        errors: list[int] = [system["errors"] for system in row["systems"]]
        return max(errors) - min(errors)

    rows = sorted(document["utterance_scores"], key=lambda row: (-spread(row), row["words"], row["id"]))
    lines = []
    for row in [row for row in rows if spread(row)][: options.worst]:
        lines.append(f"  {row['id']}: {formats.counted(row['words'], 'word')}")
        for system, result in zip(document["systems"], row["systems"], strict=True):
            lines.append(f"    {system['name']}: {formats.counted(result['errors'], 'error')}")
            lines += _aligned(expanded(result["alignment"]), "      ", options.width)
    title = "Utterances that differ most (reference above hypothesis, errors in [brackets]):"
    return ["", title, *lines] if lines else []


def comparison(document: Document, options: TextOptions = TextOptions()) -> str:
    """Return the report of a comparison: the systems, the verdicts and `options.worst` differing utterances."""
    lines = _table(
        [
            *((name, str(value)) for name, value in document["facts"].items() if name not in HIDDEN_FACTS),
            (
                "utterances",
                f"{document['utterances']:,}, {formats.counted(document['words'], 'word')}",
            ),
            *_intervals(max(system["segments"] for system in document["systems"])),
            *(
                (
                    f"WER of {system['name']}",
                    f"{formats.percent(system['wer']['value'])}  (95 % interval {formats.interval(system['wer'])}), "
                    f"as given {formats.percent(system['raw']['wer']['value'])}",
                )
                for system in document["systems"]
            ),
        ]
    )
    for pair in document["pairs"]:
        lines += _contrast(pair, len(document["pairs"]) > 1)
    return "\n".join(lines + _differing(document, options)).translate(_UNPRINTABLE)
