"""asr against other recognisers: python tests/benchmarks/comparison.py MANIFEST [COUNT [SYSTEM ...]]

Transcribes COUNT utterances (default 54) spread evenly over MANIFEST, with one thread, and prints a row of the table in
docs/comparison.md for each system: WER with its 95 % interval, both texts normalised by `english`; and for the first 20
of the utterances processor seconds and peak memory of a whole process, from its start to its end.

Systems, of which those whose packages are not installed are left out:
- "asr", "asr, greedy": `asr transcribe` with english-small, its decoder's settings or greedily.
- "PocketSphinx": its own English model and default settings.
- "Whisper DIR": faster-whisper with the model in folder DIR, 8-bit integers, its default settings (beam 5), English.
- "Vosk DIR": the model in folder DIR.
Without SYSTEM: the first three.
"""

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from asr import audio
from asr.corpora import manifest
from asr.scoring import score
from asr.text.normalisers import normaliser

TIMED, RATE = 20, 16_000
Recognise = Callable[[str], str]


def pocketsphinx_() -> Recognise:
    """Return PocketSphinx as a function of a path."""
    import pocketsphinx

    decoder = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")

    def recognise(path: str) -> str:
        decoder.start_utt()
        decoder.process_raw((audio.load(path, RATE) * 32_767).astype(np.int16).tobytes(), False, True)
        decoder.end_utt()
        found = decoder.hyp()
        return str(found.hypstr) if found else ""

    return recognise


def whisper(folder: str) -> Recognise:
    """Return a model of faster-whisper as a function of a path."""
    from faster_whisper import WhisperModel

    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True)

    def recognise(path: str) -> str:
        segments, _ = model.transcribe(audio.load(path, RATE), language="en")
        return " ".join(segment.text for segment in segments)

    return recognise


def vosk_(folder: str) -> Recognise:
    """Return a model of Vosk as a function of a path."""
    import vosk

    vosk.SetLogLevel(-1)
    model = vosk.Model(folder)

    def recognise(path: str) -> str:
        recognizer = vosk.KaldiRecognizer(model, RATE)
        recognizer.AcceptWaveform((audio.load(path, RATE) * 32_767).astype(np.int16).tobytes())
        return str(json.loads(recognizer.FinalResult())["text"])

    return recognise


def command(system: str, listing: Path) -> list[str]:
    """Return the command that prints a line of text for each path of a list."""
    if system.startswith("asr"):
        options = ["--greedy"] if "greedy" in system else []
        return [sys.executable, "-m", "asr", "transcribe", "--list", str(listing), "--quiet", "--jobs", "1", *options]
    return [sys.executable, __file__, "--run", system, str(listing)]


def recognise_all(system: str, listing: str) -> None:
    """Print a line of text for each path of a list."""
    name, _, folder = system.partition(" ")
    recognise = pocketsphinx_() if name == "PocketSphinx" else {"Whisper": whisper, "Vosk": vosk_}[name](folder)
    for path in Path(listing).read_text().splitlines():
        print(" ".join(recognise(path).split()), flush=True)


def run(system: str, paths: list[str]) -> tuple[list[str], float, float]:
    """Return the texts of files, and the processor seconds and MiB of the process."""
    with tempfile.TemporaryDirectory() as folder:
        listing, out = Path(folder, "list.txt"), Path(folder, "out.txt")
        listing.write_text("\n".join(paths) + "\n")
        words = command(system, listing)
        actions = [(os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT, 0o600)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        _, status, usage = os.wait4(os.posix_spawn(words[0], words, environment, file_actions=actions), 0)
        if status:
            sys.exit(f"{system}: exit status {os.waitstatus_to_exitcode(status)}")
        return out.read_text().splitlines(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    if sys.argv[1] == "--run":
        recognise_all(*sys.argv[2:])
        return
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 54
    utterances = manifest.read(sys.argv[1])
    utterances = utterances[:: max(1, len(utterances) // count)][:count]
    paths, normalise = [row.audio for row in utterances], normaliser("english")
    minutes = [sum(row.duration for row in rows) / 60 for rows in (utterances, utterances[:TIMED])]
    print(f"{len(paths)} utterances, {minutes[0]:.1f} minutes; the first {TIMED}: {minutes[1]:.1f} minutes\n")
    print(f"| system | WER % | processor s, {TIMED} files | peak MiB |\n|---|---|---|---|", flush=True)
    systems = sys.argv[3:] or ["asr", "asr, greedy", "PocketSphinx"]
    for system in systems:
        package = {"P": "pocketsphinx", "W": "faster_whisper", "V": "vosk"}.get(system[0], "asr")
        if not importlib.util.find_spec(package):
            print(f"{system} is left out: {package} is not installed", file=sys.stderr)
            continue
        # The beam search is compiled at its first use, once for each machine.
        run(system, paths[:1])
        texts, seconds, memory = run(system, paths[:TIMED])
        texts += run(system, paths[TIMED:])[0]
        wer = score([normalise(row.text) for row in utterances], [normalise(text) for text in texts]).wer
        name = " ".join(Path(word).name for word in system.split(" "))
        rate = f"{100 * wer.value:.1f} ({100 * wer.low:.1f}–{100 * wer.high:.1f})"
        print(f"| {name} | {rate} | {seconds:.1f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
