"""The JSON document of a report -> one self-contained HTML page."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from asr.files import write_text

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body{{font-family:sans-serif;margin:2em}}
td,th{{text-align:left;padding:.2em 1em .2em 0;vertical-align:top}}</style>
</head><body><h1>{title}</h1>
"""


def _table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    def line(cells: Iterable[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>\n"

    return "<table>\n" + line(header, "th") + "".join(line(row, "td") for row in rows) + "</table>\n"


def _percent(rate: dict[str, float]) -> str:
    value, low, high = (100 * rate[name] for name in ("value", "low", "high"))
    return f"{value:.2f} % (95 % interval {low:.2f} to {high:.2f})"


def write(path: str | Path, document: dict[str, Any]) -> None:
    """Write the page of an evaluation, whole or not at all. Raises OSError."""
    facts = [*document["facts"].items(), *((name.upper(), _percent(document[name])) for name in ("wer", "cer", "ser"))]
    facts.append((f"WER, normaliser {document['raw']['normaliser']}", _percent(document["raw"]["wer"])))
    rows = [(row["id"], row["errors"], row["reference"], row["hypothesis"]) for row in document["utterance_scores"]]
    body = _table(("", ""), facts) + _table(("id", "errors", "reference", "hypothesis"), rows)
    write_text(Path(path), _HEAD.format(title="Word error rate") + body + "</body></html>\n")


def write_comparison(path: str | Path, document: dict[str, Any]) -> None:
    """Write the page of a comparison, whole or not at all. Raises OSError."""
    names = [system["name"] for system in document["systems"]]
    rates = [(system["name"], _percent(system["wer"]), _percent(system["cer"])) for system in document["systems"]]
    verdicts = [(pair["first"], pair["second"], pair["verdict"]) for pair in document["pairs"]]
    rows = [
        (row["id"], row["reference"], *(one["hypothesis"] for one in row["systems"]))
        for row in document["utterance_scores"]
    ]
    body = _table(("", ""), document["facts"].items()) + _table(("system", "WER", "CER"), rates)
    body += _table(("first", "second", "verdict"), verdicts) + _table(("id", "reference", *names), rows)
    write_text(Path(path), _HEAD.format(title="Comparison of word error rates") + body + "</body></html>\n")
