"""Texts -> synthesised utterances and their manifest, in a folder that an interrupted run continues.

DIR/manifest.jsonl                  written when all hours are done
DIR/audio/0000/0000012.flac         the utterance of number 12
DIR/.synthesis.jsonl                the settings, then one line for each number that is done, in any order

Utterance `number` depends on the texts, the settings and `number` only, so the result depends neither on where a run
was interrupted nor on the number of jobs.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Literal, Protocol

import numpy as np
import soundfile

from asr.audio import SAMPLE_RATE, Waveform
from asr.config import ConfigError
from asr.corpora import manifest
from asr.corpora.manifest import CorpusError, Utterance
from asr.corpora.synthesis.speech import Speech, SynthesisError, TooLongError
from asr.files import JsonLineError, lock_folder, open_atomic, parse_json_object, remove_partial, utf8_lines
from asr.parallel.threads import prefetch
from asr.text.normalisers import normalise

FORMATS = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}
Skipped = Literal["text too long", "no words", "too short", "too long", "failed"]
# Nobody speaks so many characters a second: longer lines are not worth the attempt.
_CHARACTERS_PER_SECOND = 20
# The largest amplitude of every utterance.
_PEAK = 0.7
# Consecutive numbers without an utterance after which the run stops.
_MOST_FAILED, _MOST_SKIPPED = 10, 200
_FILES_PER_FOLDER = 1000
# Without digits and signs such as & or %, which are spoken, but which normalisers delete or spell in their own way.
_PLAIN = re.compile(r"""(?:[^\W\d_]|[\s.,;:!?…'"’‘“”„«»()–—-])*""")
_JOURNAL = ".synthesis.jsonl"


class Synthesizer(Protocol):
    """Turns a text into speech, from several threads at a time; `settings` describe it.

    All random choices are drawn from `random`. Raises SynthesisError.
    """

    settings: Mapping[str, str]

    def __call__(self, text: str, random: Random) -> Speech:
        """Return the speech of a text."""
        ...


@dataclass(frozen=True)
class SynthesisSettings:
    """`hours` of speech in utterances of `min_duration` to `max_duration` seconds; `jobs` are made at a time.

    `normaliser` is applied to the texts of the manifest. `format` is a key of FORMATS. Raises ConfigError.
    """

    hours: float
    seed: int = 1
    normaliser: str = "upper"
    min_duration: float = 2.0
    max_duration: float = 15.0
    format: str = "flac"
    jobs: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.hours < math.inf:
            raise ConfigError(f"hours must be more than 0, not {self.hours:g}")
        if not 0 <= self.min_duration <= self.max_duration < math.inf:
            limits = f"{self.min_duration:g} to {self.max_duration:g}"
            raise ConfigError(
                f"durations from {limits} s are impossible; the least must be 0 or more, and not the larger"
            )


@dataclass(frozen=True)
class Synthesis:
    """The utterances of a manifest, and how many texts were skipped on the way, by reason."""

    utterances: list[Utterance]
    skipped: Mapping[Skipped, int]

    @property
    def duration(self) -> float:
        """Return the sum of the durations in seconds."""
        return sum(utterance.duration for utterance in self.utterances)


@dataclass(frozen=True, slots=True)
class _Entry:
    """What became of a number: an utterance, or the reason without one; `waveform` if it is new."""

    number: int
    text: str
    duration: float = 0.0
    speaker: str = ""
    skipped: Skipped | None = None
    waveform: Waveform | None = None
    problem: str = ""


def synthesize(
    lines: Sequence[str],
    out: Path,
    synthesizer: Synthesizer,
    settings: SynthesisSettings,
    callbacks: "tuple[Callable[[float, float], None], Callable[[str], None]] | None" = None,
) -> Synthesis:
    """Synthesise lines of text in random order until there are enough hours, and write `out`/manifest.jsonl.

    All lines are used once before one is used again. Files of an earlier run with the same settings are kept; with
    other `hours` the manifest becomes longer or shorter. The `callbacks` get the hours done and to do after each
    number, and one line for each text that fails, which a later run tries again. Raises CorpusError if no line is
    short enough, many numbers in a row give no utterance or `out` has other settings, LockedError and OSError.
    """
    on_progress, on_failure = callbacks or (lambda done, total: None, lambda message: None)
    longest = int(settings.max_duration * _CHARACTERS_PER_SECOND)
    usable = [line for line in lines if len(line) <= longest]
    if not usable:
        raise CorpusError(f"no line of text has {longest} characters or less; write one sentence a line")
    skipped: Counter[Skipped] = Counter({"text too long": len(lines) - len(usable)})
    out.mkdir(parents=True, exist_ok=True)
    folder = _Folder(out.resolve(), settings.format)
    utterances: list[Utterance] = []
    done, total, in_a_row = 0.0, settings.hours * 3600, Counter[bool]()
    with lock_folder(out), folder.open(_description(usable, synthesizer, settings)) as journal:
        made = prefetch(_maker(folder, synthesizer, settings), _numbered(usable, settings.seed), settings.jobs)
        with closing(made):
            for entry in made:
                folder.write(entry, journal)
                if entry.skipped:
                    skipped[entry.skipped] += 1
                    in_a_row[entry.skipped == "failed"] += 1
                    if entry.problem:
                        on_failure(f"{entry.text[:60]!r}: {entry.problem}")
                    _check(in_a_row, entry, settings)
                    continue
                in_a_row.clear()
                utterances.append(folder.utterance(entry))
                done += entry.duration
                on_progress(done / 3600, settings.hours)
                if done >= total:
                    break
        manifest.write(out / "manifest.jsonl", utterances)
    return Synthesis(utterances, {reason: number for reason, number in skipped.items() if number})


def _check(in_a_row: Counter[bool], entry: _Entry, settings: SynthesisSettings) -> None:
    if in_a_row[True] >= _MOST_FAILED:
        raise CorpusError(f"{_MOST_FAILED} texts in a row failed, the last with: {entry.problem}")
    if in_a_row[False] >= _MOST_SKIPPED:
        limits = f"{settings.min_duration:g} to {settings.max_duration:g} s"
        raise CorpusError(f"{_MOST_SKIPPED} texts in a row gave no utterance of {limits} (the last: {entry.skipped})")


def _numbered(lines: Sequence[str], seed: int) -> Iterator[tuple[int, str]]:
    """Yield numbers from 0 on and their lines: all lines in a random order, then all in another one, without end."""
    number = 0
    for repetition in count():
        order = list(range(len(lines)))
        Random(f"{seed}-order-{repetition}").shuffle(order)  # noqa: S311 - not for secrets
        for index in order:
            yield number, lines[index]
            number += 1


def _description(lines: Sequence[str], synthesizer: Synthesizer, settings: SynthesisSettings) -> dict[str, Any]:
    """Return all that the utterances depend on."""
    digest = sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
    return {
        "text": digest,
        "seed": settings.seed,
        "normaliser": settings.normaliser,
        "min_duration": settings.min_duration,
        "max_duration": settings.max_duration,
        "format": settings.format,
        **synthesizer.settings,
    }


def _maker(
    folder: "_Folder", synthesizer: Synthesizer, settings: SynthesisSettings
) -> Callable[[tuple[int, str]], _Entry]:
    """Return the function that synthesises a number and its line, or finds what an earlier run made of it."""

    def make(numbered: tuple[int, str]) -> _Entry:
        number, line = numbered
        text = normalise(line, settings.normaliser)
        earlier = folder.earlier(number, text)
        if earlier is not None:
            return earlier
        if not text:
            return _Entry(number, text, skipped="no words")
        try:
            speech = synthesizer(_spoken(line, text), Random(f"{settings.seed}-{number}"))  # noqa: S311
        except TooLongError:
            return _Entry(number, text, skipped="too long")
        except SynthesisError as error:
            return _Entry(number, text, skipped="failed", problem=str(error))
        duration = len(speech.waveform) / SAMPLE_RATE
        if not settings.min_duration <= duration <= settings.max_duration:
            return _Entry(number, text, skipped="too short" if duration < settings.min_duration else "too long")
        return _Entry(number, text, duration, speech.speaker, waveform=speech.waveform)

    return make


def _spoken(line: str, text: str) -> str:
    """Return what is spoken: the line with its punctuation, or the normalised text if the two may be read differently.

    Synthesizers spell words in capitals, and lower their voice at a full stop.
    """
    as_written = _PLAIN.fullmatch(line) and normalise(line, "upper") == normalise(text, "upper")
    spoken = " ".join(line.split()) if as_written else text
    if spoken == spoken.upper():
        spoken = spoken.lower()
    return spoken[:1].upper() + spoken[1:] + ("" if re.search(r"[.!?…]\W*$", spoken) else ".")


class _Folder:
    """The output folder: its sound files and its journal."""

    def __init__(self, path: Path, format: str) -> None:
        self._path, self._format = path, format
        self._id = re.sub(r"\s", "_", path.name)
        self._entries: dict[int, dict[str, Any]] = {}

    def open(self, description: Mapping[str, Any]) -> BinaryIO:
        """Read the journal and open it for appending. Raises CorpusError if an earlier run had other settings."""
        path = self._path / _JOURNAL
        content = path.read_bytes() if path.is_file() else b""
        # A killed process or a full disk may have left half a line.
        content = content[: content.rfind(b"\n") + 1]
        if not content:
            if (self._path / "manifest.jsonl").exists():
                raise CorpusError(f"{self._path}: it contains another manifest.jsonl; choose another folder")
            content = json.dumps(description).encode() + b"\n"
            with open_atomic(path) as file:
                file.write(content)
        header, *entries = (self._parse(path, number, line) for number, line in utf8_lines(path, content.splitlines()))
        if header != description:
            key = next(key for key in {**description, **header} if header.get(key) != description.get(key))
            before, now = header.get(key, "none"), description.get(key, "none")
            raise CorpusError(
                f"{self._path}: an earlier run used another {key} ({before}, now {now}); choose another folder"
            )
        self._entries = {entry["number"]: entry for entry in entries}
        for folder in (self._path / "audio").glob("*/"):
            remove_partial(folder, f"*.{self._format}")
        journal = path.open("r+b")
        journal.truncate(len(content))
        journal.seek(0, 2)
        return journal

    @staticmethod
    def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
        try:
            row = parse_json_object(line)
            if number > 1:
                _Entry(int(row["number"]), "", float(row.get("duration", 0)), str(row.get("speaker", "")))
        except (JsonLineError, KeyError, TypeError, ValueError) as error:
            raise CorpusError(f"{path}, line {number}: damaged ({error}); delete this line") from None
        return row

    def audio(self, number: int) -> Path:
        """Return the path of a sound file."""
        return self._path / "audio" / f"{number // _FILES_PER_FOLDER:04d}" / f"{number:07d}.{self._format}"

    def earlier(self, number: int, text: str) -> _Entry | None:
        """Return what an earlier run made of a number, None if nothing, or if its sound file is missing."""
        row = self._entries.get(number)
        if row is None or not ("skipped" in row or self.audio(number).is_file()):
            return None
        return _Entry(number, text, row.get("duration", 0.0), row.get("speaker", ""), row.get("skipped"))

    def write(self, entry: _Entry, journal: BinaryIO) -> None:
        """Write a new entry: first its sound file, then its line in the journal. A failed text is tried again."""
        is_known = entry.number in self._entries and entry.waveform is None
        if is_known or entry.skipped == "failed":
            return
        row: dict[str, Any] = {"number": entry.number}
        if entry.waveform is not None:
            path = self.audio(entry.number)
            path.parent.mkdir(parents=True, exist_ok=True)
            format, subtype = FORMATS[self._format]
            scaled = entry.waveform * np.float32(_PEAK / np.abs(entry.waveform).max())
            with open_atomic(path) as file:
                soundfile.write(file, scaled, SAMPLE_RATE, subtype, format=format)
            row |= {"duration": entry.duration, "speaker": entry.speaker}
        else:
            row["skipped"] = entry.skipped
        journal.write(json.dumps(row).encode() + b"\n")
        journal.flush()

    def utterance(self, entry: _Entry) -> Utterance:
        """Return the row of the manifest."""
        id = f"{self._id}-{entry.number:07d}"
        return Utterance(id, str(self.audio(entry.number)), entry.duration, entry.text, entry.speaker)
