"""Live speech with a streaming model: memory over hours, and delays of many streams in real time.

python tests/benchmarks/live.py memory FILE [HOURS]
    Feed a recording (mono, 16 kHz) over and over to one session, as fast as it goes, for 24 simulated HOURS, with a
    tiny model of random weights and a beam search. Prints the memory of the process after each hour.
python tests/benchmarks/live.py streams FILE [STREAMS [SECONDS [OPTION...]]]
    Start `asr serve` with english-small-streaming and OPTIONs, such as --greedy, on a free port, and send a recording
    to STREAMS (20) sessions in real time for SECONDS (60), in chunks of 100 ms. Prints the delays between the sending
    of a chunk and its answer, of those that change the partial result and of all, and the processor seconds of the
    server.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import websockets

import asr
from asr import audio
from asr.decoding.beam import BeamSettings
from asr.decoding.decoder import DecoderConfig, DecoderSettings
from asr.features import FeatureSettings
from asr.features.reference import matrices
from asr.model import ModelSettings, checkpoint, network
from asr.model.checkpoint import ModelFileSettings
from asr.text import ENGLISH, TextSettings

RATE = 16_000
CHUNK = RATE // 10


def write_model(path: Path, layers: int, hidden: int) -> None:
    """Write a streaming model of random weights whose log-probabilities differ much."""
    features = FeatureSettings(normalisation="none", top_db=0.0)
    shape = ModelSettings("lstm", layers, hidden, bidirectional=False)
    settings = ModelFileSettings(features, TextSettings("upper", ENGLISH), shape)
    torch.manual_seed(3)
    model = network.build(settings)
    with torch.no_grad():
        model.output.weight *= 8
    checkpoint.save(path, model, settings, {}, matrices(features))


def memory(pid: int | str = "self") -> float:
    """Return the memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def endless(path: str, hours: float) -> None:
    """Print a row for each simulated hour."""
    samples = audio.load(path)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / "model.safetensors", 1, 16)
        recognizer = asr.load(Path(folder) / "model.safetensors")
    live = recognizer.with_decoder(DecoderConfig(DecoderSettings(search=BeamSettings(8)))).live()
    begin, finals, words, due = time.process_time(), 0, 0, 0
    while live.seconds < 3600 * hours:
        for start in range(0, len(samples), CHUNK):
            for result in live.feed(samples[start : start + CHUNK]):
                finals += result.final
                words += len(result.transcript.words)
        if live.seconds >= 3600 * min(due, hours):
            due += 1
            took = time.process_time() - begin
            print(
                f"{live.seconds / 3600:6.2f} h: {memory():7.1f} MiB, {finals} finals, {words} words, {took:.0f} CPU s"
            )
            sys.stdout.flush()


async def speak(
    address: str, samples: "np.ndarray[tuple[int], np.dtype[np.int16]]", start: float, end: float
) -> list[tuple[float, bool]]:
    """Send samples in real time; return the delay of each answer, and whether it changed the partial result."""
    delays: list[tuple[float, bool]] = []
    sent: list[float] = []
    async with websockets.connect(f"{address.replace('http', 'ws')}/v1/stream") as session:

        async def read() -> None:
            before = ""
            async for message in session:
                answer = json.loads(message)
                changed = answer.get("partial", "") != before or bool(answer.get("text"))
                before = answer.get("partial", "")
                delays.append((time.monotonic() - sent[len(delays)], changed))

        reader = asyncio.create_task(read())
        position, due = 0, start
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            chunk = samples[position : position + CHUNK]
            sent.append(time.monotonic())
            await session.send(chunk.tobytes())
            position = (position + CHUNK) % (len(samples) - CHUNK)
            due += CHUNK / RATE
        sent.append(time.monotonic())
        await session.send('{"eof": 1}')
        await reader
    return delays[:-1]


def quantiles(name: str, values: list[float]) -> None:
    """Print a row."""
    values = sorted(values)
    if values:
        middle, late = values[len(values) // 2], values[int(0.95 * len(values))]
        row = f"median {1000 * middle:.0f} ms, 95 % {1000 * late:.0f} ms, longest {1000 * values[-1]:.0f} ms"
        print(f"{name}: {len(values)}, {row}")


def streams(path: str, count: int, seconds: float, options: list[str]) -> None:
    """Print delays and processor seconds."""
    samples = np.round(audio.load(path) * 32_767).astype(np.int16)
    command = [sys.executable, "-m", "asr", "serve", "--port", "0", "--model", "english-small-streaming", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        address = ""
        while not address:
            line = server.stderr.readline() if server.stderr else ""
            address = "".join(re.findall(r"http://\S+", line)).rstrip("/")
        start = time.monotonic() + 2

        async def run() -> list[list[tuple[float, bool]]]:
            turns = [np.roll(samples, -number * len(samples) // count) for number in range(count)]
            # Their chunks do not come at the same time.
            beginnings = [start + number * CHUNK / RATE / count for number in range(count)]
            tasks = [
                speak(address, turn, first, start + seconds) for turn, first in zip(turns, beginnings, strict=True)
            ]
            return await asyncio.gather(*tasks)

        before = processor_seconds(server.pid)
        delays = [delay for one in asyncio.run(run()) for delay in one]
        used = processor_seconds(server.pid) - before
        print(f"{count} streams, {seconds:.0f} s: {used:.1f} CPU s of the server, {memory(server.pid):.0f} MiB")
        server.terminate()
    quantiles("answers that change the partial result", [delay for delay, changed in delays if changed])
    quantiles("all answers", [delay for delay, _ in delays])


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run one of the two."""
    command, path, *rest = sys.argv[1:]
    if command == "memory":
        endless(path, float(rest[0]) if rest else 24.0)
    else:
        count, seconds = [*map(float, rest[:2]), *[20.0, 60.0][len(rest[:2]) :]]
        streams(path, int(count), seconds, rest[2:])


if __name__ == "__main__":
    main()
