"""Files transcribed together: batches, order, channels, and that a file that cannot be used affects no other."""

import io
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr import FileResult, Recognizer, TranscribeOptions, recognition
from asr.decoding.decoder import DecoderConfig, DecoderSettings
from asr.features import FeatureSettings
from asr.recognition.files import Plan, Recording
from tests.conftest import SAMPLE_RATE, random_texts, spell

TEXTS = random_texts(14, 21)
# Scores are sums of float32 numbers over hundreds of frames; products of matrices round by their shapes.
TOLERANCE = 1e-3
DEFAULT = TranscribeOptions()


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> Recognizer:
    return recognition.load(trained / "best.safetensors")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    written = [folder / f"{number}.wav" for number in range(len(TEXTS))]
    for path, text in zip(written, TEXTS, strict=True):
        soundfile.write(path, spell(text), SAMPLE_RATE)
    return written


def stereo(path: Path, *texts: str) -> Path:
    channels = [spell(text) if text else np.zeros(1, np.float32) for text in texts]
    size = max(map(len, channels))
    rows: list[NDArray[np.float32]] = [np.pad(channel, (0, size - len(channel))) for channel in channels]
    soundfile.write(path, np.stack(rows, axis=1), SAMPLE_RATE, subtype="FLOAT")
    return path


def batches(
    paths: Sequence[Path] | Iterator[Path], seconds: float, options: TranscribeOptions = DEFAULT, jobs: int = 1
) -> list[list[int]]:
    """Return which files are put together, in the order in which batches are computed."""
    planned: list[list[int]] = []

    def work(recordings: list[Recording]) -> list[int]:
        planned.append([recording.index for recording in recordings])
        return planned[-1]

    results = list(Plan(FeatureSettings(sample_rate=SAMPLE_RATE), seconds, options, jobs).run(paths, work))
    assert results == list(range(len(results)))
    return planned


def single(results: Iterator[list[FileResult]]) -> list[FileResult]:
    return [result for (result,) in results]


@pytest.mark.parametrize("whole", [120.0, 1.5])
@pytest.mark.parametrize("search", [False, True])
def test_transcripts_do_not_depend_on_the_batch(
    recognizer: Recognizer, paths: list[Path], whole: float, search: bool
) -> None:
    if search:
        recognizer = recognizer.with_decoder(DecoderConfig(DecoderSettings()))

    def transcribe(seconds: float | None) -> list[FileResult]:
        options = TranscribeOptions(
            words=True, nbest=3 if search else 1, whole=whole, window=4.0, overlap=1.0, batch_seconds=seconds
        )
        return single(recognizer.transcribe_files(paths, options, jobs=2))

    expected = transcribe(1)
    assert [result.text for result in expected] == TEXTS or whole < 120
    for seconds in (30, 600, None):
        for result, other in zip(expected, transcribe(seconds), strict=True):
            mine, others = result.transcript, other.transcript
            assert mine and others
            assert (mine.text, mine.duration) == (others.text, others.duration)
            assert [each.text for each in mine.alternatives] == [each.text for each in others.alternatives]
            assert mine.score == pytest.approx(others.score, abs=TOLERANCE)
            for word, same in zip(mine.words, others.words, strict=True):
                assert (word.text, word.start, word.end) == (same.text, same.start, same.end)
                assert word.confidence == pytest.approx(same.confidence, abs=TOLERANCE)


def test_every_file_is_in_one_batch_within_the_limit(paths: list[Path]) -> None:
    lengths = [soundfile.info(path).duration for path in paths]
    for seconds in (1, 2, 4, 30):
        planned = batches(paths, seconds)
        assert sorted(index for batch in planned for index in batch) == list(range(len(paths)))
        assert all(
            len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= seconds for batch in planned
        )
    assert len(planned) == 1


def test_few_files_are_divided_among_the_jobs(paths: list[Path]) -> None:
    assert [len(batches(paths, 120, jobs=jobs)) for jobs in (1, 2)] == [1, 3]
    assert len(batches(paths, 120, jobs=100)) == len(paths)
    assert batches([], 120, jobs=3) == []


def test_batches_begin_before_all_files_are_read(paths: list[Path]) -> None:
    taken: list[Path] = []

    def read() -> Iterator[Path]:
        for path in paths * 50:
            taken.append(path)
            yield path

    results = Plan(FeatureSettings(sample_rate=SAMPLE_RATE), 2, DEFAULT).run(
        read(), lambda recordings: [recording.index for recording in recordings]
    )
    next(results)
    assert len(taken) < 20


def test_an_error_of_the_work_stops_the_reading_threads(paths: list[Path]) -> None:
    def fail(recordings: list[Recording]) -> list[int]:
        raise ValueError(recordings[0].path)

    threads = threading.active_count()
    results = Plan(FeatureSettings(sample_rate=SAMPLE_RATE), 2, DEFAULT).run(paths * 50, fail)
    with pytest.raises(ValueError, match=r"\.wav"):
        next(results)
    assert threading.active_count() == threads


def test_a_short_file_does_not_wait_for_many_long_ones(tmp_path: Path) -> None:
    short, long = stereo(tmp_path / "short.wav", "A"), stereo(tmp_path / "long.wav", "AB CA BB AC BB")
    assert soundfile.info(short).duration < 1 < soundfile.info(long).duration
    planned = batches([short, *[long] * 50], 2, TranscribeOptions(whole=1.0))
    assert planned.index([0]) < 8 and len(planned) == 51


