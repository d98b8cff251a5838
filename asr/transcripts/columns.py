"""The columns of tables and the keys of JSON lines: which one has the text of references, and which of hypotheses.

A column `text` may be either. One that is named after a side is never read as the other side.
"""

import re
from collections.abc import Collection, Iterable
from typing import Literal

from asr.transcripts.rows import TranscriptError, quoted

Side = Literal["reference", "hypothesis"]

# The names that a column may have, in lower case with _ between words.
TEXT_COLUMNS = ("text", "transcript", "transcription", "sentence")
SIDE_COLUMNS: dict[Side, tuple[str, ...]] = {
    "reference": ("reference", "ref", "reference_text", "ref_text", "ground_truth", "target", "label", "gold"),
    "hypothesis": (
        *("hypothesis", "hyp", "hypothesis_text", "hyp_text", "prediction", "predicted", "predicted_text"),
        *("pred_text", "pred", "asr_text", "recognized", "recognised", "output", "decoded"),
    ),
}
ID_COLUMNS = ("id", "utterance_id", "utterance", "utt_id", "utt")
AUDIO_COLUMNS = ("audio", "audio_filepath", "path", "file", "filename", "file_name", "wav")
# The start of a segment of a recording, in seconds.
START_COLUMNS = ("start", "offset", "start_time", "begin")
_KNOWN = {*TEXT_COLUMNS, *SIDE_COLUMNS["reference"], *SIDE_COLUMNS["hypothesis"]}
# Other names that may be those of a text too, such as `normalized_text` or `whisper_hyp`, and endings that are not.
_TEXT_LIKE = re.compile(r"(^|_)(text|transcri|hyp|pred|ref(_|erence|$))")
_NO_TEXT = re.compile(r"_(id|ids|path|file|filepath|score|length|len|count|language|lang|tokens|confidence)$")


def normalise_name(name: str) -> str:
    """Return the name of a column in lower case, with _ for spaces and hyphens."""
    return re.sub(r"[\s-]+", "_", name.strip().strip('"').casefold())


def first_column(names: Iterable[str], columns: Collection[str]) -> str | None:
    """Return the first column with one of the names, in the order of the names."""
    by_name = {normalise_name(column): column for column in reversed(list(columns))}
    return next((by_name[name] for name in names if name in by_name), None)


def text_columns(columns: Iterable[str]) -> list[str]:
    """Return the columns with a name that the text of either side may have."""
    return [column for column in columns if normalise_name(column) in _KNOWN]


def text_column(location: str, columns: Collection[str], side: Side, given: str = "") -> str:
    """Return the column with the text of a side: `given`, or the only one that may be it.

    Raises TranscriptError naming the columns if there is none or more than one.
    """
    listed = ", ".join(map(quoted, columns))
    option = f"--{side}-column"
    if given:
        chosen = [column for column in columns if given in (column, normalise_name(column))]
        if not chosen:
            raise TranscriptError(f"{location}: there is no column {quoted(given)}; the columns are {listed}")
        return chosen[0]
    own = [column for column in columns if normalise_name(column) in SIDE_COLUMNS[side]]
    neutral = [column for column in columns if normalise_name(column) in TEXT_COLUMNS]
    if not own and neutral:
        own = neutral + [column for column in columns if _may_be_text(column)]
    if not own:
        raise TranscriptError(
            f"{location}: no column of {listed} has the text of the {side}; name it 'text', or give it with {option}"
        )
    if len(own) > 1:
        names = " and ".join(map(quoted, own))
        raise TranscriptError(f"{location}: the {side} may be {names}; choose the column with {option}")
    return own[0]


def _may_be_text(column: str) -> bool:
    name = normalise_name(column)
    return name not in _KNOWN and bool(_TEXT_LIKE.search(name)) and not _NO_TEXT.search(name)
