"""Render the HTML pages from templates/, with the style sheet and the script of static/ in the page itself.

A page is one file that requests nothing. Jinja2 escapes every text; the data for the script is embedded as JSON.
"""

import hashlib
import io
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from importlib.resources import files
from inspect import getmembers, isfunction
from pathlib import PurePosixPath
from typing import Any

import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined

from asr import audio
from asr.reports import charts, formats

Document = dict[str, Any]

# About 35 kbit/s of speech. Opus would be a fifth smaller and takes ten times as long to encode.
_SOUND = {"format": "OGG", "subtype": "VORBIS"}
# libsndfile's Vorbis encoder overflows its stack if much is written at once.
_SOUND_BLOCK = 1 << 14
# Control characters and noncharacters, which HTML does not allow, and surrogates, which UTF-8 does not.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
# Those, and what could end the script element or a line of old JavaScript.
_NOT_IN_SCRIPT = re.compile(_UNSHOWABLE.pattern[:-1] + "<>&\u2028\u2029]")
# File names that say less than their folder's name.
_GENERIC_NAMES = frozenset(
    {"train", "dev", "test", "valid", "eval", "text", "references", "hypotheses", "manifest", "best", "last"}
)
_KINDS = ("substitutions", "deletions", "insertions")


def _static(name: str) -> str:
    return (files("asr.reports") / "static" / name).read_text(encoding="utf-8")


def showable(text: str) -> str:
    """Return a text with replacement characters for those that a page cannot hold."""
    return _UNSHOWABLE.sub("\ufffd", text)


def embedded(data: Any) -> str:
    """Return data as JSON for a <script> element that is not executed."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _NOT_IN_SCRIPT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _sorted_names(names: Iterable[str]) -> list[str]:
    """Return names in order, those that are numbers first and by value."""
    return sorted(names, key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("asr.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    script = (
        '"use strict";\n(() => {\n' + "".join(map(_static, ("alignment.js", "utterances.js", "tables.js"))) + "})();\n"
    )
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"style": _static("page.css"), "script": script, "script_digest": digest, "charts": charts}
    environment.filters |= {
        "embedded": embedded,
        "sorted_names": _sorted_names,
        **dict(getmembers(formats, isfunction)),
    }
    return environment


_ENVIRONMENT = _environment()


def render(template: str, **context: object) -> str:
    """Return a page; `context` holds the variables of the template."""
    return showable(_ENVIRONMENT.get_template(template).render(**context))


def _name(path: str) -> str:
    """Return the last part of a path, with its folder if the part alone is a generic name."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return "/".join(parts[-2:] if parts and PurePosixPath(parts[-1]).stem in _GENERIC_NAMES else parts[-1:])


def _row(utterance: Document, results: Iterable[Document]) -> Document:
    """Return an utterance for the script."""
    return {
        **{name: utterance[name] for name in ("id", "duration", "words")},
        # As in the option of the speaker filter.
        "speaker": showable(utterance["speaker"]),
        "results": [
            {"kinds": [result[kind] for kind in _KINDS], "alignment": result["alignment"]} for result in results
        ],
    }


def evaluation(document: Document, sounds: Mapping[str, str] | None = None) -> str:
    """Return the page of one system's scores; `sounds` maps utterance ids to data URIs."""
    facts, rows = document["facts"], []
    for utterance in document["utterance_scores"]:
        row = _row(utterance, [utterance])
        if "raw_reference" in utterance:
            row["raw"] = [utterance["raw_reference"], utterance["raw_hypothesis"]]
        if "confidences" in utterance:
            row["confidences"] = utterance["confidences"]
        if sound := (sounds or {}).get(utterance["id"]):
            row["audio"] = sound
        rows.append(row)
    groups = (
        ("WER by duration, %", "seconds", "by_duration", formats.bounds),
        ("WER by speaking rate, %", "reference words per second", "by_speaking_rate", formats.bounds),
        ("WER by length, %", "reference words", "by_length", formats.integer_bounds),
        ("WER by position, %", "tenth of the utterance", "by_position", lambda group: f"{10 * group['high']:.0f}"),
    )
    return render(
        "evaluation.html.j2",
        document=document,
        system=_name(facts.get("model") or facts.get("hypotheses") or ""),
        corpus=_name(facts.get("manifest") or facts.get("references") or ""),
        figures=[
            charts.rate_chart(caption, unit, document[key], list(map(label, document[key])), document["wer"]["value"])
            for caption, unit, key, label in groups
            if document[key]
        ],
        indices={row["id"]: index for index, row in enumerate(rows)},
        data={"systems": ["hypothesis"], "utterances": rows},
    )


def comparison(document: Document) -> str:
    """Return the page of several systems' scores."""
    names = [system["name"] for system in document["systems"]]
    bounds = [abs(end(pair["difference"])) for pair in document["pairs"] for end in (formats.low, formats.high)]
    return render(
        "comparison.html.j2",
        document=document,
        names=names,
        ticks=charts.symmetric_ticks(max(bounds)),
        data={"systems": names, "utterances": [_row(row, row["systems"]) for row in document["utterance_scores"]]},
    )


def sound(path: str, offset: float = 0.0, duration: float | None = None) -> str:
    """Return a part of a recording (seconds) as the data URI of an <audio> element. Raises AudioError."""
    waveform = audio.load(path, offset=offset, duration=duration)
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", audio.SAMPLE_RATE, 1, **_SOUND) as out:
        for start in range(0, len(waveform), _SOUND_BLOCK):
            out.write(waveform[start : start + _SOUND_BLOCK])
    return f"data:audio/ogg;base64,{b64encode(encoded.getvalue()).decode('ascii')}"
