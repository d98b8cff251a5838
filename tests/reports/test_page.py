"""The pages are complete, self-contained, reproducible, and never interpret a text as HTML."""

import hashlib
import json
import random
import re
from base64 import b64decode, b64encode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import AudioError
from asr.files import write_text
from asr.reports import document, page
from asr.reports.document import ScoredPairs, score_pairs
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
    """Collect the tags and texts of a page; fail on tags that are not closed in order."""

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
    def words(self) -> str:
        """Return the text with one space between words."""
        return " ".join(self.text.split())

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


def report(pairs: list[Pair], normaliser: str = "none", seconds: float | None = None, **facts: str) -> str:
    return page.evaluation(document.evaluation(score_pairs(pairs, normaliser), facts, seconds))


def compared(results: dict[str, ScoredPairs]) -> str:
    return page.comparison(document.comparison(results, {"references": "r.txt"}, {}))


def pairs(count: int = 6) -> list[Pair]:
    return [
        Pair(f"u{index}", "THE CAT SAT", "THE BAT SAT ON", f"s{index % 2}", 2.0, (0.9,) * 4) for index in range(count)
    ]


def test_evaluation_page_shows_rates_intervals_and_normalisers() -> None:
    whole = report([Pair("u1", "It's 5.", "it is six"), Pair("u2", "b", "B")], "english", hypotheses="/a/b/h.txt")
    reader = Reader(whole)
    assert whole.startswith("<!doctype html>\n") and whole.endswith("</html>\n")
    shown = reader.words
    assert "Word error rate (WER) 25.00 % 95 % interval 0.00 to 33.33 normaliser english" in shown
    assert "without normaliser: 133.33 % (" in shown
    assert "substitutions 1 deletions 0 insertions 0" in shown
    assert "WER 25.00 %: h.txt" in reader.text
    assert reader.data["utterances"][0]["raw"] == ["It's 5.", "it is six"]


def test_page_requests_nothing_and_allows_only_its_own_script() -> None:
    for whole in (report(pairs()), compared({"a": score_pairs(pairs()), "b": score_pairs(pairs())})):
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


def test_links_have_targets() -> None:
    for whole in (report(pairs(), seconds=1.0), compared({"a": score_pairs(pairs()), "b": score_pairs(pairs())})):
        reader = Reader(whole)
        named = {one["id"] for one in reader.attributes if "id" in one}
        count = len(reader.data["utterances"])
        for link in {str(one["href"])[1:] for one in reader.attributes if "href" in one}:
            assert link in named or int(link.removeprefix("utterance-")) < count
        assert len(named) == sum("id" in one for one in reader.attributes)


def test_examples_link_to_the_utterances_with_the_error() -> None:
    whole = report([Pair("a", "X", "X"), Pair("b", "CAT", "BAT"), Pair("c", "CAT", "BAT")])
    assert re.search(
        r'CAT</bdi>.*?BAT</bdi>.*?>2</td>.*?href="#utterance-1" title="b".*?href="#utterance-2" title="c"', whole
    )


def test_unknown_facts_are_left_out() -> None:
    bare = report([Pair("u", "A", "B")])
    for name in ("speakers", "confidence"):
        assert f'<section id="{name}"' not in bare and f'href="#{name}"' not in bare
    for text in ("WER by duration", "real-time factor", "of audio"):
        assert text not in bare
    full = report(pairs(), seconds=0.6)
    for text in (
        "2 speakers",
        "WER by duration",
        "WER by speaking rate",
        "real-time factor 0.05",
        "× real time</dt>",
        "expected calibration error",
    ):
        assert text in full
    perfect = report([Pair("u", "A", "A")])
    assert 'id="words"' not in perfect and 'id="characters"' not in perfect


@pytest.mark.parametrize("hostile", [*HOSTILE, "a\x00b\x1b[31m", "half \ud800"])
def test_markup_in_texts_is_not_interpreted(hostile: str) -> None:
    def reports(one: str) -> list[Reader]:
        rows = [Pair(one, one, f"{one} X", one, 1.0), Pair("v", "A", "A", "s", 1.0)]
        first = page.evaluation(document.evaluation(score_pairs(rows), {"model": one, "manifest": "x", one: one}))
        second = compared({one: score_pairs(rows), "b": score_pairs([Pair(one, one, one, one, 1.0), rows[1]])})
        return [Reader(first), Reader(second)]

    for shown, plain in zip(reports(hostile), reports(" ".join(["plain"] * len(hostile.split()))), strict=True):
        assert shown.tags.count("script") == plain.tags.count("script") == 2
        assert not set(shown.tags) - set(plain.tags)
        text = hostile.translate(dict.fromkeys([0, 27, 0xD800], "\ufffd"))
        assert text in shown.text


