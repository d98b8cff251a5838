"""Live sessions: partial results while someone speaks, final ones at pauses, with any model."""

import pickle
import tracemalloc
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asr
from asr import LiveOptions, LiveResult, LiveTranscriber, TranscribeOptions, Transcript, Word, audio
from asr.audio import AudioError, Waveform
from asr.decoding.beam import BeamSettings
from asr.decoding.decoder import DecoderConfig, DecoderSettings
from asr.recognition import Recognizer, vad
from asr.recognition.inference import OptionsError
from asr.recognition.live import DEFAULT_LIVE, Continued, Repeated, joined
from asr.recognition.streaming import StreamError
from tests.conftest import ROOT, SAMPLE_RATE, VOWELS, spell, vowel

HOP = round(vad.HOP * SAMPLE_RATE)
SAMPLES = [ROOT / "data" / "samples" / f"sample-0{number}.opus" for number in range(1, 6)]


class Stub:
    """Stands in for a model: the text is how many samples there are, the word covers them."""

    def __init__(self) -> None:
        self.finals: list[Waveform] = []
        self.partials = 0

    def __call__(self, waveform: Waveform, words: bool) -> Transcript:
        if words:
            self.finals.append(waveform.copy())
        else:
            self.partials += 1
        text = str(len(waveform))
        return Transcript(text, (Word(text, 0.0, len(waveform) / SAMPLE_RATE, 1.0),) if words else ())


class StubStream:
    """Stands in for a stream of a streaming model, as Stub for a model."""

    def __init__(self, stub: Stub) -> None:
        self.text = self.stable = ""
        self._stub = stub
        self._samples = np.zeros(0, np.float32)

    def feed(self, chunk: Waveform) -> None:
        self._samples = np.concatenate([self._samples, chunk])
        self.text = self.stable = str(len(self._samples))

    def finish(self) -> Transcript:
        return self._stub(self._samples, True)


def utterances(stub: Stub, streaming: bool) -> Any:
    return Continued(lambda: StubStream(stub)) if streaming else Repeated(stub)  # type: ignore[arg-type,return-value]


def silence(seconds: float) -> Waveform:
    return np.random.default_rng(3).normal(0, 1e-3, round(seconds * SAMPLE_RATE)).astype(np.float32)


@lru_cache
def long_talk() -> Waveform:
    parts = [vowel(VOWELS["ABC"[number % 3]], 0.16) for number in range(150)]
    return np.concatenate([part for one in parts for part in (one, silence(0.04))])


def talk(seconds: float) -> Waveform:
    """Return vowels with short gaps, which voice activity detection takes for speech."""
    return long_talk()[: round(seconds * SAMPLE_RATE)]


def session(
    stub: Stub, waveform: Waveform, cuts: list[int], options: LiveOptions = DEFAULT_LIVE, streaming: bool = False
) -> list[LiveResult]:
    """Feed a waveform in chunks that end at `cuts`; return all results."""
    live = LiveTranscriber(utterances(stub, streaming), SAMPLE_RATE, SAMPLE_RATE, options)
    chunks = np.split(waveform, sorted(cut % (len(waveform) + 1) for cut in cuts))
    return [result for chunk in chunks for result in live.feed(chunk)] + live.finish()


def finals(results: list[LiveResult]) -> list[LiveResult]:
    return [result for result in results if result.final]


PARTS = st.lists(st.tuples(st.floats(0.2, 6), st.floats(0, 2)), min_size=1, max_size=3)


@settings(deadline=None, derandomize=True, max_examples=24)
@given(PARTS, st.lists(st.integers(0, 2**20), max_size=12), st.sampled_from([0.2, 0.8, 2.0]), st.booleans())
def test_utterances_cover_all_speech_once(
    parts: list[tuple[float, float]], cuts: list[int], pause: float, streaming: bool
) -> None:
    waveform = np.concatenate([part for spoken, quiet in parts for part in (talk(spoken), silence(quiet))])
    stub = Stub()
    results = finals(session(stub, waveform, cuts, LiveOptions(pause, longest=4), streaming))
    covered = np.zeros(len(waveform), int)
    for result, samples in zip(results, stub.finals, strict=True):
        first, end = round(result.start * SAMPLE_RATE), round(result.end * SAMPLE_RATE)
        assert np.array_equal(waveform[first:end], samples)
        assert result.end - result.start <= 4 + 1e-6
        covered[first:end] += 1
    assert covered.max(initial=0) <= 1
    # As the detector of the whole stream finds it, without clicks.
    live = vad.Detector(SAMPLE_RATE)
    step = round(utterances(stub, streaming).step * SAMPLE_RATE)
    steps = np.split(waveform, range(step, len(waveform), step))
    probability = np.concatenate([*map(live.add, steps), live.finish()])
    for first, end in vad.runs(~vad.silent(probability)):
        if vad.is_speech(probability[first:end]):
            assert covered[first * HOP : end * HOP].all()


