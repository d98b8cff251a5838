"""From manifest rows to batches: what is kept, what is left out and named, and what masks depend on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr import dataset
from asr.audio import AudioError
from asr.augment import AugmentSettings
from asr.dataset import Dataset, Source, frames_needed
from asr.features import FeatureSettings, mfcc
from asr.manifest import Utterance
from asr.text import TextError, TextSettings

FEATURES = FeatureSettings(coefficients=5, mel_bands=10)
TEXT = TextSettings(alphabet=" ABC")
HEAVY = AugmentSettings(coefficient_masks=2, coefficient_mask_width=2, time_masks=20.0, time_mask_duration=0.05)


def record(folder: Path, name: str, text: str, frames: int = 40) -> Utterance:
    """Write noise of that many frames and return its utterance."""
    samples = (frames - 1) * 160
    waveform = np.random.default_rng(sum(name.encode())).normal(0, 0.1, samples)
    soundfile.write(folder / f"{name}.wav", waveform, 16_000, subtype="FLOAT")
    return Utterance(name, str(folder / f"{name}.wav"), samples / 16_000, text)


def load(folder: Path, utterances: Sequence[Utterance], *speeds: float, text: TextSettings = TEXT) -> Dataset:
    return dataset.load(Source(utterances, folder / ".features", speeds or (1.0,)), text, FEATURES, 4)


# Frames that CTC needs


@pytest.mark.parametrize(
    ("tokens", "frames"),
    [
        ([], 0),
        ([1], 1),
        ([1, 2, 3], 3),
        ([1, 1], 3),
        ([1, 2, 1, 2], 4),
        ([1, 1, 1], 5),
        ([1, 2, 2, 3, 3, 3], 9),
        ((5, 5, 6, 6), 6),
    ],
)
def test_repeats_need_a_blank_between_them(tokens: Sequence[int], frames: int) -> None:
    assert frames_needed(tokens) == frames


@given(st.lists(st.integers(1, 3), max_size=5))
@settings(deadline=None)
def test_ctc_can_write_the_tokens_in_the_frames_needed_and_not_in_fewer(tokens: list[int]) -> None:
    import torch
    from torch.nn.functional import ctc_loss

    def finite(frames: int) -> bool:
        uniform = torch.zeros(frames, 1, 4).log_softmax(2)
        loss = ctc_loss(uniform, torch.tensor([tokens]), torch.tensor([frames]), torch.tensor([len(tokens)]))
        return bool(torch.isfinite(loss))

    needed = frames_needed(tokens)
    assert finite(max(needed, 1))
    if needed > 1:
        assert not finite(needed - 1)


# Loading


def test_items_have_what_the_loop_needs(tmp_path: Path) -> None:
    rows = [record(tmp_path, "a", "ab, c!"), record(tmp_path, "b", "Cab", 60)]
    data = load(tmp_path, rows)
    first, second = data.items
    assert (first.id, first.text, first.tokens, first.frames) == ("a", "AB C", (2, 3, 1, 4), 40)
    assert (second.id, second.text, second.tokens, second.frames) == ("b", "CAB", (4, 2, 3), 60)
    assert first.duration == rows[0].duration
    assert data.seconds == pytest.approx(0.39 + 0.59)
    assert (data.unalignable, data.unknown) == ((), ())
    waveform = soundfile.read(rows[1].audio, dtype="float32")[0]
    np.testing.assert_allclose(second.features, mfcc(waveform, FEATURES), rtol=2**-11, atol=1e-6)


def test_every_speed_is_an_item(tmp_path: Path) -> None:
    data = load(tmp_path, [record(tmp_path, "a", "A"), record(tmp_path, "b", "B")], 0.5, 1.0, 2.0)
    assert [item.id for item in data.items] == [
        "a at speed 0.5",
        "b at speed 0.5",
        "a",
        "b",
        "a at speed 2",
        "b at speed 2",
    ]
    assert [item.frames for item in data.items] == [79, 79, 40, 40, 20, 20]
    assert [item.duration for item in data.items] == pytest.approx([0.78, 0.78, 0.39, 0.39, 0.195, 0.195])
    assert [item.tokens for item in data.items] == [(2,), (3,)] * 3
    assert [len(item.features) for item in data.items] == [79, 79, 40, 40, 20, 20]


def test_an_empty_text_is_kept(tmp_path: Path) -> None:
    [item] = load(tmp_path, [record(tmp_path, "a", "…")]).items
    assert (item.text, item.tokens) == ("", ())


def test_a_part_of_a_recording_is_an_item(tmp_path: Path) -> None:
    whole = record(tmp_path, "a", "", 101)
    part = Utterance("part", whole.audio, 0.25, "ABC", "s", 0.5)
    [item] = load(tmp_path, [part]).items
    waveform = soundfile.read(whole.audio, dtype="float32")[0]
    np.testing.assert_allclose(item.features, mfcc(waveform[8000:12_000], FEATURES), rtol=2**-11, atol=1e-6)


def test_what_ctc_cannot_align_is_left_out_and_named(tmp_path: Path) -> None:
    # 40 input frames are 10 output frames, which hold 10 letters, or 5 of the same with 4 blanks.
    rows = [
        record(tmp_path, "fits", "ABCABCABCA"),
        record(tmp_path, "long", "ABCABCABCAB"),
        record(tmp_path, "repeats", "AAAAAA"),
        record(tmp_path, "repeats-fit", "AAAAA"),
    ]
    data = load(tmp_path, rows)
    assert [item.id for item in data.items] == ["fits", "repeats-fit"]
    assert data.unalignable == ("long", "repeats")


def test_a_faster_copy_may_be_left_out_alone(tmp_path: Path) -> None:
    data = load(tmp_path, [record(tmp_path, "a", "ABCABCABCA")], 0.9, 1.0, 1.1)
    assert [item.id for item in data.items] == ["a at speed 0.9", "a"]
    assert data.unalignable == ("a at speed 1.1",)


def test_a_character_outside_the_alphabet_is_an_error(tmp_path: Path) -> None:
    rows = [record(tmp_path, "a", "AB"), record(tmp_path, "b", "é 7 A é")]
    with pytest.raises(TextError) as caught:
        load(tmp_path, rows)
    assert str(caught.value) == (
        "row 2 (b): 'É', '7' not in the alphabet ' ABC'; correct the text, or set text.alphabet = \"auto\", "
        'or text.unknown = "drop"'
    )
    assert not (tmp_path / ".features").exists()


def test_or_it_is_dropped_and_named(tmp_path: Path) -> None:
    rows = [record(tmp_path, name, text) for name, text in (("a", "AB"), ("b", "É"), ("c", "C"), ("d", "A7"))]
    data = load(tmp_path, rows, 1.0, 0.9, text=TextSettings(alphabet=" ABC", unknown="drop"))
    assert [item.id for item in data.items] == ["a", "c", "a at speed 0.9", "c at speed 0.9"]
    assert data.unknown == ("b", "d")
    # The features go with their own texts although rows between them are gone.
    waveform = soundfile.read(rows[2].audio, dtype="float32")[0]
    np.testing.assert_allclose(data.items[1].features, mfcc(waveform, FEATURES), rtol=2**-11, atol=1e-6)


def test_nothing_may_be_left(tmp_path: Path) -> None:
    data = load(tmp_path, [record(tmp_path, "a", "É")], text=TextSettings(alphabet="A", unknown="drop"))
    assert (data.items, data.unknown, data.seconds) == ((), ("a",), 0)


def test_a_recording_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    rows = [record(tmp_path, "a", "A"), record(tmp_path, "b", "B")]
    Path(rows[1].audio).unlink()
    with pytest.raises(AudioError, match=r"b\.wav: No such file or directory \(utterance b\)$"):
        load(tmp_path, rows)


def test_progress_runs_over_all_speeds(tmp_path: Path) -> None:
    rows = [record(tmp_path, "a", "A"), record(tmp_path, "b", "B")]
    told: list[tuple[float, float]] = []
    source = Source(rows, tmp_path / ".features", (1.0, 0.9, 1.1))
    dataset.load(source, TEXT, FEATURES, 4, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == pytest.approx([0.39 * n for n in range(1, 7)])
    assert {total for _, total in told} == {told[-1][0]}


@pytest.mark.parametrize(
    ("chosen", "characters"),
    [
        (TextSettings(alphabet="AZ"), "AZ"),
        (TextSettings(alphabet="auto"), " 'DENRÉ"),
        (TextSettings(alphabet="auto", normaliser="none"), " Edenré’"),
    ],
)
def test_the_alphabet_is_the_settings_or_that_of_the_texts(chosen: TextSettings, characters: str) -> None:
    rows = [Utterance("a", "a.wav", 1.0, "Ende ’né"), Utterance("b", "b.wav", 1.0, "Erd’")]
    assert dataset.alphabet_of(rows, chosen).characters == characters


# Batches and masks


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve utterances of 20 to 75 frames."""
    folder = tmp_path_factory.mktemp("dataset")
    return load(folder, [record(folder, f"u{number}", "ABC"[: number % 4], 20 + 5 * number) for number in range(12)])


