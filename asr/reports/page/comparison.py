"""The page of several systems: what is shown, by how much, and the utterances that they recognise differently."""

from collections.abc import Sequence
from typing import Any

from asr.reports.page import charts, frame, numbers, tables
from asr.reports.page.html import Html, bidi, element, join, shortened
from asr.reports.page.tables import Cell, number

Document = dict[str, Any]

_PARTS = {
    "systems": "Systems",
    "verdicts": "Differences",
    "speakers": "Speakers",
    "utterances": "Utterances",
    "facts": "Sources",
}


def _verdict(pair: Document, several: bool, level: float) -> Html:
    first, second = (shortened(pair[name], 60) for name in ("first", "second"))
    mark = "✓" if pair["shown"] else "?"
    told = "shown" if pair["shown"] else "not shown"
    why = (
        f"Both p-values are below {level:g}: chance alone would hardly make such a difference."
        if pair["shown"]
        else f"Not both p-values are below {level:g}: chance alone may have made the difference."
    )
    badge = element(
        "span", element("span", mark, aria_hidden="true"), f" {told}", class_="badge yes" if pair["shown"] else "badge"
    )
    return element(
        "p",
        badge,
        " ",
        element("b", bidi(f"{first} and {second}: " if several else ""), bidi(pair["verdict"])),
        element("span", f" {why}", class_="soft"),
        class_="verdict",
    )


def _pair(pair: Document, ticks: Sequence[float], several: bool) -> Html:
    first, second = (shortened(pair[name], 40) for name in ("first", "second"))
    bootstrap, test = pair["bootstrap"], pair["mapsswe"]
    z = "" if test["z"] is None else f"z = {numbers.signed(test['z'])}, "
    corrected = "corrected (Holm); {} before" if several else ""
    counts = [
        ("win", f"{second} makes fewer errors", pair["wins"]),
        ("tie", "as many errors", pair["ties"]),
        ("loss", f"{second} makes more errors", pair["losses"]),
    ]

    def p(one: Document) -> list[str]:
        return [corrected.format(numbers.p_value(one["p"]))] if corrected else []

    tiles = [
        frame.tile(
            "difference of WER, points",
            numbers.points(pair["difference"]["value"]),
            "95 % interval {} to {}".format(*(numbers.points(pair["difference"][end]) for end in ("low", "high"))),
        ),
        frame.tile("paired bootstrap, p", numbers.p_value(bootstrap["p_corrected"]), *p(bootstrap)),
        frame.tile(
            "MAPSSWE, p",
            numbers.p_value(test["p_corrected"]),
            *p(test),
            f"{z}{numbers.counted(test['segments'], 'segment')}",
        ),
        frame.tile("utterances", numbers.count(sum(size for *_, size in counts)), frame.parts(counts), kind="errors"),
    ]
    heading = element("h3", bidi(first), " and ", bidi(second)) if several else ""
    return element(
        "article",
        heading,
        element("figure", charts.difference(pair, ticks)),
        element("dl", *tiles, class_="tiles"),
        class_="pair",
    )


def _systems(document: Document) -> Html:
    systems = document["systems"]
    most = max(system["wer"]["high"] for system in systems)
    normaliser = document["facts"]["normaliser"]
    rows = [
        [
            Cell(frame.name(one["name"])),
            Cell(numbers.percent(one["wer"]["value"]), one["wer"]["value"]),
            Cell(numbers.span(one["wer"]), one["wer"]["low"]),
            Cell(charts.bar(one["wer"], most), one["wer"]["high"]),
            *(number(one[name]) for name in ("substitutions", "deletions", "insertions")),
            Cell(numbers.rate(one["cer"]), one["cer"]["value"]),
            Cell(numbers.rate(one["ser"]), one["ser"]["value"]),
            Cell(numbers.rate(one["raw"]["wer"]), one["raw"]["wer"]["value"]),
        ]
        for one in systems
    ]
    columns = {"system": "", "WER": "number strong", "95 % interval": "number", "": "wide"}
    columns |= dict.fromkeys(("S", "D", "I"), "number minor")
    columns |= {"CER": "number", "SER": "number", "WER as given": "number"}
    told = (
        f"{numbers.counted(document['utterances'], 'utterance')}, {numbers.counted(document['words'], 'word')}; "
        f"normaliser {normaliser}. The same utterances for all: intervals that overlap do not mean that a difference "
        "is chance, as the tests below look at the utterances one by one."
    )
    return frame.section(
        "systems", "The systems", frame.hint(told), tables.table("Rates and 95 % intervals", columns, rows)
    )


