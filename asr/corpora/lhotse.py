"""Lhotse manifests: recordings and supervisions, JSON Lines, also .gz.

NAME_recordings_SET.jsonl.gz      {"id": "r1", "sources": [{"type": "file", "channels": [0], "source": "r1.wav"}], …}
NAME_supervisions_SET.jsonl.gz    {"id": "u1", "recording_id": "r1", "start": 0.5, "duration": 2.0, "text": "…", …}
"""

from pathlib import Path

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Row, field, json_lines


def _pairs(root: Path) -> dict[str, tuple[Path, Path]]:
    pairs = {}
    for path in sorted([*root.glob("*supervisions*.jsonl"), *root.glob("*supervisions*.jsonl.gz")]):
        for suffix in (".jsonl", ".jsonl.gz"):
            name = path.name.split(".jsonl")[0]
            recordings = path.with_name(name.replace("supervisions", "recordings") + suffix)
            if recordings.is_file():
                pairs[name.replace("supervisions", "").strip("_-").replace("__", "_") or root.name] = recordings, path
    return pairs


def matches(root: Path) -> bool:
    """Return whether a folder has this layout."""
    return bool(_pairs(root))


def sets(root: Path) -> dict[str, list[Row]]:
    """Return the rows of each pair of manifests. Raises CorpusError."""
    return {name: _rows(*pair) for name, pair in _pairs(root).items()}


def _rows(recordings: Path, supervisions: Path) -> list[Row]:
    audio: dict[str, str] = {}
    for number, row in json_lines(recordings):
        source = f"{recordings}, line {number}"
        sources = field(row, "sources", list, source)
        if len(sources) != 1 or not isinstance(sources[0], dict) or sources[0].get("type") != "file":
            raise CorpusError(f"{source}: expected one source of type 'file'; commands and addresses are not run")
        path = field(sources[0], "source", str, source)
        # Relative paths are relative to the folder from which lhotse ran.
        places = [place / path for place in (recordings.resolve().parent, *list(recordings.resolve().parents)[1:3])]
        audio[field(row, "id", str, source)] = str(next((place for place in places if place.is_file()), places[0]))
    rows = []
    for number, row in json_lines(supervisions):
        source = f"{supervisions}, line {number}"
        recording = field(row, "recording_id", str, source)
        if recording not in audio:
            raise CorpusError(f"{source}: recording {recording!r} is not in {recordings}")
        if row.get("channel") not in (None, 0, [0]):
            raise CorpusError(f"{source}: channel {row['channel']}; write this channel to a file of its own")
        start, duration = (float(field(row, key, float, source)) for key in ("start", "duration"))
        if not 0 <= start < float("inf") or not 0 < duration < float("inf"):
            raise CorpusError(f"{source}: start {start:g} s, duration {duration:g} s; expected positive seconds")
        id, text, speaker = (field(row, key, str, source, default) for key, default in _FIELDS.items())
        rows.append(Row(id, audio[recording], text, source, speaker, start, duration))
    return rows


_FIELDS = {"id": None, "text": None, "speaker": ""}
