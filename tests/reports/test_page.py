"""The pages are whole, self-contained, the same each time, and show texts as text."""

import hashlib
import json
import random
import re
from base64 import b64decode, b64encode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr.audio import AudioError
from asr.reports import document, page
from asr.reports.page import charts, comparison, evaluation, numbers
from asr.reports.page.html import Html, element, embedded, text
from asr.reports.page.sound import data_uri
from asr.reports.scored import scored
from asr.transcripts.matching import Pair
from tests.conftest import SAMPLE_RATE, tone

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
VOID = {"meta", "input"}


class Reader(HTMLParser):
    """Collects the tags and texts of a page, and refuses tags that are not closed in order."""

    def __init__(self, whole: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.parts: list[str] = []
        self.scripts: list[str] = []
        self.feed(whole)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.parts).append(data)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


def report(pairs: list[Pair], normaliser: str = "none", seconds: float | None = None, **facts: str) -> str:
    return evaluation.render(document.evaluation(scored(pairs, normaliser), facts, seconds), {})


def comparing(results: dict[str, Any]) -> str:
    return comparison.render(document.comparison(results, {"references": "r.txt"}, {}))


def pairs(count: int = 6) -> list[Pair]:
    return [
        Pair(f"u{index}", "THE CAT SAT", "THE BAT SAT ON", f"s{index % 2}", 2.0, (0.9,) * 4) for index in range(count)
    ]


def test_a_page_shows_rates_intervals_and_normalisers() -> None:
    whole = report([Pair("u1", "It's 5.", "it is six"), Pair("u2", "b", "B")], "english", hypotheses="/a/b/h.txt")
    reader = Reader(whole)
    assert whole.startswith("<!doctype html>\n") and whole.endswith("</html>\n")
    assert "25.00 %95 % interval 0.00 to 33.33normaliser english" in reader.text
    assert "WER as given133.33 %95 % interval " in reader.text and "normaliser none" in reader.text
    assert "substitutions 1 deletions 0 insertions 0" in reader.text
    assert "WER 25.00 %: h.txt" in reader.text
    assert reader.data["utterances"][0]["raw"] == ["It's 5.", "it is six"]


def test_a_page_needs_nothing_from_elsewhere_and_runs_its_own_script_alone() -> None:
    for whole in (report(pairs()), comparing({"a": scored(pairs()), "b": scored(pairs())})):
        reader = Reader(whole)
        assert not set(reader.tags) & {"link", "img", "iframe", "object", "base", "audio"}
        links = [str(one["href"]) for one in reader.attributes if "href" in one]
        assert links and all(link.startswith("#") for link in links)
        assert not [one for one in reader.attributes if {"src", "onload", "onclick"} & one.keys()]
        assert not re.search(r"https?:|url\(|@import", whole)
        assert reader.tags.count("script") == 2
        policy = next(str(one["content"]) for one in reader.attributes if one.get("http-equiv"))
        digest = b64encode(hashlib.sha256(reader.scripts[1].encode()).digest()).decode()
        assert policy.startswith("default-src 'none'; ") and policy.endswith(f"script-src 'sha256-{digest}'")


def test_links_lead_to_what_is_there() -> None:
    for whole in (report(pairs(), seconds=1.0), comparing({"a": scored(pairs()), "b": scored(pairs(6))})):
        reader = Reader(whole)
        named = {one["id"] for one in reader.attributes if "id" in one}
        count = len(reader.data["utterances"])
        for link in {str(one["href"])[1:] for one in reader.attributes if "href" in one}:
            assert link in named or int(link.removeprefix("utterance-")) < count
        assert len(named) == sum("id" in one for one in reader.attributes)


def test_examples_are_of_the_utterances_that_have_the_error() -> None:
    whole = report([Pair("a", "X", "X"), Pair("b", "CAT", "BAT"), Pair("c", "CAT", "BAT")])
    assert re.search(
        r'CAT</bdi>.*?BAT</bdi>.*?>2</td>.*?href="#utterance-1" title="b".*?href="#utterance-2" title="c"', whole
    )


def test_what_is_not_known_is_left_out() -> None:
    bare = report([Pair("u", "A", "B")])
    for name in ("speakers", "confidence"):
        assert f'<section id="{name}"' not in bare and f'href="#{name}"' not in bare
    for told in ("WER by duration", "Real-time factor", "of audio"):
        assert told not in bare
    full = report(pairs(), seconds=0.6)
    for told in (
        "2 speakers",
        "WER by duration",
        "WER by speaking rate",
        "0.05",
        "20 times real time",
        "confidences be",
    ):
        assert told in full
    perfect = report([Pair("u", "A", "A")])
    assert 'id="words"' not in perfect and 'id="characters"' not in perfect


