"""Transcripts a line each: `ID WORD WORD …` (text, Kaldi) and `WORD WORD … (ID)` (trn)."""

import re

from asr.transcripts.record import Source, TranscriptError, TranscriptRow, shown

_TRN = re.compile(r"\s*(.*?)\s*\(([^\s()]+)\)\s*")
# "{ colour / color }": sclite tries each; what was said is for the user to say.
_ALTERNATIVES = re.compile(r"\{[^{}]*/[^{}]*\}")


def is_trn(line: str) -> bool:
    """Tell whether a line has an id in brackets at its end."""
    return _TRN.fullmatch(line) is not None


def refuse_alternatives(source: Source, number: int, text: str) -> None:
    """Raise TranscriptError for `{ one / other }`."""
    found = _ALTERNATIVES.search(text)
    if found:
        raise TranscriptError(
            f"{source}, row {number}: alternatives {shown(found[0])} cannot be scored; keep one, "
            "and tell the others by --equivalents"
        )


def read_text(source: Source) -> list[TranscriptRow]:
    """Read `ID WORD WORD …`; an id alone has an empty transcript."""
    found = []
    for number, line in source.rows():
        identity, *words = line.split(maxsplit=1)
        found.append(TranscriptRow(identity, words[0] if words else "", number))
    return found


def read_trn(source: Source) -> list[TranscriptRow]:
    """Read `WORD WORD … (ID)`; lines of ;; are comments."""
    found = []
    for number, line in source.rows():
        if line.startswith(";;"):
            continue
        match = _TRN.fullmatch(line)
        if match is None:
            raise TranscriptError(f"{source}, row {number}: {shown(line)} is not of the form 'WORD WORD … (ID)'")
        refuse_alternatives(source, number, match[1])
        found.append(TranscriptRow(match[2], match[1], number))
    return found
