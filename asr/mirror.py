"""A folder of transcripts that mirrors where the recordings are, and what in it need not be made again.

`.asr-made` in the folder has a JSON object on each line: first that an output will be made here, and once it is, of
which source and with which settings.

{"output": "b/talk", "formats": ["txt", "srt"]}
{"output": "b/talk", "formats": ["txt", "srt"], "source": ["talk.wav", 32044, 1753…], "settings": "9f86d0…"}
"""

import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.files import write_text
from asr.inputs import STDIN, Recording
from asr.output import SUFFIXES, Transcript, document

STATE = ".asr-made"
Stamp = list[str | int]


class MirrorError(ValueError):
    """Outputs that cannot be written as asked; the message names the files and the mend."""


@dataclass
class _Made:
    """What is known of one output: the formats that are ours, and of what those of `formats` were made last."""

    ours: set[str]
    formats: set[str]
    source: Any = None
    settings: Any = None


class Mirror:
    """Writes the transcripts of recordings in `formats` into a folder, whole or not at all, from any thread.

    `settings`: what the transcripts depend on beside the recordings, as a digest. With `force` all are made again, and
    over files of others. Raises OSError.
    """

    def __init__(self, folder: Path, formats: Sequence[str], settings: str, force: bool = False) -> None:
        self.saved = 0
        self._folder = folder
        self._formats = tuple(formats)
        self._settings = settings
        self._force = force
        self._lock = threading.Lock()
        self._closed = False
        folder.mkdir(parents=True, exist_ok=True)
        self._made: dict[str, _Made] = {}
        self._torn = False
        self._read()

    def begin(self, recordings: Sequence[Recording], others: Iterable[Path] = ()) -> list[Recording]:
        """Return the recordings whose transcripts are missing or old, once it is clear that all can be written.

        Raises MirrorError where two would be written to one file, or one over a recording, over one of `others`, which
        are read too, or over a file that is not of an earlier run.
        """
        read = {os.path.realpath(path): path for path in [*others, *(one.path for one in recordings)]}
        writers: dict[Path, Recording] = {}
        for one in recordings:
            for form in self._formats:
                target = self._target(one, form)
                other = writers.setdefault(target, one)
                if other is not one:
                    raise MirrorError(
                        f"{other.path} and {one.path} would both be written to {target}; rename one, or give each an "
                        "--out of its own"
                    )
                self._check(target, one, form, read)
        pending = [one for one in recordings if not self._is_current(one)]
        claims = [self._row(one) for one in pending if not set(self._formats) <= self._of(one).ours]
        if claims:
            self._append(claims)
        return pending

    def save(self, one: Recording, transcript: Transcript, stamp: Stamp | None) -> None:
        """Write a transcript of a recording as it was at `stamp`; nothing once the mirror is closed. Raises OSError."""
        documents = {form: document(transcript, form) for form in self._formats}
        with self._lock:
            if self._closed:
                return
            for form, content in documents.items():
                write_text(self._target(one, form), content)
            # What is on standard input is another thing each time.
            if str(one.path) != STDIN:
                self._append([self._row(one) | {"source": stamp, "settings": self._settings}])
            self.saved += 1

    def close(self) -> None:
        """Wait until what is being written is whole, and write no more."""
        with self._lock:
            self._closed = True

    def _check(self, target: Path, one: Recording, form: str, read: dict[str, Path]) -> None:
        if os.path.realpath(target) in read:
            raise MirrorError(f"{target}: {one.path} would be written over a file that is read; choose another --out")
        if target.is_dir():
            raise MirrorError(f"{target}: a folder where {one.path} would be written; choose another --out")
        if target.exists() and form not in self._of(one).ours and not self._force:
            raise MirrorError(
                f"{target}: there already, and not made by an earlier run; choose another --out, or write over it "
                "with --force"
            )

    def _is_current(self, one: Recording) -> bool:
        made = self._of(one)
        return (
            not self._force
            and made.settings == self._settings
            and set(self._formats) <= made.formats
            and str(one.path) != STDIN
            and made.source == stamp(one.path)
            and all(self._target(one, form).exists() for form in self._formats)
        )

    def _target(self, one: Recording, form: str) -> Path:
        return self._folder / one.place.with_name(one.place.name + SUFFIXES[form])

    def _of(self, one: Recording) -> _Made:
        return self._made.get(str(one.place), _Made(set(), set()))

    def _row(self, one: Recording) -> dict[str, Any]:
        return {"output": str(one.place), "formats": list(self._formats)}

    def _append(self, rows: Sequence[dict[str, Any]]) -> None:
        # One write, so that lines of two processes do not mix; bytes of names that are no UTF-8 become escapes.
        content = "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
        with (self._folder / STATE).open("ab", buffering=0) as state:
            state.write(b"\n" * self._torn + content)
            os.fsync(state.fileno())
        self._torn = False

    def _read(self) -> None:
        try:
            content = (self._folder / STATE).read_bytes()
        except FileNotFoundError:
            return
        self._torn = not content.endswith(b"\n")
        for line in content.splitlines():
            try:
                row = json.loads(line)
                output, formats = str(row["output"]), set(row["formats"])
            except (ValueError, TypeError, KeyError):
                continue  # torn by a power cut: what it tells is made again
            made = self._made.setdefault(output, _Made(set(), set()))
            made.ours |= formats
            if "source" in row:
                same = (made.source, made.settings) == (row["source"], row.get("settings"))
                made.formats = made.formats | formats if same else formats
                made.source, made.settings = row["source"], row.get("settings")


def stamp(path: Path) -> Stamp | None:
    """Return what changes when a file does; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [path.name, status.st_size, status.st_mtime_ns]
