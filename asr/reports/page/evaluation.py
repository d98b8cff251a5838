"""The page of one system: how many errors, where they are, which, and every utterance."""

from collections.abc import Mapping
from typing import Any

from asr.reports.page import charts, frame, numbers, tables
from asr.reports.page.html import Html, element, join

Document = dict[str, Any]

_PARTS = {
    "conditions": "Conditions",
    "speakers": "Speakers",
    "words": "Words",
    "characters": "Characters",
    "confidence": "Confidence",
    "utterances": "Utterances",
    "facts": "Sources",
}
_MEANINGS = (
    (
        "S, D, I",
        "substitutions: another word was recognised; deletions: a word was left out; insertions: a word was recognised "
        "that was not said",
    ),
    (
        "WER",
        "word error rate: words substituted, deleted and inserted, for each word of the reference; above 100 % "
        "where a system says much that was not said",
    ),
    ("CER", "the same of characters, with the spaces"),
    ("SER", "sentence error rate: utterances with any word wrong"),
    (
        "95 % interval",
        "how far chance moves the rate: from 1,000 sets of as many utterances drawn from these (percentile "
        "bootstrap, Bisani and Ney 2004)",
    ),
    ("normaliser", "how both texts are written before they are compared; none compares them as they were given"),
)
# Names of files that tell less than their folder's.
_PLAIN = ("train", "dev", "test", "valid", "eval", "text", "references", "hypotheses", "manifest", "best", "last")
_SORTS = {
    "errors": "most errors",
    "highest": "highest WER",
    "lowest": "lowest WER",
    "longest": "longest",
    "shortest": "shortest",
    "speaker": "speaker",
    "id": "id",
    "order": "as in the references",
}
_KINDS = {
    "": "any number",
    "some": "with errors",
    "none": "without errors",
    "0": "with substitutions",
    "1": "with deletions",
    "2": "with insertions",
}


def _headline(document: Document) -> Html:
    raw, normaliser = document["raw"], document["facts"]["normaliser"]
    errors = frame.parts([(one, one, document[one]) for one in ("substitutions", "deletions", "insertions")])
    tiles = [
        frame.rate_tile(
            "Word error rate (WER)", document["wer"], join("normaliser ", element("b", normaliser)), kind="first"
        ),
        frame.rate_tile("WER as given", raw["wer"], join("normaliser ", element("b", raw["normaliser"]))),
        frame.rate_tile("Character error rate (CER)", document["cer"]),
        frame.rate_tile("Sentence error rate (SER)", document["ser"]),
    ]
    if document["real_time_factor"]:
        told = f"{numbers.seconds(document['seconds'])} for {numbers.seconds(document['audio_seconds'])} of audio"
        speed = f"{1 / document['real_time_factor']:.3g} times real time"
        tiles.append(frame.tile("Real-time factor", f"{document['real_time_factor']:.3g}", told, speed))
    tiles.append(frame.tile("Word errors", numbers.count(document["errors"]), errors, kind="errors"))
    meanings = element("dl", *(join(element("dt", one), element("dd", told)) for one, told in _MEANINGS))
    return join(
        element("dl", *tiles, class_="tiles"),
        element("details", element("summary", "What these numbers mean"), meanings, class_="meanings"),
    )


def _heading(document: Document) -> tuple[str, Html]:
    facts = document["facts"]
    system = frame.stem(facts.get("model") or facts.get("hypotheses") or "", _PLAIN)
    corpus = frame.stem(facts.get("manifest") or facts.get("references") or "", _PLAIN)
    size = [numbers.counted(document["utterances"], "utterance"), numbers.counted(document["words"], "word")]
    if document["speakers"]:
        size.append(numbers.counted(len(document["speakers"]), "speaker"))
    if document["audio_seconds"]:
        size.append(f"{numbers.seconds(document['audio_seconds'])} of audio")
    named = f"{system} on {corpus}" if system and corpus else system or corpus or "Word error rate"
    parts = [
        element("h1", frame.name(system), " on ", frame.name(corpus)) if system and corpus else element("h1", named)
    ]
    shown = join(element("p", "Speech recognition report", class_="soft over"), *parts, element("p", ", ".join(size)))
    return f"WER {numbers.percent(document['wer']['value'])}: {named}", element("header", shown)


def _whole(group: Document) -> str:
    """Return the lengths of a group, which are whole numbers."""
    low, high = group["low"], group["high"]
    if high is None:
        return f"≥ {low:g}"
    return f"{low:g}" if high == low + 1 else f"{low:g}–{high - 1:g}"


def _tenth(group: Document) -> str:
    return f"{10 * group['high']:.0f}"


