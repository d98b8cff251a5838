"""Load of the HTTP service: python tests/benchmarks/server.py FOLDER [CLIENTS] [SECONDS] [ROUNDS] [OPTION ...]

Starts `asr serve` with the options on a free port of this machine. In each of ROUNDS (3), CLIENTS (32) threads send the
sound files of FOLDER one after the other for SECONDS (100), then `asr transcribe` with the same options transcribes
those that were answered, as often. Prints failures, seconds of audio per second and per processor second of both (the
model is loaded in each run of `asr transcribe`, before the first request in the server), their ratios, latencies, and
the server's memory after each round.
"""

import itertools
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from asr import audio

ASR = [sys.executable, "-m", "asr"]


def memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """Clients that send files, and what became of them."""

    address: str
    files: list[Path]
    latencies: list[float] = field(default_factory=list)
    answered: list[Path] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self, clients: int, seconds: float) -> None:
        """Send files until the time is over and all are answered."""
        turn, lock = itertools.count(), threading.Lock()
        end = time.monotonic() + seconds

        def client() -> None:
            with httpx.Client(timeout=600) as session:
                while time.monotonic() < end:
                    with lock:
                        path = self.files[next(turn) % len(self.files)]
                    begin = time.monotonic()
                    form = {"file": (path.name, path.read_bytes())}
                    url = f"{self.address}/v1/audio/transcriptions"
                    response = session.post(url, files=form, data={"model": "whisper-1"})
                    with lock:
                        self.latencies.append(time.monotonic() - begin)
                        if response.status_code == 200:
                            self.answered.append(path)
                        else:
                            self.failures.append(f"{response.status_code} {response.text[:200]}")

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def transcribe(paths: list[Path], options: list[str]) -> None:
    """Transcribe files, one of them as often as it is listed."""
    with tempfile.TemporaryDirectory() as copies:
        for number, path in enumerate(paths):
            shutil.copy(path, Path(copies) / f"{number}{path.suffix}")
        subprocess.run([*ASR, "transcribe", copies, "--quiet", *options], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print a row for each figure."""
    folder = Path(sys.argv[1])
    clients, seconds, rounds = [*map(int, sys.argv[2:5]), *(32, 100, 3)[len(sys.argv[2:5]) :]]
    options = sys.argv[5:]
    files = sorted(path for path in folder.rglob("*") if path.suffix in audio.SUFFIXES)
    lengths = {path: audio.info(path).duration for path in files}
    server = subprocess.Popen([*ASR, "serve", "--port", "0", *options], stderr=subprocess.PIPE, text=True)
    address = ""
    while not address:
        line = server.stderr.readline() if server.stderr else ""
        address = "".join(re.findall(r"http://\S+", line)).rstrip("/")
    loads, sizes = [], []
    sums = dict.fromkeys(("audio", "served", "served_cpu", "alone", "alone_cpu"), 0.0)
    for _ in range(rounds):
        load = Load(address, files)
        begin, before = time.monotonic(), processor_seconds(server.pid)
        load.run(clients, seconds)
        sums["served"] += time.monotonic() - begin
        sums["served_cpu"] += processor_seconds(server.pid) - before
        loads.append(load)
        sizes.append(memory(server.pid))
        begin, before = time.monotonic(), children_seconds()
        transcribe(load.answered, options)
        sums["alone"] += time.monotonic() - begin
        sums["alone_cpu"] += children_seconds() - before
        sums["audio"] += sum(lengths[path] for path in load.answered)
    server.terminate()
    server.wait()
    latencies = sorted(latency for load in loads for latency in load.latencies)
    failures = [failure for load in loads for failure in load.failures]
    print(f"{len(latencies)} answers, {len(failures)} failures", *failures[:3], sep="\n")
    for name, unit in (("", "second"), ("_cpu", "processor second")):
        served, alone = sums["audio"] / sums[f"served{name}"], sums["audio"] / sums[f"alone{name}"]
        print(f"RATIO served_over_transcribe{name} {served / alone:.3f}  ({served:.1f} and {alone:.1f} s per {unit})")
    print(f"latency: median {latencies[len(latencies) // 2]:.2f} s, 95 % {latencies[int(0.95 * len(latencies))]:.2f} s")
    print(f"RATIO memory_late_over_early {sizes[-1] / sizes[0]:.3f}  (MiB:", *(f"{size:.0f}" for size in sizes), ")")


def children_seconds() -> float:
    """Return the processor time of processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
