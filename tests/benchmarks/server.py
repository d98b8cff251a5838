"""Load of the HTTP service: python tests/benchmarks/server.py FOLDER [CLIENTS] [SECONDS] [ARGUMENT of asr serve ...]

Starts `asr serve` on a free port of this machine. CLIENTS (32) threads send the sound files of FOLDER one after the
other for SECONDS (300). Prints failures, seconds of audio per second, that of `asr transcribe` on the same files
(those that were answered, counted as often), the ratio, latencies, and the server's memory after a fifth of the time
and at the end.
"""

import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from asr import audio

ASR = [sys.executable, "-m", "asr"]


def memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    """Print a row for each figure."""
    folder = Path(sys.argv[1])
    clients, seconds = (
        int(sys.argv[index]) if len(sys.argv) > index else usual for index, usual in ((2, 32), (3, 300))
    )
    files = sorted(path for path in folder.rglob("*") if path.suffix in audio.SUFFIXES)
    lengths = {path: audio.info(path).duration for path in files}
    server = subprocess.Popen([*ASR, "serve", "--port", "0", *sys.argv[4:]], stderr=subprocess.PIPE, text=True)
    address = ""
    while not address:
        line = server.stderr.readline() if server.stderr else ""
        address = "".join(re.findall(r"http://\S+", line)).rstrip("/")
    turn, lock = itertools.count(), threading.Lock()
    latencies: list[float] = []
    answered: list[Path] = []
    failures: list[str] = []
    end = time.monotonic() + seconds

    def client() -> None:
        with httpx.Client(timeout=600) as session:
            while time.monotonic() < end:
                with lock:
                    path = files[next(turn) % len(files)]
                begin = time.monotonic()
                form = {"file": (path.name, path.read_bytes())}
                response = session.post(f"{address}/v1/audio/transcriptions", files=form, data={"model": "whisper-1"})
                with lock:
                    latencies.append(time.monotonic() - begin)
                    if response.status_code == 200:
                        answered.append(path)
                    else:
                        failures.append(f"{response.status_code} {response.text[:200]}")

    begin = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 5)
    early = memory(server.pid)
    for thread in threads:
        thread.join()
    wall = time.monotonic() - begin
    late = memory(server.pid)
    server.terminate()
    server.wait()
    served = sum(lengths[path] for path in answered) / wall
    with tempfile.TemporaryDirectory() as copies:
        for number, path in enumerate(answered):
            shutil.copy(path, Path(copies) / f"{number}{path.suffix}")
        begin = time.monotonic()
        subprocess.run([*ASR, "transcribe", copies, "--quiet", *sys.argv[4:]], check=True, stdout=subprocess.DEVNULL)
        alone = sum(lengths[path] for path in answered) / (time.monotonic() - begin)
    latencies.sort()
    print(f"{len(answered)} answers, {len(failures)} failures", *failures[:3], sep="\n")
    print(f"RATIO served_over_transcribe {served / alone:.3f}  ({served:.1f} and {alone:.1f} times real time)")
    print(f"latency: median {latencies[len(latencies) // 2]:.2f} s, 95 % {latencies[int(0.95 * len(latencies))]:.2f} s")
    print(f"RATIO memory_late_over_early {late / early:.3f}  ({early:.0f} and {late:.0f} MiB)")


if __name__ == "__main__":
    main()