def _conditions(document: Document) -> Html:
    wanted = [
        ("WER by duration, %", "seconds", "by_duration", numbers.bounds),
        ("WER by speaking rate, %", "words of the reference a second", "by_speaking_rate", numbers.bounds),
        ("WER by length, %", "words of the reference", "by_length", _whole),
        ("WER by place in the utterance, %", "tenth of the words of the utterance", "by_position", _tenth),
    ]
    figures = [
        charts.by_bins(caption, unit, document[key], list(map(label, document[key])), document["wer"]["value"])
        for caption, unit, key, label in wanted
        if document[key]
    ]
    told = (
        "Dots are the WER of a part of the words, upright lines its 95 % interval, the broken line the WER of all; the "
        "bars below tell how many words it is of. Where intervals overlap widely, the parts may not differ. ↑ is above "
        "the scale."
    )
    return (
        frame.section("conditions", "Where the errors are", frame.hint(told), element("div", *figures, class_="charts"))
        if figures
        else Html("")
    )


def _errors(found: Document, things: str, places: Mapping[str, int]) -> Html:
    lists = [tables.errors(found, kind, things, places) for kind in ("substitutions", "deletions", "insertions")]
    return element("div", *lists, class_="lists") if any(lists) else Html("")


def _words(document: Document, places: Mapping[str, int]) -> Html:
    harm = tables.harmful(document["harmful_words"], document["wer"]["value"])
    told = frame.hint(
        "Errors of the word itself: it was taken for another or left out, or it was put in. WER without: what the WER "
        "would be had none of them been made."
    )
    return frame.section(
        "words", "Which words go wrong", _errors(document["word_errors"], "words", places), harm and join(told, harm)
    )


def _confidence(document: Document) -> Html:
    found = document["calibration"]
    if not found:
        return Html("")
    entropy = found["normalised_cross_entropy"]
    facts = {
        "words with a confidence": numbers.count(found["words"]),
        "mean confidence": numbers.percent(found["confidence"]),
        "words that are right": numbers.percent(found["correct"]),
        "expected calibration error": numbers.percent(found["expected_calibration_error"]),
        "normalised cross entropy": numbers.NONE if entropy is None else f"{entropy:.3f}",
    }
    told = (
        "On the broken line a confidence says how often the word is right; below it the system is too sure of itself. "
    )
    told += "Normalised cross entropy: 1 is perfect, 0 says no more than the mean."
    both = element("div", charts.reliability(found), tables.facts(facts), class_="charts")
    return frame.section("confidence", "Can the confidences be believed?", frame.hint(told), both)


def _utterances(document: Document) -> Html:
    controls = {"in": frame.choice("where", {"": "both texts", "r": "references", "0": "hypotheses"})}
    if document["speakers"]:
        controls["speaker"] = frame.people(one["name"] for one in document["speakers"])
    controls |= {
        "errors": frame.choice("kind", _KINDS),
        "WER, %": frame.between("wer"),
        "length, words": frame.between("words"),
        "sorted by": frame.choice("sort", _SORTS),
    }
    told = (
        "Every utterance, word under word. Selected text is copied as two lines, errors in [brackets], gaps as stars."
    )
    return frame.utterances(
        "Utterances", told, controls, frame.legend("Lower line: what was recognised (hypothesis).", False)
    )


def _row(row: Document, sounds: Mapping[str, str]) -> Document:
    one = frame.row(row)
    one["made"] = [
        {"kinds": [row[name] for name in ("substitutions", "deletions", "insertions")], "alignment": row["alignment"]}
    ]
    if "raw_reference" in row:
        one["raw"] = [row["raw_reference"], row["raw_hypothesis"]]
    if "confidences" in row:
        one["confidences"] = row["confidences"]
    if row["id"] in sounds:
        one["audio"] = sounds[row["id"]]
    return one


def render(document: Document, sounds: Mapping[str, str]) -> str:
    """Return the page of an evaluation; `sounds`: ids to data URIs."""
    places = {row["id"]: index for index, row in enumerate(document["utterance_scores"])}
    people = tables.speakers(document["speakers"])
    body = join(
        _conditions(document),
        frame.section("speakers", "Who is recognised how well", people),
        _words(document, places),
        frame.section(
            "characters", "Which characters go wrong", _errors(document["character_confusions"], "characters", places)
        ),
        _confidence(document),
        _utterances(document),
        frame.fact_list(document),
    )
    title, heading = _heading(document)
    data = {"systems": ["hypothesis"], "utterances": [_row(row, sounds) for row in document["utterance_scores"]]}
    top = join(heading, _headline(document), frame.navigation(_PARTS, body))
    return frame.page(title, top, body, data)
