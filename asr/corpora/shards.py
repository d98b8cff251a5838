"""Shards: utterances in tar files of the WebDataset layout, on a disk or at a URL, and the index of these files.

The index, `shards.jsonl`, has a JSON object on each line:

    {"shard": "000000.tar", "utterances": 2310, "hours": 8.1, "bytes": 500123456, "sha256": "9f…", "characters": {…}}

`shard` is relative to the index, absolute, or a URL that fsspec reads. `characters` are those of the texts, by
normaliser. A shard has consecutive members with the same name for each utterance:

    000000012.flac      the recording, also .wav, .ogg, .mp3 or another suffix in `asr.audio.SUFFIXES`
    000000012.json      {"id": "1272-1", "duration": 5.855, "text": "MISTER QUILTER", "speaker": "1272"}

All keys but the text are optional, and the text may be in a .txt member. Other members are not read.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec

from asr import audio
from asr.corpora.manifest import CorpusError, Utterance
from asr.errors import AsrError
from asr.files import JsonLineError, parse_json_object, utf8_lines

INDEX = "shards.jsonl"
REMOTE_HINT = "pip install 'asr[remote]'"
# Bytes of a member that is read: a recording, or a JSON object or text.
_LARGEST, _LARGEST_TEXT = 1 << 30, 1 << 20
_BLOCK = 1 << 20
# The normalisers that a recipe may have.
NORMALISERS = ("none", "upper")
_TEXTS = ("text", "transcript", "transcription")
_KEYS = {"shard": str, "utterances": int, "hours": float, "bytes": int, "sha256": str, "characters": dict}
# What `asr.corpora.sharding` adds.
_OPTIONAL = ("rows", "source")


class ShardError(CorpusError):
    """A shard or an index that cannot be read or written; the message names it and the member or line."""


@dataclass(frozen=True)
class Shard:
    """A line of an index. `url`: a path or URL; `characters` of the texts, by normaliser."""

    url: str
    utterances: int
    hours: float
    bytes: int
    sha256: str
    characters: Mapping[str, str]


@dataclass(frozen=True)
class Index:
    """The shards of a corpus; `digest` identifies the content."""

    path: str
    shards: tuple[Shard, ...]
    digest: str

    @property
    def utterances(self) -> int:
        """Return the number of utterances."""
        return sum(shard.utterances for shard in self.shards)

    @property
    def hours(self) -> float:
        """Return the hours of audio."""
        return sum(shard.hours for shard in self.shards)

    def characters(self, normaliser: str) -> str:
        """Return the characters of all normalised texts, in code point order."""
        return "".join(sorted({letter for shard in self.shards for letter in shard.characters[normaliser]}))


@dataclass(frozen=True)
class Sample:
    """An utterance and its encoded recording; `utterance.audio` names shard and member.

    `offset`: the index of its first byte in the shard; `number`: the utterances before it.
    """

    utterance: Utterance
    recording: bytes
    offset: int
    number: int

    def open(self) -> BinaryIO:
        """Return the recording as a file object whose name is in error messages."""
        return _named(self.utterance.audio, self.recording)


@dataclass
class Digest:
    """The number of bytes that were read of a shard, and their SHA-256."""

    size: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    def add(self, content: bytes) -> None:
        """Add the next bytes."""
        self.size += len(content)
        self.sha256.update(content)


def _named(path: str, content: bytes) -> BinaryIO:
    file = io.BytesIO(content)
    file.name = path
    return file


def find_index(path: str | Path) -> str | None:
    """Return the path or URL of the index that a folder, URL or file is or contains, None for any other file."""
    name = str(path)
    if "://" in name:
        return name if name.endswith(".jsonl") else f"{name.rstrip('/')}/{INDEX}"
    if Path(name).is_dir():
        return str(Path(name) / INDEX)
    with Path(name).open("rb") as file:
        first = file.readline(_LARGEST_TEXT)
    try:
        return name if "shard" in parse_json_object(first.decode("utf-8-sig", "replace")) else None
    except JsonLineError:
        return None


def read_index(path: str) -> Index:
    """Read an index. Raises ShardError naming file and line, and EncodingError."""
    with _reading(path, "; `asr prepare index` writes the index of shards") as file:
        content = file.read()
    shards = []
    for number, line in utf8_lines(path, content.splitlines()):
        if line.strip():
            try:
                shards.append(parse_line(line, path))
            except (ShardError, JsonLineError) as error:
                raise ShardError(f"{path}, line {number}: {error}") from None
    if not shards:
        raise ShardError(f"{path}: no shards")
    digests = "".join(shard.sha256 for shard in shards)
    return Index(path, tuple(shards), hashlib.sha256(digests.encode()).hexdigest()[:16])


def parse_line(line: str, path: str) -> Shard:
    """Parse a line of the index `path`. Raises ShardError and JsonLineError without its name."""
    row = parse_json_object(line)
    for key, kind in _KEYS.items():
        if key not in row:
            raise ShardError(f"no {key!r}; a line needs {', '.join(_KEYS)}")
        value = row[key]
        if isinstance(value, bool) or not isinstance(value, int | float if kind is float else kind):
            raise ShardError(f"{key!r} must be {kind.__name__}, not {json.dumps(value)[:40]}")
    for key in set(row).difference(_KEYS, _OPTIONAL):
        raise ShardError(f"unknown key {key!r}; known are {', '.join([*_KEYS, *_OPTIONAL])}")
    name, characters = row["shard"], row["characters"]
    # "a::b" would chain file systems.
    if not name or "::" in name or ".." in PurePosixPath(name).parts:
        raise ShardError(f"shard {name!r} is not a path below the index, an absolute path or a URL")
    if row["utterances"] < 1 or not 0 < row["hours"] < float("inf"):
        raise ShardError(f"{row['utterances']} utterances, {row['hours']} hours: both must be more than 0")
    if not all(isinstance(characters.get(name), str) for name in NORMALISERS):
        raise ShardError(f"'characters' must have strings for {' and '.join(NORMALISERS)}")
    folder, slash, _ = path.rpartition("/")
    url = name if "://" in name or Path(name).is_absolute() else folder + slash + name
    return Shard(url, row["utterances"], float(row["hours"]), row["bytes"], row["sha256"], characters)


@contextmanager
def _reading(url: str, advice: str = "") -> Iterator[BinaryIO]:
    """Open a file or URL; raise what reading raises as ShardError with its name."""
    try:
        with fsspec.open(url, "rb") if "://" in url else Path(url).open("rb") as file:
            yield file
    except AsrError:
        raise
    except FileNotFoundError:
        raise ShardError(f"{url}: no such file{advice}") from None
    except ImportError as error:
        raise ShardError(f"{url}: {error}; {REMOTE_HINT} for HTTP, or pip install s3fs or gcsfs") from None
    except tarfile.TarError as error:
        raise ShardError(f"{url}: truncated, damaged or not an uncompressed tar file ({error})") from None
    except OSError as error:
        raise ShardError(f"{url}: {error.strerror or error}") from error
    except ValueError as error:
        no_ranges = url.startswith("http") and ("range" in str(error) or "seek" in str(error))
        advice = "; shards need a server with range requests: nginx, Apache, an object store" if no_ranges else ""
        raise ShardError(f"{url}: {error}{advice}") from error
    except Exception as error:  # each of fsspec's file systems has its own
        raise ShardError(f"{url}: cannot be read: {type(error).__name__}: {error}") from error


class _Stream:
    """A file that tarfile reads from front to back."""

    def __init__(self, file: BinaryIO, digest: Digest) -> None:
        self._file, self._digest = file, digest

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._digest.add(content)
        return content


def read(url: str, offset: int = 0, number: int = 0, digest: Digest | None = None) -> Iterator[Sample]:
    """Yield the utterances of a shard from a byte on, where utterance `number` begins; nothing is written to disk.

    digest: of all bytes that are read. Raises ShardError naming shard and member for a tar file that is damaged, a
    member that is not a plain file below the root or too large, a JSON object with wrong values, and an utterance
    without text or recording; AudioError if a duration is missing and the recording cannot be read.
    """
    digest = digest or Digest()
    with _reading(url) as file:
        if offset:
            file.seek(offset)
        stream: Any = _Stream(file, digest)
        members: dict[str, bytes] = {}
        name, first, last = "", offset, ""
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            while True:
                try:
                    member = tar.next()
                    tar.members = []  # type: ignore[attr-defined]
                    if member is None:
                        break
                    last, (stem, suffix) = member.name, _split(url, member)
                    if members and stem != name:
                        yield _sample(url, name, members, (first, number))
                        members, number = {}, number + 1
                    if not members:
                        name, first = stem, offset + member.offset
                    if suffix in ("json", "txt") or f".{suffix}" in audio.SUFFIXES:
                        members[suffix] = _content(url, tar, member)
                except tarfile.TarError as error:
                    after = f"after member {last}: " if last else ""
                    raise ShardError(f"{url}: {after}truncated, damaged or not an uncompressed tar ({error})") from None
            if members:
                yield _sample(url, name, members, (first, number))
        while stream.read(_BLOCK):
            pass


def verified(shard: Shard, offset: int = 0, number: int = 0) -> Iterator[Sample]:
    """Yield the utterances of a shard as `read` does. Raises ShardError too if it differs from the index."""
    digest, last = Digest(), "the beginning"
    for sample in read(shard.url, offset, number, digest):
        number, last = sample.number + 1, sample.utterance.audio.removeprefix(f"{shard.url}, ")
        yield sample
    size = offset + digest.size
    if (number, size) != (shard.utterances, shard.bytes):
        raise ShardError(
            f"{shard.url}: ends after {last} with {number} utterances and {size} bytes; the index has "
            f"{shard.utterances} and {shard.bytes}: copy it again, or write the index again"
        )
    if not offset and digest.sha256.hexdigest() != shard.sha256:
        raise ShardError(f"{shard.url}: its SHA-256 is not that of the index: copy it again, or write the index again")


def _split(url: str, member: tarfile.TarInfo) -> tuple[str, str]:
    """Return the name that the members of an utterance share, and the suffix without dot in lower case."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ShardError(f"{url}, {member.name}: a path outside the shard, which could overwrite other files")
    if not member.isreg() and not member.isdir():
        raise ShardError(f"{url}, {member.name}: neither a file nor a folder (a link or a device)")
    stem, _, suffix = path.name.partition(".")
    return str(path.with_name(stem)) if stem else "", "" if member.isdir() else suffix.lower()


