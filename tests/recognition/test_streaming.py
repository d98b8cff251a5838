"""Streams: transcripts of chunks compared with those of the whole waveform."""

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import asr
from asr import TranscribeOptions, audio, config, recognition, training
from asr.audio import AudioError, Waveform
from asr.decoding import LogProbs, decoder
from asr.features import FeatureSettings
from asr.features.frontend import Frontend
from asr.features.reference import matrices
from asr.model import CELLS, ModelSettings, network
from asr.model.checkpoint import ModelFileSettings
from asr.model.inference import Network
from asr.recognition.inference import AcousticModel
from asr.recognition.streaming import Stream, StreamError, check_streams
from asr.text import TextSettings
from asr.training import TrainOptions
from asr.training.events import Note
from asr.training.recipe import Recipe
from asr.transcripts.records import Hypothesis, Transcript
from tests.conftest import SAMPLE_RATE, STREAMING, random_texts, spell

REDUCTIONS = (2, 3, 4)


@pytest.fixture(scope="module")
def recognizer(streaming: Path) -> recognition.Recognizer:
    return recognition.load(streaming)


def acoustic_model(
    cell: str = "gru",
    time_reduction: int = 4,
    features: dict[str, Any] | None = None,
    chunk: int = 0,
    lookahead: int = 0,
) -> AcousticModel:
    """Return an untrained network of ten letters whose log-probabilities differ much."""
    shape = FeatureSettings(coefficients=13, mel_bands=40, normalisation="none", top_db=0.0)
    shape = dataclasses.replace(shape, **(features or {}))
    small = ModelSettings(cell, 2, 16, chunk > 0, 4, time_reduction, chunk=chunk, lookahead=lookahead)
    chosen = ModelFileSettings(shape, TextSettings("upper", " ABCDEFGHI"), small)
    torch.manual_seed(3)
    tensors = {name: tensor.numpy() for name, tensor in network.build(chosen).state_dict().items()}
    tensors["output.weight"] = 8 * tensors["output.weight"]
    return AcousticModel(chosen, Frontend(shape, matrices(shape)), Network(small, tensors))


RUNNING = {"normalisation": "running", "mean": (-20.0,) * 13, "scale": (20.0,) * 13}
MODELS = {(cell, reduction): acoustic_model(cell, reduction) for cell in CELLS for reduction in REDUCTIONS}
MODELS |= {("chunks", reduction): acoustic_model("lstm", reduction, RUNNING, chunk=5) for reduction in REDUCTIONS}
MODELS |= {("lookahead", reduction): acoustic_model("lstm", reduction, RUNNING, 2, 3) for reduction in REDUCTIONS}


def transcript_of(stream: Stream, waveform: Waveform, cuts: list[int]) -> Transcript:
    """Feed a waveform in chunks that end at `cuts`; return the final transcript."""
    for chunk in np.split(waveform, sorted(cut % (len(waveform) + 1) for cut in cuts)):
        stream.feed(chunk)
    return stream.finish()


def noise(samples: int, seed: int = 1) -> Waveform:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize("time_reduction", REDUCTIONS)
@pytest.mark.parametrize("cell", [*CELLS, "chunks"])
@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(1, 12_000), st.lists(st.integers(0, 2**20), max_size=12), st.integers(0, 2**31))
def test_log_probs_of_chunks_are_those_of_the_whole(
    cell: str, time_reduction: int, samples: int, cuts: list[int], seed: int
) -> None:
    model, waveform, kept = MODELS[cell, time_reduction], noise(samples, seed), []

    def decode(log_probs: LogProbs) -> Hypothesis:
        kept.append(log_probs)
        return Hypothesis("", 0.0)

    whole = model.log_probs([waveform])[0]
    transcript_of(Stream(model, SAMPLE_RATE, decode), waveform, cuts)
    np.testing.assert_allclose(kept[0], whole, atol=1e-5, rtol=0)
    expected = asr.decoding.best_path(whole, model.settings.alphabet)
    transcript = transcript_of(Stream(model, SAMPLE_RATE), waveform, cuts)
    assert transcript.text == expected.text
    assert transcript.score == pytest.approx(expected.score, abs=1e-3)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 11), st.lists(st.integers(0, 2**20), max_size=30), st.booleans())
