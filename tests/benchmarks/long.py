"""Measure memory and time for a recording of hours, and how many words change if a recording is not computed whole.

usage: python tests/benchmarks/long.py MODEL MANIFEST [HOURS]     repeats the recordings of the manifest for 6 hours
"""

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import soundfile
from rapidfuzz.distance import Levenshtein

from asr import TranscribeOptions, audio, recognition
from asr.corpora import manifest

RATE = 16_000
# The length in seconds and the number of the recordings that are computed whole and in windows.
WHOLE, COUNT = 400.0, 10


def waveforms(path: str) -> Iterator[audio.Waveform]:
    """Yield the recordings of a manifest."""
    yield from (audio.load(row.audio, RATE, row.offset, row.duration) for row in manifest.read(path))


def write_long(path: Path, rows: str, hours: float) -> None:
    """Write a file of `hours` that repeats the recordings."""
    left = round(hours * 3600 * RATE)
    # About ten minutes, kept in memory.
    spoken = list(islice(waveforms(rows), 150))
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        for waveform in cycle(spoken):
            file.write(waveform[:left])
            left -= len(waveform[:left])
            if not left:
                return


def peak() -> float:
    """Return the peak of this process's memory in GB."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss of Linux begins with the peak of the parent process; VmHWM does not.
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return int(found[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6 / 1.024)


def transcribe(model: str, path: str) -> None:
    """Transcribe in this process; print the peak of its memory and its time as JSON."""
    recognizer = recognition.load(model)
    begin = time.perf_counter()
    transcript = recognizer.transcribe_file(path, TranscribeOptions(words=True))
    seconds = time.perf_counter() - begin
    print(json.dumps({"peak": peak(), "seconds": seconds, "words": len(transcript.words)}))


def measure_long(model: str, rows: str, hours: float) -> None:
    """Print the peak and the speed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.flac"
        write_long(path, rows, hours)
        command = [sys.executable, __file__, "transcribe", model, str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{hours:g} hours in {found['seconds']:.0f} s, {found['words']} words")
    print(f"RATIO long_peak_gb {found['peak']:.2f}")
    print(f"RATIO long_times_real_time {hours * 3600 / found['seconds']:.0f}", flush=True)


def measure_sameness(model: str, rows: str) -> None:
    """Print the share of words that are the same if the recordings are computed whole."""
    recognizer = recognition.load(model)
    whole = TranscribeOptions(whole=24 * 3600)
    sound = np.concatenate(list(islice(waveforms(rows), 2000)))
    size = round(WHOLE * RATE)
    differing = words = 0
    for first in range(0, min(len(sound), COUNT * size), size):
        part = sound[first : first + size]
        expected = recognizer.transcribe(part, options=whole).text.split()
        differing += Levenshtein.distance(expected, recognizer.transcribe(part).text.split())
        words += len(expected)
    print(f"{differing} of {words} words differ from those of {WHOLE:g} s computed whole")
    print(f"RATIO long_same_words {1 - differing / words:.4f}", flush=True)


def main() -> None:
    """Print the ratios; or transcribe one file, in a process of its own."""
    match sys.argv[1:]:
        case ["transcribe", model, path]:
            transcribe(model, path)
        case [model, rows, *hours]:
            measure_sameness(model, rows)
            measure_long(model, rows, float(hours[0]) if hours else 6.0)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
