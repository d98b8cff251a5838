"""Files of references and hypotheses, of any system -> transcripts with ids.

text   a line for each: `ID WORD WORD …`, as Kaldi's `text` and LibriSpeech's .trans.txt
trn    `WORD WORD … (ID)`
ctm    a line for each word: `FILE CHANNEL START DURATION WORD [CONFIDENCE]`
stm    a line for each segment: `FILE CHANNEL SPEAKER START END [<LABEL>] WORD WORD …`
jsonl  a JSON object for each, with `text` and `id` (or `audio`, whose stem is the id): our manifests, `asr transcribe`
csv    a table with a header, commas between its columns; tsv: tabs
"""

from collections.abc import Callable
from pathlib import Path

from asr.transcripts import lines, tables, timed
from asr.transcripts.record import Transcript as Transcript
from asr.transcripts.record import TranscriptError as TranscriptError
from asr.transcripts.record import rows, unique

FORMATS = ("auto", "text", "kaldi", "trn", "ctm", "stm", "jsonl", "csv", "tsv")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"} | {f".{name}": name for name in FORMATS[3:]}
_READERS: dict[str, Callable[[Path], list[Transcript]]] = {
    "text": lines.read_text,
    "kaldi": lines.read_text,
    "trn": lines.read_trn,
    "stm": timed.read_stm,
    "ctm": lambda path: timed.by_recording(timed.read_ctm(path)),
    "jsonl": tables.read_jsonl,
    "csv": lambda path: tables.read_table(path, ","),
    "tsv": lambda path: tables.read_table(path, "\t"),
}
# Lines looked at where the name of a file does not tell its format.
_LOOK = 50


def detect(path: str | Path) -> str:
    """Return the format of a file by its name, or else by its first lines. Raises TranscriptError and OSError."""
    path = Path(path)
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    seen = [line for _, line in zip(range(_LOOK), (line for _, line in rows(path)), strict=False)]
    if not seen:
        return "text"
    if all(line.startswith("{") for line in seen):
        return "jsonl"
    for delimiter, name in (("\t", "tsv"), (",", "csv")):
        if tables.is_header(seen[0], delimiter):
            return name
    kept = [line for line in seen if not line.startswith(";;")]
    for name, fits in (("trn", lines.is_trn), ("stm", timed.is_stm), ("ctm", timed.is_ctm)):
        if kept and all(map(fits, kept)):
            return name
    return "text"


def read(path: str | Path, form: str = "auto") -> list[Transcript]:
    """Read transcripts, in the order of the file; `form` is one of FORMATS.

    Raises TranscriptError naming file and row for what is malformed, an id that stands twice or an empty file.
    """
    path = Path(path)
    if form not in FORMATS:
        raise TranscriptError(f"unknown format {form!r}; known are {', '.join(FORMATS)}")
    return unique(path, _READERS[detect(path) if form == "auto" else form](path))


def read_hypotheses(path: str | Path, references: list[Transcript], form: str = "auto") -> tuple[list[Transcript], int]:
    """Read what a system made of the references; return it, and how many words lie outside all segments.

    The words of a CTM go to the segment of the references that holds their middle, where the references are an STM.
    Raises TranscriptError as `read` does.
    """
    path = Path(path)
    if form == "auto":
        form = detect(path)
    if form == "ctm" and any(reference.recording for reference in references):
        return timed.into_segments(timed.read_ctm(path), references)
    return read(path, form), 0