def test_transcript_of_chunks_is_that_of_the_whole(
    recognizer: recognition.Recognizer, index: int, cuts: list[int], words: bool
) -> None:
    waveform = spell(random_texts(12, 2)[index])
    whole = recognizer.transcribe(waveform, options=TranscribeOptions(words=words))
    transcript = transcript_of(recognizer.stream(words=words), waveform, cuts)
    assert transcript.text == whole.text
    assert transcript.score == pytest.approx(whole.score, abs=1e-3)
    assert transcript.duration == whole.duration
    assert [(word.text, word.start, word.end) for word in transcript.words] == [
        (word.text, word.start, word.end) for word in whole.words
    ]
    assert bool(transcript.words) == words


def test_the_streaming_model_of_these_tests_has_learnt(recognizer: recognition.Recognizer, tones: Path) -> None:
    assert asr.evaluate(recognizer, asr.read_manifest(tones / "dev.jsonl")).score.wer.value <= 0.2


def test_text_only_grows_with_single_samples_and_empty_chunks(recognizer: recognition.Recognizer) -> None:
    waveform = spell("AB")
    stream = recognizer.stream()
    texts = []
    for sample in waveform:
        stream.feed(np.zeros(0, np.float32))
        texts.append(stream.feed(np.array([sample])))
    final = stream.finish()
    assert final.text == recognizer.transcribe(waveform).text == "AB"
    assert all(later.startswith(earlier) for earlier, later in zip(texts, [*texts[1:], final.text], strict=True))
    assert len(set(texts)) > 1
    assert stream.seconds == pytest.approx(len(waveform) / SAMPLE_RATE)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_stream_of_another_rate_is_resampled(recognizer: recognition.Recognizer, rate: int) -> None:
    waveform = audio.resample(spell("CAB A"), SAMPLE_RATE, rate)
    stream = recognizer.stream(rate)
    transcript = transcript_of(stream, waveform, [100, 5_000, 5_001, 9_999])
    expected = recognizer.transcribe(audio.resample(waveform, rate, SAMPLE_RATE))
    assert transcript.text == expected.text
    assert transcript.score == pytest.approx(expected.score, abs=1e-3)
    assert stream.latency > recognizer.stream().latency


def test_chunks_of_integers_and_channels(recognizer: recognition.Recognizer) -> None:
    integers = np.round(spell("BC") * 32_767).astype(np.int16)
    stream = recognizer.stream()
    for chunk in np.split(np.stack([integers, integers], axis=1), [1_000]):
        stream.feed(chunk)
    assert stream.finish().text == "BC"


def test_a_beam_decoder_decodes_the_whole_stream(recognizer: recognition.Recognizer) -> None:
    beam = recognizer.with_decoder(decoder.DecoderConfig(decoder.DecoderSettings()))
    waveform = spell("AB CA")
    whole, transcript = beam.transcribe(waveform), transcript_of(beam.stream(), waveform, [3_000, 9_000])
    assert transcript.text == whole.text
    assert transcript.score == pytest.approx(whole.score, abs=1e-3)


def test_empty_and_silent_streams_are_not_errors(recognizer: recognition.Recognizer) -> None:
    assert recognizer.stream().finish() == Transcript("")
    assert recognizer.stream(words=True).finish() == Transcript("")
    stream = recognizer.stream()
    stream.feed(np.zeros(SAMPLE_RATE, np.int16))
    assert stream.finish().duration == 1.0


def test_a_bad_chunk_is_refused_and_the_stream_continues(recognizer: recognition.Recognizer) -> None:
    waveform = spell("AC")
    stream = recognizer.stream()
    stream.feed(waveform[:4_000])
    with pytest.raises(AudioError, match=r"^chunk at 0\.250 s: sample 1 is not a number"):
        stream.feed(np.array([0.1, np.nan], np.float32))
    stream.feed(waveform[4_000:])
    assert stream.finish().text == "AC"
    with pytest.raises(StreamError, match="has ended"):
        stream.feed(waveform)
    with pytest.raises(StreamError, match="has ended already"):
        stream.finish()
    with pytest.raises(AudioError, match="1 Hz"):
        recognizer.stream(1)


@pytest.mark.parametrize("kind", ["lstm", "lookahead"])
@pytest.mark.parametrize("time_reduction", REDUCTIONS)
def test_a_change_of_the_audio_reaches_the_output_within_the_latency(time_reduction: int, kind: str) -> None:
    model = MODELS[kind, time_reduction]
    samples = noise(SAMPLE_RATE)
    hop = model.settings.features.hop_length
    half = hop // 2
    waits = []
    changed = range(30, 30 + 2 * model.settings.model.step)
    for frame in changed:
        # The two waveforms differ from the middle of this frame on.
        other = samples.copy()
        other[frame * hop :] *= -0.5
        pair = [Stream(model, SAMPLE_RATE), Stream(model, SAMPLE_RATE)]
        for start in range(0, len(samples), half):
            ours, theirs = (
                network_output(model, stream, waveform[start : start + half])
                for stream, waveform in zip(pair, (samples, other), strict=True)
            )
            # Before the change reaches its middle, a window changes by next to nothing.
            if start >= frame * hop and not np.allclose(ours, theirs, atol=1e-3):
                waits.append((start + half - frame * hop) / SAMPLE_RATE)
                break
    assert len(waits) == len(changed)
    assert max(waits) <= pair[0].latency + hop / SAMPLE_RATE


