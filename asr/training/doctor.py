"""Checks of manifests for problems in training, for each row and between manifests."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.audio import AudioError
from asr.corpora.manifest import Utterance
from asr.features import FeatureSettings, cache, frame_count
from asr.features.given import ArrayReader, open_reader
from asr.model import output_length
from asr.parallel.processes import map_processes
from asr.text import Alphabet, TextSettings
from asr.text.normalisers import normalise
from asr.training.characters import marks, suspicious_characters
from asr.training.dataset import frames_needed

# A clipped recording reaches full scale often; a normalised one may reach it once.
_FULL_SCALE, _CLIPPED_SHARE = 0.999, 1e-4
_SILENT_LEVEL = -60.0
_SHORTEST, _LONGEST = 0.2, 35.0
# Characters per second.
_SLOWEST, _FASTEST = 1.0, 35.0
# The number of rows up to which starting worker processes takes longer than they save.
_IN_PROCESS = 500
# Problems that leave a row out of training.
_UNUSABLE = ("audio", "characters", "case", "empty", "unalignable")
_SEVERITIES = ("error", "warning", "information")

Problem = tuple[str, str, str]  # severity, kind, message


@dataclass(frozen=True)
class Check:
    """The settings that manifests are checked against; `fastest`: the highest speed of speed perturbation."""

    features: FeatureSettings
    text: TextSettings
    time_reduction: int
    fastest: float = 1.0


@dataclass(frozen=True)
class Finding:
    """One problem. `severity`: error (training would fail), warning (training would suffer) or information."""

    severity: str
    kind: str
    manifest: str
    id: str
    message: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings, and the number of rows and hours of each manifest."""

    findings: tuple[Finding, ...]
    rows: Mapping[str, int]
    hours: Mapping[str, float]

    @property
    def fatal(self) -> bool:
        """Return whether training would fail."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of findings of each (severity, kind), errors first."""
        counts = Counter((finding.severity, finding.kind) for finding in self.findings)
        return dict(sorted(counts.items(), key=lambda item: (_SEVERITIES.index(item[0][0]), item[0][1])))


def diagnose(
    manifests: Mapping[str, Sequence[Utterance]],
    check: Check,
    on_progress: Callable[[float, float], None] | None = None,
) -> Diagnosis:
    """Read every recording and text of the manifests, which are given by name, and return the problems.

    An alphabet of `auto` is that of the first manifest. `on_progress` is called with the rows done and in total.
    """
    first = next(iter(manifests.values()))
    letters = "".join(sorted({letter for row in first for letter in normalise(row.text, check.text.normaliser)}))
    alphabet = Alphabet((letters or " ") if check.text.alphabet == "auto" else check.text.alphabet)
    total = sum(map(len, manifests.values()))
    findings: list[Finding] = []
    done = 0
    for name, rows in manifests.items():
        unusable = set()
        jobs = ((row, check.features) for row in rows)
        for row, (problems, samples) in zip(rows, map_processes(_audio, jobs, len(rows) < _IN_PROCESS), strict=True):
            for severity, kind, message in (*problems, *_text(row, alphabet, check, samples)):
                findings.append(Finding(severity, kind, name, row.id, message))
                if kind in _UNUSABLE:
                    unusable.add(row.id)
            done += 1
            if on_progress:
                on_progress(done, total)
        if len(unusable) == len(rows):
            findings.append(Finding("error", "nothing", name, "", "no row is usable for training"))
    if check.text.alphabet == "auto" and check.features.kind == "mfcc":
        # With another alphabet, such characters are reported as not in it.
        name = next(iter(manifests))
        findings += [
            Finding("warning", kind, name, identity, message)
            for kind, identity, message in suspicious_characters(first, check.text.normaliser)
        ]
    findings += _between(manifests, check.text.normaliser)
    hours = {name: sum(row.duration for row in rows) / 3600 for name, rows in manifests.items()}
    return Diagnosis(tuple(findings), {name: len(rows) for name, rows in manifests.items()}, hours)


def without_cache(manifest: Path) -> list[Finding]:
    """Return a finding if the features of a manifest cannot be written beside it."""
    folder = manifest.parent / cache.FOLDER
    try:
        with tempfile.TemporaryFile(dir=folder if folder.is_dir() else manifest.parent):
            return []
    except OSError as error:
        message = f"features cannot be written to {folder} ({error.strerror or error}); asr train needs --cache FOLDER"
        return [Finding("warning", "cache", str(manifest), "", message)]


def unreadable(rows: Sequence[Utterance], settings: FeatureSettings) -> dict[str, str]:
    """Return what is wrong with each recording that cannot be read, by the id of its utterance."""
    jobs = ((row, settings) for row in rows)
    return {
        row.id: message
        for row, (problems, _) in zip(rows, map_processes(_audio, jobs, len(rows) < _IN_PROCESS), strict=True)
        for _, kind, message in problems
        if kind == "audio"
    }


