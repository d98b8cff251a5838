"""Scores -> the .pra (alignments) and .dtl (counts) files of NIST's sclite.

All errors have the same cost here; sclite's costs (4, 3, 3) align a few utterances differently.
"""

from collections import Counter
from collections.abc import Iterable

from asr.scoring import Score
from asr.scoring.confusions import Confusion, word_errors
from asr.scoring.counts import CORRECT


def pra(score: Score) -> str:
    """Return the counts, reference, hypothesis and error marks (S, D, I) of each utterance."""
    blocks = []
    for row in score.utterance_scores:
        upper, lower, marks = [], [], []
        for edit in row.edits():
            size = max(len(edit.reference), len(edit.hypothesis))
            upper.append((edit.reference or "*" * size).ljust(size))
            lower.append((edit.hypothesis or "*" * size).ljust(size))
            marks.append(("" if edit.operation == CORRECT else edit.operation).ljust(size))
        correct = row.words - row.substitutions - row.deletions
        counts = f"{correct} {row.substitutions} {row.deletions} {row.insertions}"
        lines = (f"REF:  {' '.join(upper)}", f"HYP:  {' '.join(lower)}", f"Eval: {' '.join(marks)}")
        block = [f"id: ({row.id})", f"Scores: (#C #S #D #I) {counts}", *lines]
        blocks.append("\n".join(line.rstrip() for line in block) + "\n")
    return "\n".join(blocks)


def _share(name: str, width: int, part: int, whole: int) -> str:
    return f"{name.ljust(width)}{100 * part / whole:5.1f}%   ({part:4d})"


def _sentences(score: Score) -> list[str]:
    rows, count = score.utterance_scores, score.utterances
    kinds = {
        "substitions": sum(row.substitutions > 0 for row in rows),  # sclite's spelling, which scripts search for
        "deletions": sum(row.deletions > 0 for row in rows),
        "insertions": sum(row.insertions > 0 for row in rows),
    }
    return [
        "SENTENCE RECOGNITION PERFORMANCE",
        "",
        f"{' sentences'.ljust(50)}{count:4d}",
        _share(" with errors", 40, score.sentence_errors, count),
        "",
        *(_share(f"   with {name}", 40, part, count) for name, part in kinds.items()),
    ]


def _words(score: Score) -> list[str]:
    correct = score.words - score.substitutions - score.deletions
    return [
        "WORD RECOGNITION PERFORMANCE",
        "",
        _share("Percent Total Error       =  ", 29, score.errors, score.words),
        "",
        _share("Percent Correct           =  ", 29, correct, score.words),
        "",
        _share("Percent Substitution      =  ", 29, score.substitutions, score.words),
        _share("Percent Deletions         =  ", 29, score.deletions, score.words),
        _share("Percent Insertions        =  ", 29, score.insertions, score.words),
        f"Percent Word Accuracy     =  {100 * (score.words - score.errors) / score.words:5.1f}%",
        "",
        "",
        f"Ref. words                =           ({score.words:4d})",
        f"Hyp. words                =           ({correct + score.substitutions + score.insertions:4d})",
        f"Aligned words             =           ({score.words + score.insertions:4d})",
    ]


def _list(title: str, items: Iterable[tuple[str, int]]) -> list[str]:
    items = list(items)
    lines = [f"{title.ljust(33)}Total                 ({len(items)})"]
    lines += [f"{' ' * 33}With >=  1 occurrences ({len(items)})", ""]
    lines += [f"{number:4d}: {count:4d}  ->  {name}" for number, (name, count) in enumerate(items, 1)]
    return ["", *lines, f"{' ' * 5}-------", f"{' ' * 5}{sum(count for _, count in items):5d}", ""]


def _summed(confusions: Iterable[Confusion], reference: bool) -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    for confusion in confusions:
        counts[confusion.reference if reference else confusion.hypothesis] += confusion.count
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def dtl(score: Score, title: str) -> str:
    """Return the counts of a system and the lists of all its errors."""
    errors = word_errors(score, score.errors)
    pairs = [(f"{pair.reference} ==> {pair.hypothesis}", pair.count) for pair in errors.substitutions]
    lines = [f"DETAILED OVERALL REPORT FOR THE SYSTEM: {title}", "", *_sentences(score), "", "", *_words(score)]
    lines += _list("CONFUSION PAIRS", pairs)
    lines += _list("INSERTIONS", [(error.hypothesis, error.count) for error in errors.insertions])
    lines += _list("DELETIONS", [(error.reference, error.count) for error in errors.deletions])
    lines += _list("SUBSTITUTIONS", _summed(errors.substitutions, reference=True))
    lines += ["* NOTE: The 'Substitution' words are those reference words"]
    lines += ["        for which the recognizer supplied an incorrect word."]
    lines += _list("FALSELY RECOGNIZED", _summed(errors.substitutions, reference=False))
    lines += ["* NOTE: The 'Falsely Recognized' words are those hypothesis words"]
    lines += ["        which the recognizer incorrectly substituted for a reference word."]
    return "\n".join(lines) + "\n"
