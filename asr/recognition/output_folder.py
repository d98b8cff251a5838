"""A folder of transcripts that mirrors where the recordings are, and what in it need not be made again.

`.asr-made` in the folder has a JSON object on each line: first that an output will be made here, and once it is, of
which source and with which settings.

{"output": "b/talk", "formats": ["txt", "srt"]}
{"output": "b/talk", "formats": ["txt", "srt"], "source": ["talk.wav", 32044, 1753…], "settings": "9f86d0…"}

Where channels are kept apart, "channels" says how many there are: two mean b/talk.1.txt and b/talk.2.txt.
"""

import json
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.errors import AsrError
from asr.files import write_text
from asr.recognition.inputs import STDIN, Recording
from asr.transcripts import documents_by_suffix, file_suffixes
from asr.transcripts.records import FileResult

STATE = ".asr-made"
Stamp = list[str | int]


class MirrorError(AsrError):
    """Outputs that cannot be written as asked; the message names the files and the mend."""


@dataclass
class _Made:
    """What is known of one output: the endings of the files that are ours; how those of `formats` were made last."""

    ours: set[str]
    formats: set[str]
    channels: int | None = None
    source: Any = None
    settings: Any = None


class Mirror:
    """Writes the transcripts of recordings in `formats` into a folder, whole or not at all, from any thread.

    `settings`: what the transcripts depend on beside the recordings, as a digest. With `force` all are made again, and
    over files of others. `channels`: tells how many a recording has, where they are kept apart. Raises OSError.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        settings: str,
        force: bool = False,
        channels: Callable[[Recording], int] | None = None,
    ) -> None:
        self.saved = 0
        self._channels = channels
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
            other = writers.setdefault(one.place, one)
            if other is not one:
                target = self._target(one, self._endings(None if self._channels is None else 1)[0])
                raise MirrorError(
                    f"{other.path} and {one.path} would both be written to {target}; rename one, or give each an "
                    "--out of its own"
                )
        pending = [one for one in recordings if not self._is_current(one)]
        claims = []
        for one in pending:
            channels = None if self._channels is None else self._channels(one)
            meant = self._endings(channels)
            for ending in meant:
                self._check(self._target(one, ending), one, ending, read)
            if not set(meant) <= self._of(one).ours:
                claims.append(self._row(one, channels))
        if claims:
            self._append(claims)
        return pending

    def save(self, one: Recording, results: Sequence[FileResult], stamp: Stamp | None) -> None:
        """Write the transcripts of a recording as it was at `stamp`: its own, or one of each channel.

        Once the mirror is closed nothing is written. Raises OSError.
        """
        documents: dict[str, str] = {}
        for form in self._formats:
            documents |= documents_by_suffix(results, form)
        channels = None if results[0].channel is None else len(results)
        with self._lock:
            if self._closed:
                return
            for ending, content in documents.items():
                write_text(self._target(one, ending), content)
            before = self._of(one).channels
            if channels is not None and before is not None:
                # Channels that the recording has no more.
                for ending in set(self._endings(before)) - set(documents):
                    self._target(one, ending).unlink(missing_ok=True)
            # What is on standard input is another thing each time.
            if str(one.path) != STDIN:
                self._append([self._row(one, channels) | {"source": stamp, "settings": self._settings}])
            self.saved += 1

    def close(self) -> None:
        """Wait until what is being written is whole, and write no more."""
        with self._lock:
            self._closed = True

    def _check(self, target: Path, one: Recording, ending: str, read: dict[str, Path]) -> None:
        if os.path.realpath(target) in read:
            raise MirrorError(f"{target}: {one.path} would be written over a file that is read; choose another --out")
        if target.is_dir():
            raise MirrorError(f"{target}: a folder where {one.path} would be written; choose another --out")
        if target.exists() and ending not in self._of(one).ours and not self._force:
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
            and all(self._target(one, ending).exists() for ending in self._endings(made.channels))
        )

    def _endings(self, channels: int | None) -> list[str]:
        return [ending for form in self._formats for ending in file_suffixes(form, channels)]

    def _target(self, one: Recording, ending: str) -> Path:
        return self._folder / one.place.with_name(one.place.name + ending)

    def _of(self, one: Recording) -> _Made:
        return self._made.get(str(one.place), _Made(set(), set()))

    def _row(self, one: Recording, channels: int | None) -> dict[str, Any]:
        apart = {} if channels is None else {"channels": channels}
        return {"output": str(one.place), "formats": list(self._formats), **apart}

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
                output, formats, channels = str(row["output"]), set(row["formats"]), row.get("channels")
                ours = {ending for form in formats for ending in file_suffixes(form, channels)}
            except (ValueError, TypeError, KeyError):
                continue  # torn by a power cut: what it tells is made again
            made = self._made.setdefault(output, _Made(set(), set()))
            made.ours |= ours
            if "source" in row:
                same = (made.source, made.settings) == (row["source"], row.get("settings"))
                made.formats = made.formats | formats if same else formats
                made.channels, made.source, made.settings = channels, row["source"], row.get("settings")


def stamp(path: Path) -> Stamp | None:
    """Return what changes when a file does; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [path.name, status.st_size, status.st_mtime_ns]