def network_output(model: AcousticModel, stream: Stream, chunk: Waveform) -> NDArray[np.float32]:
    """Feed a chunk; return the log-probabilities (n, V) that the network computes of it."""
    computed = [np.zeros((0, len(model.settings.alphabet)), np.float32)]
    proceed = model.network.proceed

    def spy(*arguments: Any) -> Any:
        output = proceed(*arguments)
        computed.append(output[0])
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.network, "proceed", spy)
        stream.feed(chunk)
    return np.concatenate(computed)


def test_a_greedy_stream_keeps_no_more_of_long_audio(recognizer: recognition.Recognizer) -> None:
    greedy = recognizer.with_decoder(decoder.DecoderConfig(decoder.DecoderSettings(greedy=True)))
    for stream in (recognizer.stream(), greedy.stream()):
        stream.feed(noise(30 * SAMPLE_RATE))
        size = len(pickle.dumps(stream))
        for _ in range(5):
            stream.feed(noise(30 * SAMPLE_RATE))
        # The text grows by some letters.
        assert len(pickle.dumps(stream)) < size + 10_000


@pytest.mark.parametrize(("name", "value"), [("deltas", 1), ("top_db", 80), ("normalisation", "utterance")])
def test_a_model_that_needs_the_whole_recording_has_no_stream(name: str, value: object) -> None:
    settings = acoustic_model(features={name: value}).settings
    with pytest.raises(StreamError, match=rf"^this model was trained with features\.{name} = \"?{value}"):
        check_streams(settings)
    assert not settings.features.streams


def test_a_bidirectional_model_has_no_stream(trained: Path) -> None:
    with pytest.raises(StreamError) as caught:
        recognition.load(trained / "best.safetensors").stream()
    message = str(caught.value)
    assert (
        'model.bidirectional = true, model.chunk = 0, features.normalisation = "speech", features.top_db = 80 and'
        in message
    )
    assert "with model.chunk = 6 and model.lookahead = 3 (or model.bidirectional = false)" in message


@pytest.mark.parametrize(
    ("changes", "noted"),
    [(STREAMING, False), (STREAMING[:1], True), ([*STREAMING, "features.deltas=1"], True), ([], False)],
)
def test_training_notes_settings_that_prevent_streams(
    changes: list[str], noted: bool, tones: Path, tmp_path: Path
) -> None:
    recipe = config.read(tones / "tiny.toml", Recipe, changes)
    notes: list[str] = []

    def report(event: object) -> None:
        if isinstance(event, Note):
            notes.append(event.message)

    # It is stopped at once.
    options = TrainOptions(on_event=report, should_stop=lambda: True)
    training.train(recipe, tones / "train.jsonl", tones / "dev.jsonl", tmp_path / "run", options)
    assert [note for note in notes if "to transcribe streams the model also needs" in note] == notes[:noted]
    assert any("can compute streams" in note for note in notes) == noted


def test_training_of_a_streaming_model_resumes(tones: Path, tmp_path: Path) -> None:
    recipe = config.read(tones / "tiny.toml", Recipe, [*STREAMING, "training.epochs=2"])
    paths = tones / "train.jsonl", tones / "dev.jsonl"
    whole = training.train(recipe, *paths, tmp_path / "whole")
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 12

    first = training.train(recipe, *paths, tmp_path / "resumed", TrainOptions(should_stop=stop))
    assert not first.finished
    second = training.train(recipe, *paths, tmp_path / "resumed", TrainOptions(resume=True))
    assert second.finished and second.dev_wer == whole.dev_wer
    (model, contents), (other, other_contents) = (
        network.load(tmp_path / name / "last.safetensors") for name in ("whole", "resumed")
    )
    assert contents.settings == other_contents.settings and len(contents.settings.features.mean) == 13
    for name, values in model.state_dict().items():
        assert torch.equal(values, other.state_dict()[name]), name
    recognition.load(tmp_path / "resumed" / "last.safetensors").stream()