def test_the_charts_are_whole_and_tell_their_numbers() -> None:
    drawn = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", report(pairs(), seconds=1.0), re.DOTALL)]
    told = [svg[0].text or "" for svg in drawn if svg.get("role") == "img"]
    assert [one.partition(":")[0] for one in told[:3]] == [
        "WER by duration, %",
        "WER by speaking rate, %",
        "WER by length, %",
    ]
    assert "2–5: WER 66.67 %, 95 % interval 66.67 to 66.67; 18 words; 6 substituted, 0 deleted, 6 inserted" in told[0]
    assert len(told) == 5


def test_what_leaves_the_chart_is_marked() -> None:
    def group(words: int, value: float, high: float) -> dict[str, Any]:
        counts = dict.fromkeys(("substitutions", "deletions", "insertions"), 1)
        return {"wer": {"value": value, "low": 0.0, "high": high}, "words": words, **counts}

    groups = [group(500, 0.1, 0.15), group(500, 0.1, 3.0), group(1, 3.0, 4.0)]
    drawn = charts.by_bins("c", "u", groups, ["a", "b", "c"], 0.1)
    whiskers = re.findall(r'class="interval" d="(.*?)"', drawn)
    assert [path.count("M") for path in whiskers] == [3, 2]
    assert whiskers[1].split("V")[1].startswith("10.0")
    assert drawn.count("<circle") == 2 and "↑ 300</text>" in drawn
    assert re.findall(r'text-anchor="end">([\d.]+)<', drawn) == ["0", "5", "10", "15", "20"]


@pytest.mark.parametrize("hostile", [*HOSTILE, "a\x00b\x1b[31m", "half \ud800"])
def test_hostile_texts_are_shown_as_texts(hostile: str) -> None:
    def reports(one: str) -> list[Reader]:
        rows = [Pair(one, one, f"{one} X", one, 1.0), Pair("v", "A", "A", "s", 1.0)]
        first = evaluation.render(document.evaluation(scored(rows), {"model": one, "manifest": "x", one: one}), {})
        second = comparing({one: scored(rows), "b": scored([Pair(one, one, one, one, 1.0), rows[1]])})
        return [Reader(first.encode("utf-8", "backslashreplace").decode()), Reader(second)]

    for found, plain in zip(reports(hostile), reports(" ".join(["plain"] * len(hostile.split()))), strict=True):
        assert found.tags.count("script") == plain.tags.count("script") == 2
        assert not set(found.tags) - set(plain.tags)
        shown = hostile.translate(dict.fromkeys([0, 27, 0xD800], "\ufffd"))
        assert shown in found.text


@given(st.text())
def test_any_text_can_be_read_back(value: str) -> None:
    inside = embedded("data", {"text": [value]})
    assert not set(inside[inside.index(">") + 1 : inside.rindex("<")]) & set("<>&\u2028\u2029")
    assert json.loads(inside[inside.index(">") + 1 : inside.rindex("<")]) == {"text": [value]}
    reader = Reader(element("p", value, title=value))
    assert reader.tags == ["p"] and reader.text == str(reader.attributes[0]["title"])
    assert not {*map(ord, reader.text)} & {*range(9), *range(0xD800, 0xE000)}


def test_elements_are_written_as_meant() -> None:
    assert element("a", "<", Html("<b></b>"), class_="x", aria_label="y", hidden=True, title=None) == (
        '<a class="x" aria-label="y" hidden>&lt;<b></b></a>'
    )
    assert element("input", min=0) == '<input min="0">'
    assert text(3) == "3"


def test_numbers_are_written_as_meant() -> None:
    assert [numbers.points(value) for value in (-0.01234, 0.05, -0.00001)] == ["−1.23", "+5.00", "0.00"]
    assert [numbers.seconds(value) for value in (3.0, 300.0, 20_000.0)] == ["3.0 s", "5.0 minutes", "5.6 hours"]
    assert [numbers.p_value(value) for value in (0.0001, 0.04)] == ["< 0.001", "0.040"]
    assert (numbers.counted(1, "word"), numbers.counted(1000, "word")) == ("1 word", "1,000 words")


