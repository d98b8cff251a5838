"""Download a corpus and unpack it: resumed, verified by checksum, and complete or not at all."""

import gzip
import hashlib
import http.client
import logging
import lzma
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from asr.corpora.manifest import CorpusError
from asr.corpora.rows import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of OpenSLR: the number of its resource, its length in bytes, its MD5."""

    resource: int
    size: int
    md5: str


# Sizes and sums: the md5sum.txt of https://www.openslr.org/12 and https://www.openslr.org/31.
ARCHIVES = {
    "dev-clean": Archive(12, 337_926_286, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": Archive(12, 314_305_928, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": Archive(12, 346_663_984, "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": Archive(12, 328_757_843, "fb5a50374b501bb3bac4815ee91d3135"),
    "train-clean-100": Archive(12, 6_387_309_499, "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": Archive(12, 23_049_477_885, "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": Archive(12, 30_593_501_606, "d1a0fd59409feb2c614ce4d30c387708"),
    "dev-clean-2": Archive(31, 126_046_265, "6d7ab67ac6a1d2c993d050e16d61080d"),
    "train-clean-5": Archive(31, 332_954_390, "5df7d4e78065366204ca6845bb08f490"),
}
MIRRORS = (
    "https://www.openslr.org/resources",
    "https://openslr.trmal.net/resources",
    "https://openslr.elda.org/resources",
)
# Seconds before each retry. An attempt that brings new bytes starts the sequence again.
DELAYS = (1.0, 2.0, 4.0, 8.0)
TIMEOUT = 60.0
# The archive, its content (FLAC does not shrink in a tar.gz), and a reserve.
SPACE_FACTOR = 2.2
_CHUNK = 1 << 18
_TRANSIENT = {408, 425, 429}


class _RetryError(Exception):
    """A failed attempt that may succeed later."""


class _DiskError(CorpusError):
    """A failure of this machine's disk, which another mirror does not solve."""


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _DiskError(f"{path}: cannot be written: {error.strerror or error}") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(
    url: str, destination: str | Path, md5: str, on_progress: Progress | None = None, delays: Sequence[float] = DELAYS
) -> None:
    """Download a file, complete and verified, or not at all.

    An interrupted download resumes from its `.part`; a file that is already there with this MD5 is kept.
    `on_progress` is called with the bytes received and all bytes (0 if unknown). Raises CorpusError if the server
    refuses, if the attempts without a new byte outnumber the `delays` (seconds) between them, or if the MD5 differs.
    """
    destination = Path(destination)
    if not url.startswith(("https://", "http://")):
        raise CorpusError(f"{url}: not an address that begins with https:// or http://")
    if destination.is_file() and _md5(destination) == md5:
        return
    part = destination.with_name(destination.name + ".part")
    with _disk_errors(part):
        destination.parent.mkdir(parents=True, exist_ok=True)
    resumed = _size(part) > 0
    while True:
        _fetch(url, part, on_progress, delays)
        actual = _md5(part)
        if actual == md5:
            break
        part.unlink()
        if not resumed:
            raise CorpusError(f"{url}: its MD5 is {actual}, not {md5}; the download was deleted, try again later")
        # The .part may have been the beginning of another file.
        log.info("%s: the MD5 is wrong after a resumed download; downloading from the beginning", url)
        resumed = False
    part.replace(destination)


