"""One transcript per line: plain text (txt), Kaldi's text (`ID WORD WORD …`) and trn (`WORD WORD … (ID)`)."""

import re

from asr.transcripts.alternatives import parse_alternatives
from asr.transcripts.records import FileResult
from asr.transcripts.rows import InputFile, TranscriptError, TranscriptRow, quoted

_TRN = re.compile(r"\s*(.*?)\s*\(([^\s()]+)\)\s*")


def fits_text(file: InputFile) -> bool:
    """Return whether a file can be Kaldi's text: no comments, and no id occurs twice."""
    ids = [row.split(maxsplit=1)[0] for _, row in file.rows]
    return ";;" not in ids and len(set(ids)) == len(ids)


def read_text(file: InputFile) -> list[TranscriptRow]:
    """Read `ID WORD WORD …`; a row with an id alone has an empty text."""
    rows = []
    for number, row in file.rows:
        identity, *text = row.split(maxsplit=1)
        rows.append(TranscriptRow(identity, "".join(text), number))
    return rows


def fits_trn(file: InputFile) -> bool:
    """Return whether a file can be a trn: each row ends with an id in brackets, and no id occurs twice."""
    matches = [_TRN.fullmatch(row) for _, row in file.uncommented_rows]
    ids = {match[2] for match in matches if match}
    return bool(matches) and len(ids) == len(matches)


def read_trn(file: InputFile) -> list[TranscriptRow]:
    """Read `WORD WORD … (ID)`. Raises TranscriptError."""
    rows = []
    for number, row in file.uncommented_rows:
        match = _TRN.fullmatch(row)
        if match is None:
            raise TranscriptError(f"{file.at(number)}: {quoted(row)} is not of the form 'WORD WORD … (ID)'")
        alternatives = parse_alternatives(file.at(number), match[1])
        rows.append(TranscriptRow(match[2], match[1], number, alternatives=alternatives))
    return rows


def format_labelled_txt(result: FileResult) -> str:
    """Return a line FILE, CHANNEL, TEXT separated by tabs; the last two are empty for a failed file."""
    return f"{escape_name(result.audio)}\t{result.channel or ''}\t{result.text}\n"


def escape_name(name: str) -> str:
    """Return the name of a file as one cell of a table: tab, line feed, carriage return and backslash are escaped."""
    for character, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        name = name.replace(character, escape)
    return name
