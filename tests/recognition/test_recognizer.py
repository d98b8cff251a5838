"""Transcripts of waveforms, files and utterances."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rapidfuzz.distance import Levenshtein

import asr
from asr import Recognizer, TranscribeOptions, Transcript, audio, recognition
from tests.conftest import ROOT, SAMPLE_RATE, spell


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> Recognizer:
    return recognition.load(trained / "best.safetensors")


def test_a_waveform_and_its_file_have_the_same_transcript(recognizer: Recognizer, tmp_path: Path) -> None:
    waveform = spell("AB CA")
    soundfile.write(tmp_path / "a.wav", waveform, SAMPLE_RATE, subtype="FLOAT")
    assert recognizer.transcribe(waveform).text == "AB CA"
    assert recognizer.transcribe_file(tmp_path / "a.wav") == recognizer.transcribe(waveform)


def test_sample_rate_and_channels_do_not_change_the_text(recognizer: Recognizer, tmp_path: Path) -> None:
    mono = audio.resample(spell("CAB"), SAMPLE_RATE, 44_100)
    stereo = np.stack([mono, mono], axis=1)
    soundfile.write(tmp_path / "a.flac", stereo, 44_100)
    assert recognizer.transcribe_file(tmp_path / "a.flac").text == "CAB"
    assert recognizer.transcribe(stereo, 44_100).text == "CAB"
    assert recognizer.transcribe((stereo * 32_767).astype(np.int16), 44_100).text == "CAB"


def test_options_choose_words_and_alternatives(recognizer: Recognizer) -> None:
    waveform = spell("AB CA")
    plain = recognizer.transcribe(waveform)
    assert (plain.words, plain.alternatives, plain.segments) == ((), (), ())
    assert plain.duration == len(waveform) / SAMPLE_RATE
    words = recognizer.transcribe(waveform, options=TranscribeOptions(words=True))
    assert [word.text for word in words.words] == ["AB", "CA"]
    assert [segment.text for segment in words.segments] == ["AB CA"]
    beam = recognizer.with_decoder(asr.DecoderConfig(asr.DecoderSettings()))
    transcript = beam.transcribe(waveform, options=TranscribeOptions(nbest=3))
    assert transcript.text == "AB CA" and len(transcript.alternatives) == 2
    assert transcript.score > transcript.alternatives[0].score > transcript.alternatives[1].score


def test_no_word_ends_after_the_recording(recognizer: Recognizer) -> None:
    # The end of the last letter is within the last frame of 40 ms.
    waveform = spell("AB CA")[: -round(0.1 * SAMPLE_RATE)]
    beam = recognizer.with_decoder(asr.DecoderConfig(asr.DecoderSettings()))
    for length in range(0, 640, 80):
        transcript = beam.transcribe(waveform[length:], options=TranscribeOptions(words=True, nbest=3))
        hypotheses = [transcript.words, *(other.words for other in transcript.alternatives)]
        assert all(words[-1].end <= transcript.duration for words in hypotheses if words)


def test_a_greedy_config_makes_a_greedy_recognizer(recognizer: Recognizer) -> None:
    greedy = recognizer.with_decoder(asr.DecoderConfig(asr.DecoderSettings(greedy=True)))
    assert greedy.transcribe(spell("AB CA")) == recognizer.transcribe(spell("AB CA"))


def test_transcripts_of_utterances_come_in_their_order(recognizer: Recognizer, tones: Path) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")

    def texts(rows: list[asr.Utterance], options: TranscribeOptions, jobs: int = 1) -> list[str]:
        results = [result for (result,) in recognizer.transcribe_files(rows, options, jobs)]
        assert [result.id for result in results] == [row.id for row in rows]
        return [result.text for result in results]

    expected = [recognizer.transcribe_file(utterance.audio).text for utterance in utterances]
    assert len(set(expected)) > 5
    assert texts(utterances, TranscribeOptions()) == expected
    assert texts(utterances[::-1], TranscribeOptions(batch_seconds=3.0), jobs=2) == expected[::-1]
    assert list(recognizer.transcribe_files([])) == []


def test_a_segment_is_transcribed_by_its_offset(recognizer: Recognizer, tmp_path: Path) -> None:
    first, second = spell("AA B"), spell("CC")
    soundfile.write(tmp_path / "a.wav", np.concatenate([first, second]), SAMPLE_RATE)
    start, length = len(first) / SAMPLE_RATE, len(second) / SAMPLE_RATE
    utterance = asr.Utterance("b", str(tmp_path / "a.wav"), length, "CC", offset=start)
    assert next(recognizer.transcribe_files([utterance]))[0].text == "CC"


def test_log_probs_are_those_of_each_utterance_alone(recognizer: Recognizer, tones: Path) -> None:
    utterances = asr.read_manifest(tones / "dev.jsonl")
    done: list[float] = []
    together = recognizer.log_probs(utterances, lambda index, share, duration: done.append(share * duration))
    assert sum(done) == pytest.approx(sum(utterance.duration for utterance in utterances))
    for utterance, log_probs in zip(utterances, together, strict=True):
        np.testing.assert_allclose(log_probs, recognizer.log_probs([utterance])[0], atol=1e-3)
        np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1.0, atol=1e-4)


def test_empty_and_silent_waveforms_are_refused(recognizer: Recognizer) -> None:
    # Shorter than a window of the features, but not empty.
    assert recognizer.transcribe(np.array([0.1], np.float32)).duration == 1 / SAMPLE_RATE
    with pytest.raises(audio.AudioError, match="0 samples"):
        recognizer.transcribe(np.zeros(0, np.float32))
    with pytest.raises(audio.AudioError, match="digital silence"):
        recognizer.transcribe(np.zeros(SAMPLE_RATE, np.float32))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_of_a_narrower_type_are_refused(recognizer: Recognizer, dtype: type[np.signedinteger]) -> None:
    samples = (spell("CAB") * 32_767).astype(np.int16)
    message = rf"samples of type {np.dtype(dtype)} from -\d+ to \d+ are int16 values; .*astype\(numpy\.int16\)"
    with pytest.raises(audio.AudioError, match=message):
        recognizer.transcribe(samples.astype(dtype))
    scaled = samples.astype(dtype) << (8 * np.dtype(dtype).itemsize - 16)
    assert recognizer.transcribe(scaled).text == "CAB" == recognizer.transcribe(samples).text
    with pytest.raises(audio.AudioError, match="digital silence"):
        recognizer.transcribe(np.zeros(SAMPLE_RATE, dtype))


def test_a_file_object_is_transcribed(recognizer: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, spell("AB CA"), SAMPLE_RATE)
    expected = recognizer.transcribe_file(path)
    assert recognizer.transcribe_file(io.BytesIO(path.read_bytes())) == expected
    with path.open("rb") as file:
        assert recognizer.transcribe_file(file) == expected
    with pytest.raises(audio.AudioError, match=r"^file object: not a sound file"):
        recognizer.transcribe_file(io.BytesIO(b"no sound"))
    with path.open("rb") as file, pytest.raises(audio.AudioError, match=rf"^{path}: the file is empty"):
        file.read()
        recognizer.transcribe_file(file)
    with pytest.raises(audio.AudioError, match="neither a path nor a file object opened in binary mode"):
        recognizer.transcribe_file(io.StringIO("text"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def english() -> Recognizer:
    """The bundled model, decoding greedily."""
    return asr.load("english-small", decoder="greedy")


@pytest.mark.parametrize("gain", [0, -20, -50])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_has_no_words(english: Recognizer, exponent: float, gain: float) -> None:
    count = 15 * SAMPLE_RATE
    spectrum = np.fft.rfft(np.random.default_rng(4).standard_normal(count))
    noise = np.fft.irfft(spectrum * np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE), 10) ** (-exponent / 2), count)
    noise *= 0.1 / noise.std() * 10 ** (gain / 20)
    assert english.transcribe(noise) == Transcript("", duration=15.0)
    loud = english.transcribe(noise, options=TranscribeOptions(words=True, vad=False))
    assert all(word.confidence < 0.9 for word in loud.words)


@pytest.mark.parametrize("level", [0.0, 3e-4])
@pytest.mark.parametrize("whole", [120.0, 10.0])
def test_silence_before_speech_adds_no_errors(english: Recognizer, whole: float, level: float) -> None:
    spoken = audio.load(ROOT / "data/samples/sample-02.opus", SAMPLE_RATE)
    before = np.random.default_rng(3).normal(0, level, 30 * SAMPLE_RATE).astype(np.float32)
    found = english.transcribe(np.concatenate([before, spoken]), options=TranscribeOptions(words=True, whole=whole))
    words = ["THE", "LAST", "TRAIN", "TO", "THE", "CITY", "LEAVES", "AT", "TEN", "MINUTES", "PAST", "ELEVEN"]
    alone, after = (Levenshtein.distance(words, each.text.split()) for each in (english.transcribe(spoken), found))
    assert after <= alone + 1
    assert 30 <= found.words[0].start <= 31
    assert found.words[-1].end <= 30 + len(spoken) / SAMPLE_RATE
