"""The packed file: the same model with rounded log-probabilities, smaller, and refused when damaged."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.lm import LmError
from asr.lm.ngram import NgramModel, binary, packed
from asr.lm.ngram.estimate import EstimateSettings, estimate
from tests.lm.samples import sentences


@pytest.fixture
def model() -> NgramModel:
    return estimate(sentences(300, "abcdé"), EstimateSettings(3))


def test_round_trip_rounds_the_log_probs_only(model: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "lm.bin"
    packed.write(path, model)
    found = binary.load(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["lm.bin"]
    assert found.words == model.words and found.counts == model.counts
    for name in ("words", "first_child", "suffix"):
        assert np.array_equal(getattr(found.arrays, name), getattr(model.arrays, name))
    for name in ("log_probs", "backoffs"):
        difference = np.abs(getattr(found.arrays, name) - getattr(model.arrays, name))
        assert difference.max() <= packed.STEP / 2 + 1e-5
    # The search is compiled for read-only arrays.
    assert not any(array.flags.writeable for array in found.arrays)


def test_perplexity_is_unchanged(model: NgramModel, tmp_path: Path) -> None:
    packed.write(tmp_path / "lm.bin", model)
    texts = [" ".join(sentence) for sentence in sentences(50, "abcdé")]
    before, after = model.perplexity(texts), packed.read(tmp_path / "lm.bin").perplexity(texts)
    assert after.per_word == pytest.approx(before.per_word, rel=packed.STEP)


def test_file_is_smaller_than_the_binary_file(model: NgramModel, tmp_path: Path) -> None:
    packed.write(tmp_path / "packed", model)
    binary.write(tmp_path / "binary", model)
    assert (tmp_path / "packed").stat().st_size < (tmp_path / "binary").stat().st_size / 2


@given(position=st.floats(0, 1), flip=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=60, deadline=None)
def test_read_damaged_file(position: float, flip: int, cut: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    packed.write(path, estimate(sentences(30, "ab"), EstimateSettings(2)))
    content = bytearray(path.read_bytes())
    at = min(int(position * len(content)), len(content) - 1)
    if cut:
        del content[at:]
    else:
        content[at] ^= flip
    path.write_bytes(content)
    with pytest.raises(LmError, match=str(path)) as caught:
        packed.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["words", "first_child"])
def test_read_inconsistent_file_with_a_correct_checksum(model: NgramModel, name: str, tmp_path: Path) -> None:
    wrong = getattr(model.arrays, name).copy()
    wrong[-2] += 10_000
    path = tmp_path / "lm.bin"
    packed.write(path, NgramModel(model.words, model.counts, model.arrays._replace(**{name: wrong})))
    with pytest.raises(LmError, match=r"lm\.bin: invalid content of a packed language model"):
        packed.read(path)


def test_read_newer_format(model: NgramModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "FORMAT", 9)
    packed.write(tmp_path / "lm.bin", model)
    monkeypatch.undo()
    with pytest.raises(LmError, match="packed format 9, but this version reads format 1"):
        binary.load(tmp_path / "lm.bin")
