"""Tables of a page, which its script sorts by any column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asr.reports.page import charts, numbers
from asr.reports.page.html import Html, bidi, element, join, shortened, text

# A first word of a table that has more is enough to know it.
_LONGEST_WORD = 40


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, and the number it is sorted by."""

    content: object
    value: float | None = None


def number(value: int) -> Cell:
    """Return a cell with a whole number."""
    return Cell(numbers.count(value), value)


def table(caption: str, columns: Mapping[str, str], rows: Sequence[Sequence[Cell]]) -> Html:
    """Return a table that scrolls within the page; `columns`: name to class, of which some are known to the style."""
    if not rows:
        return Html("")
    heads = [
        element("th", element("button", name, type="button") if name else "", class_=kind or None, scope="col")
        for name, kind in columns.items()
    ]
    body = [
        element(
            "tr",
            *(
                element("td", cell.content, class_=kind or None, data_value=cell.value)
                for cell, kind in zip(row, columns.values(), strict=True)
            ),
        )
        for row in rows
    ]
    inner = element(
        "table",
        element("caption", element("span", caption)),
        element("thead", element("tr", *heads)),
        element("tbody", *body),
    )
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def facts(pairs: Mapping[str, object]) -> Html:
    """Return names and values."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", bidi(one))) for name, one in pairs.items())
    )


def speakers(groups: Sequence[dict[str, Any]]) -> Html:
    """Return the speakers with their rates and intervals."""
    most = max((group["wer"]["high"] for group in groups if group["wer"]), default=0.0)
    rows = [
        [
            Cell(element("a", bidi(shortened(one["name"])), href="#utterances", data_speaker=one["name"])),
            number(one["utterances"]),
            number(one["words"]),
            *(number(one[name]) for name in ("substitutions", "deletions", "insertions")),
            Cell(numbers.percent(one["wer"] and one["wer"]["value"]), one["wer"] and one["wer"]["value"]),
            Cell(numbers.span(one["wer"]) if one["wer"] else "", one["wer"] and one["wer"]["low"]),
            Cell(charts.bar(one["wer"], most), one["wer"] and one["wer"]["high"]),
        ]
        for one in groups
    ]
    columns = {"speaker": "", "utterances": "number minor", "words": "number minor"}
    columns |= dict.fromkeys(("S", "D", "I"), "number minor")
    columns |= {"WER": "number strong", "95 % interval": "number", "": "wide"}
    return table(f"{numbers.counted(len(groups), 'speaker')}; a name filters the utterances", columns, rows)


def _word(word: str) -> Html:
    return bidi("␣" if word == " " else shortened(word, _LONGEST_WORD))


def _examples(ids: Sequence[str], places: Mapping[str, int]) -> Html:
    links = [
        element("a", str(index), href=f"#utterance-{places[name]}", title=name, aria_label=f"example {name}")
        for index, name in enumerate(ids, 1)
    ]
    return text("") if not links else join(*(join(link, " ") for link in links))


def errors(found: dict[str, Any], kind: str, things: str, places: Mapping[str, int]) -> Html:
    """Return the most frequent errors of a kind, each with links to utterances; `things`: words or characters."""
    shown = found[kind]
    total = found[f"distinct_{kind}"]
    sides = {"substitutions": {"said": "", "heard": ""}, "deletions": {"not heard": ""}, "insertions": {"not said": ""}}
    rows = []
    for one in shown:
        both = [one[side] for side in ("reference", "hypothesis") if one[side]]
        rows.append(
            [*(Cell(_word(word)) for word in both), number(one["count"]), Cell(_examples(one["examples"], places))]
        )
    titles = {
        "substitutions": f"{things} taken for others",
        "deletions": f"{things} left out",
        "insertions": f"{things} too many",
    }
    told = titles[kind].capitalize() + (
        f": the first {len(shown)} of {numbers.count(total)}" if total > len(shown) else ""
    )
    return table(told, {**sides[kind], "times": "number", "examples": "number"}, rows)


def harmful(words: Sequence[dict[str, Any]], wer: float) -> Html:
    """Return the words that cost most, and what the rate were without their errors."""
    rows = [
        [
            Cell(_word(one["word"])),
            number(one["errors"]),
            number(one["occurrences"]),
            *(number(one[name]) for name in ("substitutions", "deletions", "insertions")),
            Cell(numbers.percent(one["wer_without"]), one["wer_without"]),
            Cell(numbers.points(one["wer_without"] - wer), one["wer_without"] - wer),
        ]
        for one in words
    ]
    columns = {"word": "", "errors": "number", "times said": "number"} | dict.fromkeys(("S", "D", "I"), "number minor")
    return table(
        "Words with the most errors", {**columns, "WER without": "number strong", "change, points": "number"}, rows
    )
