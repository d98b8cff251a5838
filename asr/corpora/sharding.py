"""Manifests -> shards and their index; the index of shards that others wrote."""

import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asr.audio import AudioError, AudioReader
from asr.corpora import shards
from asr.corpora.manifest import BadRowsError, CorpusError, Utterance
from asr.corpora.rows import OnSkip
from asr.corpora.shards import INDEX, Digest, Shard, ShardError
from asr.files import lock_folder, open_atomic, read_utf8, remove_partial, sha256
from asr.parallel.threads import prefetch
from asr.text.normalisers import normalise

# The lines of the shards that are complete while others are missing.
_UNFINISHED = "unfinished.jsonl"
# Recordings that are copied as they are; of others, and of segments, the samples are written as FLAC.
_COPIED = {".flac", ".wav", ".ogg", ".oga", ".opus", ".mp3"}
# Seconds by which the duration of a whole recording may differ.
_ROUNDING = 0.010


@dataclass(frozen=True)
class ShardSettings:
    """`megabytes`: a shard is complete when it has as many. `seed`: of the order of utterances."""

    megabytes: float = 500.0
    seed: int = 1


@dataclass(frozen=True)
class _Recording:
    """The row, and its encoded recording with its suffix, or why it has none."""

    row: Utterance
    suffix: str
    content: bytes
    problem: str = ""


def write(
    utterances: Sequence[Utterance],
    out: Path,
    settings: ShardSettings = ShardSettings(),
    on_progress: Callable[[float, float], None] | None = None,
    on_skip: OnSkip | None = None,
) -> list[Shard]:
    """Write shards of utterances in random order and their index to a folder; an interrupted call is continued.

    Each file is written under a temporary name; the index is written last. `on_progress` is called with the hours done
    and in total. With `on_skip` recordings that cannot be read are left out. Raises AudioError or BadRowsError for
    them, and ShardError if the folder has other shards.
    """
    out.mkdir(parents=True, exist_ok=True)
    order = list(utterances)
    random.Random(settings.seed).shuffle(order)  # noqa: S311
    source = _source(order, settings)
    with lock_folder(out):
        for pattern in ("*.tar", "*.jsonl"):
            remove_partial(out, pattern)
        _refuse_others(out)
        finished = _finished(out, source)
        first = sum(line["rows"] for line in finished)
        done, total = sum(line["hours"] for line in finished), sum(row.duration for row in order) / 3600
        problems: list[str] = []
        recordings = prefetch(_recording, order[first:], threads=os.cpu_count() or 1)
        for recording in recordings:
            path = out / f"{len(finished):06d}.tar"
            line = _write_shard(path, chain([recording], recordings), first, settings)
            problems += line.pop("problems")
            if problems and not on_skip:
                raise BadRowsError(problems, len(order))
            first, done = first + line["rows"], done + line["hours"]
            if line["utterances"]:
                finished.append({"shard": path.name} | line | {"source": source})
                _write_lines(out / _UNFINISHED, finished)
            else:  # the last recordings are all left out
                path.unlink()
            if on_progress:
                on_progress(done, total)
        if on_skip and problems:
            on_skip(problems)
        if not finished:
            raise CorpusError(f"none of {len(order)} utterances can be used")
        if (out / _UNFINISHED).exists():
            (out / _UNFINISHED).replace(out / INDEX)
    return list(shards.read_index(str(out / INDEX)).shards)


def _refuse_others(out: Path) -> None:
    """Raise ShardError if a folder has tar files, but no index of this command; else mark it as one of this command."""
    if any((out / name).exists() for name in (INDEX, _UNFINISHED)):
        return
    if other := min(out.glob("*.tar"), default=None):
        raise ShardError(f"{other}: not written by this command, and could be replaced; choose another folder")
    _write_lines(out / _UNFINISHED, [])


def _source(rows: Sequence[Utterance], settings: ShardSettings) -> str:
    """Return a hash of everything that the content of shards depends on."""
    digest = hashlib.sha256(repr(settings).encode())
    for row in rows:
        try:
            status = os.stat(row.audio)  # noqa: PTH116 - constructing a Path is slow for a million rows
        except OSError as error:
            raise AudioError(f"{row.audio}: {error.strerror} (utterance {row.id})") from error
        values = (row.id, row.text, row.speaker, row.duration, row.offset, status.st_size, status.st_mtime_ns)
        digest.update(repr(values).encode())
    return digest.hexdigest()[:16]


