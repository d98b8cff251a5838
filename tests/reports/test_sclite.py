"""sclite's .pra and .dtl files, exact where scripts read them."""

from asr.reports import sclite
from asr.scoring import score

RESULT = score(["THE CAT SAT", "A B", "C"], ["THE BAT SAT DOWN", "B", "C"], ["u1", "u2", "u3"])


def test_pra_is_laid_out_as_by_sclite() -> None:
    assert sclite.pra(RESULT) == (
        "id: (u1)\n"
        "Scores: (#C #S #D #I) 2 1 0 1\n"
        "REF:  THE CAT SAT ****\n"
        "HYP:  THE BAT SAT DOWN\n"
        "Eval:     S       I\n"
        "\n"
        "id: (u2)\n"
        "Scores: (#C #S #D #I) 1 0 1 0\n"
        "REF:  A B\n"
        "HYP:  * B\n"
        "Eval: D\n"
        "\n"
        "id: (u3)\n"
        "Scores: (#C #S #D #I) 1 0 0 0\n"
        "REF:  C\n"
        "HYP:  C\n"
        "Eval:\n"
    )


def test_dtl_is_laid_out_as_by_sclite() -> None:
    text = sclite.dtl(RESULT, "mine")
    assert text.startswith("DETAILED OVERALL REPORT FOR THE SYSTEM: mine\n\nSENTENCE RECOGNITION PERFORMANCE\n")
    for line in (
        " sentences                                           3",
        " with errors                             66.7%   (   2)",
        "   with substitions                      33.3%   (   1)",
        "Percent Total Error       =   50.0%   (   3)",
        "Percent Correct           =   66.7%   (   4)",
        "Percent Word Accuracy     =   50.0%",
        "Ref. words                =           (   6)",
        "Hyp. words                =           (   6)",
        "Aligned words             =           (   7)",
        "CONFUSION PAIRS                  Total                 (1)",
        "                                 With >=  1 occurrences (1)",
        "   1:    1  ->  CAT ==> BAT",
        "   1:    1  ->  DOWN",
        "   1:    1  ->  A",
    ):
        assert f"\n{line}\n" in text, line


def test_dtl_adds_up_words_of_confusion_pairs() -> None:
    text = sclite.dtl(score(["A A B"], ["X Y X"]), "mine")
    heads = ["SUBSTITUTIONS", "FALSELY RECOGNIZED"]
    left, right = (text.split(head)[1].split("-------")[0] for head in heads)
    assert "   1:    2  ->  A\n   2:    1  ->  B\n" in left
    assert "   1:    2  ->  X\n   2:    1  ->  Y\n" in right


def test_dtl_without_errors_has_zero_rates() -> None:
    assert "Percent Total Error       =    0.0%   (   0)" in sclite.dtl(score(["A"], ["A"]), "mine")
