"""Writes transcripts into a folder laid out like the recordings, and knows which of them are up to date.

`.asr-made` in the folder has a JSON object on each line. One is written before the files of an output, with the digest
of each, and one after them, with the source and a digest of the settings:

{"output": "b/talk", "files": {".txt": "2c26b4…", ".srt": "fcde2b…"}}
{"output": "b/talk", "formats": ["txt", "srt"], "source": {"path": "/in/b/talk.wav", "size": 32044, "time": 1753…,
 "digest": "ba7816…"}, "settings": "9f86d0…"}

So a file that was changed, or is the transcript of another recording, is not written over. If each channel has its own
transcript, "channels" is their number: 2 means b/talk.1.txt and b/talk.2.txt.
"""

import hashlib
import json
import os
import stat
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from asr.errors import AsrError
from asr.files import abandoned_target, below_common_folder, check_not_read, sha256, write_text
from asr.recognition.inputs import STDIN, InputFile
from asr.transcripts import documents_by_suffix, file_suffixes
from asr.transcripts.records import FileResult

STATE = ".asr-made"


class OutputError(AsrError):
    """Outputs that cannot be written as asked; the message names the files and the mend."""


@dataclass(frozen=True)
class _Source:
    """A recording: its absolute path, its size in bytes, the time of its last change (ns), the digest of its content.

    Size and time are -1 and the digest is empty if it is no regular file.
    """

    path: str
    size: int = -1
    time: int = -1
    digest: str = ""


@dataclass
class _Output:
    """What is known of one output: all digests of each of its files, by ending, and how it was written last."""

    digests: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    formats: set[str] = field(default_factory=set)
    channels: int | None = None
    source: _Source | None = None
    settings: Any = None


