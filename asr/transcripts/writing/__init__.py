"""Transcripts -> the texts of files.

txt       the text on one line
json      one object on one line: text, scores, words and segments with times and confidences, alternatives
srt, vtt  subtitles
ctm       a line for each word, as NIST's scoring tools read it
tsv       a table of segments, with a header
textgrid  tiers of segments and words for Praat

Where the channels of a recording are apart, each has a transcript. CTM and TSV tell them by a column and TextGrid by
its tiers, in one file; of the other formats each has a file of its own.
"""

from collections.abc import Callable, Sequence

from asr.transcripts.records import FileResult as FileResult
from asr.transcripts.writing.lines import json_line, labelled_txt, txt
from asr.transcripts.writing.subtitles import srt, vtt
from asr.transcripts.writing.timed import ctm, textgrid, tsv, tsv_head

_WRITERS: dict[str, Callable[[FileResult], str]] = {
    "txt": txt,
    "json": json_line,
    "srt": srt,
    "vtt": vtt,
    "ctm": ctm,
    "tsv": tsv,
    "textgrid": lambda result: textgrid([result]),
}
FORMATS = tuple(_WRITERS)
# What of several recordings can stand in one file, one after another.
JOINED = ("txt", "json", "ctm", "tsv")
# What of several channels stands in one file.
OF_CHANNELS = ("ctm", "tsv", "textgrid")
# Praat knows its files by this name.
SUFFIXES = {form: ".TextGrid" if form == "textgrid" else f".{form}" for form in FORMATS}


def document(result: FileResult, form: str, head: bool = True) -> str:
    """Return the whole file of a transcript; `head`: with the header, where the format has one for all its rows.

    A file that failed has an empty line (txt) or an object with audio and error (json), so that lines and files stay
    in step, and no words in the other formats.
    """
    return (tsv_head(result) if form == "tsv" and head else "") + _WRITERS[form](result)


def joined(results: Sequence[FileResult], form: str, head: bool = True) -> str:
    """Return the transcripts of a recording, one or its channels', in one text; otherwise as `document`.

    Where channels are apart, lines of txt tell file and channel.
    """
    if form == "textgrid":
        return textgrid(results)
    if form == "txt" and results[0].channel is not None:
        return "".join(map(labelled_txt, results))
    return "".join(document(one, form, head and number == 0) for number, one in enumerate(results))


def endings(form: str, channels: int | None = None) -> list[str]:
    """Return what the files of a recording end in: `.txt`; with channels apart `.1.txt`, `.2.txt` and so on."""
    if channels is None or form in OF_CHANNELS:
        return [SUFFIXES[form]]
    return [f".{number}{SUFFIXES[form]}" for number in range(1, channels + 1)]


def files(results: Sequence[FileResult], form: str) -> dict[str, str]:
    """Return the files of a recording, by what their names end in."""
    channels = None if results[0].channel is None else len(results)
    if form in OF_CHANNELS:
        return {SUFFIXES[form]: joined(results, form)}
    made = [document(one, form) for one in results]
    return dict(zip(endings(form, channels), made, strict=True))


def line(result: FileResult, form: str) -> str:
    """Return the one line of a transcript in `txt` or `json`, without its line feed."""
    return document(result, form).removesuffix("\n")