def _finished(out: Path, source: str) -> list[dict[str, Any]]:
    """Return the lines of the shards that a call with the same source has completed."""
    for path in (out / INDEX, out / _UNFINISHED):
        if path.exists():
            lines = [json.loads(line) for line in read_utf8(path).splitlines()]
            if any(line.get("source") != source for line in lines):
                raise ShardError(
                    f"{out}: has shards of other manifests or settings; choose another folder, or delete its files"
                )
            return lines
    return []


def _write_shard(path: Path, recordings: Iterator[_Recording], first: int, settings: ShardSettings) -> dict[str, Any]:
    """Write recordings up to the size of a shard; return its line of the index."""
    problems: list[str] = []
    rows, count, seconds = 0, 0, 0.0
    characters = _Characters()
    with open_atomic(path) as out, tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for recording in recordings:
            row, name = recording.row, f"{first + rows:09d}"
            rows += 1
            if recording.problem:
                problems.append(recording.problem)
                continue
            duration = round(row.duration, 4)
            values = {"id": row.id, "duration": duration, "text": row.text}
            content = json.dumps(values | ({"speaker": row.speaker} if row.speaker else {}), ensure_ascii=False)
            _add(tar, name + recording.suffix, recording.content)
            _add(tar, f"{name}.json", content.encode())
            characters.add(row.text)
            count += 1
            seconds += duration
            if tar.offset >= settings.megabytes * 1e6:
                break
    line = {"utterances": count, "hours": seconds / 3600, "bytes": path.stat().st_size, "sha256": sha256(path)}
    return line | {"characters": characters.by_normaliser, "rows": rows, "problems": problems}


class _Characters:
    """The characters of texts, by normaliser."""

    def __init__(self) -> None:
        self._found: dict[str, set[str]] = {name: set() for name in shards.NORMALISERS}

    def add(self, text: str) -> None:
        for name, found in self._found.items():
            found.update(normalise(text, name))

    @property
    def by_normaliser(self) -> dict[str, str]:
        return {name: "".join(sorted(found)) for name, found in self._found.items()}


def _recording(row: Utterance) -> _Recording:
    try:
        with AudioReader(row.audio) as reader:
            info, path = reader.info, Path(row.audio)
            whole = row.offset == 0 and abs(row.duration - info.duration) <= _ROUNDING
            if whole and path.suffix.lower() in _COPIED:
                return _Recording(row, path.suffix.lower(), path.read_bytes())
            waveform = reader.read(info.sample_rate, row.offset, row.duration)
    except AudioError as error:
        return _Recording(row, "", b"", f"{row.id}: {error}")
    # Of a 16-bit recording exactly the samples: libsndfile would scale them by 32767.
    samples = np.clip(np.round(waveform * 32768.0), -32768, 32767).astype(np.int16)
    content = io.BytesIO()
    soundfile.write(content, samples, info.sample_rate, format="FLAC", subtype="PCM_16")
    return _Recording(row, ".flac", content.getvalue())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    with open_atomic(path) as out:
        out.writelines(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def write_index(urls: Sequence[str], path: Path, on_progress: Callable[[int, int], None] | None = None) -> list[Shard]:
    """Read shards, which others may have written, and write their index; those in its folder by their names.

    `on_progress` is called with the shards done and in total. Raises ShardError and AudioError.
    """
    lines = []
    for number, url in enumerate(urls, 1):
        line = asdict(scan(url if "://" in url else str(Path(url).resolve())))
        name = line.pop("url")
        local = "://" not in name and Path(name).parent == path.resolve().parent
        lines.append({"shard": Path(name).name if local else name} | line)
        if on_progress:
            on_progress(number, len(urls))
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_lines(path, lines)
    return list(shards.read_index(str(path)).shards)


def scan(url: str) -> Shard:
    """Read a shard and return its line of the index. Raises ShardError and AudioError."""
    digest, characters = Digest(), _Characters()
    count, seconds = 0, 0.0
    for sample in shards.read(url, digest=digest):
        characters.add(sample.utterance.text)
        count += 1
        seconds += sample.utterance.duration
    if not count:
        raise ShardError(f"{url}: no utterances")
    return Shard(url, count, seconds / 3600, digest.size, digest.sha256.hexdigest(), characters.by_normaliser)
