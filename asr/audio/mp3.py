"""The frames of an MP3 file (MPEG layer III), which may be several files that were joined."""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

# MPEG layer III, by the header's index: kbit/s of version 1 and of versions 2 and 2.5, Hz of version 1.
_MPEG1_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_RATES = (44_100, 48_000, 32_000)
# MPEG frames by which a Xing header may miss the number of those that follow: some writers count the header itself.
_XING_TOLERANCE = 2
# Tags of MP3 files. ID3v2: a header of 10 bytes, the size as four bytes of seven bits at its end. APE: one of 32 bytes.
_ID3V1_SIZE, _APE_HEADER = 128, 32
Content = bytes | mmap.mmap


@dataclass
class Run:
    """MPEG frames that follow each other: a file, one of those that were joined, or what follows damaged bytes.

    `first` and `size`: position and bytes of its first frame. `skipped`: bytes before it that are not frames. `xing`:
    if that frame is a Xing frame, which has no samples, the number of the others that it states. `count`: of frames.
    """

    first: int
    size: int
    header: bytes
    skipped: int
    xing: int | None
    count: int = 0


def runs(content: Content) -> list[Run]:
    """Return the runs of frames: one ends before a Xing frame, at the length it states, and where frames change."""
    found: list[Run] = []
    expected = 0
    for position, size in _frames(content):
        header = content[position : position + 4]
        xing = _xing_count(content, position)
        run = found[-1] if found else None
        gap = content[expected:position] if run else b""
        if run and not gap and xing is None and run.count != run.xing and _kind(run.header) == _kind(header):
            run.count += 1
        else:
            skipped = _without_tags(gap)
            found.append(Run(position, size, header, skipped, xing, int(xing is None)))
        expected = position + size
    # A few frames more than stated are no other file.
    extra = [
        run.xing is None and not run.skipped and run.count <= _XING_TOLERANCE and before.count == before.xing
        for before, run in pairwise(found)
    ]
    return [run for run, drop in zip(found, [False, *extra], strict=False) if not drop]


def _kind(header: bytes) -> tuple[int, int, bool]:
    """Return what the headers of all frames of a file have in common: version and layer, rate, and mono or not."""
    return header[1] & 0xFE, header[2] & 0x0C, header[3] >> 6 == 3


def _side_information(header: bytes) -> int:
    """Return the size of a frame's header and side information, which a Xing header follows."""
    mono = header[3] >> 6 == 3
    return 4 + ((17 if mono else 32) if header[1] & 0x08 else (9 if mono else 17))


def _xing_count(content: Content, position: int) -> int | None:
    """Return the number of frames that a Xing frame states, None for another frame."""
    place = position + _side_information(content[position : position + 4])
    tag = content[place : place + 12]
    return int.from_bytes(tag[8:], "big") if tag[:4] in (b"Xing", b"Info") and len(tag) == 12 and tag[7] & 1 else None


def xing_frame(run: Run) -> bytes:
    """Return a Xing frame, otherwise silent, for a run without one."""
    header = bytes([run.header[0], run.header[1] | 1, *run.header[2:]])  # without a checksum
    start = header.ljust(_side_information(header), b"\0")
    return (start + b"Xing" + (1).to_bytes(4, "big") + run.count.to_bytes(4, "big")).ljust(run.size, b"\0")


def _frame_size(content: Content, position: int) -> int:
    """Return the size of the MPEG layer III frame at a position, 0 if there is none."""
    header = content[position : position + 4]
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return 0
    _, kind, rates, _ = header
    version, layer, index = kind >> 3 & 3, kind >> 1 & 3, rates >> 2 & 3
    if layer != 1 or version == 1 or index == 3 or not 0 < rates >> 4 < 15:
        return 0
    kilobits = (_MPEG1_KILOBITS if version == 3 else _MPEG2_KILOBITS)[rates >> 4]
    rate = _MPEG1_RATES[index] >> {3: 0, 2: 1, 0: 2}[version]
    return (144 if version == 3 else 72) * kilobits * 1000 // rate + (rates >> 1 & 1)


def _frames(content: Content) -> Iterator[tuple[int, int]]:
    """Yield the position and the size of each MPEG layer III frame."""
    position, synchronised = 0, False
    while position + 4 <= len(content):
        size = _frame_size(content, position)
        # Other bytes may look like a frame's header, but hardly twice, at the right distance.
        after = position + size
        if size and (synchronised or _frame_size(content, after) or after >= len(content)):
            yield position, size
            position, synchronised = after, True
        elif tag := _tag_size(content, position):
            position += tag
        else:
            following = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]|ID3|TAG|APETAGEX").search(
                content, position + 1
            )
            position, synchronised = (following.start() if following else len(content)), False


def _tag_size(content: Content, position: int) -> int:
    """Return the size of the tag at a position of an MP3 file, 0 if there is none."""
    head = content[position : position + _APE_HEADER]
    if head[:3] == b"ID3" and len(head) >= 10:
        return 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    if head[:3] == b"TAG":
        return _ID3V1_SIZE
    return _APE_HEADER + int.from_bytes(head[12:16], "little") if head[:8] == b"APETAGEX" else 0


def _without_tags(gap: bytes) -> int:
    """Return the number of bytes between two frames that are neither tags nor zeros."""
    position = 0
    while tag := _tag_size(gap, position):
        position += tag
    return len(gap[position:]) if gap[position:].strip(b"\0") else 0