@dataclass
class OutputFolder:
    """Writes transcripts in `formats` into a folder, each file whole or not at all, from any thread.

    `settings`: a digest of all that the transcripts depend on besides the recordings. With `force`, every transcript is
    written again, also over files that asr did not write, that were changed, or that are of another recording.
    `split_channels`: each channel has its own transcript. Raise OSError.
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
        self._sources: dict[Path, _Source] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._read()

    def begin(self, inputs: Sequence[InputFile], read: Iterable[Path] = ()) -> list[InputFile]:
        """Return the recordings whose transcripts are missing or out of date, after checking that all can be written.

        If recordings of different folders would have the same output, all outputs are laid out below the folder that
        contains all recordings. Raise OutputError if two transcripts would still be written to one file, or one over a
        file that no earlier run wrote, that was changed, or that is the transcript of another recording; and
        OverwriteError if one would be written over a recording or a file of `read`.
        """
        inputs = _kept_apart(inputs)
        writers: dict[Path, InputFile] = {}
        for file in inputs:
            other = writers.setdefault(file.output, file)
            if other is not file:
                target = self._target(file, self._endings(1 if self.split_channels else None)[0])
                raise OutputError(
                    f"{other.path} and {file.path} would both be written to {target}; rename one, or use a "
                    "different --out for each"
                )
        self._remove_abandoned(inputs)
        current = {file.output for file in inputs if self._is_current(file)}
        pending = [file for file in inputs if file.output not in current]
        self._append(self._moved([file for file in inputs if file.output in current]))
        targets = [(file, self._targets(file)) for file in pending]
        check_not_read((path for _, found in targets for path in found), [*read, *(file.path for file in inputs)])
        for file, found in targets:
            for target, ending in found.items():
                self._check(target, file, ending)
            self._sources[file.output] = _source(file.path)
        return pending

    def save(self, file: InputFile, results: Sequence[FileResult]) -> None:
        """Write the transcript of a recording, or of each of its channels; do nothing once closed.

        Raise OutputError if one of the files was written or changed by another program since `begin`, and OSError.
        """
        documents: dict[str, str] = {}
        for form in self.formats:
            documents |= documents_by_suffix(results, form)
        channels = None if results[0].channel is None else len(results)
        source = self._sources[file.output]
        if source.size >= 0 and _source(file.path) == source:
            with suppress(OSError):
                source = replace(source, digest=sha256(file.path))
        with self._lock:
            if self._closed:
                return
            before = self._output(file)
            # Channels that the recording no longer has.
            gone = set(() if before.channels is None else self._endings(before.channels)) - set(documents)
            gone = gone if channels is not None else set()
            for ending in {*documents, *gone}:
                self._check(self._target(file, ending), file, ending)
            digests = {ending: _digest(content) for ending, content in documents.items()}
            self._append([{"output": str(file.output), "files": digests}])
            for ending, content in documents.items():
                write_text(self._target(file, ending), content)
            for ending in gone:
                self._target(file, ending).unlink(missing_ok=True)
            self._append([self._row(file, channels, self.formats, source)])
            self.saved += 1

    def close(self) -> None:
        """Wait until the file that is being written is complete, and write no more."""
        with self._lock:
            self._closed = True

    def _remove_abandoned(self, inputs: Sequence[InputFile]) -> None:
        """Delete the temporary files that killed runs left of these outputs."""
        names = defaultdict(set)
        for file in inputs:
            names[self._target(file, "").parent].add(file.output.name)
        for folder, known in names.items():
            for part in folder.glob("*.part"):
                target = Path(abandoned_target(part) or "")
                if {target.stem, Path(target.stem).stem} & known:
                    part.unlink(missing_ok=True)

    def _targets(self, file: InputFile) -> dict[Path, str]:
        """Return the files to be written that are known before the recording is read, with their endings.

        How many channels it has is not known yet: files of any channel that are there count.
        """
        if not self.split_channels:
            return {self._target(file, ending): ending for ending in self._endings(None)}
        suffixes = {ending.rpartition(".")[2] for ending in self._endings(1) if ending.count(".") == 2}
        name = file.output.name
        present = [path for path in self._target(file, "").parent.glob("*") if path.name.startswith(f"{name}.")]
        endings = [path.name.removeprefix(name) for path in present]
        of_channels = [ending for ending in endings if _channel(ending, suffixes)]
        return {self._target(file, ending): ending for ending in {*self._endings(1), *of_channels}}

    def _check(self, target: Path, file: InputFile, ending: str) -> None:
        """Raise OutputError if a file must not be written over."""
        if target.is_dir():
            raise OutputError(f"{target}: a folder has the name of the output of {file.path}; choose another --out")
        if self.force or not target.exists():
            return
        output = self._output(file)
        mend = "choose another --out, or overwrite it with --force"
        if ending not in output.digests:
            raise OutputError(f"{target}: already exists and was not written by an earlier run; {mend}")
        if sha256(target) not in output.digests[ending]:
            raise OutputError(f"{target}: was changed after an earlier run wrote it; move it, {mend}")
        if output.source and not _is_same(output.source, file.path):
            if str(file.path) == STDIN:
                raise OutputError(f"{target}: is the transcript of an earlier standard input; {mend}")
            raise OutputError(f"{target}: is the transcript of {output.source.path}, not of {file.path}; {mend}")

    def _is_current(self, file: InputFile) -> bool:
        output = self._output(file)
        return (
            not self.force
            and output.settings == self.settings
            and set(self.formats) <= output.formats
            and str(file.path) != STDIN
            and output.source is not None
            and _is_unchanged(output.source, file.path)
            and all(self._target(file, ending).exists() for ending in self._endings(output.channels))
        )

    def _endings(self, channels: int | None) -> list[str]:
        return [ending for form in self.formats for ending in file_suffixes(form, channels)]

    def _target(self, file: InputFile, ending: str) -> Path:
        return self.folder / file.output.with_name(file.output.name + ending)

    def _output(self, file: InputFile) -> _Output:
        return self._outputs.setdefault(str(file.output), _Output())

    def _row(self, file: InputFile, channels: int | None, formats: Iterable[str], source: _Source) -> dict[str, Any]:
        split = {} if channels is None else {"channels": channels}
        row = {"output": str(file.output), "formats": sorted(formats), **split}
        return row | {"source": asdict(source), "settings": self.settings}

    def _moved(self, current: Sequence[InputFile]) -> list[dict[str, Any]]:
        """Return new rows for recordings whose path or time has changed, so that they are not read again."""
        rows = []
        for file in current:
            output = self._output(file)
            if output.source and (source := replace(_source(file.path), digest=output.source.digest)) != output.source:
                rows.append(self._row(file, output.channels, output.formats, source))
        return rows

    def _append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows to the state. Bytes of names that are not UTF-8 become escapes."""
        if not rows:
            return
        # One write, so that lines of two processes do not mix.
        content = "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")
        with (self.folder / STATE).open("ab", buffering=0) as state:
            state.write(b"\n" * self._torn + content)
            os.fsync(state.fileno())
        self._torn = False
        for row in rows:
            self._take(row)

    def _read(self) -> None:
        try:
            content = (self.folder / STATE).read_bytes()
        except FileNotFoundError:
            return
        self._torn = not content.endswith(b"\n")
        for line in content.splitlines():
            # A line torn by a power cut is left out: its output is written again.
            with suppress(ValueError, TypeError, KeyError, AttributeError):
                self._take(json.loads(line))

    def _take(self, row: dict[str, Any]) -> None:
        """Add what a row of the state says. Raise ValueError, TypeError, KeyError or AttributeError for a wrong row."""
        if "files" in row:
            output = self._outputs.setdefault(str(row["output"]), _Output())
            for ending, digest in row["files"].items():
                output.digests[ending].add(digest)
            return
        source, settings, formats = _Source(**row["source"]), row["settings"], set(row["formats"])
        channels = row.get("channels")
        output = self._outputs.setdefault(str(row["output"]), _Output())
        same = (output.source, output.settings) == (source, settings)
        output.formats = output.formats | formats if same else formats
        output.channels, output.source, output.settings = channels, source, settings