@settings(deadline=None, max_examples=25)
@given(st.text())
def test_any_text_can_be_read_back(value: str) -> None:
    embedded = page.embedded({"text": [value]})
    assert not set(embedded) & {*"<>&\u2028\u2029", *map(chr, range(0xD800, 0xE000))}
    assert json.loads(embedded) == {"text": [value]}
    body = document.evaluation(score_pairs([Pair("u", "A", "B", value or "s")]), {"model": value})
    reader = Reader(page.evaluation(body))
    assert reader.tags.count("script") == 2
    [speaker] = [one["data-speaker"] for one in reader.attributes if "data-speaker" in one]
    assert speaker == reader.data["utterances"][0]["speaker"] == page.showable(value or "s")
    assert not {*map(ord, reader.text)} & {*range(9), *range(0xD800, 0xE000)}


def test_page_with_unencodable_text_can_be_written(tmp_path: Path) -> None:
    whole = report([Pair("half \ud800", "A \x85", "A", "\ufffe")])
    write_text(tmp_path / "r.html", whole)
    reader = Reader((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert reader.data["utterances"][0]["id"] == "half \ud800"


@pytest.mark.slow
def test_page_of_a_librispeech_test_set_is_below_three_megabytes() -> None:
    drawn = random.Random(1)
    words = ["".join(drawn.choices("ABCDEFGH", k=drawn.randint(1, 9))) for _ in range(5000)]
    rows = []
    for index in range(2620):
        reference = drawn.choices(words, k=20)
        hypothesis = [drawn.choice(words) if drawn.random() < 0.3 else word for word in reference]
        identity = f"{index}-128104-{index:04}"
        rows.append(Pair(identity, " ".join(reference), " ".join(hypothesis), str(index % 40), 7.4, (0.9876,) * 20))
    whole = report(rows, "english", 100.0)
    assert len(whole.encode()) < 3_000_000
    assert len(Reader(whole).data["utterances"]) == 2620


def test_page_depends_only_on_the_document() -> None:
    body = document.evaluation(score_pairs(pairs()), {}, 1.0)
    assert page.evaluation(body) == page.evaluation(json.loads(document.dumps(body)))
    both = document.comparison({"a": score_pairs(pairs()), "b": score_pairs(pairs())}, {}, {})
    assert page.comparison(both) == page.comparison(json.loads(document.dumps(both)))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_enough_contrast_in_both_themes() -> None:
    style = (Path(page.__file__).parent / "static" / "page.css").read_text(encoding="utf-8")
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


def test_comparison_page_states_the_verdicts() -> None:
    references = ["A B C D"] * 60
    better = ["A B C D"] * 60
    worse = ["X B C D" if index % 2 else "A B C D" for index in range(60)]
    near = ["X B C D" if index == 1 else one for index, one in enumerate(better)]
    rows = {
        name: [Pair(f"u{i}", r, h, f"s{i % 3}") for i, (r, h) in enumerate(zip(references, hypotheses, strict=True))]
        for name, hypotheses in {"good": better, "<bad>": worse, "near": near}.items()
    }
    reader = Reader(compared({name: score_pairs(one) for name, one in rows.items()}))
    heading = reader.words.partition("Systems")[0]
    assert "✓ significant" in heading and "good is better by 12.50 points" in heading and "? not significant" in heading
    assert heading.index("good and <bad>: ") < heading.index("good and near: ") < heading.index("<bad> and near: ")
    assert "corrected for 3 comparisons (Holm 1979)" in reader.text and "corrected (Holm); " in reader.text
    assert "paired bootstrap, p" in reader.text and "MAPSSWE, p" in reader.text
    assert "<bad> has fewer errors 0 same number of errors 30 <bad> has more errors 30" in reader.words
    assert "the same hypothesis from all systems are left out (30 of 60)" in reader.text
    assert reader.data["systems"] == ["good", "<bad>", "near"] and len(reader.data["utterances"]) == 30
    assert reader.text.count("wins: utterances in which") == 3
    two = Reader(compared({name: score_pairs(rows[name]) for name in ("good", "near")})).text
    assert "Holm" not in two and two.count("is better by") == 1


def test_sound_encodes_the_segment(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 3.0), SAMPLE_RATE)
    uri = page.sound(str(tmp_path / "a.wav"), 1.0, 0.5)
    head, _, encoded = uri.partition(",")
    assert head == "data:audio/ogg;base64"
    samples, rate = soundfile.read(BytesIO(b64decode(encoded)))
    assert (len(samples), rate) == (8000, SAMPLE_RATE) and 0.1 < abs(samples).max() < 0.5
    assert len(uri) < 12_000
    body = document.evaluation(score_pairs([Pair("u", "A", "B"), Pair("v", "A", "B")]), {})
    rows = Reader(page.evaluation(body, {"v": uri})).data["utterances"]
    assert [row.get("audio") for row in rows] == [None, uri]
    with pytest.raises(AudioError, match="no such file"):
        page.sound(str(tmp_path / "none.wav"))
