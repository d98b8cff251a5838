"""Manifests -> what would go wrong in training, row by row and in total."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asr import audio
from asr.audio import AudioError, Waveform
from asr.corpora.manifest import Utterance
from asr.features import FeatureSettings, frame_count
from asr.model import output_length
from asr.parallel import map_processes
from asr.text import Alphabet, TextSettings, normalise
from asr.training.dataset import frames_needed

# A full scale that is reached again and again is clipped; once may be a normalised peak.
_FULL_SCALE, _CLIPPED_SHARE = 0.999, 1e-4
_SILENT_LEVEL = -60.0
_SHORTEST, _LONGEST = 0.2, 35.0
_SLOWEST, _FASTEST = 1.0, 35.0
# Under this many rows, starting worker processes costs more than they save.
_ALONE = 500


@dataclass(frozen=True)
class Check:
    """What the manifests are checked against; `fastest`: the highest speed that training plays them at."""

    features: FeatureSettings
    text: TextSettings
    time_reduction: int
    fastest: float = 1.0


@dataclass(frozen=True)
class Finding:
    """One thing found. `severity`: error (training would fail), warning (it would be worse for it) or information."""

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


@dataclass(frozen=True)
class _Heard:
    """What reading a recording told: findings as (severity, kind, message), and the samples at the model's rate."""

    told: tuple[tuple[str, str, str], ...]
    samples: int


def _listen(utterance: Utterance, sample_rate: int) -> _Heard:
    try:
        header = audio.info(utterance.audio)
        waveform = audio.load(utterance.audio, sample_rate, utterance.offset, utterance.duration)
    except AudioError as error:
        return _Heard((("error", "audio", str(error)),), 0)
    told = list(_levels(waveform))
    if header.sample_rate != sample_rate:
        told.append(("information", "rate", f"{header.sample_rate} Hz, resampled to {sample_rate} Hz"))
    if header.channels != 1:
        told.append(("information", "channels", f"{header.channels} channels, averaged to one"))
    there = header.duration - utterance.offset
    if utterance.offset == 0 and there - utterance.duration > 0.5:
        told.append(("information", "duration", f"{utterance.duration:.2f} s of a file of {there:.2f} s are used"))
    return _Heard(tuple(told), len(waveform))


def _levels(waveform: Waveform) -> Iterator[tuple[str, str, str]]:
    level = 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)) + 1e-20)
    if level < _SILENT_LEVEL:
        yield "warning", "silence", f"nearly silent: {level:.0f} dBFS on average"
    clipped = float(np.mean(np.abs(waveform) >= _FULL_SCALE))
    if clipped > _CLIPPED_SHARE:
        yield "warning", "clipping", f"clipped: {100 * clipped:.2f} % of the samples are at full scale"


def _duration(utterance: Utterance, characters: int) -> Iterator[tuple[str, str, str]]:
    if not _SHORTEST <= utterance.duration <= _LONGEST:
        yield "warning", "duration", f"{utterance.duration:.2f} s long; {_SHORTEST} to {_LONGEST} s train well"
    rate = characters / utterance.duration
    if characters and not _SLOWEST <= rate <= _FASTEST:
        yield "warning", "pace", f"{characters} characters in {utterance.duration:.2f} s: is it the right text?"


def _text(utterance: Utterance, alphabet: Alphabet, check: Check, samples: int) -> Iterator[tuple[str, str, str]]:
    text = normalise(utterance.text, check.text.normaliser)
    if not text:
        yield "warning", "empty", f"no text is left of {utterance.text!r}"
    yield from _duration(utterance, len(text))
    unknown = alphabet.unknown(text)
    if unknown:
        swapped = [character for character in unknown if not alphabet.unknown(character.swapcase())]
        why = f"; {', '.join(map(repr, swapped))} only in the other case" if swapped else ""
        mend = "; it will be dropped" if check.text.unknown == "drop" else ""
        severity = "warning" if check.text.unknown == "drop" else "error"
        kind = "case" if swapped else "characters"
        yield severity, kind, f"{', '.join(map(repr, unknown))} not in the alphabet{why}{mend}"
    elif samples:
        frames = output_length(frame_count(samples, check.features), check.time_reduction)
        needed = frames_needed(alphabet.encode(text))
        if frames < needed:
            yield (
                "warning",
                "unalignable",
                f"{frames} output frames, CTC needs {needed} for {len(text)} characters; it will be dropped",
            )
        elif output_length(frame_count(int(samples / check.fastest), check.features), check.time_reduction) < needed:
            yield "information", "fast", f"CTC cannot align it at speed {check.fastest:g}; that copy will be dropped"