def _kept_apart(inputs: Sequence[InputFile]) -> list[InputFile]:
    """Return recordings with an output path of their own where they are in different folders."""
    if len({file.output for file in inputs}) == len(inputs):
        return list(inputs)
    files = [file for file in inputs if str(file.path) != STDIN]
    below = below_common_folder([file.path for file in files])
    apart = {file.path: path.with_name(path.stem) for file, path in zip(files, below, strict=True)}
    return [replace(file, output=apart.get(file.path, file.output)) for file in inputs]


def _channel(ending: str, suffixes: set[str]) -> bool:
    """Return whether `.2.txt`, for example, is the ending of a channel's file."""
    parts = ending.split(".")
    return len(parts) == 3 and parts[1].isdigit() and parts[2] in suffixes


def _absolute(path: Path) -> str:
    return os.path.normpath(path.absolute())


def _source(path: Path) -> _Source:
    """Return what changes when a file does, without its digest."""
    if str(path) == STDIN:
        return _Source(STDIN)
    try:
        status = path.stat()
    except OSError:
        return _Source(_absolute(path))
    if not stat.S_ISREG(status.st_mode):
        return _Source(_absolute(path))
    return _Source(_absolute(path), status.st_size, status.st_mtime_ns)


def _is_same(source: _Source, path: Path) -> bool:
    """Return whether a source is the file `path`, changed or not, or has its content.

    Standard input is another recording each time.
    """
    return str(path) != STDIN and (source.path == _absolute(path) or _has_content(path, source))


def _is_unchanged(source: _Source, path: Path) -> bool:
    """Return whether a file is a source as it was, be it moved or copied."""
    now = _source(path)
    return source.size >= 0 and (now == replace(source, digest="") or _has_content(path, source))


def _has_content(path: Path, source: _Source) -> bool:
    if not source.digest or _source(path).size != source.size:
        return False
    try:
        return sha256(path) == source.digest
    except OSError:
        return False


def _digest(document: str) -> str:
    """Return the digest of the file that `write_text` makes of a document."""
    return hashlib.sha256(document.encode("utf-8", "backslashreplace")).hexdigest()
