"""Transcripts -> the texts of files.

txt       the text on one line
json      one object on one line: text, scores, words and segments with times and confidences, alternatives
srt, vtt  subtitles
ctm       a line for each word, as NIST's scoring tools read it
tsv       a table of segments, with a header
textgrid  tiers of segments and words for Praat
"""

from collections.abc import Callable

from asr.output.lines import json_line, txt
from asr.output.record import Transcript as Transcript
from asr.output.subtitles import srt, vtt
from asr.output.timed import TSV_HEAD, ctm, textgrid, tsv

_WRITERS: dict[str, Callable[[Transcript], str]] = {
    "txt": txt,
    "json": json_line,
    "srt": srt,
    "vtt": vtt,
    "ctm": ctm,
    "tsv": tsv,
    "textgrid": textgrid,
}
FORMATS = tuple(_WRITERS)
# What of several recordings can stand in one file, one after another.
JOINED = ("txt", "json", "ctm", "tsv")
# Praat knows its files by this name.
SUFFIXES = {form: ".TextGrid" if form == "textgrid" else f".{form}" for form in FORMATS}


def document(transcript: Transcript, form: str, head: bool = True) -> str:
    """Return the whole file of a transcript; `head`: with the header, where the format has one for all its rows.

    A file that failed has an empty line (txt) or an object with audio and error (json), so that lines and files stay
    in step, and no words in the other formats.
    """
    return (TSV_HEAD if form == "tsv" and head else "") + _WRITERS[form](transcript)


def line(transcript: Transcript, form: str) -> str:
    """Return the one line of a transcript in `txt` or `json`, without its line feed."""
    return document(transcript, form).removesuffix("\n")
