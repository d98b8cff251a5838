"""The packed file: the same model with rounded log-probabilities, smaller, and refused when damaged."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.lm import LmError
from asr.lm.ngram import NgramModel, binary, packed, trie
from asr.lm.ngram.estimate import EstimateSettings, estimate
from asr.lm.ngram.prune import prune
from asr.lm.ngram.trie import spans
from tests.lm.samples import ngram_scores, sentences
from tests.lm.test_ngram_arpa import same


@pytest.fixture
def model() -> NgramModel:
    return estimate(sentences(300, "abcdé"), EstimateSettings(3))


def test_round_trip_rounds_the_log_probs_only(model: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "lm.bin"
    packed.write(path, model)
    found = binary.load(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["lm.bin"]
    # Frequent words have low ids in the file.
    order = np.array([model.words.index(word) for word in found.words], np.int32)
    unigrams = model.arrays.log_probs[1 + order[1:]]
    assert found.words[0] == "<unk>" and (unigrams[1:] <= unigrams[:-1]).all() and found.counts == model.counts
    model = trie.reordered(model, order)
    for name in ("words", "first_child", "suffix"):
        assert np.array_equal(getattr(found.arrays, name), getattr(model.arrays, name))
    for name in ("log_probs", "backoffs"):
        difference = np.abs(getattr(found.arrays, name) - getattr(model.arrays, name))
        assert difference.max() <= packed.STEP / 2 + 1e-5
    # The search is compiled for read-only arrays.
    assert not any(array.flags.writeable for array in found.arrays)


def test_pruned_model_without_all_suffixes(model: NgramModel, tmp_path: Path) -> None:
    pruned = prune(model, 3e-3)
    assert len(pruned.counts) == 3
    packed.write(tmp_path / "lm.bin", pruned, 1e-6)
    found = packed.read(tmp_path / "lm.bin")
    for text in sentences(50, "abcdé"):
        assert ngram_scores(found, text) == pytest.approx(ngram_scores(pruned, text), abs=1e-4)
    first = trie.reordered(pruned, np.array([pruned.words.index(word) for word in found.words], np.int32))
    assert np.array_equal(found.arrays.suffix, first.arrays.suffix)
    # There are such n-grams: their suffix is shorter by more than one word.
    shortest = spans(pruned.counts)[1][0]
    assert (pruned.arrays.suffix[spans(pruned.counts)[2][0] :] < shortest).any()


def test_read_format_1() -> None:
    model = packed.read(Path(__file__).parent / "packed-1.bin")
    expected = estimate(sentences(20, "ab"), EstimateSettings(2))
    for text in sentences(10, "ab", seed=5):
        assert ngram_scores(model, text) == pytest.approx(ngram_scores(expected, text), abs=1e-2)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's cache folder, in which models of any size are unpacked."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(binary, "user_cache", lambda: folder)
    monkeypatch.setattr(binary, "_WORTH_CACHING", 0)
    return folder


def unpacked(cache: Path) -> list[Path]:
    return sorted(cache.glob("lm-*/lm.bin"))


def test_the_unpacked_form_is_mapped_the_second_time(
    model: NgramModel, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lm.bin"
    packed.write(path, model)
    first = binary.load(path)
    assert len(unpacked(cache)) == 1 and len(list(cache.rglob("*"))) == 2
    monkeypatch.setattr(packed, "read", None)
    assert same(binary.load(path), first)
    # A copy with another time is the same file.
    (tmp_path / "copy.bin").write_bytes(path.read_bytes())
    os.utime(tmp_path / "copy.bin", (1, 1))
    assert same(binary.load(tmp_path / "copy.bin"), first)
    assert len(unpacked(cache)) == 1


def test_a_damaged_unpacked_form_is_written_anew(model: NgramModel, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "lm.bin"
    packed.write(path, model)
    first = binary.load(path)
    (target,) = unpacked(cache)
    whole = target.read_bytes()
    for damaged in (whole[:-64], whole[:-100] + b"?" + whole[-99:], b""):
        target.write_bytes(damaged)
        assert same(binary.load(path), first)
        assert target.read_bytes() == whole


def test_a_damaged_packed_file_is_refused_despite_its_unpacked_form(
    model: NgramModel, tmp_path: Path, cache: Path
) -> None:
    path = tmp_path / "lm.bin"
    packed.write(path, model)
    binary.load(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, (1, 1))
    with pytest.raises(LmError, match=r"lm\.bin: damaged or truncated"):
        binary.load(path)


def test_nothing_is_cached_where_no_folder_can_be_written(model: NgramModel, tmp_path: Path, cache: Path) -> None:
    packed.write(tmp_path / "lm.bin", model)
    cache.touch()
    assert same(binary.load(tmp_path / "lm.bin"), packed.read(tmp_path / "lm.bin"))


def test_small_files_are_not_cached(model: NgramModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "user_cache", lambda: tmp_path / "cache")
    packed.write(tmp_path / "lm.bin", model)
    binary.load(tmp_path / "lm.bin")
    assert not (tmp_path / "cache").exists()


def test_perplexity_is_unchanged(model: NgramModel, tmp_path: Path) -> None:
    packed.write(tmp_path / "lm.bin", model)
    texts = [" ".join(sentence) for sentence in sentences(50, "abcdé")]
    before, after = model.perplexity(texts), packed.read(tmp_path / "lm.bin").perplexity(texts)
    assert after.per_word == pytest.approx(before.per_word, rel=3e-3)


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


@pytest.mark.parametrize("name", ["words", "children"])
@pytest.mark.parametrize("number", [1, -2])
def test_read_inconsistent_file_with_a_correct_checksum(
    number: int, name: str, model: NgramModel, tmp_path: Path
) -> None:
    path = tmp_path / "lm.bin"
    packed.write(path, model)
    prefix = struct.Struct("<17sIII")
    magic, version, length, _ = prefix.unpack_from(path.read_bytes())
    body = path.read_bytes()[prefix.size :]
    header, start, parts = json.loads(body[:length]), length, []
    for array, (count, size) in header["arrays"].items():
        part = bytearray(zlib.decompress(body[start : start + size]))
        start += size
        if array == name:
            # The highest byte of one number.
            part[3 * count + number % count] = 1
        parts.append(zlib.compress(part))
        header["arrays"][array] = [count, len(parts[-1])]
    encoded = json.dumps(header).encode()
    body = b"".join([encoded, *parts])
    path.write_bytes(prefix.pack(magic, version, len(encoded), zlib.crc32(body, len(encoded))) + body)
    with pytest.raises(LmError, match=r"lm\.bin: invalid content of a packed language model"):
        packed.read(path)


def test_read_newer_format(model: NgramModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "FORMAT", 9)
    packed.write(tmp_path / "lm.bin", model)
    monkeypatch.undo()
    with pytest.raises(LmError, match="packed format 9, but this version reads formats 1 to 2"):
        binary.load(tmp_path / "lm.bin")
