"""Sound files transcribed together: what is put together, that no text changes, and that a bad file harms no other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from asr import recognition
from asr.decoding import DecodingError
from asr.decoding.decoder import DecoderConfig, DecoderSettings
from asr.recognition import Recognizer
from asr.recognition import files as recordings
from asr.recognition.files import Way
from asr.recognition.listening import Listening
from asr.transcripts.records import Hypothesis
from tests.conftest import SAMPLE_RATE, random_texts, spell

TEXTS = random_texts(14, 21)
# Scores are sums of float32 numbers over hundreds of frames; products of matrices round by their shapes.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> Recognizer:
    return recognition.load(trained / "best.safetensors")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    made = [folder / f"{number}.wav" for number in range(len(TEXTS))]
    for path, text in zip(made, TEXTS, strict=True):
        soundfile.write(path, spell(text), SAMPLE_RATE)
    return made


def batching(recognizer: Recognizer, seconds: float | None, whole: float = 120.0) -> Recognizer:
    return recognizer.with_listening(Listening(whole=whole, window=4.0, overlap=1.0, batch=seconds))


def stereo(path: Path, *texts: str) -> Path:
    channels = [spell(text) if text else np.zeros(1, np.float32) for text in texts]
    size = max(map(len, channels))
    rows: list[NDArray[np.float32]] = [np.pad(one, (0, size - len(one))) for one in channels]
    soundfile.write(path, np.stack(rows, axis=1), SAMPLE_RATE, subtype="FLOAT")
    return path


def each(recognizer: Recognizer, paths: Sequence[Path], way: Way = Way()) -> list[recordings.Heard]:  # noqa: B008
    """Transcribe files as they are planned; return what became of them in their order."""
    found: dict[int, recordings.Heard] = {}
    for indices in recordings.plan(recognizer, paths, way.split):
        found |= zip(indices, recordings.transcribe(recognizer, [paths[one] for one in indices], way), strict=True)
    return [found[index] for index in range(len(paths))]


@pytest.mark.parametrize("whole", [120.0, 1.5])
@pytest.mark.parametrize("search", [False, True])
def test_texts_and_times_do_not_depend_on_the_batch(
    recognizer: Recognizer, paths: list[Path], whole: float, search: bool
) -> None:
    if search:
        recognizer = recognizer.with_decoder(DecoderConfig(DecoderSettings()))
    way = Way(count=3 if search else 1, words=True)
    expected = each(batching(recognizer, 1, whole), paths, way)
    assert [one.channels[0][0].text for one in expected] == TEXTS or whole < 120
    for seconds in (30, 600, None):
        for one, other in zip(expected, each(batching(recognizer, seconds, whole), paths, way), strict=True):
            assert one.duration == other.duration
            for mine, others in zip(one.channels[0], other.channels[0], strict=True):
                assert mine.text == others.text
                assert mine.score == pytest.approx(others.score, abs=TOLERANCE)
                spoken = [[(word.text, word.start, word.end) for word in each.words] for each in (mine, others)]
                assert spoken[0] == spoken[1]
                for word, same in zip(mine.words, others.words, strict=True):
                    assert word.confidence == pytest.approx(same.confidence, abs=TOLERANCE)


def test_every_file_is_planned_once_and_within_the_batch(recognizer: Recognizer, paths: list[Path]) -> None:
    lengths = [soundfile.info(path).duration for path in paths]
    for seconds in (1, 2, 4, 30):
        planned = list(recordings.plan(batching(recognizer, seconds), paths))
        assert sorted(index for batch in planned for index in batch) == list(range(len(paths)))
        assert all(len(batch) == 1 or max(lengths[one] for one in batch) * len(batch) <= seconds for batch in planned)
    assert len(planned) == 1


def test_small_work_is_shared_out_to_the_jobs(recognizer: Recognizer, paths: list[Path]) -> None:
    assert [len(list(recordings.plan(recognizer, paths, jobs=jobs))) for jobs in (1, 2)] == [1, 3]
    assert len(list(recordings.plan(recognizer, paths, jobs=100))) == len(paths)
    assert list(recordings.plan(recognizer, [], jobs=3)) == []


def test_the_first_do_not_wait_for_the_last(recognizer: Recognizer, paths: list[Path]) -> None:
    taken: list[Path] = []

    def noted() -> Iterator[Path]:
        for path in paths * 50:
            taken.append(path)
            yield path

    planned = recordings.plan(batching(recognizer, 2), noted())
    next(iter(planned))
    assert len(taken) < 20


def test_short_ones_do_not_wait_for_many_long_ones(recognizer: Recognizer, tmp_path: Path) -> None:
    short, long = stereo(tmp_path / "short.wav", "A"), stereo(tmp_path / "long.wav", "AB CA BB AC BB")
    hearing = batching(recognizer, 2, whole=1.0)
    assert soundfile.info(short).duration < 1 < soundfile.info(long).duration
    planned = list(recordings.plan(hearing, [short, *[long] * 50]))
    assert planned.index([0]) < 8 and len(planned) == 51


def test_long_many_channelled_and_bad_files_are_alone(recognizer: Recognizer, tmp_path: Path) -> None:
    short = [stereo(tmp_path / f"{number}.wav", "A", "B") for number in range(4)]
    long = stereo(tmp_path / "long.wav", "AB CA BB AC BB", "B")
    many = stereo(tmp_path / "many.wav", *["A"] * 20)
    (tmp_path / "bad.wav").write_text("hello")
    files = [short[0], long, many, short[1], tmp_path / "bad.wav", short[2], tmp_path / "no.wav", short[3]]
    hearing = batching(recognizer, 4, whole=2.0)
    assert list(recordings.plan(hearing, files, split=True)) == [[1], [2], [4], [6], [0, 3, 5, 7]]
    assert list(recordings.plan(hearing, files)) == [[1], [4], [6], [0, 2, 3, 5, 7]]


def test_channels_are_those_of_each_file_alone(recognizer: Recognizer, tmp_path: Path) -> None:
    files = [
        stereo(tmp_path / "a.wav", "AB CA", "BB"),
        stereo(tmp_path / "b.wav", "C"),
        stereo(tmp_path / "c.wav", "", "CA"),
        stereo(tmp_path / "d.wav", "", ""),
        stereo(tmp_path / "e.wav", "A", "B", "C"),
    ]
    for seconds in (1, 30):
        found = each(batching(recognizer, seconds), files, Way(split=True))
        texts = [[best.text for best, *_ in one.channels] for one in found]
        assert texts == [["AB CA", "BB"], ["C"], ["", "CA"], [], ["A", "B", "C"]]
        assert "d.wav: digital silence" in found[3].error
    assert [one[0].text for one in recognizer.alternatives_of_channels(files[2], 1)] == ["", "CA"]


def test_a_bad_file_harms_no_other(recognizer: Recognizer, paths: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(paths[0].read_bytes()[:1000])
    found = recordings.transcribe(recognizer, [paths[0], cut, paths[1]], Way())
    assert [one.channels[0][0].text for one in (found[0], found[2])] == TEXTS[:2]
    assert found[1].error.startswith(f"{cut}: truncated: ")


@pytest.mark.parametrize(
    ("error", "says"),
    [(DecodingError("log_probs has NaN"), "log_probs has NaN"), (torch.OutOfMemoryError(), "has not enough memory")],
)
def test_what_fails_together_is_tried_alone(
    recognizer: Recognizer, paths: list[Path], error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Recognizer.alternatives

    def together(*_: object) -> None:
        raise error

    def alone(self: Recognizer, path: Path, count: int, words: bool, tell: None) -> list[Hypothesis]:
        if path == paths[1]:
            raise error
        return original(self, path, count, words, tell)

    monkeypatch.setattr(Recognizer, "transcribe_together", together)
    monkeypatch.setattr(Recognizer, "alternatives", alone)
    found = recordings.transcribe(recognizer, paths[:3], Way())
    assert [one.channels[0][0].text for one in (found[0], found[2])] == [TEXTS[0], TEXTS[2]]
    assert found[1].error.startswith(f"{paths[1]}: ") and says in found[1].error


@pytest.mark.parametrize("split", [False, True])
def test_the_progress_of_a_long_file_is_told(recognizer: Recognizer, split: bool, tmp_path: Path) -> None:
    path = stereo(tmp_path / "long.wav", " ".join(random_texts(40, 3)), "B")
    told: list[tuple[float, float]] = []
    hearing = batching(recognizer, 8, whole=3.0)
    recordings.transcribe(hearing, [path], Way(split=split), lambda *how: told.append(how))
    shares = [share for share, _ in told]
    assert {seconds for _, seconds in told} == {soundfile.info(path).duration}
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert len(set(shares)) >= 12


def test_a_batch_that_cannot_be_is_refused() -> None:
    for seconds in (0.5, 3601, float("nan")):
        with pytest.raises(ValueError, match=r"batch = .* is not within 1 to 3600"):
            Listening(batch=seconds)