def _between(manifests: Mapping[str, Sequence[Utterance]], normaliser: str) -> Iterator[Finding]:
    """Compare rows with each other: one recording twice, and texts and speakers that training and testing share."""
    segments: dict[tuple[str, float], tuple[str, str]] = {}
    for name, utterances in manifests.items():
        for one in utterances:
            first = segments.setdefault((one.audio, one.offset), (name, one.id))
            if first != (name, one.id):
                message = f"the same recording as {first[1]} of {first[0]}"
                yield Finding("warning", "duplicate", name, one.id, message)
    names = list(manifests)
    texts = {name: {normalise(one.text, normaliser) for one in manifests[name]} for name in names}
    for position, name in enumerate(names[1:], 1):
        for earlier in names[:position]:
            for one in manifests[name]:
                if len(one.text.split()) >= 5 and normalise(one.text, normaliser) in texts[earlier]:
                    yield Finding("warning", "leak", name, one.id, f"its text stands in {earlier} too")
            speakers = {one.speaker for one in manifests[name]} & {one.speaker for one in manifests[earlier]} - {""}
            for speaker in sorted(speakers):
                yield Finding("warning", "speaker", name, "", f"speaker {speaker} is in {earlier} too")


def _usable(name: str, utterances: Sequence[Utterance], findings: Iterable[Finding]) -> Iterator[Finding]:
    lost = {"audio", "characters", "case", "empty", "unalignable"}
    dropped = {finding.id for finding in findings if finding.manifest == name and finding.kind in lost}
    if len(dropped) == len(utterances):
        yield Finding("error", "nothing", name, "", "no row is left that could be trained on")


def examine(
    manifests: Mapping[str, Sequence[Utterance]], check: Check, progress: Callable[[float, float], None] | None = None
) -> Diagnosis:
    """Read every recording and text of the manifests, by name, and tell what would go wrong.

    An alphabet of `auto` is that of the first manifest. `progress` is told the rows done and in all.
    """
    total = sum(map(len, manifests.values()))
    settings = check.text
    first = next(iter(manifests.values()))
    collected = "".join(sorted({letter for one in first for letter in normalise(one.text, settings.normaliser)}))
    alphabet = Alphabet((collected or " ") if settings.alphabet == "auto" else settings.alphabet)
    findings: list[Finding] = []
    done = 0
    for name, utterances in manifests.items():
        jobs = ((one, check.features.sample_rate) for one in utterances)
        for one, said in zip(utterances, map_processes(_listen, jobs, len(utterances) < _ALONE), strict=True):
            told = (*said.told, *_text(one, alphabet, check, said.samples))
            findings += [Finding(severity, kind, name, one.id, message) for severity, kind, message in told]
            done += 1
            if progress:
                progress(done, total)
        findings += list(_usable(name, utterances, findings))
    findings += list(_between(manifests, settings.normaliser))
    hours = {name: sum(one.duration for one in utterances) / 3600 for name, utterances in manifests.items()}
    return Diagnosis(tuple(findings), {name: len(utterances) for name, utterances in manifests.items()}, hours)


def summary(diagnosis: Diagnosis) -> dict[tuple[str, str], int]:
    """Return how often each (severity, kind) was found, errors first."""
    order = {"error": 0, "warning": 1, "information": 2}
    counts = Counter((finding.severity, finding.kind) for finding in diagnosis.findings)
    return dict(sorted(counts.items(), key=lambda item: (order[item[0][0]], item[0][1])))