def test_long_files_and_files_with_errors_are_alone(tmp_path: Path) -> None:
    short = [stereo(tmp_path / f"{number}.wav", "A", "B") for number in range(4)]
    long = stereo(tmp_path / "long.wav", "AB CA BB AC BB", "B")
    many = stereo(tmp_path / "many.wav", *["A"] * 20)
    (tmp_path / "bad.wav").write_text("hello")
    files = [short[0], long, many, short[1], tmp_path / "bad.wav", short[2], tmp_path / "no.wav", short[3]]
    split = TranscribeOptions(whole=2.0, split_channels=True)
    assert batches(files, 4, split) == [[1], [2], [4], [6], [0, 3, 5, 7]]
    assert batches(files, 4, TranscribeOptions(whole=2.0)) == [[1], [4], [6], [0, 2, 3, 5, 7]]


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("seconds", [1, 30])
def test_split_channels_gives_a_result_for_each_channel(
    recognizer: Recognizer, tmp_path: Path, seconds: int, long: bool
) -> None:
    files = [
        stereo(tmp_path / "a.wav", "AB CA", "BB"),
        stereo(tmp_path / "b.wav", "C"),
        stereo(tmp_path / "c.wav", "", "CA"),
        stereo(tmp_path / "d.wav", "", ""),
        stereo(tmp_path / "e.wav", "A", "B", "C"),
    ]
    options = TranscribeOptions(
        split_channels=True, batch_seconds=seconds, whole=0.1 if long else 120, window=4.0, overlap=1.0
    )
    results = list(recognizer.transcribe_files(files, options))
    assert [[result.text for result in channels] for channels in results] == [
        ["AB CA", "BB"],
        ["C"],
        ["", "CA"],
        [""],
        ["A", "B", "C"],
    ]
    assert [result.channel for result in results[4]] == [1, 2, 3]
    assert "d.wav: digital silence" in results[3][0].error
    assert results[3][0].channel == 0


def test_a_file_that_cannot_be_read_affects_no_other(recognizer: Recognizer, paths: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(paths[0].read_bytes()[:-44])
    results = single(recognizer.transcribe_files([paths[0], cut, paths[1]], TranscribeOptions(strict=True)))
    assert [results[0].text, results[2].text] == TEXTS[:2]
    assert results[1].error.startswith(f"{cut}: truncated: ")
    assert results[1].transcript is None


@pytest.mark.parametrize("whole", [120.0, 0.5])
def test_a_cut_file_is_transcribed_with_a_note(
    recognizer: Recognizer, paths: list[Path], whole: float, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(paths[0].read_bytes()[:-44])
    (result, other) = single(recognizer.transcribe_files([cut, paths[0]], TranscribeOptions(whole=whole)))
    assert result.transcript and other.transcript
    assert result.text == other.text
    size = paths[0].stat().st_size - 44
    assert result.transcript.notes == (f"truncated: the header announces {size} bytes, the file has {size - 44}",)
    assert result.transcript.duration == pytest.approx(other.transcript.duration - 22 / SAMPLE_RATE)
    assert other.transcript.notes == ()


@pytest.mark.parametrize("whole", [120.0, 0.5])
def test_file_objects_are_transcribed_as_their_files(recognizer: Recognizer, paths: list[Path], whole: float) -> None:
    options = TranscribeOptions(whole=whole)
    expected = [result.text for result in single(recognizer.transcribe_files(paths[:2], options))]
    with paths[1].open("rb") as file:
        objects: list[BinaryIO] = [io.BytesIO(paths[0].read_bytes()), file, io.BytesIO(b"hello")]
        first, second, third = single(recognizer.transcribe_files(objects, options))
    assert [first.text, second.text] == expected
    assert (first.audio, second.audio) == ("file object", str(paths[1]))
    assert third.error.startswith("file object: not a sound file")


@pytest.mark.parametrize("split", [False, True])
def test_progress_of_a_long_file_is_reported(recognizer: Recognizer, split: bool, tmp_path: Path) -> None:
    path = stereo(tmp_path / "long.wav", " ".join(random_texts(40, 3)), "B")
    calls: list[tuple[int, float, float]] = []
    options = TranscribeOptions(whole=3.0, window=4.0, overlap=1.0, batch_seconds=8, split_channels=split)
    list(recognizer.transcribe_files([path], options, on_progress=lambda *call: calls.append(call)))
    shares = [share for _, share, _ in calls]
    assert {(index, duration) for index, _, duration in calls} == {(0, soundfile.info(path).duration)}
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert len(set(shares)) >= 12


def test_results_are_reported_as_soon_as_they_are_there(recognizer: Recognizer, paths: list[Path]) -> None:
    reported: dict[int, str] = {}

    def report(index: int, results: list[FileResult]) -> None:
        reported[index] = results[0].text

    for index, (result,) in enumerate(recognizer.transcribe_files(paths, jobs=2, on_result=report)):
        assert reported[index] == result.text
    assert list(dict(sorted(reported.items())).values()) == TEXTS
