"""The charts: well-formed SVG with their numbers as text."""

import re
from typing import Any
from xml.etree import ElementTree as ET

from asr.reports import charts, document, page
from asr.reports.document import score_pairs
from tests.reports.test_page import pairs

HOSTILE = "</title></svg><script>alert(1)</script> & \"'"


def group(words: int, value: float, high: float) -> dict[str, Any]:
    counts = dict.fromkeys(("substitutions", "deletions", "insertions"), 1)
    return {"wer": {"value": value, "low": 0.0, "high": high}, "words": words, **counts}


def test_charts_of_a_page_are_well_formed_and_describe_their_numbers() -> None:
    whole = page.evaluation(document.evaluation(score_pairs(pairs()), {}, 1.0))
    drawn = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", whole, re.DOTALL)]
    titles = [svg[0].text or "" for svg in drawn if svg.get("role") == "img"]
    assert [title.partition(":")[0] for title in titles[:3]] == [
        "WER by duration, %",
        "WER by speaking rate, %",
        "WER by length, %",
    ]
    counts = "18 words; 6 substitutions, 0 deletions, 6 insertions"
    assert f"2–5: WER 66.67 %, 95 % interval 66.67 to 66.67; {counts}" in titles[0]
    assert len(titles) == 5


def test_rate_chart_marks_values_above_the_axis() -> None:
    groups = [group(500, 0.1, 0.15), group(500, 0.1, 3.0), group(1, 3.0, 4.0)]
    drawn = charts.rate_chart("c", "u", groups, ["a", "b", "c"], 0.1)
    whiskers = re.findall(r'class="interval" d="(.*?)"', drawn)
    assert [path.count("M") for path in whiskers] == [3, 2]
    assert whiskers[1].split("V")[1].startswith("10.0")
    assert drawn.count("<circle") == 2 and "↑ 300</text>" in drawn
    assert re.findall(r'text-anchor="end">([\d.]+)<', drawn) == ["0", "5", "10", "15", "20"]


def test_texts_in_charts_are_escaped() -> None:
    pair = {"first": HOSTILE, "second": HOSTILE, "difference": {"value": 0.1, "low": -0.1, "high": 0.2}}
    drawn = (
        charts.rate_chart(HOSTILE, HOSTILE, [group(1, 0.1, 0.2)], [HOSTILE], 0.1),
        charts.share_bar([("win", HOSTILE, 3)]),
        charts.difference_chart(pair, charts.symmetric_ticks(0.2)),
        charts.LineChart(HOSTILE, {HOSTILE: [1.0, 2.0]}).figure([1, 2]),
    )
    for svg in drawn:
        root = ET.fromstring(svg)
        assert not list(root.iter("script"))
        assert any(HOSTILE in (one.text or "") for one in root.iter())


def test_bars_without_values_are_empty() -> None:
    assert charts.interval_bar(None, 1.0) == charts.share_bar([("win", "w", 0)]) == ""