def test_batches_hold_what_their_indices_say(data: Dataset) -> None:
    seen: list[int] = []
    for indices, batch in dataset.batches(data, 150):
        assert batch.features.shape[0] * batch.features.shape[1] <= 150
        for row, index in enumerate(indices):
            item = data.items[index]
            assert int(batch.feature_lengths[row]) == item.frames
            np.testing.assert_array_equal(batch.features[row, : item.frames].numpy(), item.features)
            assert tuple(batch.targets[row, : int(batch.target_lengths[row])].tolist()) == item.tokens
        seen += indices
    assert sorted(seen) == list(range(12))


def masked(data: Dataset, longest: int, seed: tuple[int, int], **changed: Any) -> dict[int, tuple[float, ...]]:
    """Return the masked features of each index, flattened, of batches of at most `longest` frames."""
    found = {}
    for indices, batch in dataset.batches(data, longest, np.random.default_rng(longest)):
        after = dataset.masked(batch, indices, changed.get("settings", HEAVY), FEATURES.hop, seed)
        for row, index in enumerate(indices):
            length = data.items[index].frames
            assert not after.features[row, length:].any()
            found[index] = tuple(after.features[row, :length].flatten().tolist())
    return found


def test_masks_depend_on_the_seed_and_the_utterance_alone(data: Dataset) -> None:
    assert masked(data, 80, (1, 2)) == masked(data, 150, (1, 2)) == masked(data, 1000, (1, 2))


def test_masks_differ_between_epochs_runs_and_utterances(data: Dataset) -> None:
    first = masked(data, 150, (1, 2))
    for seed in ((1, 3), (2, 2), (2, 1)):
        other = masked(data, 150, seed)
        assert sum(first[index] != other[index] for index in first) >= 10
    plain = masked(data, 150, (1, 2), settings=AugmentSettings(coefficient_masks=0, time_masks=0.0))
    assert all(plain[index] == tuple(data.items[index].features.flatten().tolist()) for index in plain)
    hidden = {index: np.not_equal(first[index], plain[index])[:100].tobytes() for index in first}
    assert len(set(hidden.values())) >= 10
