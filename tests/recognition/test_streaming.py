"""A stream in chunks against the whole waveform."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import asr
from asr import audio, config, recognition, training
from asr.audio import AudioError, Waveform
from asr.decoding import decoder
from asr.features import FeatureSettings
from asr.features.frontend import Frontend
from asr.features.reference import matrices
from asr.model import CELLS, ModelSettings
from asr.model.checkpoint import ModelFileSettings
from asr.recognition import streaming as stream
from asr.recognition.streaming import Network, Stream, StreamError
from asr.text import TextSettings
from asr.training import TrainOptions
from asr.training.events import Note
from asr.training.recipe import Recipe
from asr.transcripts.records import Hypothesis
from tests.conftest import SAMPLE_RATE, STREAMING, random_texts, spell

REDUCTIONS = (2, 3, 4)


@pytest.fixture(scope="module")
def recognizer(streaming: Path) -> recognition.Recognizer:
    return recognition.load(streaming)


def network(cell: str = "gru", time_reduction: int = 4, **features: object) -> Network:
    """Return an untrained network of ten letters whose log-probabilities differ much."""
    shape = FeatureSettings(coefficients=13, mel_bands=40, normalisation="none", top_db=0.0)
    shape = dataclasses.replace(shape, **features)  # type: ignore[arg-type]
    small = ModelSettings(cell, 2, 16, bidirectional=False, channels=4, time_reduction=time_reduction)
    chosen = ModelFileSettings(shape, TextSettings("upper", " ABCDEFGHI"), small)
    torch.manual_seed(3)
    model = chosen.build().eval()
    with torch.no_grad():
        model.output.weight *= 8
    return Network(chosen, Frontend(shape, matrices(shape), torch.device("cpu")), model)


NETWORKS = {(cell, reduction): network(cell, reduction) for cell in CELLS for reduction in REDUCTIONS}


def offline(one: Network, waveform: Waveform) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    with torch.inference_mode():
        features = one.frontend(waveform)
        output = one.model(features[None], torch.tensor([len(features)]))
    found: np.ndarray[tuple[int, int], np.dtype[np.float32]] = output.log_probs[0].numpy()
    return found


def heard(one: Stream, waveform: Waveform, cuts: list[int]) -> Hypothesis:
    for chunk in np.split(waveform, sorted(cut % (len(waveform) + 1) for cut in cuts)):
        one.feed(chunk)
    return one.finish()


def noise(samples: int, seed: int = 1) -> Waveform:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize("time_reduction", REDUCTIONS)
@pytest.mark.parametrize("cell", CELLS)
@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(1, 12_000), st.lists(st.integers(0, 2**20), max_size=12), st.integers(0, 2**31))
def test_any_chunks_as_the_whole(cell: str, time_reduction: int, samples: int, cuts: list[int], seed: int) -> None:
    one, waveform, kept = NETWORKS[cell, time_reduction], noise(samples, seed), []

    def decode(log_probs: np.ndarray[tuple[int, int], np.dtype[np.floating]]) -> Hypothesis:
        kept.append(log_probs)
        return Hypothesis("", 0.0)

    whole = offline(one, waveform)
    heard(Stream(one, SAMPLE_RATE, decode), waveform, cuts)
    np.testing.assert_allclose(kept[0], whole, atol=1e-5, rtol=0)
    expected = asr.decoding.best_path(whole, one.settings.alphabet)
    found = heard(Stream(one, SAMPLE_RATE), waveform, cuts)
    assert found.text == expected.text
    assert found.score == pytest.approx(expected.score, abs=1e-3)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 11), st.lists(st.integers(0, 2**20), max_size=30), st.booleans())
def test_a_trained_model_hears_chunks_as_the_whole(
    recognizer: recognition.Recognizer, which: int, cuts: list[int], words: bool
) -> None:
    waveform = spell(random_texts(12, 2)[which])
    whole = recognizer.transcribe(waveform, words)
    found = heard(recognizer.stream(words=words), waveform, cuts)
    assert found.text == whole.text
    assert found.score == pytest.approx(whole.score, abs=1e-3)
    assert [(word.text, word.start, word.end) for word in found.words] == [
        (word.text, word.start, word.end) for word in whole.words
    ]
    assert bool(found.words) == words


def test_it_has_learnt_to_read(recognizer: recognition.Recognizer, tones: Path) -> None:
    assert asr.evaluate(recognizer, asr.read_manifest(tones / "dev.jsonl")).score.wer.value <= 0.2


def test_single_samples_and_empty_chunks(recognizer: recognition.Recognizer) -> None:
    waveform = spell("AB")
    one = recognizer.stream()
    texts = []
    for sample in waveform:
        one.feed(np.zeros(0, np.float32))
        texts.append(one.feed(np.array([sample])))
    final = one.finish()
    assert final.text == recognizer.transcribe(waveform).text == "AB"
    # It grows and takes nothing back.
    assert all(later.startswith(earlier) for earlier, later in zip(texts, [*texts[1:], final.text], strict=True))
    assert len(set(texts)) > 1
    assert one.seconds == pytest.approx(len(waveform) / SAMPLE_RATE)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_as_the_whole_resampled(recognizer: recognition.Recognizer, rate: int) -> None:
    waveform = audio.resample(spell("CAB A"), SAMPLE_RATE, rate)
    one = recognizer.stream(rate)
    found = heard(one, waveform, [100, 5_000, 5_001, 9_999])
    expected = recognizer.transcribe(audio.resample(waveform, rate, SAMPLE_RATE))
    assert found.text == expected.text
    assert found.score == pytest.approx(expected.score, abs=1e-3)
    assert one.latency > recognizer.stream().latency


def test_integers_and_channels(recognizer: recognition.Recognizer) -> None:
    waveform = spell("BC")
    integers = np.round(waveform * 32_767).astype(np.int16)
    one = recognizer.stream()
    for chunk in np.split(np.stack([integers, integers], axis=1), 7 if len(integers) % 7 == 0 else [1_000]):
        one.feed(chunk)
    assert one.finish().text == "BC"


def test_a_search_takes_the_whole(recognizer: recognition.Recognizer) -> None:
    searching = recognizer.with_decoder(decoder.DecoderConfig(decoder.DecoderSettings(), decoder.LanguageModels()))
    waveform = spell("AB CA")
    whole, found = searching.transcribe(waveform), heard(searching.stream(), waveform, [3_000, 9_000])
    assert found.text == whole.text
    assert found.score == pytest.approx(whole.score, abs=1e-3)


def test_nothing_and_silence_are_no_mistakes(recognizer: recognition.Recognizer) -> None:
    assert recognizer.stream().finish() == Hypothesis("", 0.0)
    assert recognizer.stream(words=True).finish() == Hypothesis("", 0.0)
    one = recognizer.stream()
    one.feed(np.zeros(SAMPLE_RATE, np.int16))
    assert isinstance(one.finish().text, str)


def test_a_bad_chunk_is_refused_and_forgotten(recognizer: recognition.Recognizer) -> None:
    waveform = spell("AC")
    one = recognizer.stream()
    one.feed(waveform[:4_000])
    with pytest.raises(AudioError, match=r"in the chunk from 0\.250 s on: sample 1 is not a number"):
        one.feed(np.array([0.1, np.nan], np.float32))
    one.feed(waveform[4_000:])
    assert one.finish().text == "AC"
    with pytest.raises(StreamError, match="has ended"):
        one.feed(waveform)
    with pytest.raises(StreamError, match="has ended already"):
        one.finish()
    with pytest.raises(AudioError, match="1 Hz"):
        recognizer.stream(1)


@pytest.mark.parametrize("time_reduction", REDUCTIONS)
def test_a_sound_is_heard_within_the_latency(time_reduction: int) -> None:
    one = NETWORKS["lstm", time_reduction]
    samples = noise(SAMPLE_RATE)
    hop = one.settings.features.hop_length
    waits = []
    for frame in range(30, 30 + 2 * time_reduction):
        # Two streams that differ from the middle of one frame on.
        other = samples.copy()
        other[frame * hop :] *= -0.5
        pair = [Stream(one, SAMPLE_RATE), Stream(one, SAMPLE_RATE)]
        for now in range(0, len(samples), hop // 2):
            for heard_by, waveform in zip(pair, (samples, other), strict=True):
                heard_by.feed(waveform[now : now + hop // 2])
            # A window reaches back as far as ahead: until its middle has changed, it has changed but little.
            if now >= frame * hop and pair[0]._path.score != pytest.approx(pair[1]._path.score, abs=1e-3):
                waits.append((now + hop // 2 - frame * hop) / SAMPLE_RATE)
                break
    assert len(waits) == 2 * time_reduction
    assert max(waits) <= pair[0].latency + hop / SAMPLE_RATE


def test_an_endless_stream_takes_no_more_memory_than_a_short_one(recognizer: recognition.Recognizer) -> None:
    one = recognizer.stream()
    for _ in range(20):
        one.feed(noise(30 * SAMPLE_RATE))
        assert one._waiting < 2_000 and not one._kept
        assert sum(map(len, one._pieces)) == one._waiting


def test_a_model_that_needs_the_whole_says_what_a_stream_needs(trained: Path) -> None:
    with pytest.raises(StreamError) as told:
        recognition.load(trained / "best.safetensors").stream()
    message = str(told.value)
    assert 'model.bidirectional = true, features.normalisation = "utterance", features.top_db = 80;' in message
    assert "trained with model.bidirectional = false" in message
    deltas = network(deltas=1)
    with pytest.raises(StreamError, match=r"as it was trained with features.deltas = 1;"):
        stream.check(deltas.settings)
    assert not deltas.settings.features.streams


@pytest.mark.parametrize(
    ("changes", "told"),
    [(STREAMING, False), (STREAMING[:1], True), ([*STREAMING, "features.deltas=1"], True), ([], False)],
)
def test_training_says_beforehand_what_a_stream_would_miss(
    changes: list[str], told: bool, tones: Path, tmp_path: Path
) -> None:
    recipe = config.read(tones / "tiny.toml", Recipe, changes)
    notes: list[str] = []

    def report(event: object) -> None:
        if isinstance(event, Note):
            notes.append(event.message)

    # It is stopped at once.
    options = TrainOptions(on_event=report, should_stop=lambda: True)
    training.train(recipe, tones / "train.jsonl", tones / "dev.jsonl", tmp_path / "run", options)
    assert [note for note in notes if "to transcribe streams it also needs" in note] == notes[:told]
    assert any("forward-only" in note for note in notes) == told


def test_training_of_a_streaming_model_goes_on_where_it_stopped(tones: Path, tmp_path: Path) -> None:
    recipe = config.read(tones / "tiny.toml", Recipe, [*STREAMING, "training.epochs=2"])
    paths = tones / "train.jsonl", tones / "dev.jsonl"
    whole = training.train(recipe, *paths, tmp_path / "whole")
    told = 0

    def stop() -> bool:
        nonlocal told
        told += 1
        return told > 12

    first = training.train(recipe, *paths, tmp_path / "parts", TrainOptions(should_stop=stop))
    assert not first.finished
    second = training.train(recipe, *paths, tmp_path / "parts", TrainOptions(resume=True))
    assert second.finished and second.dev_wer == whole.dev_wer
    last = [(tmp_path / name / "last.safetensors") for name in ("whole", "parts")]
    one, other = (recognition.load(path) for path in last)
    assert one.settings == other.settings and len(one.settings.features.mean) == 13
    for name, values in one._model.state_dict().items():
        assert torch.equal(values, other._model.state_dict()[name]), name
    assert isinstance(one.stream(), Stream)
