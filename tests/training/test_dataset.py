"""From manifest rows to batches: usable and unusable rows, and the augmentation of an epoch."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.audio import AudioError
from asr.corpora.manifest import Utterance
from asr.features import Features, FeatureSettings, batching
from asr.features.augment import AugmentSettings, Masking
from asr.features.cache import Copy
from asr.features.distortion import Distortion, Excerpt
from asr.features.reference import mfcc
from asr.model import output_length
from asr.text import TextError, TextSettings
from asr.training import dataset
from asr.training.dataset import Dataset, DatasetSource, Item, NoiseError, Variation, copies_of, frames_needed

FEATURES = FeatureSettings(coefficients=5, mel_bands=10)
TEXT = TextSettings(alphabet=" ABC")
HEAVY = AugmentSettings(mel_masks=2, mel_mask_width=4, time_masks=20.0, time_mask_duration=0.05, warp=0.1)
NOTHING = AugmentSettings(mel_masks=0, time_masks=0.0)


def record(folder: Path, name: str, text: str, frames: int = 40) -> Utterance:
    """Write noise of that many frames and return its utterance."""
    samples = (frames - 1) * 160
    waveform = np.random.default_rng(sum(name.encode())).normal(0, 0.1, samples)
    soundfile.write(folder / f"{name}.wav", waveform, 16_000, subtype="FLOAT")
    return Utterance(name, str(folder / f"{name}.wav"), samples / 16_000, text)


def load(folder: Path, utterances: Sequence[Utterance], *speeds: float, text: TextSettings = TEXT) -> Dataset:
    copies = tuple((Copy(speed),) for speed in speeds or (1.0,))
    return dataset.load(DatasetSource(utterances, folder / "m.jsonl", copies), text, FEATURES, 4)


def items(data: Dataset) -> list[Item]:
    return [data[index] for index in range(len(data))]


def features_of(data: Dataset, index: int, variation: Variation | None = None) -> Features:
    """Return the features of one item, in a batch of its own."""
    batch = data.batch(np.array([index]), variation)
    assert batch.features.shape[:2] == (1, data.frames[index])
    return np.asarray(batch.features[0].numpy())


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
def test_frames_needed_counts_blanks_between_repeats(tokens: Sequence[int], frames: int) -> None:
    assert frames_needed(tokens) == frames


def test_each_of_many_transcripts_has_its_tokens(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("AB"), size=random.integers(0, 6))) for _ in range(20)]
    data = load(tmp_path, [record(tmp_path, f"u{index}", text) for index, text in enumerate(texts)])
    assert [item.text for item in items(data)] == texts
    assert [item.tokens.tolist() for item in items(data)] == [[" AB".index(c) + 1 for c in text] for text in texts]


@pytest.mark.parametrize(("characters", "kind"), [(255, np.uint8), (256, np.int32)])
def test_tokens_are_bytes_for_small_alphabets(characters: int, kind: type, tmp_path: Path) -> None:
    alphabet = "".join(map(chr, range(0x4E00, 0x4E00 + characters)))
    chosen = TextSettings(alphabet=alphabet)
    data = load(tmp_path, [record(tmp_path, "a", alphabet[-1] + alphabet[0])], text=chosen)
    assert data.tokens.dtype == kind
    assert data[0].tokens.tolist() == [characters, 1]
    assert data.batch(np.array([0])).targets.tolist() == [[characters, 1]]


@given(st.lists(st.integers(1, 3), max_size=5))
@settings(deadline=None, max_examples=50)
def test_ctc_loss_is_finite_from_frames_needed_on(tokens: list[int]) -> None:
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


def test_items_have_text_tokens_and_frames(tmp_path: Path) -> None:
    rows = [record(tmp_path, "a", "ab, c!"), record(tmp_path, "b", "Cab", 60)]
    data = load(tmp_path, rows)
    first, second = items(data)
    assert len(data) == 2
    assert (first.id, first.text, first.tokens.tolist(), first.frames) == ("a", "AB C", [2, 3, 1, 4], 40)
    assert (second.id, second.text, second.tokens.tolist(), second.frames) == ("b", "CAB", [4, 2, 3], 60)
    with pytest.raises(IndexError):
        data[2]
    assert first.duration == rows[0].duration
    assert data.seconds == pytest.approx(0.39 + 0.59)
    assert (data.unalignable, data.unknown) == ((), ())
    waveform = soundfile.read(rows[1].audio, dtype="float32")[0]
    np.testing.assert_allclose(features_of(data, 1), mfcc(waveform, FEATURES), atol=0.01)


def test_each_speed_adds_items(tmp_path: Path) -> None:
    data = load(tmp_path, [record(tmp_path, "a", "A"), record(tmp_path, "b", "B")], 0.5, 1.0, 2.0)
    assert [item.id for item in items(data)] == [
        "a at speed 0.5",
        "b at speed 0.5",
        "a",
        "b",
        "a at speed 2",
        "b at speed 2",
    ]
    assert [item.frames for item in items(data)] == [79, 79, 40, 40, 20, 20]
    assert [item.duration for item in items(data)] == pytest.approx([0.78, 0.78, 0.39, 0.39, 0.195, 0.195])
    assert [item.tokens.tolist() for item in items(data)] == [[2], [3]] * 3
    assert [len(features_of(data, index)) for index in range(6)] == [79, 79, 40, 40, 20, 20]


def test_empty_text_is_kept(tmp_path: Path) -> None:
    [item] = items(load(tmp_path, [record(tmp_path, "a", "…")]))
    assert (item.text, item.tokens.tolist()) == ("", [])


def test_segment_of_a_recording(tmp_path: Path) -> None:
    whole = record(tmp_path, "a", "", 101)
    part = Utterance("part", whole.audio, 0.25, "ABC", "s", 0.5)
    data = load(tmp_path, [part])
    assert (data[0].id, data[0].frames, data[0].duration) == ("part", 26, 0.25)
    waveform = soundfile.read(whole.audio, dtype="float32")[0]
    np.testing.assert_allclose(features_of(data, 0), mfcc(waveform[8000:12_000], FEATURES), atol=0.01)


def test_unalignable_utterances_are_left_out_and_listed(tmp_path: Path) -> None:
    # 40 input frames are 10 output frames, which hold 10 letters, or 5 of the same with 4 blanks.
    rows = [
        record(tmp_path, "fits", "ABCABCABCA"),
        record(tmp_path, "long", "ABCABCABCAB"),
        record(tmp_path, "repeats", "AAAAAA"),
        record(tmp_path, "repeats-fit", "AAAAA"),
    ]
    data = load(tmp_path, rows)
    assert [item.id for item in items(data)] == ["fits", "repeats-fit"]
    assert data.unalignable == ("long", "repeats")


def test_unalignable_fast_copy_is_left_out_alone(tmp_path: Path) -> None:
    data = load(tmp_path, [record(tmp_path, "a", "ABCABCABCA")], 0.9, 1.0, 1.1)
    assert [item.id for item in items(data)] == ["a at speed 0.9", "a"]
    assert data.unalignable == ("a at speed 1.1",)


def test_unknown_character_raises_text_error(tmp_path: Path) -> None:
    rows = [record(tmp_path, "a", "AB"), record(tmp_path, "b", "é 7 A é")]
    with pytest.raises(TextError) as caught:
        load(tmp_path, rows)
    assert str(caught.value) == (
        "row 2 (b): 'É', '7' not in the alphabet ' ABC'; correct the text, or set text.alphabet = \"auto\", "
        'or text.unknown = "drop"'
    )
    assert not (tmp_path / ".features").exists()


def test_unknown_characters_with_drop_leave_the_row_out(tmp_path: Path) -> None:
    rows = [record(tmp_path, name, text) for name, text in (("a", "AB"), ("b", "É"), ("c", "C"), ("d", "A7"))]
    data = load(tmp_path, rows, 1.0, 0.9, text=TextSettings(alphabet=" ABC", unknown="drop"))
    assert [item.id for item in items(data)] == ["a", "c", "a at speed 0.9", "c at speed 0.9"]
    assert data.unknown == ("b", "d")
    # The features go with their own texts although rows between them are gone.
    waveform = soundfile.read(rows[2].audio, dtype="float32")[0]
    np.testing.assert_allclose(features_of(data, 1), mfcc(waveform, FEATURES), atol=0.01)
    assert [item.text for item in items(data)] == ["AB", "C"] * 2


def test_keep_all_keeps_unusable_rows_without_tokens(tmp_path: Path) -> None:
    rows = [record(tmp_path, name, text) for name, text in (("a", "AB"), ("b", "É A"), ("c", "A" * 20), ("d", "C"))]
    source = DatasetSource(rows, tmp_path / "m.jsonl", keep_all=True)
    data = dataset.load(source, TextSettings(alphabet=" ABC", unknown="drop"), FEATURES, 4)
    assert [item.id for item in items(data)] == ["a", "b", "c", "d"]
    assert [item.text for item in items(data)] == ["AB", "É A", "A" * 20, "C"]
    assert [item.tokens.tolist() for item in items(data)] == [[2, 3], [], [], [4]]
    assert data.trained.tolist() == [True, False, False, True]
    assert data.token_counts.tolist() == [2, 0, 0, 1]
    assert (data.unknown, data.unalignable) == (("b",), ("c",))
    batch = data.batch(np.arange(4))
    assert batch.target_lengths.tolist() == [2, 0, 0, 1]
    assert batch.targets.tolist() == [[2, 3], [0, 0], [0, 0], [4, 0]]


def test_columns_agree_with_items(tmp_path: Path) -> None:
    rows = [record(tmp_path, f"u{number}", "ABCA"[:number], 30 + number) for number in range(5)]
    data = load(tmp_path, rows, 0.9, 1.0, 2.0)
    assert data.durations.tolist() == pytest.approx([item.duration for item in items(data)])
    assert data.token_counts.tolist() == [len(item.tokens) for item in items(data)]
    assert data.frames.tolist() == [item.frames for item in items(data)]
    assert [data.tokens_of(index).tolist() for index in range(len(data))] == [
        item.tokens.tolist() for item in items(data)
    ]
    assert data.seconds == pytest.approx(sum(item.duration for item in items(data)))


def test_columns_need_few_bytes_per_item(tmp_path: Path) -> None:
    # A million utterances at three speeds must fit beside the network.
    data = load(tmp_path, [record(tmp_path, "a", "ABC"), record(tmp_path, "b", "A")], 0.9, 1.0)
    columns = (data.rows, data.speed_indices, data.frames, data.trained)
    assert all(len(column) == 4 for column in columns)
    assert sum(column.itemsize for column in columns) == 10
    assert data.tokens.dtype == np.uint8
    assert (len(data.tokens), len(data.ends)) == (4, 2)  # not again for every speed


def test_dataset_without_usable_rows_is_empty(tmp_path: Path) -> None:
    data = load(tmp_path, [record(tmp_path, "a", "É")], text=TextSettings(alphabet="A", unknown="drop"))
    assert (items(data), data.unknown, data.seconds) == ([], ("a",), 0)
    assert (len(data.durations), len(data.token_counts)) == (0, 0)


def test_missing_recording_is_named(tmp_path: Path) -> None:
    rows = [record(tmp_path, "a", "A"), record(tmp_path, "b", "B")]
    Path(rows[1].audio).unlink()
    with pytest.raises(AudioError, match=r"b\.wav: No such file or directory \(utterance b\)$"):
        load(tmp_path, rows)


def test_progress_covers_all_speeds(tmp_path: Path) -> None:
    rows = [record(tmp_path, "a", "A"), record(tmp_path, "b", "B")]
    reported: list[tuple[float, float, int]] = []
    source = DatasetSource(rows, tmp_path / "m.jsonl", tuple((Copy(speed),) for speed in (1.0, 0.5, 2.0)))
    dataset.load(source, TEXT, FEATURES, 4, lambda *now: reported.append(now))
    assert [done for done, _, _ in reported] == pytest.approx([0.39 * n for n in (1, 2, 4, 6, 6.5, 7)])
    assert [total for _, total, _ in reported] == pytest.approx([0.39 * 7] * 6)


@pytest.mark.parametrize(
    ("chosen", "characters"),
    [
        (TextSettings(alphabet="AZ"), "AZ"),
        (TextSettings(alphabet="auto"), " 'DENRÉ"),
        (TextSettings(alphabet="auto", normaliser="none"), " Edenré’"),
    ],
)
def test_alphabet_of_settings_or_texts(chosen: TextSettings, characters: str) -> None:
    rows = [Utterance("a", "a.wav", 1.0, "Ende ’né"), Utterance("b", "b.wav", 1.0, "Erd’")]
    assert dataset.alphabet_of(rows, chosen).characters == characters


# Batches, masks and noise


@pytest.fixture(scope="module")
def noise_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one noise recording in a subfolder, and files that are not recordings."""
    folder = tmp_path_factory.mktemp("noise")
    (folder / "hum").mkdir()
    hum = 0.2 * np.sin(np.arange(5000) / 3)
    soundfile.write(folder / "hum" / "hum.WAV", hum, 16_000, subtype="FLOAT", format="WAV")
    (folder / "licence.txt").write_text("free")
    (folder / "._hum.wav").write_bytes(b"what macOS leaves on other disks")
    (folder / "folder.wav").mkdir()
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the recordings of `data`."""
    return tmp_path_factory.mktemp("dataset")


@pytest.fixture(scope="module")
def data(recordings: Path, noise_folder: Path) -> Dataset:
    """Twelve utterances of 20 to 75 frames, at two speeds, with two noisy copies of each."""
    folder = recordings
    rows = [record(folder, f"u{number}", "ABC"[: number % 4], 20 + 5 * number) for number in range(12)]
    copies = copies_of(AugmentSettings(speeds=(1.0, 0.9), noise=str(noise_folder), noise_copies=2), rows)
    return dataset.load(DatasetSource(rows, folder / "m.jsonl", copies), TEXT, FEATURES, 4)


def vary(
    settings: AugmentSettings = HEAVY, share: float = 0.0, seed: tuple[int, int] = (1, 2), strength: float = 1.0
) -> Variation:
    return Variation(Masking(settings, FEATURES, strength), share, seed)


def test_batches_contain_the_items_of_their_indices(data: Dataset) -> None:
    seen: list[int] = []
    for indices in batching.plan(data.frames, 150):
        batch = data.batch(indices)
        assert batch.features.shape[0] * batch.features.shape[1] <= 150
        for row, index in enumerate(indices.tolist()):
            item = data[index]
            assert int(batch.feature_lengths[row]) == item.frames
            np.testing.assert_array_equal(batch.features[row, : item.frames].numpy(), features_of(data, index))
            assert not batch.features[row, item.frames :].any()
            assert batch.targets[row, : int(batch.target_lengths[row])].tolist() == item.tokens.tolist()
        seen += indices.tolist()
    assert sorted(seen) == list(range(24))


def test_features_without_variation_are_clean_and_normalised(data: Dataset, recordings: Path) -> None:
    waveform = soundfile.read(recordings / "u3.wav", dtype="float32")[0]
    np.testing.assert_allclose(features_of(data, 3), mfcc(waveform, FEATURES), atol=0.01)
    np.testing.assert_array_equal(features_of(data, 3, vary(strength=0.0)), features_of(data, 3))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_augmentation_does_not_depend_on_the_batch(share: float, data: Dataset) -> None:
    def epoch(longest: int) -> dict[int, bytes]:
        result = {}
        for indices in batching.plan(data.frames, longest, np.random.default_rng(longest)):
            batch = data.batch(indices, vary(share=share))
            for row, index in enumerate(indices.tolist()):
                result[index] = batch.features[row, : int(batch.feature_lengths[row])].numpy().tobytes()
        return result

    assert epoch(80) == epoch(200) == epoch(5000)


def test_augmentation_differs_between_epochs_and_seeds(data: Dataset) -> None:
    def epoch(seed: tuple[int, int]) -> list[bytes]:
        return [features_of(data, index, vary(seed=seed)).tobytes() for index in range(24)]

    first = epoch((1, 2))
    assert epoch((1, 2)) == first
    for seed in ((1, 3), (2, 2), (2, 1)):
        assert sum(one != other for one, other in zip(first, epoch(seed), strict=True)) >= 20


def test_items_of_one_recording_have_different_masks(tmp_path: Path) -> None:
    one = record(tmp_path, "a", "A")
    data = load(tmp_path, [one, dataclasses.replace(one, id="b")])
    np.testing.assert_array_equal(features_of(data, 0), features_of(data, 1))
    assert np.abs(features_of(data, 0, vary()) - features_of(data, 1, vary())).max() > 0.1


def test_faster_speech_still_has_room_for_its_tokens(tmp_path: Path) -> None:
    text = "ABC" * 5  # 15 output frames of the 16 that 61 frames have
    dataset = load(tmp_path, [record(tmp_path, "u", text, 61)], 1.0)
    assert dataset.shortest.tolist() == [57]
    assert output_length(57, 4) == 15 and output_length(56, 4) == 14
    faster = AugmentSettings(mel_masks=0, time_masks=0.0, tempo=0.5)
    batches = [dataset.batch(np.array([0]), vary(faster, seed=(1, epoch))) for epoch in range(40)]
    lengths = [int(batch.feature_lengths[0]) for batch in batches]
    assert min(lengths) == 57 and 100 < max(lengths) <= 122
    assert len(features_of(dataset, 0)) == 61


def test_masked_features_are_normalised_by_unmasked_statistics(data: Dataset) -> None:
    for index in (5, 11, 23):
        clean = data.caches[int(data.speed_indices[index])][0][int(data.rows[index])]
        # None of the masks' chances went to noise: there is one draw for that, before them.
        random = np.random.default_rng((1, 2, index))
        random.random()
        frames = Masking(HEAVY, FEATURES)(clean, random)
        expected = (frames - clean.mean(axis=0)) / clean.std(axis=0)
        np.testing.assert_allclose(features_of(data, index, vary()), expected, atol=1e-4)
        assert (
            np.abs(features_of(data, index, vary()) - (frames - frames.mean(axis=0)) / frames.std(axis=0)).max() > 0.05
        )


def noisy_copy(data: Dataset, index: int, variation: Variation) -> int:
    """Return the index of the copy of an item that the epoch uses, 0 for the clean copy."""
    result = features_of(data, index, variation)
    row, copies = int(data.rows[index]), data.caches[int(data.speed_indices[index])]
    [number] = [
        number
        for number, copy in enumerate(copies)
        if np.allclose(result, (copy[row] - copy[row].mean(axis=0)) / copy[row].std(axis=0), atol=1e-4)
    ]
    return number


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_noise_share_of_the_items_is_noisy(share: float, data: Dataset) -> None:
    chosen = [
        noisy_copy(data, index, vary(NOTHING, share, (1, epoch))) for epoch in range(10) for index in range(len(data))
    ]
    assert np.mean(np.array(chosen) > 0) == pytest.approx(share, abs=0.1 if 0 < share < 1 else 0)
    if share:
        assert np.mean(np.array(chosen) == 1) == pytest.approx(share / 2, abs=0.1)
        assert set(chosen) == ({0, 1, 2} if share < 1 else {1, 2})


def test_without_noisy_copies_features_are_clean(tmp_path: Path) -> None:
    data = load(tmp_path, [record(tmp_path, "a", "A")])
    np.testing.assert_allclose(features_of(data, 0, vary(NOTHING, 1.0)), features_of(data, 0), atol=1e-5)


# Copies


def test_copies_have_the_clean_one_first_at_each_speed(noise_folder: Path) -> None:
    plain = copies_of(AugmentSettings(speeds=(0.9, 1.0)), [])
    assert plain == ((Copy(0.9),), (Copy(1.0),))
    settings = AugmentSettings(
        speeds=(0.9, 1.0), noise=str(noise_folder), noise_copies=2, noise_snr_low=3.0, noise_snr_high=7.0
    )
    copies = copies_of(settings, [])
    files = (str((noise_folder / "hum" / "hum.WAV").resolve()),)
    numbers = set()
    assert [len(of_speed) for of_speed in copies] == [3, 3]
    for speed, (clean, *noisy) in zip((0.9, 1.0), copies, strict=True):
        assert clean == Copy(speed)
        for copy in noisy:
            assert copy.distortion is not None
            number = copy.distortion.number
            assert copy == Copy(speed, Distortion(noise=files, low=3.0, high=7.0, number=number))
            numbers.add(number)
    assert len(numbers) == 4  # no two copies of an utterance have the same noise


def test_frames_are_those_of_the_longest_copy(tmp_path: Path) -> None:
    rows = [record(tmp_path, f"u{number}", "A") for number in range(8)]
    copies = copies_of(AugmentSettings(speeds=(1.0,), silence=1.0), rows)
    data = dataset.load(DatasetSource(rows, tmp_path / "m.jsonl", copies), TEXT, FEATURES, 4)
    clean, distorted = data.caches[0]
    assert (distorted.lengths > clean.lengths).any()
    np.testing.assert_array_equal(data.frames, np.maximum(clean.lengths, distorted.lengths))


def test_distortions_are_those_of_the_settings(tmp_path: Path) -> None:
    rows = [record(tmp_path, f"u{number}", "A") for number in range(120)]
    settings = AugmentSettings(
        speeds=(1.0,),
        babble=0.4,
        synthetic_noise=0.3,
        reverberation=0.2,
        telephone=0.1,
        codec=0.5,
        silence=2,
        gain=30,
        level_changes=0.3,
        clicks=0.2,
    )
    ((_, copy),) = copies_of(settings, rows)
    assert copy.distortion is not None
    voices = copy.distortion.voices
    assert len(set(voices)) == 100
    assert voices[0] == Excerpt(rows[0].audio, 0.0, rows[0].duration)
    assert dataclasses.replace(copy.distortion, voices=()) == Distortion(
        babble=0.4,
        synthetic=0.3,
        reverberation=0.2,
        telephone=0.1,
        codec=0.5,
        silence=2,
        gain=30,
        level_changes=0.3,
        clicks=0.2,
    )


@pytest.mark.parametrize("content", ["missing", "empty", "a file", "no recordings"])
def test_noise_folder_without_recordings_raises_noise_error(content: str, tmp_path: Path) -> None:
    folder = tmp_path / "noise"
    if content == "a file":
        folder.write_bytes(b"x")
    elif content != "missing":
        folder.mkdir()
    if content == "no recordings":
        (folder / "a.txt").write_text("x")
        (folder / "b.wav").mkdir()
    with pytest.raises(NoiseError) as caught:
        copies_of(AugmentSettings(noise=str(folder)), [])
    assert str(caught.value) == f"augment.noise = {str(folder)!r}: not a folder with recordings"
    assert isinstance(caught.value, ValueError)


def test_corpus_statistics_are_those_of_the_clean_speech(tmp_path: Path) -> None:
    utterances = [record(tmp_path, name, "A", 30 + 10 * place) for place, name in enumerate("abc")]
    data = load(tmp_path, utterances, 1.0, 1.1)
    result = dataset.with_corpus_statistics(data)
    frames = np.concatenate([data.caches[0][0][row] for row in range(len(data.caches[0][0].lengths))])
    np.testing.assert_allclose(result.mean, frames.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(result.scale, frames.std(axis=0), rtol=1e-3)