def test_a_test_set_of_librispeech_fits_in_three_megabytes() -> None:
    drawn = random.Random(1)
    words = ["".join(drawn.choices("ABCDEFGH", k=drawn.randint(1, 9))) for _ in range(5000)]
    rows = []
    for index in range(2620):
        said = drawn.choices(words, k=20)
        heard = [drawn.choice(words) if drawn.random() < 0.3 else word for word in said]
        identity = f"{index}-128104-{index:04}"
        rows.append(Pair(identity, " ".join(said), " ".join(heard), str(index % 40), 7.4, (0.9876,) * 20))
    whole = report(rows, "english", 100.0)
    assert len(whole.encode()) < 3_000_000
    assert len(Reader(whole).data["utterances"]) == 2620


def test_the_same_document_gives_the_same_page() -> None:
    body = document.evaluation(scored(pairs()), {}, 1.0)
    assert evaluation.render(body, {}) == evaluation.render(json.loads(document.dumps(body)), {})
    both = document.comparison({"a": scored(pairs()), "b": scored(pairs())}, {}, {})
    assert comparison.render(both) == comparison.render(json.loads(document.dumps(both)))


def test_a_page_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = document.evaluation(scored(pairs()), {})
    both = document.comparison({"a": scored(pairs()), "b": scored(pairs())}, {}, {})
    page.write(tmp_path / "new" / "r.html", body)
    page.write_comparison(tmp_path / "c.html", both)
    before = (tmp_path / "new" / "r.html").read_text(encoding="utf-8")
    assert before == evaluation.render(body, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        page.write(tmp_path / "new" / "r.html", body | {"facts": {"normaliser": "other"}})
    assert (tmp_path / "new" / "r.html").read_text(encoding="utf-8") == before
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["r.html"]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_texts_can_be_told_from_their_ground() -> None:
    style = (Path(page.__file__).parent / "page.css").read_text(encoding="utf-8")
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(themes) == 2
    pairs_ = [(ink, ground) for ink in ("ink", "soft", "accent") for ground in ("ground", "panel")]
    pairs_ += [(kind, ground) for kind in "sdi" for ground in ("ground", f"{kind}-ground")]
    for theme in themes:
        for ink, ground in pairs_:
            low, high = sorted([luminance(theme[ink]), luminance(theme[ground])])
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def test_a_comparison_says_in_words_what_is_shown() -> None:
    references = ["A B C D"] * 60
    better = ["A B C D"] * 60
    worse = ["X B C D" if index % 2 else "A B C D" for index in range(60)]
    near = ["X B C D" if index == 1 else one for index, one in enumerate(better)]
    rows = {
        name: [Pair(f"u{i}", r, h, f"s{i % 3}") for i, (r, h) in enumerate(zip(references, made_, strict=True))]
        for name, made_ in {"good": better, "<bad>": worse, "near": near}.items()
    }
    reader = Reader(comparing({name: scored(one) for name, one in rows.items()}))
    heading = reader.text.partition("Systems")[0]
    assert "✓ shown" in heading and "good is better by 12.50 points" in heading and "? not shown" in heading
    assert heading.index("good and <bad>: ") < heading.index("good and near: ") < heading.index("<bad> and near: ")
    assert "corrected for 3 comparisons (Holm 1979)" in reader.text and "corrected (Holm); " in reader.text
    assert "paired bootstrap, p" in reader.text and "MAPSSWE, p" in reader.text
    assert "<bad> makes fewer errors 0 as many errors 30 <bad> makes more errors 30" in reader.text
    assert "recognised alike are left out (30 of 60)" in reader.text
    assert reader.data["systems"] == ["good", "<bad>", "near"] and len(reader.data["utterances"]) == 30
    assert reader.text.count("wins: utterances in which") == 3
    two = Reader(comparing({name: scored(rows[name]) for name in ("good", "near")})).text
    assert "Holm" not in two and two.count("is better by") == 1


def test_a_page_with_audio_plays_the_segment(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 3.0), SAMPLE_RATE)
    uri = data_uri(str(tmp_path / "a.wav"), 1.0, 0.5)
    head, _, encoded = uri.partition(",")
    assert head == "data:audio/ogg;base64"
    samples, rate = soundfile.read(BytesIO(b64decode(encoded)))
    assert (len(samples), rate) == (8000, SAMPLE_RATE) and 0.1 < abs(samples).max() < 0.5
    assert len(uri) < 12_000
    body = document.evaluation(scored([Pair("u", "A", "B"), Pair("v", "A", "B")]), {})
    rows = Reader(evaluation.render(body, {"v": uri})).data["utterances"]
    assert [row.get("audio") for row in rows] == [None, uri]
    with pytest.raises(AudioError, match="no such file"):
        data_uri(str(tmp_path / "none.wav"))
