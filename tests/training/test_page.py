"""The page of a training run: its facts, charts and table, and that no text is interpreted as HTML."""

import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.training.events import Epoch, Sample
from asr.training.page import render

FIRST = Epoch(
    epoch=1,
    epochs=30,
    train_loss=3.0,
    dev_loss=3.2,
    dev_wer=1.0,
    best=True,
    learning_rate=1e-3,
    gradient_norm=20.0,
    largest_norm=90.0,
    blank_share=0.8,
    infinite=0,
    mask_strength=0.5,
    seconds=600.0,
    data_wait=0.02,
    audio_hours=10.0,
)
LOSS, WER, RATE, NORM = range(4)
EMPTY_TAGS = {"meta"}


class Reader(HTMLParser):
    """Collect the tags and the text of a page; fail on tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def run(count: int, epochs: int = 30) -> list[Epoch]:
    rows = []
    for index in range(count):
        factor = 0.9**index
        rows.append(
            replace(
                FIRST,
                epoch=index + 1,
                epochs=epochs,
                train_loss=3 * factor,
                dev_loss=3.2 * factor,
                dev_wer=factor,
                gradient_norm=20 * factor,
                largest_norm=90 * factor,
            )
        )
    return rows


def charts(page: str) -> list[ET.Element]:
    """Return the drawings, which have to be well-formed XML."""
    drawings = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert len(drawings) == 4
    return drawings


def lines(chart: ET.Element) -> list[list[list[tuple[float, float]]]]:
    """Return each line of a chart as its unbroken pieces."""
    result = []
    for path in chart.iter("path"):
        if (path.get("class") or "").startswith("line"):
            pieces = [piece.removesuffix("h0").split() for piece in path.get("d", "").split("M") if piece]
            result.append([[(float(x), float(y)) for x, y in (at.split(",") for at in piece)] for piece in pieces])
    return result


def ticks(chart: ET.Element, anchor: str) -> list[str]:
    """Return the numbers of the vertical ("end") or the horizontal ("middle") axis."""
    texts = [text for text in chart.iter("text") if text.get("text-anchor") == anchor]
    return [text.text or "" for text in texts if text.text != "epoch"]


def labels(chart: ET.Element) -> dict[str, float]:
    """Return the labels at the ends of the lines, and their heights."""
    return {text.text or "": float(text.get("y", "")) for text in chart.iter("text") if not text.get("class")}


def facts(page: str) -> dict[str, str]:
    tiles = re.findall(r"<dt>(.*?)</dt>(.*?)</div>", page, re.DOTALL)
    return {name: " ".join(re.sub(r"<.*?>", "", value).split()) for name, value in tiles}


def test_heading_shows_the_progress_of_the_run() -> None:
    rows = run(4)
    rows[3] = replace(rows[3], dev_wer=0.9)
    page = render("digits", rows, [])
    assert "<h1>digits</h1>" in page
    assert "<title>digits: epoch 4 of 30</title>" in page
    assert facts(page) == {
        "epoch": "4 of 30",
        "best dev WER": "81.00 % epoch 3",
        "training audio": "40.0 h",
        "elapsed, h:min": "0:40",
        "speed, × real time": "60",
        "remaining, h:min": "about 4:20",
    }
    assert 'max="30" value="4"' in page


def test_remaining_time_follows_the_last_five_epochs() -> None:
    rows = [replace(row, seconds=3600.0 if row.epoch < 6 else 60.0) for row in run(10)]
    assert facts(render("a", rows, []))["remaining, h:min"] == "about 0:20"


def test_best_of_equal_word_error_rates_has_the_lower_dev_loss() -> None:
    rows = [replace(row, dev_wer=0.5) for row in run(3)]
    assert facts(render("a", rows, []))["best dev WER"] == "50.00 % epoch 3"
    rows[0] = replace(rows[0], dev_wer=math.nan)
    rows[2] = replace(rows[2], dev_loss=9.0)
    assert facts(render("a", rows, []))["best dev WER"] == "50.00 % epoch 2"


@pytest.mark.parametrize(
    ("count", "finished", "reloads"), [(4, False, True), (4, True, False), (30, False, False), (30, True, False)]
)
def test_page_reloads_while_the_run_continues(count: int, finished: bool, reloads: bool) -> None:
    page = render("a", run(count), [], finished)
    refreshes = [attrs["content"] for tag, attrs in Reader(page).tags if attrs.get("http-equiv") == "refresh"]
    assert refreshes == (["60"] if reloads else [])
    assert ("remaining, h:min" in facts(page)) == reloads
    assert ("In training" in page, "Finished" in page) == (reloads, not reloads)


def test_page_requests_nothing() -> None:
    page = render("a", run(12), ["a note"])
    reader = Reader(page)
    assert not reader.names() & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not [attrs for _, attrs in reader.tags if {"src", "href", "onload", "onclick"} & attrs.keys()]
    assert not re.search(r"https?:|url\(|@import", page)
    policy = [attrs["content"] for _, attrs in reader.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "prefers-color-scheme: dark" in page


def test_every_chart_has_a_title_and_its_lines() -> None:
    drawings = charts(render("a", run(12), []))
    assert [len(lines(chart)) for chart in drawings] == [2, 1, 1, 2]
    for chart in drawings:
        assert chart.get("role") == "img"
        assert chart[0].tag == "title"
        assert "last: " in (chart[0].text or "")
        assert [len(line) for line in lines(chart)] == [1] * len(lines(chart))
        assert all(len(line[0]) == 12 for line in lines(chart))


def test_line_is_drawn_at_its_values() -> None:
    rows = [replace(row, dev_wer=wer) for row, wer in zip(run(3), (1.0, 0.5, 0.0), strict=True)]
    chart = charts(render("a", rows, []))[WER]
    lines_of_grid = [path.get("d", "") for path in chart.iter("path") if path.get("class") == "grid"]
    grid = [float(path.split(",")[1].split("H")[0]) for path in lines_of_grid]
    assert ticks(chart, "end") == ["0", "20", "40", "60", "80", "100"]
    ((piece,),) = lines(chart)
    assert [y for _, y in piece] == [grid[-1], pytest.approx((grid[0] + grid[-1]) / 2, abs=0.1), grid[0]]
    assert grid[0] > grid[-1]
    steps = [x for x, _ in piece]
    assert steps[1] - steps[0] == pytest.approx(steps[2] - steps[1], abs=0.11)


def test_gradient_norm_has_a_logarithmic_axis() -> None:
    norms = (1.0, 10.0, 100.0)
    rows = [replace(row, gradient_norm=norm, largest_norm=norm * 10) for row, norm in zip(run(3), norms, strict=True)]
    chart = charts(render("a", rows, []))[NORM]
    assert ticks(chart, "end") == ["1", "10", "100", "1000"]
    median, largest = ([y for _, y in piece] for (piece,) in lines(chart))
    assert median[0] - median[1] == pytest.approx(median[1] - median[2], abs=0.11)
    assert largest[:2] == median[1:]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((3.3, 0.02), ["0", "1", "2", "3", "4"]),
        ((0.0021,), ["0", "0.0005", "0.001", "0.0015", "0.002", "0.0025"]),
        ((103.0,), ["0", "20", "40", "60", "80", "100", "120"]),
        ((0.3, 0.1), ["0", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3"]),
        ((-3.0, 4.0), ["-4", "-2", "0", "2", "4"]),
        ((12000.0,), ["0", "2000", "4000", "6000", "8000", "10000", "12000"]),
        ((2e-6,), ["0", "5e-7", "1e-6", "1.5e-6", "2e-6"]),
        ((0.0, 0.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_ticks_are_round_numbers(values: tuple[float, ...], expected: list[str]) -> None:
    rows = [replace(row, learning_rate=value) for row, value in zip(run(len(values)), values, strict=True)]
    assert ticks(charts(render("a", rows, []))[RATE], "end") == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((3.0, 40.0), ["2", "5", "10", "20", "50"]),
        ((5.0, 5.0), ["2", "5", "10"]),
        ((0.3, 2000.0), ["0.1", "1", "10", "100", "1000", "10000"]),
        ((1e-9, 1e9), ["1e-9", "1e-6", "0.001", "1", "1000", "1e6", "1e9"]),
        ((math.inf, math.nan), ["0.5", "1", "2"]),
        ((0.0, 1.0), ["0.5", "1", "2"]),
    ],
)
def test_logarithmic_ticks_are_round_numbers(values: tuple[float, float], expected: list[str]) -> None:
    rows = [replace(row, gradient_norm=value, largest_norm=value) for row, value in zip(run(2), values, strict=True)]
    assert ticks(charts(render("a", rows, []))[NORM], "end") == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, ["1"]), (2, ["1", "2"]), (6, ["1", "2", "3", "4", "5", "6"]), (12, ["2", "4", "6", "8", "10", "12"])],
)
def test_ticks_of_epochs_are_whole(count: int, expected: list[str]) -> None:
    for chart in charts(render("a", run(count), [])):
        assert ticks(chart, "middle") == expected


def test_lines_are_labelled_with_their_name_and_last_value() -> None:
    drawings = charts(render("a", run(2), []))
    assert [list(labels(chart)) for chart in drawings] == [
        ["train 2.7", "dev 2.88"],
        ["90 %"],
        ["0.001"],
        ["median 18", "largest 81"],
    ]


def test_labels_of_equal_lines_do_not_overlap() -> None:
    rows = [replace(row, train_loss=1.0, dev_loss=1.0) for row in run(5)]
    first, second = labels(charts(render("a", rows, []))[LOSS]).values()
    assert abs(first - second) >= 12


def test_values_that_are_not_finite_leave_a_gap() -> None:
    rows = run(7)
    rows[2] = replace(rows[2], dev_loss=math.nan)
    rows[4] = replace(rows[4], dev_loss=math.inf)
    rows[6] = replace(rows[6], dev_loss=-math.inf)
    train, dev = lines(charts(render("a", rows, []))[LOSS])
    assert [len(piece) for piece in train] == [7]
    assert [len(piece) for piece in dev] == [2, 1, 1]


def test_run_without_drawable_values_has_empty_charts() -> None:
    nothing = {"train_loss", "dev_loss", "dev_wer", "learning_rate", "gradient_norm", "largest_norm", "seconds"}
    rows = [replace(row, audio_hours=math.nan, **dict.fromkeys(nothing, math.nan)) for row in run(3)]  # type: ignore[arg-type]
    page = render("a", rows, [])
    for chart in charts(page):
        assert lines(chart) == [[]] * len(lines(chart))
        assert (chart[0].text or "").endswith("no value")
    assert facts(page)["speed, × real time"] == "–"
    Reader(page)


def test_one_epoch_is_drawn_as_dots() -> None:
    page = render("a", run(1), [])
    for chart in charts(page):
        assert [[len(piece) for piece in line] for line in lines(chart)] == [[1]] * len(lines(chart))
        assert len(list(chart.iter("circle"))) == len(lines(chart))
        assert all(path.get("d", "").endswith("h0") for path in chart.iter("path") if path.get("class") != "grid")


def test_page_of_a_thousand_epochs_is_below_a_megabyte() -> None:
    samples = tuple(Sample(f"utterance-{index}", "a b c " * 50, "a b d " * 50) for index in range(5))
    rows = [replace(row, samples=samples) for row in run(1000, 1000)]
    page = render("long", rows, ["a note of a usual length, say"] * 100)
    assert len(page.encode()) < 1_000_000
    assert [len(line[0]) for line in lines(charts(page)[LOSS])] == [1000, 1000]
    assert page.count("<tr") == 1 + 1000 + 5 * 6


def test_charts_of_longer_runs_are_thinned_and_keep_their_ends() -> None:
    page = render("longer", run(2500, 2500), [])
    drawings = charts(page)
    ((rates,),) = lines(drawings[RATE])
    assert len(rates) == 1000
    whole = lines(charts(render("short", run(2), []))[RATE])[0][0]
    assert [rates[0], rates[-1]] == whole
    assert "<td>2500</td>" in page


def test_table_has_every_epoch_and_marks_each_best() -> None:
    rows = [replace(row, best=row.epoch != 2, infinite=7, data_wait=0.25) for row in run(3)]
    body = render("a", rows, []).partition("<details>")[2]
    head = re.findall(r"<th>(.*?)</th>", body)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr.*?</tr>", body)][1:]
    table = [dict(zip(head, row, strict=True)) for row in cells]
    assert [row["epoch"] for row in table] == ["1", "2", "3"]
    assert [row["dev wer %"] for row in table] == ["100", "90", "81"]
    assert (table[0]["infinite"], table[0]["data wait %"], table[0]["learning rate"]) == ("7", "25", "0.001")
    assert [('class="best"' in row) for row in re.findall(r"<tr.*?>", body)] == [False, True, False, True]


def samples(rows: list[Epoch]) -> list[tuple[str, str]]:
    page = render("a", rows, []).partition("<h2>Samples of the dev set</h2>")[2].partition("<h2>")[0]
    return re.findall(r'<th scope="row">(.*?)</th><td dir="auto">(.*?)</td>', page)


def test_samples_are_shown_at_five_epochs() -> None:
    rows = [replace(row, samples=(Sample("u1", "one two", f"text {row.epoch}"),)) for row in run(21)]
    shown = [1, 6, 11, 16, 21]
    assert samples(rows) == [("reference", "one two"), *((f"epoch {epoch}", f"text {epoch}") for epoch in shown)]
    assert [name for name, _ in samples(rows[:2])] == ["reference", "epoch 1", "epoch 2"]


def test_samples_are_those_of_the_last_epoch() -> None:
    rows = run(3)
    rows[0] = replace(rows[0], samples=(Sample("old", "x", "y"),))
    rows[1] = replace(rows[1], samples=(Sample("other", "p", "q"), Sample("kept", "one", "")))
    rows[2] = replace(rows[2], samples=(Sample("kept", "one", "on"),))
    assert samples(rows) == [("reference", "one"), ("epoch 2", '<i class="soft">nothing</i>'), ("epoch 3", "on")]
    assert samples(run(3)) == []


def test_notes_are_listed_if_there_are_any() -> None:
    assert "<li>one</li>\n<li>a &lt;b&gt;</li>" in render("a", run(1), ["one", "a <b>"])
    assert "<h2>Notes</h2>" not in render("a", run(1), [])


HOSTILE = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>",
    "</title></style><meta http-equiv=refresh content=0>",
    "&lt;b&gt; & <!-- ",
    "]]> {{x}} %s {0}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_in_texts_is_not_interpreted(text: str) -> None:
    def page(one: str) -> str:
        rows = [replace(row, samples=(Sample(one, one, one),)) for row in run(2)]
        return render(one, rows, [one])

    reader, plain = Reader(page(text)), Reader(page("plain"))
    assert reader.tags == plain.tags
    assert "".join(reader.text).count(text) == "".join(plain.text).count("plain") == 7
    charts(page(text))


@settings(deadline=None, max_examples=25)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
def test_every_transcript_can_be_read_back(text: str) -> None:
    rows = [replace(FIRST, samples=(Sample("u", text, text),))]
    assert [unescape(cell) for _, cell in samples(rows)] == [text, text]


numbers = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1e-99, 1e99, 1.7e308, 1.0])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8))
def test_any_numbers_are_drawn_within_the_plot(values: list[tuple[float, float]]) -> None:
    rows = [
        replace(
            row,
            train_loss=one,
            dev_loss=other,
            dev_wer=one,
            learning_rate=other,
            gradient_norm=one,
            largest_norm=other,
            seconds=min(abs(other), 1e9),
            audio_hours=min(abs(one), 1e9),
        )
        for row, (one, other) in zip(run(len(values)), values, strict=True)
    ]
    page = render("a", rows, [])
    Reader(page)
    drawings = charts(page)
    for chart in drawings:
        _, _, width, height = (float(number) for number in chart.get("viewBox", "").split())
        assert 2 <= len(ticks(chart, "end")) <= 9
        for line in lines(chart):
            for x, y in (point for piece in line for point in piece):
                assert 0 < x < width
                assert 9.9 <= y <= height - 25.9
    drawable = [one for one, _ in values if one == 0 or 1e-98 < abs(one) < 1e97]
    assert sum(len(piece) for piece in lines(drawings[WER])[0]) >= len(drawable)
