"""How fast many short recordings are transcribed on two cores: against real time, PocketSphinx and Whisper's tiny size.

Ours is a whole process, from its start to its end: `asr transcribe --jobs 2` of LibriSpeech's FLAC files, greedy and
with the decoder of the model.

- PocketSphinx (its own English model, its default settings, a pip package) takes the first files of the same list, half
  of them in each of two processes of one thread. Loading is counted once, the rest by the length of the audio.
- Whisper: transformers' network of the shape of OpenAI's tiny one, with random weights, which cost as trained ones do.
  It takes the first files, too, each in its window of 30 s, in a process of two threads, in batches of 1 and 8, whose
  faster counts; it writes as many tokens as the references need (1.3 a word, as English text does, and 4 to begin
  with), greedily and with its cache. Loading is not counted.

A package that is not installed is left out.

usage: python tests/benchmarks/throughput.py MODEL FOLDER [SUBSET [MINUTES [OTHERS]]]
FOLDER holds LibriSpeech/SUBSET (default dev-clean); MINUTES of audio (default 30), OTHERS of it for the others (3)
"""

import importlib
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asr import audio, scoring
from asr.corpora import librispeech
from asr.corpora.manifest import Utterance

CORES = 2
TOKENS_PER_WORD, TOKENS_TO_BEGIN = 1.3, 4
WINDOW = 30.0


def chosen(folder: str, subset: str, minutes: float) -> list[Utterance]:
    """Return utterances that fill so many minutes, of all speakers."""
    found = [one for one in librispeech.read(folder, subset) if one.duration <= WINDOW]
    np.random.default_rng(1).shuffle(found)
    return first(found, minutes)


def first(utterances: Sequence[Utterance], minutes: float) -> list[Utterance]:
    """Return the first ones that fill so many minutes."""
    ends = np.cumsum([one.duration for one in utterances])
    return list(utterances[: 1 + int(np.searchsorted(ends, 60 * minutes))])


def seconds_of(utterances: Sequence[Utterance]) -> float:
    """Return the seconds of audio."""
    return sum(one.duration for one in utterances)


def told(name: str, utterances: Sequence[Utterance], texts: Sequence[str], seconds: float) -> None:
    """Print what came of some utterances, to be sure that work was done."""
    wer = scoring.score([one.text for one in utterances], [text.upper() for text in texts]).wer.value
    minutes = seconds_of(utterances) / 60
    print(f"{name}: {minutes:.1f} minutes, {len(utterances)} files in {seconds:.1f} s, WER {wer:.1%}", flush=True)


def ours(name: str, model: str, options: Sequence[str], utterances: Sequence[Utterance]) -> float:
    """Return the seconds of one process that transcribes all."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listing:
        listing.write("\n".join(one.audio for one in utterances))
        listing.flush()
        command = [sys.executable, "-m", "asr", "transcribe", "--list", listing.name, "--model", model]
        command += [*options, "--jobs", str(CORES), "--quiet"]
        begin = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
    told(f"asr, {name}", utterances, done.stdout.splitlines(), seconds)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    total = seconds_of(utterances)
    print(f"RATIO {name}_times_real_time {total / seconds:.0f}")
    print(f"RATIO {name}_seconds_per_cpu_second {total / cpu:.1f} ({cpu:.1f} CPU s)", flush=True)
    return seconds


def sphinx(listing: str) -> None:
    """Transcribe the files of a list with PocketSphinx in this process; print texts and times as JSON."""
    import pocketsphinx

    begin = time.perf_counter()
    decoder = pocketsphinx.Decoder(samprate=16_000, loglevel="FATAL")
    loaded = time.perf_counter()
    texts = []
    for path in Path(listing).read_text().splitlines():
        samples = (audio.load(path) * 32_767).astype(np.int16)
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), False, True)
        decoder.end_utt()
        found = decoder.hyp()
        texts.append(found.hypstr if found else "")
    print(json.dumps({"load": loaded - begin, "seconds": time.perf_counter() - loaded, "texts": texts}))


def of_sphinx(utterances: Sequence[Utterance], total: float) -> float:
    """Return the seconds that two processes of PocketSphinx need for `total` seconds of audio."""
    halves = [utterances[number::CORES] for number in range(CORES)]
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for number, half in enumerate(halves):
            listing = Path(folder) / f"{number}.txt"
            listing.write_text("\n".join(one.audio for one in half))
            command = [sys.executable, __file__, "sphinx", str(listing)]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        found = [json.loads(process.communicate()[0]) for process in running]
    # Both cores are busy until the end: what one half takes longer is chance, and evens out.
    seconds = sum(one["seconds"] for one in found) / CORES
    for number, half in enumerate(halves):
        told(f"pocketsphinx, process {number + 1}", half, found[number]["texts"], found[number]["seconds"])
    return float(max(one["load"] for one in found) + seconds * total / seconds_of(utterances))


def of_whisper(utterances: Sequence[Utterance], total: float, batch: int) -> float:
    """Return the seconds that a network of Whisper's tiny shape needs for `total` seconds of audio."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    torch.set_num_threads(CORES)
    torch.manual_seed(1)
    model = WhisperForConditionalGeneration(WhisperConfig()).eval()
    extractor = WhisperFeatureExtractor()
    begin = time.perf_counter()
    for start in range(0, len(utterances), batch):
        rows = utterances[start : start + batch]
        tokens = [TOKENS_TO_BEGIN + math.ceil(TOKENS_PER_WORD * len(one.text.split())) for one in rows]
        waveforms = [audio.load(one.audio) for one in rows]
        with torch.inference_mode():
            features = extractor(waveforms, sampling_rate=16_000, return_tensors="pt").input_features
            heard = model.model.encoder(features)
            token, past = torch.full((len(rows), 1), model.config.decoder_start_token_id), None
            for _ in range(max(tokens)):
                output = model(decoder_input_ids=token, encoder_outputs=heard, past_key_values=past, use_cache=True)
                token, past = output.logits[:, -1:].argmax(dim=2), output.past_key_values
    seconds = time.perf_counter() - begin
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"whisper-tiny, {size:.0f} million weights, batches of {batch}: {len(utterances)} files in {seconds:.1f} s")
    return seconds * total / seconds_of(utterances)


def main() -> None:
    """Print the ratios."""
    match sys.argv[1:]:
        case ["sphinx", listing]:
            return sphinx(listing)
        case [model, folder, *others] if len(others) <= 3:
            subset = others[0] if others else "dev-clean"
            minutes, part = (float(given) for given in (*others[1:], *("30", "3")[len(others[1:]) :]))
        case _:
            sys.exit(__doc__)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    utterances = chosen(folder, subset, minutes)
    total = seconds_of(utterances)
    seconds = ours("greedy", model, ["--greedy"], utterances)
    ours("default", model, [], utterances)
    try:
        importlib.import_module("pocketsphinx")
        print(f"RATIO greedy_vs_pocketsphinx {of_sphinx(first(utterances, part), total) / seconds:.1f}", flush=True)
    except ImportError as error:
        print(f"pocketsphinx is left out: {error}; pip install pocketsphinx")
    try:
        whisper = min(of_whisper(first(utterances, part), total, batch) for batch in (1, 8))
        print(f"RATIO greedy_vs_whisper_tiny {whisper / seconds:.1f}", flush=True)
    except ImportError as error:
        print(f"whisper is left out: {error}; pip install transformers")
    return None


if __name__ == "__main__":
    main()