@settings(deadline=None, derandomize=True, max_examples=6)
@given(PARTS, st.lists(st.integers(0, 2**20), min_size=1, max_size=30), st.booleans())
def test_results_do_not_depend_on_the_chunks(
    parts: list[tuple[float, float]], cuts: list[int], streaming: bool
) -> None:
    waveform = np.concatenate([part for spoken, quiet in parts for part in (talk(spoken), silence(quiet))])
    results = [session(Stub(), waveform, part, streaming=streaming) for part in (cuts, [])]
    assert results[0] == results[1]


def test_a_streaming_utterance_of_three_quarters_ends_at_half_a_pause() -> None:
    waveform = np.concatenate([talk(4), silence(0.6), talk(4), silence(0.6), talk(4)])
    first, second, *_ = finals(session(Stub(), waveform, [], LiveOptions(longest=10), streaming=True))
    assert 8.6 <= first.end <= second.start <= 9.2
    # Without such a pause, it is cut at its longest duration.
    first, second, *_ = finals(session(Stub(), talk(12), [], LiveOptions(longest=10), streaming=True))
    assert first.end - first.start == pytest.approx(10) and second.start == first.end


@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_single_samples_of_another_rate(rate: int) -> None:
    waveform = audio.resample(np.concatenate([talk(0.6), silence(1.2), talk(0.6)]), SAMPLE_RATE, rate)
    whole, single = (LiveTranscriber(Repeated(Stub()), rate, SAMPLE_RATE) for _ in range(2))
    expected = whole.feed(waveform) + whole.finish()
    results = [result for sample in waveform for result in single.feed(np.array([sample]))] + single.finish()
    assert results == expected and len(finals(results)) == 2
    assert single.seconds == pytest.approx(2.4, abs=0.01)


@pytest.mark.parametrize(("pause", "count"), [(0.4, 3), (0.8, 2), (2.5, 1)])
def test_a_pause_ends_an_utterance(pause: float, count: int) -> None:
    waveform = np.concatenate([talk(2), silence(0.6), talk(2), silence(1.5), talk(2), silence(3)])
    results = session(Stub(), waveform, [], LiveOptions(pause))
    assert len(finals(results)) == count
    # The last one does not wait for the end of the session.
    assert results[-1].end < 10.5
    for before, after in pairwise(finals(results)):
        assert before.end <= after.start


def test_a_long_utterance_is_cut_at_its_longest_silence() -> None:
    waveform = np.concatenate([talk(4), silence(0.6), talk(4), silence(0.3), talk(4)])
    first, second, *_ = finals(session(Stub(), waveform, [], LiveOptions(longest=10)))
    assert 4.0 <= first.end <= 4.6 and second.start == first.end


def test_silence_and_clicks_have_no_results() -> None:
    waveform = silence(30)
    waveform[8000:8800] = 0.9
    stub = Stub()
    assert session(stub, waveform, []) == [] and stub.partials == 0
    assert session(stub, np.zeros(0, np.float32), []) == session(stub, np.zeros(90_000, np.float32), [5]) == []


@pytest.mark.parametrize("minutes", [5, pytest.param(180, marks=pytest.mark.slow)])
def test_memory_is_bounded_over_hours(minutes: int) -> None:
    minute = np.concatenate([talk(27), silence(3)] * 2)
    live = LiveTranscriber(Repeated(lambda *_: Transcript("")), SAMPLE_RATE, SAMPLE_RATE)
    sizes, count, last = [], 0, 0.0
    for _ in range(minutes):
        for result in live.feed(minute, partial=False):
            count, last = count + 1, result.end
        sizes.append(live_size(live))
    assert live.seconds == 60 * minutes and last == pytest.approx(60 * minutes - 2.5, abs=0.3)
    assert count == 4 * minutes
    # Samples as float32, and their probabilities.
    assert max(sizes) < 22 * 4 * SAMPLE_RATE


def test_memory_of_a_streaming_model_is_bounded(streaming: Path) -> None:
    config = DecoderConfig(DecoderSettings(search=BeamSettings(8)))
    live = asr.load(streaming).with_decoder(config).live()
    waveform = np.concatenate([spell("AB CAB A CC B") for _ in range(6)] + [silence(2)])
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(7):
            for start in range(0, len(waveform), SAMPLE_RATE):
                live.feed(waveform[start : start + SAMPLE_RATE])
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes[3:]) < sizes[2] + 150_000


