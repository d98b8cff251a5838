"""Files of references and hypotheses, of any system -> transcripts with ids.

text   a line for each: `ID WORD WORD …`, as Kaldi's `text` and LibriSpeech's .trans.txt
trn    `WORD WORD … (ID)`
ctm    a line for each word: `FILE CHANNEL START DURATION WORD [CONFIDENCE]`
stm    a line for each segment: `FILE CHANNEL SPEAKER START END [<LABEL>] WORD WORD …`
jsonl  a JSON object for each, with `text` and `id` (or `audio`, whose stem is the id): our manifests, `asr transcribe`
csv    a table with a header, commas between its columns; tsv: tabs
report a JSON report of `asr evaluate` or `asr score`: its references as references, its hypotheses as hypotheses
"""

from collections.abc import Callable
from pathlib import Path

from asr.transcripts import lines, reports, tables, timed
from asr.transcripts.record import Source, unique
from asr.transcripts.record import TranscriptError as TranscriptError
from asr.transcripts.record import TranscriptRow as TranscriptRow

FORMATS = ("auto", "text", "kaldi", "trn", "ctm", "stm", "jsonl", "csv", "tsv", "report")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"} | {f".{name}": name for name in FORMATS[3:-1]}
_READERS: dict[str, Callable[[Source], list[TranscriptRow]]] = {
    "text": lines.read_text,
    "kaldi": lines.read_text,
    "trn": lines.read_trn,
    "stm": timed.read_stm,
    "ctm": lambda source: timed.by_recording(timed.read_ctm(source)),
    "jsonl": tables.read_jsonl,
    "csv": lambda source: tables.read_table(source, ","),
    "tsv": lambda source: tables.read_table(source, "\t"),
    "report": lambda source: reports.read_report(source, "reference"),
}
# Lines looked at where the name of a file does not tell its format.
_LOOK = 50


def _by_content(source: Source) -> str:
    seen = [line for _, (_, line) in zip(range(_LOOK), source.rows(), strict=False)]
    if seen and all(line.startswith("{") for line in seen):
        return "jsonl"
    for delimiter, name in (("\t", "tsv"), (",", "csv")):
        if seen and tables.is_header(seen[0], delimiter):
            return name
    kept = [line for line in seen if not line.startswith(";;")]
    for name, fits in (("trn", lines.is_trn), ("stm", timed.is_stm), ("ctm", timed.is_ctm)):
        if kept and all(map(fits, kept)):
            return name
    return "text"


def _form(source: Source, form: str) -> str:
    """Return the format: what was asked for, or else by the file's name, or else by its first lines."""
    if form not in FORMATS:
        raise TranscriptError(f"unknown format {form!r}; known are {', '.join(FORMATS)}")
    if form != "auto":
        return form
    if reports.is_report(source):
        return "report"
    return _SUFFIXES.get(source.path.suffix.lower()) or _by_content(source)


def _open(path: str | Path) -> Source:
    return Source(Path(path), Path(path).read_bytes())


def detect(path: str | Path) -> str:
    """Return the format of a file. Raises TranscriptError for what is not UTF-8, and OSError."""
    return _form(_open(path), "auto")


def read(path: str | Path, form: str = "auto") -> list[TranscriptRow]:
    """Read transcripts, in the order of the file; `form` is one of FORMATS.

    Raises OSError, and TranscriptError naming file and row for what is malformed, an id that stands twice or an empty
    file.
    """
    source = _open(path)
    return unique(source, _READERS[_form(source, form)](source))


def read_hypotheses(
    path: str | Path, references: list[TranscriptRow], form: str = "auto"
) -> tuple[list[TranscriptRow], int]:
    """Read what a system made of the references; return it, and how many words lie outside all segments.

    The words of a CTM go to the segment of the references that holds their middle, where the references are an STM.
    Raises as `read` does.
    """
    source = _open(path)
    form = _form(source, form)
    if form == "ctm" and any(reference.recording for reference in references):
        return timed.into_segments(timed.read_ctm(source), references)
    if form == "report":
        return unique(source, reports.read_report(source, "hypothesis")), 0
    return unique(source, _READERS[form](source)), 0
