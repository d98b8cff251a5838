"""What every page has: its head, styles and scripts, all in the one file, and nothing from elsewhere."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

from asr.reports.page import charts, numbers, tables
from asr.reports.page.html import Html, bidi, element, embedded, join, shortened, showable

_SCRIPTS = ("alignment.js", "utterances.js", "tables.js")
_FACTS = {"asr": "asr version", "outside": "words outside"}


def _resource(name: str) -> str:
    return (files("asr.reports.page") / name).read_text(encoding="utf-8")


def _script() -> tuple[Html, str]:
    """Return the script, and what allows it alone to run."""
    content = '"use strict";\n(() => {\n' + "".join(map(_resource, _SCRIPTS)) + "})();\n"
    digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return Html(f"<script>{content}</script>"), f"'sha256-{digest}'"


def stem(path: str, plain: Sequence[str] = ()) -> str:
    """Return the last part of a path as a name, with its folder where it is one of the `plain` ones."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if not parts:
        return path
    return "/".join(parts[-2:] if PurePosixPath(parts[-1]).stem in plain else parts[-1:])


def tile(name: str, value: object, *notes: object, kind: str | None = None) -> Html:
    """Return a number with its name above and notes below."""
    below = [element("dd", note, class_="soft") for note in notes]
    return element("div", element("dt", name), element("dd", value, class_="figure"), *below, class_=kind)


def rate_tile(name: str, rate: dict[str, float], *notes: object, kind: str | None = None) -> Html:
    """Return a rate with its interval."""
    interval = f"95 % interval {numbers.span(rate)}"
    return tile(name, numbers.percent(rate["value"]), interval, *notes, kind=kind)


def parts(sizes: Sequence[tuple[str, str, int]]) -> Html:
    """Return a bar of parts, each of a class, a name and a size, and below it what they are."""
    named = [
        element("span", bidi(told), f" {numbers.count(size)}", class_=f"part {kind}") for kind, told, size in sizes
    ]
    return join(charts.shares(sizes), *(join(one, " ") for one in named))


def section(name: str, title: str, *parts: object) -> Html:
    """Return a part of the page that can be linked to, or nothing where nothing is in it."""
    if not any(parts):
        return Html("")
    return element(
        "section", element("h2", title, id=f"{name}-title"), *parts, id=name, aria_labelledby=f"{name}-title"
    )


def hint(*words: object) -> Html:
    """Return a sentence that explains."""
    return element("p", *words, class_="soft hint")


def fact_list(document: dict[str, Any]) -> Html:
    """Return where the numbers are from."""
    named = {_FACTS.get(name, name): shortened(str(value), 400) for name, value in document["facts"].items()}
    return section("facts", "Where these numbers are from", tables.facts(named))


def _controls(fields: Mapping[str, Html]) -> Html:
    labels = [element("label", element("span", name), field) for name, field in fields.items()]
    reset = element("button", "Show all", type="button", id="all")
    return element("form", *labels, reset, id="controls", autocomplete="off", hidden=True)


def choice(name: str, options: Mapping[str, str]) -> Html:
    """Return a field to choose from; `options`: value to what is shown."""
    return element("select", *(element("option", shown, value=value) for value, shown in options.items()), name=name)


def people(names: Iterable[str]) -> Html:
    """Return a field to choose a speaker from."""
    # Names of many corpora are numbers.
    ordered = sorted(names, key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name))
    return choice("speaker", {"": "all", **{name: shortened(name) for name in ordered}})


def between(name: str) -> Html:
    """Return two fields, from and to."""
    ends = [
        element(
            "input", type="number", name=f"{name}_{end}", min=0, step="any", placeholder=end, aria_label=f"{name} {end}"
        )
        for end in ("from", "to")
    ]
    return element("span", *ends, class_="between")


def utterances(title: str, told: object, controls: Mapping[str, Html], legend: object) -> Html:
    """Return the place of the list that the script fills, and what chooses from it."""
    keys = [
        (("/",), "find"),
        (("j", "k"), "next and previous utterance"),
        (("Esc",), "show all"),
    ]
    help_ = join(*(join(*(join(element("kbd", key), " ") for key in names), f"{does}   ") for names, does in keys))
    return section(
        "utterances",
        title,
        hint(told),
        _controls({"find": element("input", type="search", name="find"), **controls}),
        element("p", "Keys: ", help_, class_="soft keys"),
        legend,
        element("p", element("span", id="count", role="status", aria_live="polite"), class_="count"),
        element("noscript", element("p", "The list of utterances needs JavaScript; all other numbers are above.")),
        element("ol", id="list"),
        element("button", "Show more", type="button", id="more", hidden=True),
    )


def row(one: dict[str, Any]) -> dict[str, Any]:
    """Return what the script is told of an utterance, its speaker as the field to choose from has it."""
    return {name: one[name] for name in ("id", "duration", "words")} | {"speaker": showable(one["speaker"])}


def legend(below: str, several: bool) -> Html:
    """Return what the marks mean; those of `several` systems are on what was recognised alone."""

    def mark(kind: str, upper: str, lower: str, told: str) -> Html:
        lines = element("span", upper), element("span", lower, class_=kind if several else None)
        return element("span", element("span", *lines, class_="w" if several else f"w {kind}"), " ", told)

    return element(
        "p",
        element("span", "Upper line: what was said (reference). ", below),
        mark("s", "cat", "bat", "substituted"),
        mark("d", "cat", "", "deleted"),
        mark("i", "", "bat", "inserted"),
        class_="legend",
        aria_label="what the marks mean",
    )


def page(title: str, heading: Html, body: Html, data: Any) -> str:
    """Return the whole page; `body` its sections."""
    script, allowed = _script()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; media-src data:; script-src {allowed}"
    head = join(
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        Html(f"<style>{_resource('page.css')}</style>"),
    )
    skip = element("a", "To the utterances", href="#utterances", class_="skip")
    main = element("main", heading, body)
    whole = element("body", skip, main, embedded("data", data), script)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n{whole}</html>\n'


def navigation(names: Mapping[str, str], body: Html) -> Html:
    """Return links to the sections that the page has."""
    links = [element("a", shown, href=f"#{name}") for name, shown in names.items() if f'<section id="{name}"' in body]
    return element("nav", *links, aria_label="parts of this page")


def name(value: str) -> Html:
    """Return a name of someone else's making."""
    return bidi(shortened(value, 80))
