"""The pages in a browser: Debian's chromium, driven by playwright. Skipped if either is missing."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asr.decoding.tuning import page as tuning_page
from asr.files import write_text
from asr.reports import document, page
from asr.reports.document import ScoredPairs, score_pairs
from asr.training import page as training_page
from asr.training.events import Sample
from asr.transcripts.matching import Pair
from tests.decoding.test_tuning_page import DEV, tuned
from tests.reports.test_page import HOSTILE
from tests.training.test_page import run

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'asr[dev]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium here: apt-get install chromium", allow_module_level=True)

Show = Callable[..., Any]
SPEAKERS = ("ann", "bob", "cat")


def write_evaluation(path: Path, scores: ScoredPairs, facts: dict[str, str], seconds: float | None = None) -> None:
    write_text(path, page.evaluation(document.evaluation(scores, facts, seconds)))


def write_comparison(path: Path, scores: dict[str, ScoredPairs]) -> None:
    write_text(path, page.comparison(document.comparison(scores, {}, {})))


def utterances(count: int, recognise: Callable[[int, str], str] | None = None) -> list[Pair]:
    """Return utterances of 2 to 9 words; every third one has errors."""

    def wrong(index: int, text: str) -> str:
        words = text.split()
        if index % 3 == 0:
            words[0] = "XX"
        if index % 9 == 0:
            words = [*words[:-1], "ZZ", "ZZ"]
        return " ".join(words[:-1] if index % 6 == 0 else words)

    pairs = []
    for index in range(count):
        text = " ".join(f"W{index}" if number == 1 else f"A{number}" for number in range(2 + index % 8))
        hypothesis = (recognise or wrong)(index, text)
        confidences = tuple(0.9 if word.startswith(("A", "W")) else 0.3 for word in hypothesis.split())
        pairs.append(Pair(f"u{index}", text, hypothesis, SPEAKERS[index % 3], 1.0 + index % 8, confidences))
    return pairs


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Show]:
    """Open a page from disk; fail at the end if it logged anything or requested anything but itself."""
    problems: list[str] = []
    contexts = []

    def opened(path: Path, hash_: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("dialog", lambda dialog: problems.append(dialog.message))
        tab.on("request", lambda one: problems.extend([] if one.url.startswith(("file:", "data:")) else [one.url]))
        tab.goto(path.as_uri() + hash_)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "report.html"
    write_evaluation(path, score_pairs(utterances(100)), {"model": "m", "manifest": "dev.jsonl"}, 12.0)
    return path


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "compare.html"
    results = {
        "old": score_pairs(utterances(60)),
        "new": score_pairs(utterances(60, lambda index, text: text if index % 2 else f"{text} MORE")),
    }
    write_comparison(path, results)
    return path


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "training.html"
    rows = [replace(row, samples=(Sample(HOSTILE[0], "A B " * 50, "A X"),)) for row in run(20)]
    write_text(path, training_page.render("digits", rows, HOSTILE, finished=True))
    return path


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "tuning.html"
    write_text(path, tuning_page.render(tuned(), DEV, {"manifest": HOSTILE[0], "model": "m" * 300}))
    return path


def ids(tab: Any) -> list[str]:
    return [str(text) for text in tab.locator("#list > li .heading a").all_text_contents()]


def count(tab: Any) -> str:
    return str(tab.locator("#count").inner_text())


def choose(tab: Any, name: str, value: str) -> None:
    tab.locator(f"[name={name}]").select_option(value)


def test_rows_are_added_as_the_list_is_scrolled(show: Show, report: Path) -> None:
    tab = show(report)
    assert tab.title().startswith("WER ")
    assert count(tab).startswith("100 of 100 utterances: ")
    assert tab.locator("section").count() == 7
    assert len(ids(tab)) == 40
    while tab.locator("#more").is_visible():
        before = len(ids(tab))
        tab.locator("#list > li").last.scroll_into_view_if_needed()
        tab.locator("#list > li").nth(before).wait_for(state="attached")
    assert sorted(ids(tab)) == sorted(f"u{index}" for index in range(100))


def test_low_confidence_is_marked(show: Show, report: Path) -> None:
    headings = dict(zip(ids(tab := show(report)), tab.locator("#list > li .heading").all_text_contents(), strict=True))
    assert headings["u9"].endswith(" · confidence 45 %, low")
    assert headings["u27"].endswith(" · confidence 60 %")


def test_utterances_are_sorted(show: Show, report: Path) -> None:
    tab = show(report)
    assert int(ids(tab)[0][1:]) % 9 == 0
    choose(tab, "sort", "id")
    assert ids(tab)[:3] == ["u0", "u1", "u2"] and ids(tab)[10] == "u10"
    choose(tab, "sort", "longest")
    assert int(ids(tab)[0][1:]) % 8 == 7
    choose(tab, "sort", "speaker")
    assert ids(tab)[:2] == ["u0", "u3"]
    choose(tab, "sort", "lowest")
    assert int(ids(tab)[0][1:]) % 3 != 0


def test_filters_update_the_list_and_its_rate(show: Show, report: Path) -> None:
    tab = show(report)
    choose(tab, "kind", "none")
    assert count(tab).startswith("66 of 100 utterances: ") and count(tab).endswith("0 errors, WER 0.00 %")
    choose(tab, "kind", "1")
    assert count(tab).startswith("11 of 100 utterances: ")
    choose(tab, "kind", "")
    choose(tab, "speaker", "bob")
    assert count(tab).startswith("33 of 100 utterances: ")
    tab.locator("[name=words_from]").fill("8")
    tab.locator("[name=words_to]").fill("8")
    assert all(int(name[1:]) % 8 == 6 and int(name[1:]) % 3 == 1 for name in ids(tab)) and ids(tab)
    tab.locator("#all").click()
    tab.locator("[name=wer_from]").fill("100")
    assert ids(tab) and all(int(name[1:]) % 3 == 0 for name in ids(tab))


def test_find_searches_the_chosen_texts(show: Show, report: Path) -> None:
    tab = show(report)
    tab.locator("[name=find]").fill("a0 w41")
    assert ids(tab) == ["u41"]
    tab.locator("[name=find]").fill("zz")
    assert ids(tab) and all(int(name[1:]) % 9 == 0 for name in ids(tab))
    choose(tab, "where", "r")
    assert ids(tab) == [] and count(tab).startswith("None of 100 utterances")
    choose(tab, "where", "0")
    assert ids(tab)


def test_speaker_link_filters_the_list(show: Show, report: Path) -> None:
    tab = show(report)
    tab.locator("#speakers a", has_text="cat").click()
    assert tab.locator("[name=speaker]").input_value() == "cat"
    assert count(tab).startswith("33 of 100")


def test_example_link_shows_its_utterance(show: Show, report: Path) -> None:
    tab = show(report)
    choose(tab, "kind", "none")
    link = tab.locator("#words a[href^='#utterance-']").first
    target = link.get_attribute("href")
    link.click()
    tab.locator(f"{target}:focus").wait_for()
    assert tab.locator(target).bounding_box()["y"] < 800
    assert count(tab).startswith("100 of 100")
    # The same once more, and from elsewhere.
    tab.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    link.click()
    tab.locator(f"{target}:focus").wait_for()
    assert show(report, "#utterance-97").evaluate("document.activeElement.id") == "utterance-97"


def test_page_works_with_keys_alone(show: Show, report: Path) -> None:
    tab = show(report)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("/")
    tab.keyboard.type("w2")
    assert ids(tab) and all(name.startswith("u2") for name in ids(tab))
    tab.keyboard.press("Escape")
    assert count(tab).startswith("100 of 100")
    tab.evaluate("document.activeElement.blur()")
    for key in "jjjk":
        tab.keyboard.press(key)
    assert tab.evaluate("document.activeElement.id") == tab.locator("#list > li").nth(1).get_attribute("id")
    for _ in range(60):
        tab.keyboard.press("j")
    assert len(ids(tab)) >= 62
    # Every control can be reached, and tables are sorted with Enter.
    tab.locator("th button", has_text="speaker").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#speakers tbody td:first-child").all_inner_texts() == ["ann", "bob", "cat"]
    tab.keyboard.press("Enter")
    assert tab.locator("#speakers tbody td:first-child").all_inner_texts() == ["cat", "bob", "ann"]


def copied_text(tab: Any, select: str) -> str:
    tab.evaluate("document.addEventListener('copy', (e) => { window.copied = e.clipboardData.getData('text/plain'); })")
    tab.evaluate(
        f"const range = document.createRange(); {select}; getSelection().removeAllRanges(); "
        "getSelection().addRange(range)"
    )
    tab.keyboard.press("Control+c")
    return str(tab.evaluate("window.copied"))


def test_alignments_are_copied_as_lines(show: Show, tmp_path: Path) -> None:
    pairs = [Pair("u1", "THE CAT SAT DOWN", "THE BAT SAT ON IT"), Pair("u2", "A B", "B"), Pair("u3", "A", "A")]
    write_evaluation(tmp_path / "r.html", score_pairs(pairs), {})
    tab = show(tmp_path / "r.html")
    lines = "ref  THE [CAT] SAT [**] [DOWN]\nhyp  THE [BAT] SAT [ON] [IT  ]"
    assert copied_text(tab, "range.selectNodeContents(document.querySelector('.align'))") == lines
    some = "const all = document.querySelectorAll('.align')[0].querySelectorAll('.w');"
    some += "range.setStart(all[2].firstChild.firstChild, 1); range.setEnd(all[3].lastChild.firstChild, 1)"
    assert copied_text(tab, some) == "[CAT] SAT\n[BAT] SAT"
    rows = copied_text(tab, "range.selectNodeContents(document.querySelector('#list'))")
    assert "u1" in rows and lines in rows and "ref  [A] B\nhyp  [*] B" in rows
    assert rows.index("u1") < rows.index("ref") < rows.index("u2")


def test_tables_are_sorted_by_numbers(show: Show, report: Path) -> None:
    tab = show(report)
    tab.locator("#words th button", has_text="occurrences").click()
    cells = tab.locator("#words div.scroll").last.locator("tbody td:nth-child(3)").all_inner_texts()
    numbers = [int(cell) for cell in cells]
    assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1600])
@pytest.mark.parametrize("name", ["report", "compared", "training", "tuning"])
def test_pages_fit_the_window_in_both_themes(
    show: Show, request: pytest.FixtureRequest, name: str, width: int, scheme: str
) -> None:
    path = request.getfixturevalue(name)
    tab = show(path, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]


def test_pages_print_black_on_white(show: Show, report: Path, compared: Path) -> None:
    for path in (report, compared):
        tab = show(path, color_scheme="dark")
        printed = tab.pdf(prefer_css_page_size=True)
        assert printed.startswith(b"%PDF") and len(printed) > 20_000
        tab.emulate_media(media="print")
        assert not tab.locator("#controls").is_visible() and tab.locator("#list > li").first.is_visible()
        # Black on white, whatever the screen.
        assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"


def test_comparison_is_filtered_and_sorted(show: Show, compared: Path) -> None:
    tab = show(compared)
    assert tab.locator("header .verdict").count() == 1
    first = tab.locator("#list > li").first
    assert first.locator(".align .label span").all_inner_texts() == ["reference", "old", "new"]
    everything = int(count(tab).split()[0])
    sizes = []
    for value in ("0", "1", "same"):
        choose(tab, "best", value)
        sizes.append(int(count(tab).split()[0]) if not count(tab).startswith("None") else 0)
    assert sum(sizes) == everything and sizes[0] > 0
    choose(tab, "best", "")
    tab.locator("[name=find]").fill("more")
    assert all(int(name[1:]) % 2 == 0 for name in ids(tab)) and ids(tab)
    choose(tab, "where", "0")
    assert ids(tab) == []


def test_columns_of_several_systems_align_with_the_reference(show: Show, tmp_path: Path) -> None:
    results = {
        "a": score_pairs([Pair("u1", "A B C", "A X B"), Pair("u2", "A", "A")]),
        "b": score_pairs([Pair("u1", "A B C", "A B C D"), Pair("u2", "A", "A")]),
    }
    write_comparison(tmp_path / "c.html", results)
    tab = show(tmp_path / "c.html")
    copied = copied_text(tab, "range.selectNodeContents(document.querySelector('.align'))").splitlines()
    assert [line.split() for line in copied] == [
        ["reference", "A", "[*]", "B", "[C]", "[*]"],
        ["a", "A", "[X]", "B", "[*]", "[*]"],
        ["b", "A", "[*]", "B", "C", "[D]"],
    ]
    assert len({len(line.rstrip()) for line in copied}) == 1


def test_markup_in_texts_is_not_interpreted(show: Show, tmp_path: Path) -> None:
    pairs = [Pair(f"{text}{index}", text, f"{text} X", text, 1.0) for index, text in enumerate(HOSTILE)]
    results = {
        HOSTILE[0]: score_pairs(pairs),
        "b": score_pairs([*pairs[:-1], Pair(pairs[-1].id, HOSTILE[-1], "", "", 1.0)]),
    }
    write_evaluation(tmp_path / "r.html", results["b"], {"model": HOSTILE[1], "manifest": HOSTILE[2]})
    write_comparison(tmp_path / "c.html", results)
    tab = show(tmp_path / "r.html")
    assert count(tab).startswith(f"{len(HOSTILE)} of {len(HOSTILE)} utterances")
    assert sorted(ids(tab)) == sorted(pair.id for pair in pairs)
    assert tab.evaluate("document.querySelectorAll('img, iframe, main script, main style').length") == 0
    choose(tab, "speaker", HOSTILE[0])
    assert ids(tab) == [pairs[0].id]
    assert count(show(tmp_path / "c.html")).startswith("1 of 1 utterance:")


def test_very_long_utterance_is_shown_after_a_click(show: Show, tmp_path: Path) -> None:
    pairs = [Pair("words", "w " * 20_000, "w"), Pair("word", "a" * 100_000, "b"), Pair("c", "C", "C")]
    write_evaluation(tmp_path / "r.html", score_pairs(pairs), {})
    tab = show(tmp_path / "r.html")
    assert count(tab).startswith("3 of 3 utterances: 20,002 words")
    assert tab.locator("#list .w").count() < 400
    tab.locator("#list button", has_text="Show 3,000 more words").click()
    assert 3300 < tab.locator("#list .w").count() < 3400
    tab.locator("#list button", has_text="in full").click()
    assert (
        tab.evaluate("Math.max(...[...document.querySelectorAll('.w span')].map((one) => one.textContent.length))")
        == 1e5
    )


@pytest.mark.slow
def test_librispeech_test_set_opens_and_filters_quickly(show: Show, tmp_path: Path) -> None:
    write_evaluation(tmp_path / "r.html", score_pairs(utterances(2620)), {})
    tab = show(tmp_path / "r.html")
    timing = tab.evaluate("performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart")
    filtering = """() => { const begin = performance.now(); document.querySelector('[name=find]').value = 'a1';
        document.querySelector('#controls').dispatchEvent(new Event('input')); return performance.now() - begin; }"""
    assert timing < 5000 and tab.evaluate(filtering) < 1000
    assert show(tmp_path / "r.html", "#utterance-2619").evaluate("document.activeElement.id") == "utterance-2619"


def test_speaker_with_any_name_can_be_chosen(show: Show, tmp_path: Path) -> None:
    names = ["a\x01b", "half \ud800", "9", "10", 'x"y']
    rows = [Pair(f"u{index}", "A B", "A", name) for index, name in enumerate(names)]
    write_evaluation(tmp_path / "r.html", score_pairs(rows), {})
    tab = show(tmp_path / "r.html")
    shown = tab.locator("[name=speaker] option").all_text_contents()
    assert shown[:3] == ["all", "9", "10"]
    for index in range(5):
        tab.locator("#speakers tbody a").nth(index).click()
        assert len(ids(tab)) == 1
    every = {"a": score_pairs(rows), "b": score_pairs([Pair("u0", "A B", "A B", names[0]), *rows[1:]])}
    write_comparison(tmp_path / "c.html", every)
    tab = show(tmp_path / "c.html")
    tab.locator("#speakers tbody a", has_text="9").click()
    assert count(tab).startswith("None of 1 utterance")


def test_tall_window_is_filled(show: Show, report: Path) -> None:
    tab = show(report, viewport={"width": 1200, "height": 20_000})
    tab.locator("#list > li").nth(99).wait_for(state="attached")
    choose(tab, "sort", "id")
    tab.locator("#list > li").nth(99).wait_for(state="attached")
