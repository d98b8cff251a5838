"""The pages are whole, self-contained and show texts as text."""

from pathlib import Path

from asr import page
from asr.report import document
from tests.test_report import made

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>'",
    "</title></style><meta http-equiv=refresh content=0>",
    "<!-- <script>",
    "&lt;b&gt; & &#60; ]]> {{x}} %s {0} ${x}",
    "שלום עולם",
    "\u202eevil",
    "😀 🇩🇪",
]


def test_a_page_shows_rates_and_texts(tmp_path: Path) -> None:
    page.write(tmp_path / "report.html", document.evaluation(made(["A", HOSTILE], ["B", "C"]), {"model": HOSTILE}))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
    assert "100.00 %" in text and "<script>alert" not in text and "&lt;script&gt;" in text
    assert "http" not in text


def test_a_page_of_a_comparison_shows_verdicts_and_texts(tmp_path: Path) -> None:
    results = {"a": made(["A", HOSTILE], ["A", "C"]), "<b>": made(["A", HOSTILE], ["A", HOSTILE])}
    page.write_comparison(tmp_path / "compare.html", document.comparison(results, {}, {}))
    text = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "&lt;b&gt; is better by 50.00 points" in text
    assert "<script>alert" not in text and "<b>" not in text
