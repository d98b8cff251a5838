"""Writes transcripts into a folder laid out like the recordings, and knows which of them are up to date.

`.asr-made` in the folder has a JSON object on each line. One is written before an output, and one after it, with the
source and a digest of the settings:

{"output": "b/talk", "formats": ["txt", "srt"]}
{"output": "b/talk", "formats": ["txt", "srt"], "source": ["talk.wav", 32044, 1753…], "settings": "9f86d0…"}

If each channel has its own transcript, "channels" is their number: 2 means b/talk.1.txt and b/talk.2.txt.
"""

import json
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asr.errors import AsrError
from asr.files import write_text
from asr.recognition.inputs import STDIN, InputFile
from asr.transcripts import documents_by_suffix, file_suffixes
from asr.transcripts.records import FileResult

STATE = ".asr-made"
# The name, size and modification time (ns) of a source.
Stamp = list[str | int]


class OutputError(AsrError):
    """Outputs that cannot be written as asked; the message names the files and the mend."""


@dataclass
class _Output:
    """What is known of one output: the endings of the files that asr wrote, and how `formats` were written last."""

    endings: set[str]
    formats: set[str]
    channels: int | None = None
    source: Any = None
    settings: Any = None


@dataclass
class OutputFolder:
    """Writes transcripts in `formats` into a folder, each file whole or not at all, from any thread.

    `settings`: a digest of all that the transcripts depend on besides the recordings. With `force`, every transcript is
    written again, also over files that asr did not write. `split_channels`: each channel has its own transcript. Raise
    OSError.
    """

    folder: Path
    formats: Sequence[str]
    settings: str
    force: bool = False
    split_channels: bool = False
    saved: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = self._torn = False
        self._outputs: dict[str, _Output] = {}
        self._stamps: dict[Path, Stamp | None] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._read()

    def begin(self, inputs: Sequence[InputFile], read: Iterable[Path] = ()) -> list[InputFile]:
        """Return the recordings whose transcripts are missing or out of date, after checking that all can be written.

        Raise OutputError if two transcripts would be written to one file, or one over a recording, over a file of
        `read`, or over a file that no earlier run wrote.
        """
        sources = {os.path.realpath(path) for path in [*read, *(file.path for file in inputs)]}
        writers: dict[Path, InputFile] = {}
        for file in inputs:
            other = writers.setdefault(file.output, file)
            if other is not file:
                target = self._target(file, self._endings(1 if self.split_channels else None)[0])
                raise OutputError(
                    f"{other.path} and {file.path} would both be written to {target}; rename one, or use a "
                    "different --out for each"
                )
        pending = [file for file in inputs if not self._is_current(file)]
        claims = []
        for file in pending:
            for target, ending in self._targets(file):
                self._check(target, file, ending, sources)
            if not self.split_channels and not set(self._endings(None)) <= self._output(file).endings:
                claims.append(self._row(file, None))
            self._stamps[file.output] = _stamp(file.path)
        if claims:
            self._append(claims)
        return pending

    def save(self, file: InputFile, results: Sequence[FileResult]) -> None:
        """Write the transcript of a recording, or of each of its channels; do nothing once closed. Raise OSError."""
        documents: dict[str, str] = {}
        for form in self.formats:
            documents |= documents_by_suffix(results, form)
        channels = None if results[0].channel is None else len(results)
        with self._lock:
            if self._closed:
                return
            row = self._row(file, channels)
            if channels is not None:
                self._append([row])
            for ending, content in documents.items():
                write_text(self._target(file, ending), content)
            before = self._output(file).channels
            if channels is not None and before is not None:
                # Channels that the recording no longer has.
                for ending in set(self._endings(before)) - set(documents):
                    self._target(file, ending).unlink(missing_ok=True)
            # Standard input is different each time.
            if str(file.path) != STDIN:
                self._append([row | {"source": self._stamps.get(file.output), "settings": self.settings}])
            self.saved += 1

    def close(self) -> None:
        """Wait until the file that is being written is complete, and write no more."""
        with self._lock:
            self._closed = True

    def _targets(self, file: InputFile) -> list[tuple[Path, str]]:
        """Return the files to be written that are known before the recording is read, with their endings.

        How many channels it has is not known yet: files of any channel that are there count.
        """
        if not self.split_channels:
            return [(self._target(file, ending), ending) for ending in self._endings(None)]
        suffixes = {ending.rpartition(".")[2] for ending in self._endings(1) if ending.count(".") == 2}
        name = file.output.name
        present = [path for path in self._target(file, "").parent.glob("*") if path.name.startswith(f"{name}.")]
        endings = [path.name.removeprefix(name) for path in present]
        of_channels = [ending for ending in endings if _channel(ending, suffixes)]
        return [(self._target(file, ending), ending) for ending in {*self._endings(1), *of_channels}]

    def _check(self, target: Path, file: InputFile, ending: str, sources: set[str]) -> None:
        if os.path.realpath(target) in sources:
            raise OutputError(f"{target}: {file.path} would overwrite an input file; choose another --out")
        if target.is_dir():
            raise OutputError(f"{target}: a folder has the name of the output of {file.path}; choose another --out")
        if target.exists() and ending not in self._output(file).endings and not self.force:
            raise OutputError(
                f"{target}: already exists and was not written by an earlier run; choose another --out, or "
                "overwrite it with --force"
            )

    def _is_current(self, file: InputFile) -> bool:
        output = self._output(file)
        return (
            not self.force
            and output.settings == self.settings
            and set(self.formats) <= output.formats
            and str(file.path) != STDIN
            and output.source == _stamp(file.path)
            and all(self._target(file, ending).exists() for ending in self._endings(output.channels))
        )

    def _endings(self, channels: int | None) -> list[str]:
        return [ending for form in self.formats for ending in file_suffixes(form, channels)]

    def _target(self, file: InputFile, ending: str) -> Path:
        return self.folder / file.output.with_name(file.output.name + ending)

    def _output(self, file: InputFile) -> _Output:
        return self._outputs.get(str(file.output), _Output(set(), set()))

    def _row(self, file: InputFile, channels: int | None) -> dict[str, Any]:
        split = {} if channels is None else {"channels": channels}
        return {"output": str(file.output), "formats": list(self.formats), **split}

    def _append(self, rows: Sequence[dict[str, Any]]) -> None:
        # One write, so that lines of two processes do not mix; bytes of names that are not UTF-8 become escapes.
        content = "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
        with (self.folder / STATE).open("ab", buffering=0) as state:
            state.write(b"\n" * self._torn + content)
            os.fsync(state.fileno())
        self._torn = False

    def _read(self) -> None:
        try:
            content = (self.folder / STATE).read_bytes()
        except FileNotFoundError:
            return
        self._torn = not content.endswith(b"\n")
        for line in content.splitlines():
            try:
                row = json.loads(line)
                name, formats, channels = str(row["output"]), set(row["formats"]), row.get("channels")
                written = {ending for form in formats for ending in file_suffixes(form, channels)}
            except (ValueError, TypeError, KeyError):
                continue  # a line torn by a power cut: its output is written again
            output = self._outputs.setdefault(name, _Output(set(), set()))
            output.endings |= written
            if "source" in row:
                same = (output.source, output.settings) == (row["source"], row.get("settings"))
                output.formats = output.formats | formats if same else formats
                output.channels, output.source, output.settings = channels, row["source"], row.get("settings")


def _channel(ending: str, suffixes: set[str]) -> bool:
    """Return whether `.2.txt`, for example, is the ending of a channel's file."""
    parts = ending.split(".")
    return len(parts) == 3 and parts[1].isdigit() and parts[2] in suffixes


def _stamp(path: Path) -> Stamp | None:
    """Return what changes when a file does; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [path.name, status.st_size, status.st_mtime_ns]