def _speakers(pair: Document) -> Html:
    rows = []
    for one in pair["speakers"]:
        words = max(one["words"], 1)
        difference = (one["first_errors"] - one["second_errors"]) / words
        counts = [
            ("win", "fewer errors", one["wins"]),
            ("tie", "as many", one["ties"]),
            ("loss", "more", one["losses"]),
        ]
        rows.append(
            [
                Cell(
                    element(
                        "a", frame.name(one["speaker"] or numbers.NONE), href="#utterances", data_speaker=one["speaker"]
                    )
                ),
                number(one["utterances"]),
                number(one["words"]),
                *(
                    Cell(numbers.percent(one[name] / words), one[name] / words)
                    for name in ("first_errors", "second_errors")
                ),
                Cell(numbers.points(difference), difference),
                *(number(size) for *_, size in counts),
                Cell(charts.shares(counts), one["wins"] - one["losses"]),
            ]
        )
    first, second = (shortened(pair[name], 24) for name in ("first", "second"))
    columns = {"speaker": "", "utterances": "number minor", "words": "number minor", f"WER of {first}": "number"}
    columns |= {f"WER of {second}": "number", "points": "number strong"}
    columns |= {"wins": "number", "ties": "number minor", "losses": "number", "": "wide"}
    # Isolated, as a name may be written from right to left.
    told = "\u2068{0}\u2069 and \u2068{1}\u2069; wins: utterances in which \u2068{1}\u2069 makes fewer errors"
    return tables.table(told.format(first, second), columns, rows)


def _utterances(document: Document) -> Html:
    names = [system["name"] for system in document["systems"]]
    shown = {str(index): shortened(name, 40) for index, name in enumerate(names)}
    controls = {
        "in": frame.choice("where", {"": "all texts", "r": "references", **shown}),
        "fewest errors": frame.choice("best", {"": "any", **shown, "same": "as many errors"}),
    }
    people = {one["speaker"] for one in document["pairs"][0]["speakers"]} - {""}
    if people:
        controls["speaker"] = frame.people(people)
    controls["length, words"] = frame.between("words")
    sorts = {"spread": "largest difference"} | {
        f"most{index}": f"most errors of {name}" for index, name in shown.items()
    }
    sorts |= {
        "longest": "longest",
        "shortest": "shortest",
        "speaker": "speaker",
        "id": "id",
        "order": "as in the references",
    }
    controls["sorted by"] = frame.choice("sort", sorts)
    same, all_ = (numbers.count(document[name]) for name in ("same_utterances", "utterances"))
    told = f"Utterances that all systems recognised alike are left out ({same} of {all_}). "
    told += "Selected text is copied line by line, errors in [brackets], gaps as stars."
    below = "Below: what each system recognised, in their order."
    return frame.utterances("Utterances that differ", told, controls, frame.legend(below, True))


def _data(document: Document) -> Document:
    kinds = ("substitutions", "deletions", "insertions")
    rows = [
        frame.row(row)
        | {"made": [{"kinds": [one[kind] for kind in kinds], "alignment": one["alignment"]} for one in row["systems"]]}
        for row in document["utterance_scores"]
    ]
    return {"systems": [system["name"] for system in document["systems"]], "utterances": rows}


def render(document: Document) -> str:
    """Return the page of a comparison."""
    names = [shortened(system["name"], 40) for system in document["systems"]]
    pairs, several, level = document["pairs"], len(document["pairs"]) > 1, document["level"]
    ticks = charts.difference_ticks(pairs)
    corrected = f"Two-sided p; corrected for {len(pairs)} comparisons (Holm 1979). " if several else "Two-sided p. "
    told = (
        f"{corrected}Paired bootstrap (Bisani and Ney 2004) draws the same utterances for both systems; MAPSSWE "
        f"(Gillick and Cox 1989) compares their errors segment by segment. A difference is shown where both p-values "
        f"are below {level:g}."
    )
    body = join(
        _systems(document),
        frame.section(
            "verdicts", "The differences", frame.hint(told), *(_pair(pair, ticks, several) for pair in pairs)
        ),
        frame.section("speakers", "By speaker", *(_speakers(pair) for pair in pairs if pair["speakers"])),
        _utterances(document),
        frame.fact_list(document),
    )
    heading = element(
        "header",
        element("p", "Comparison of speech recognisers", class_="soft over"),
        element(
            "h1",
            *(
                join(bidi(name), " and " if index == len(names) - 2 else ", " if index < len(names) - 2 else "")
                for index, name in enumerate(names)
            ),
        ),
        *(_verdict(pair, several, level) for pair in pairs),
    )
    return frame.page(
        f"Compared: {', '.join(names)}", join(heading, frame.navigation(_PARTS, body)), body, _data(document)
    )