def _content(url: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    limit = _LARGEST_TEXT if member.name.lower().endswith((".json", ".txt")) else _LARGEST
    if member.size > limit:
        raise ShardError(f"{url}, {member.name}: {member.size} bytes; at most {limit} are read")
    file = tar.extractfile(member)
    assert file  # noqa: S101 - it is a plain file
    return file.read()


def _sample(url: str, name: str, members: Mapping[str, bytes], position: tuple[int, int]) -> Sample:
    recordings = [suffix for suffix in members if suffix not in ("json", "txt")]
    if len(recordings) != 1:
        found = f"recordings {', '.join(recordings)}; one is expected" if recordings else "no recording (flac, wav, …)"
        raise ShardError(f"{url}, {name}.*: {found}")
    path, recording = f"{url}, {name}.{recordings[0]}", members[recordings[0]]
    row = _object(f"{url}, {name}.json", members["json"]) if "json" in members else {}
    text = next((row[key] for key in _TEXTS if key in row), None)
    if text is None:
        if "txt" not in members:
            raise ShardError(f"{url}, {name}.*: no text: neither a .txt member nor {_TEXTS[0]!r} in a .json member")
        try:
            text = members["txt"].decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ShardError(f"{url}, {name}.txt: not UTF-8") from None
    duration = row["duration"] if "duration" in row else audio.info(_named(path, recording)).duration
    identity = row.get("id", name)
    return Sample(Utterance(identity, path, float(duration), text, row.get("speaker", "")), recording, *position)


def _object(path: str, content: bytes) -> dict[str, Any]:
    """Parse a .json member; keys that others use are not checked."""
    try:
        row = parse_json_object(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ShardError(f"{path}: not UTF-8") from None
    except JsonLineError as error:
        raise ShardError(f"{path}: {error}") from None
    for key in ("id", "speaker", *_TEXTS):
        if key in row and not isinstance(row[key], str):
            raise ShardError(f"{path}: {key!r} must be a string, not {json.dumps(row[key])[:40]}")
    if "duration" in row:
        value = row["duration"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < audio.LONGEST:
            raise ShardError(f"{path}: 'duration' must be a number of seconds, not {json.dumps(value)[:40]}")
    return row