def live_size(live: LiveTranscriber) -> int:
    """Return the bytes of what a session keeps."""
    return sum(
        len(pickle.dumps(value)) for name, value in vars(live).items() if name not in ("_utterances", "_resample")
    )


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return asr.load("english-small", decoder="greedy")


def test_a_bidirectional_model_transcribes_live(recognizer: Recognizer) -> None:
    recordings = [audio.load(path) for path in SAMPLES[:2]]
    live = recognizer.live(options=LiveOptions(pause=1.0))
    waveform = np.concatenate([part for one in recordings for part in (one, silence(2))])
    results = [result for chunk in np.split(waveform, range(1000, len(waveform), 1000)) for result in live.feed(chunk)]
    assert live.finish() == []
    texts = [recognizer.transcribe(one).text for one in recordings]
    assert [result.text.split()[:6] for result in finals(results)] == [text.split()[:6] for text in texts]
    # Words have the times of the session.
    second = finals(results)[1].transcript.words
    assert second[0].start >= len(recordings[0]) / SAMPLE_RATE + 2
    assert [word.text for word in second] == finals(results)[1].text.split()
    partials = [result for result in results if not result.final]
    assert len(partials) > 6
    for before, after in pairwise(partials):
        if before.start == after.start:
            assert after.text.startswith(after.stable) and before.text.startswith(after.stable)
    assert any(result.stable for result in partials)
    transcript = joined(finals(results), live.seconds)
    assert transcript.text == " ".join(result.text for result in finals(results))
    assert len(transcript.words) == len(transcript.text.split()) and transcript.duration == live.seconds


@pytest.mark.parametrize("size", [1, 777, 2**20])
@pytest.mark.parametrize("greedy", [True, False])
def test_finals_of_a_streaming_model_are_those_of_their_audio(streaming: Path, greedy: bool, size: int) -> None:
    recognizer = asr.load(streaming)
    if not greedy:
        recognizer = recognizer.with_decoder(DecoderConfig(DecoderSettings(search=BeamSettings(8))))
    waveform = np.concatenate([silence(0.3), *map(spell, ("AB CAB", "BA C CAB")), silence(1.5), spell("CC A B")])
    live = recognizer.live(options=LiveOptions(pause=0.5, longest=2.5))
    results = [
        result for start in range(0, len(waveform), size) for result in live.feed(waveform[start : start + size])
    ]
    results += live.finish()
    assert len(finals(results)) > 2
    for result in finals(results):
        part = waveform[round(result.start * SAMPLE_RATE) : round(result.end * SAMPLE_RATE)]
        whole = recognizer.transcribe(part, options=TranscribeOptions(words=True, vad=False))
        assert result.text == whole.text
        assert result.transcript.score == pytest.approx(whole.score, abs=1e-3)
        assert [word.text for word in result.transcript.words] == whole.text.split()
        times = [(word.start - result.start, word.end - result.start) for word in result.transcript.words]
        assert np.allclose(times, [(word.start, word.end) for word in whole.words], atol=1e-6)
    stable: list[str] = []
    seen = 0
    for result in results:
        # What was stable stays.
        assert result.text.split()[: len(stable)] == stable
        assert result.final or result.stable.split()[: len(stable)] == stable
        stable = [] if result.final else result.stable.split()
        seen += len(stable)
    assert seen


def test_bad_chunks_and_options() -> None:
    live = LiveTranscriber(Repeated(Stub()), SAMPLE_RATE, SAMPLE_RATE)
    live.feed(silence(0.25))
    with pytest.raises(AudioError, match=r"^chunk at 0\.250 s: sample 1 is not a number"):
        live.feed(np.array([0.1, np.nan], np.float32))
    with pytest.raises(AudioError, match=r"^chunk at 0\.250 s: 2 dimensions; expected \(samples,\)"):
        live.feed(np.zeros((5, 2), np.float32))
    assert live.seconds == 0.25
    live.finish()
    with pytest.raises(StreamError, match="has ended"):
        live.feed(silence(1))
    with pytest.raises(StreamError, match="has ended already"):
        live.finish()
    with pytest.raises(OptionsError, match=r"pause = 0 is not between 0\.1 and 10"):
        LiveOptions(pause=0)
    with pytest.raises(AudioError, match="1 Hz"):
        LiveTranscriber(Repeated(Stub()), 1, SAMPLE_RATE)
