"""Download a corpus and unpack it: resumed, verified, and never left half done."""

import gzip
import hashlib
import http.client
import logging
import lzma
import re
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

from asr.corpora import CorpusError, Progress

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
# Seconds before each new try; one try more than there are delays, counted from the last that brought new bytes.
DELAYS = (1.0, 2.0, 4.0, 8.0)
TIMEOUT = 60.0
# The archive, what it unpacks to (FLAC does not shrink in a tar.gz), and some air.
SPACE_FACTOR = 2.2
_CHUNK = 1 << 18
_PASSING = {408, 425, 429}


class _BrokenOffError(Exception):
    """A try that failed in a way that may pass."""


class _DiskError(CorpusError):
    """A failure of this machine, which no other server mends."""


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _DiskError(f"{path}: cannot be written: {error.strerror or error}") from error


@dataclass(slots=True)
class _Transfer:
    url: str
    part: Path
    progress: Progress | None
    validator: str = ""

    def size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def run(self, delays: Sequence[float]) -> None:
        """Fill `part`, in as many tries as there are delays, plus one, without a new byte in between."""
        failures, best = 0, self.size()
        while True:
            try:
                return self.attempt()
            except (_BrokenOffError, OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
            size = self.size()
            failures, best = (1, size) if size > best else (failures + 1, best)
            if failures > len(delays):
                mend = f"run it again, it goes on from the {size} bytes it has"
                raise CorpusError(f"{self.url}: {reason} ({failures} tries); {mend}")
            log.info("%s: %s; once more in %g s", self.url, reason, delays[failures - 1])
            time.sleep(delays[failures - 1])

    def attempt(self) -> None:
        offset = self.size()
        request = urllib.request.Request(self.url, headers={"User-Agent": "asr"})  # noqa: S310 - download() checks it
        if offset:
            request.add_header("Range", f"bytes={offset}-")
            if self.validator:
                request.add_header("If-Range", self.validator)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
                self.receive(response, offset)
        except urllib.error.HTTPError as error:
            with error:
                self.refused(error, offset)

    def refused(self, error: urllib.error.HTTPError, offset: int) -> None:
        if error.code == 416:  # nothing behind `offset`: the part is whole, or not a part of this file
            if error.headers.get("Content-Range") == f"bytes */{offset}":
                return
            self.part.unlink(missing_ok=True)
            raise _BrokenOffError(f"what was there, {offset} bytes, is no part of this file; deleted") from None
        if error.code < 500 and error.code not in _PASSING:
            raise CorpusError(f"{self.url}: HTTP {error.code} {error.reason}") from None
        raise _BrokenOffError(f"HTTP {error.code} {error.reason}") from None

    def receive(self, response: http.client.HTTPResponse, offset: int) -> None:
        if response.status not in (200, 206):
            raise CorpusError(f"{self.url}: HTTP {response.status} {response.reason}, 200 was expected")
        start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if response.status == 200:  # the server knows no ranges, or the file has changed: from the beginning
            offset = 0
        elif start is None or int(start[1]) != offset:
            raise _BrokenOffError(f"bytes from {offset} were wanted, {response.headers.get('Content-Range')} came")
        etag = response.headers.get("ETag", "")
        # A weak ETag may not stand in If-Range (RFC 9110, section 13.1.5).
        self.validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdecimal() else 0
        done = offset
        with _disk(self.part):
            out = self.part.open("ab" if offset else "wb")
        with out:
            # read1 hands over what has come; read would wait for a whole chunk, and lose it when the connection breaks.
            while chunk := response.read1(_CHUNK):
                with _disk(self.part):
                    out.write(chunk)
                    out.flush()
                done += len(chunk)
                if self.progress is not None:
                    self.progress(done, total)
        if total and done < total:
            raise _BrokenOffError(f"the connection broke off after {done} of {total} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(
    url: str, destination: str | Path, md5: str, progress: Progress | None = None, delays: Sequence[float] = DELAYS
) -> None:
    """Download a file whole and verified, or not at all.

    A download that was stopped goes on from its `.part`; a file already there with this MD5 is kept. `progress` is
    called with the bytes there and all bytes (0 if the server does not say). Raises CorpusError when the server
    refuses, when tries without a new byte outnumber the `delays` (seconds) between them, or when the MD5 is another.
    """
    destination = Path(destination)
    if not url.startswith(("https://", "http://")):
        raise CorpusError(f"{url}: not an address that begins with https:// or http://")
    if destination.is_file() and _md5(destination) == md5:
        return
    transfer = _Transfer(url, destination.with_name(destination.name + ".part"), progress)
    with _disk(transfer.part):
        destination.parent.mkdir(parents=True, exist_ok=True)
    resumed = transfer.size() > 0
    while True:
        transfer.run(delays)
        found = _md5(transfer.part)
        if found == md5:
            break
        transfer.part.unlink()
        if not resumed:
            raise CorpusError(f"{url}: its MD5 is {found}, not {md5}; what came was deleted, try again or elsewhere")
        # What an earlier run left may have been another file's beginning.
        log.info("%s: the MD5 is wrong after a resumed download; from the beginning", url)
        resumed = False
    transfer.part.replace(destination)


def _check(member: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        problem = "its path leads out of the folder"
    elif not (member.isreg() or member.isdir()):
        problem = "a link or a device; a corpus has none"
    else:
        return
    raise CorpusError(f"{archive}: {member.name!r}: {problem}; nothing was unpacked, the archive is not to be trusted")


def unpack(archive: str | Path, destination: str | Path, progress: Progress | None = None) -> None:
    """Unpack a tar archive into a folder, such that each folder LibriSpeech/SUBSET appears whole or not at all.

    `progress` is called with the bytes of the archive read so far and all of them. Raises CorpusError for an archive
    that is damaged, that holds links, devices or paths which lead out, or whose subset is there already.
    """
    archive, destination = Path(archive), Path(destination)
    # Inside the destination, hence on the same disk: renaming is then one step.
    temporary = destination / f".{archive.name}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _extract(archive, temporary, progress)
        _settle(temporary, destination)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise CorpusError(f"{archive}: not a whole tar archive ({error}); delete it and download it again") from error
    except OSError as error:
        raise CorpusError(f"{archive}: cannot be unpacked into {destination}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(archive: Path, folder: Path, progress: Progress | None) -> None:
    size = archive.stat().st_size
    with archive.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:*") as tar:
        # A second check behind _check; Python 3.11.3 and older do not have it.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        for member in tar:
            _check(member, archive)
            tar.extract(member, folder)
            if progress is not None:
                progress(stream.tell(), size)
        while tar.fileobj and tar.fileobj.read(_CHUNK):  # up to gzip's check sum, behind the last member
            pass


def _settle(temporary: Path, destination: Path) -> None:
    """Move what was unpacked to its place: folders of the first and second level that are new, and files."""
    sources: list[Path] = []
    for path in sorted(temporary.iterdir()):
        shared = path.is_dir() and (destination / path.name).is_dir()
        sources += sorted(path.iterdir()) if shared else [path]
    targets = {source: destination / source.relative_to(temporary) for source in sources}
    for source, target in targets.items():
        if target.is_dir() or (source.is_dir() and target.exists()):
            raise CorpusError(f"{target}: is there already; remove it first to unpack it anew")
    for source, target in targets.items():
        source.replace(target)


def librispeech(
    subset: str,
    root: str | Path,
    progress: Progress | None = None,
    mirrors: Sequence[str] = MIRRORS,
    delays: Sequence[float] = DELAYS,
) -> Path:
    """Download an official subset so that root/LibriSpeech/SUBSET is there, and return that folder.

    A subset that is there is left alone. An archive root/SUBSET.tar.gz with the right MD5 is used in place of a
    download, and deleted once it is unpacked. `root` may also be the folder LibriSpeech/ itself. `progress` is called
    with bytes and all bytes, for the download and then once more, from 0, for the unpacking. `mirrors` are tried in
    their order. Raises CorpusError.
    """
    if subset not in ARCHIVES:
        raise CorpusError(f"subset {subset!r} cannot be downloaded; those that can are {', '.join(ARCHIVES)}")
    root = Path(root).resolve()
    root = root.parent if root.name == "LibriSpeech" else root
    folder, archive, facts = root / "LibriSpeech" / subset, root / f"{subset}.tar.gz", ARCHIVES[subset]
    if folder.is_dir():
        return folder
    _check_space(root, archive, facts.size)
    problems: list[str] = []
    for mirror in mirrors:
        try:
            download(f"{mirror}/{facts.resource}/{subset}.tar.gz", archive, facts.md5, progress, delays)
            break
        except CorpusError as error:
            if isinstance(error, _DiskError):
                raise
            problems.append(str(error))
    else:
        mend = f"or fetch it by other means and put it at {archive}"
        raise CorpusError(f"{subset} could not be downloaded: {'; '.join(problems)}; {mend}")
    unpack(archive, root, progress)
    if not folder.is_dir():
        raise CorpusError(f"{archive}: holds no LibriSpeech/{subset}")
    archive.unlink()
    return folder


def _check_space(root: Path, archive: Path, size: int) -> None:
    there = sum(path.stat().st_size for path in (archive, archive.with_name(archive.name + ".part")) if path.is_file())
    disk = next(path for path in (root, *root.parents) if path.exists())
    needed, free = (size * SPACE_FACTOR - there) / 1e9, shutil.disk_usage(disk).free / 1e9
    if free < needed:
        what = f"{archive.name} and what it unpacks to need {needed:.1f} GB"
        raise CorpusError(f"{root}: {free:.1f} GB are free, {what}; make room or choose another folder")