def _fetch(url: str, part: Path, on_progress: Progress | None, delays: Sequence[float]) -> None:
    """Complete the file `part`, with one attempt more than there are delays, counted from the last new byte."""
    failures, largest, validator = 0, _size(part), ""
    while True:
        offset = _size(part)
        # If-Range: the server sends the whole file if it has changed since (RFC 9110, section 13.1.5).
        ranges = {"Range": f"bytes={offset}-"} | ({"If-Range": validator} if validator else {}) if offset else {}
        request = urllib.request.Request(url, headers={"User-Agent": "asr"} | ranges)  # noqa: S310 - checked before
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                validator = _validator(response)
                return _receive(response, url, part, offset, on_progress)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{offset}":
                    return  # the part is already complete
                if error.code == 416:
                    part.unlink(missing_ok=True)
                elif error.code < 500 and error.code not in _TRANSIENT:
                    raise CorpusError(f"{url}: HTTP {error.code} {error.reason}") from None
                reason = f"HTTP {error.code} {error.reason}"
        except (_RetryError, OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        size = _size(part)
        failures, largest = (1, size) if size > largest else (failures + 1, largest)
        if failures > len(delays):
            raise CorpusError(f"{url}: {reason} ({failures} attempts); run it again, it resumes after {size} bytes")
        log.info("%s: %s; retrying in %g s", url, reason, delays[failures - 1])
        time.sleep(delays[failures - 1])


def _validator(response: http.client.HTTPResponse) -> str:
    etag = response.headers.get("ETag", "")
    # A weak ETag is not allowed in If-Range (RFC 9110, section 13.1.5).
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _receive(
    response: http.client.HTTPResponse, url: str, part: Path, offset: int, on_progress: Progress | None
) -> None:
    """Append a response to the file `part`, which has `offset` bytes."""
    if response.status not in (200, 206):
        raise CorpusError(f"{url}: HTTP {response.status} {response.reason}, expected 200")
    content_range = response.headers.get("Content-Range", "")
    if response.status == 200:  # the server ignores ranges, or the file has changed: start again
        offset = 0
    elif not content_range.startswith(f"bytes {offset}-"):
        raise _RetryError(f"requested the bytes from {offset} on, received {content_range}")
    length = response.headers.get("Content-Length", "")
    total = offset + int(length) if length.isdecimal() else 0
    done = offset
    with _disk_errors(part):
        out = part.open("ab" if offset else "wb")
    with out:
        # read1 returns what has arrived; read would wait for a whole chunk and lose it if the connection breaks.
        while chunk := response.read1(_CHUNK):
            with _disk_errors(part):
                out.write(chunk)
                out.flush()
            done += len(chunk)
            if on_progress is not None:
                on_progress(done, total)
    if total and done < total:
        raise _RetryError(f"the connection ended after {done} of {total} bytes")


def unpack(archive: str | Path, destination: str | Path, on_progress: Progress | None = None) -> None:
    """Unpack a tar archive into a folder; each folder LibriSpeech/SUBSET appears complete or not at all.

    `on_progress` is called with the bytes of the archive read and all bytes. Raises CorpusError for an archive that
    is damaged, that holds links, devices or paths out of the folder, or whose subset is already there.
    """
    archive, destination = Path(archive), Path(destination)
    # In the destination, hence on the same disk, so that a rename moves it.
    temporary = destination / f".{archive.name}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _extract(archive, temporary, on_progress)
        _move(temporary, destination)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise CorpusError(
            f"{archive}: not a complete tar archive ({error}); delete it and download it again"
        ) from error
    except OSError as error:
        raise CorpusError(f"{archive}: cannot be unpacked into {destination}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(archive: Path, folder: Path, on_progress: Progress | None) -> None:
    size = archive.stat().st_size
    with archive.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:*") as tar:
        # A second check after _check; Python 3.11.3 and older do not have it.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        for member in tar:
            _check(member, archive)
            tar.extract(member, folder)
            if on_progress is not None:
                on_progress(stream.tell(), size)
        while tar.fileobj and tar.fileobj.read(_CHUNK):  # up to gzip's checksum, after the last member
            pass


def _check(member: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        problem = "its path leads out of the folder"
    elif not (member.isreg() or member.isdir()):
        problem = "a link or a device, which a corpus does not contain"
    else:
        return
    raise CorpusError(f"{archive}: {member.name!r}: {problem}; nothing was unpacked, do not trust the archive")


def _move(temporary: Path, destination: Path) -> None:
    """Move the new folders of the first and second level, and files, to the destination."""
    sources: list[Path] = []
    for path in sorted(temporary.iterdir()):
        shared = path.is_dir() and (destination / path.name).is_dir()
        sources += sorted(path.iterdir()) if shared else [path]
    targets = {source: destination / source.relative_to(temporary) for source in sources}
    for source, target in targets.items():
        if target.is_dir() or (source.is_dir() and target.exists()):
            raise CorpusError(f"{target}: already exists; remove it first to unpack it again")
    for source, target in targets.items():
        source.replace(target)


def download_librispeech(
    subset: str,
    root: str | Path,
    on_progress: Progress | None = None,
    mirrors: Sequence[str] = MIRRORS,
    delays: Sequence[float] = DELAYS,
) -> Path:
    """Download and unpack an official subset to root/LibriSpeech/SUBSET, and return that folder.

    An existing folder is returned as it is. An archive root/SUBSET.tar.gz with the right MD5 replaces the download;
    it is deleted after unpacking. `root` may also be the folder LibriSpeech/ itself. `on_progress` is called with
    bytes and all bytes, for the download and then again from 0 for the unpacking. `mirrors` are tried in order.
    Raises CorpusError.
    """
    if subset not in ARCHIVES:
        raise CorpusError(f"subset {subset!r} cannot be downloaded; available are {', '.join(ARCHIVES)}")
    root = Path(root).resolve()
    root = root.parent if root.name == "LibriSpeech" else root
    folder, archive, facts = root / "LibriSpeech" / subset, root / f"{subset}.tar.gz", ARCHIVES[subset]
    if folder.is_dir():
        return folder
    _check_space(root, archive, facts.size)
    problems: list[str] = []
    for mirror in mirrors:
        try:
            download(f"{mirror}/{facts.resource}/{subset}.tar.gz", archive, facts.md5, on_progress, delays)
            break
        except _DiskError:
            raise
        except CorpusError as error:
            problems.append(str(error))
    else:
        remedy = f"or download it by other means and put it at {archive}"
        raise CorpusError(f"{subset} could not be downloaded: {'; '.join(problems)}; {remedy}")
    unpack(archive, root, on_progress)
    if not folder.is_dir():
        raise CorpusError(f"{archive}: no LibriSpeech/{subset} in it")
    archive.unlink()
    return folder


def _check_space(root: Path, archive: Path, size: int) -> None:
    received = _size(archive) + _size(archive.with_name(archive.name + ".part"))
    disk = next(path for path in (root, *root.parents) if path.exists())
    needed, free = (size * SPACE_FACTOR - received) / 1e9, shutil.disk_usage(disk).free / 1e9
    if free < needed:
        raise CorpusError(
            f"{root}: {free:.1f} GB are free, {archive.name} and its content need {needed:.1f} GB; "
            "free some space or choose another folder"
        )
