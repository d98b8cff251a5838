"""Scores of NIST's formats against the recorded output of sclite (tests/saved/sclite/README.md)."""

import re
from pathlib import Path

from asr import transcripts
from asr.reports.document import score_pairs
from asr.transcripts.matching import match

FOLDER = Path(__file__).parent.parent / "saved" / "sclite"


def test_stm_and_ctm_are_scored_as_sclite_scores_them() -> None:
    recorded = re.findall(
        r"Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+).*?\nREF: (.*?)\nHYP: (.*?)\n",
        (FOLDER / "alignments.pra").read_text(),
        re.DOTALL,
    )
    expected = sorted(
        (*(" ".join(text.replace("*", "").split()) for text in (reference, hypothesis)), *map(int, counts))
        for *counts, reference, hypothesis in recorded
    )
    references = transcripts.read(FOLDER / "references.stm").rows
    hypotheses, outside = transcripts.read_hypotheses(FOLDER / "hypotheses.ctm", references)
    result = score_pairs(match(references, hypotheses.rows, "hypotheses.ctm").pairs)
    rows = sorted(
        (
            row.reference,
            row.hypothesis,
            row.words - row.substitutions - row.deletions,
            row.substitutions,
            row.deletions,
            row.insertions,
        )
        for row in result.score.utterance_scores
    )
    assert rows == expected
    assert (result.score.errors, result.score.words, outside) == (9, 14, 4)