def _audio(utterance: Utterance, settings: FeatureSettings) -> tuple[list[Problem], int]:
    """Return the problems of a recording, and its number of samples or given frames."""
    sample_rate = settings.sample_rate
    try:
        with open_reader(utterance.audio, settings) as reader:
            waveform = reader.read(sample_rate, utterance.offset, utterance.duration)
            if isinstance(reader, ArrayReader):
                return [], len(waveform)
            info = reader.info
    except AudioError as error:
        return [("error", "audio", str(error))], 0
    problems = []
    level = 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)) + 1e-20)
    if level < _SILENT_LEVEL:
        problems.append(("warning", "silence", f"nearly silent: {level:.0f} dBFS on average"))
    clipped = float(np.mean(np.abs(waveform) >= _FULL_SCALE))
    if clipped > _CLIPPED_SHARE:
        problems.append(("warning", "clipping", f"clipped: {100 * clipped:.2f} % of the samples are at full scale"))
    if info.sample_rate != sample_rate:
        problems.append(("information", "rate", f"{info.sample_rate} Hz, resampled to {sample_rate} Hz"))
    if info.channels != 1:
        problems.append(("information", "channels", f"{info.channels} channels, averaged to one"))
    if utterance.offset == 0 and info.duration - utterance.duration > 0.5:
        message = f"only {utterance.duration:.2f} s of a file of {info.duration:.2f} s are used"
        problems.append(("information", "duration", message))
    return problems, len(waveform)


def _text(row: Utterance, alphabet: Alphabet, check: Check, samples: int) -> Iterator[Problem]:
    text = normalise(row.text, check.text.normaliser)
    if not text:
        problem = "there is no text" if not row.text else f"{row.text!r} is empty after normalisation"
        yield "warning", "empty", problem
    if found := marks(row):
        yield "warning", "mark", f"{found[:60]} would be trained as spoken words; remove it from the text"
    speech = check.features.kind == "mfcc"
    if speech and not _SHORTEST <= row.duration <= _LONGEST:
        yield "warning", "duration", f"{row.duration:.2f} s long; {_SHORTEST} to {_LONGEST} s are best for training"
    if speech and text and not _SLOWEST <= len(text) / row.duration <= _FASTEST:
        yield "warning", "pace", f"{len(text)} characters in {row.duration:.2f} s: check that the text is right"
    unknown = alphabet.unknown(text)
    if unknown:
        swapped = [character for character in unknown if not alphabet.unknown(character.swapcase())]
        why = f"; the alphabet has {', '.join(repr(character.swapcase()) for character in swapped)}" if swapped else ""
        severity, effect = ("warning", "; it will be dropped") if check.text.unknown == "drop" else ("error", "")
        message = f"{', '.join(map(repr, unknown))} not in the alphabet{why}{effect}"
        yield severity, "case" if swapped else "characters", message
    elif samples:
        frames, fast = (
            output_length(frame_count(int(samples / speed), check.features), check.time_reduction)
            for speed in (1.0, check.fastest)
        )
        needed = frames_needed(alphabet.encode(text))
        if frames < needed:
            message = f"{frames} output frames, CTC needs {needed} for {len(text)} characters; it will be dropped"
            yield "warning", "unalignable", message
        elif fast < needed:
            yield "information", "fast", f"CTC cannot align it at speed {check.fastest:g}; that copy will be dropped"


def _between(manifests: Mapping[str, Sequence[Utterance]], normaliser: str) -> Iterator[Finding]:
    """Yield recordings that occur twice, and texts and speakers that several manifests share."""
    segments: dict[tuple[str, float], tuple[str, str]] = {}
    earlier_recordings: dict[str, set[tuple[str, float]]] = {}
    texts: dict[str, set[str]] = {}
    speakers: dict[str, set[str]] = {}
    for name, rows in manifests.items():
        for row in rows:
            first = segments.setdefault((row.audio, row.offset), (name, row.id))
            if first != (name, row.id):
                message = f"the same recording as {first[1]} of {first[0]}"
                yield Finding("warning", "duplicate", name, row.id, message)
        for earlier, recordings in earlier_recordings.items():
            if recordings >= {(row.audio, row.offset) for row in rows}:
                message = f"all its recordings are in {earlier}: results on it say nothing about other speech"
                yield Finding("warning", "same", name, "", message)
        earlier_recordings[name] = {(row.audio, row.offset) for row in rows}
        for earlier, seen in texts.items():
            for row in rows:
                if len(row.text.split()) >= 5 and normalise(row.text, normaliser) in seen:
                    yield Finding("warning", "leak", name, row.id, f"its text is also in {earlier}")
            for speaker in sorted(speakers[earlier].intersection(row.speaker for row in rows) - {""}):
                yield Finding("warning", "speaker", name, "", f"speaker {speaker} is also in {earlier}")
        texts[name] = {normalise(row.text, normaliser) for row in rows}
        speakers[name] = {row.speaker for row in rows}
