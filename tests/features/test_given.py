"""Given features: reading arrays, bad arrays, and training, evaluation, transcription and packing with them."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asr import Recognizer, TranscribeOptions, config, recognition, training
from asr.cli import main
from asr.corpora import manifest
from asr.corpora.manifest import BadRowsError, CorpusError, Utterance
from asr.features import FeatureSettings, normalise
from asr.features.given import ArrayReader, FeatureArrayError, open_given
from asr.model import network
from asr.recognition.evaluation import evaluate
from asr.recognition.streaming import StreamError
from asr.training import TrainOptions
from asr.training.doctor import Check, diagnose
from asr.training.events import Note
from asr.training.recipe import Recipe
from tests.conftest import TINY, random_texts

GIVEN = FeatureSettings(kind="given", coefficients=3, hop=0.02, normalisation="none")
RECIPE = TINY.replace(
    "coefficients = 13\nmel_bands = 40", 'kind="given"\ncoefficients=3\nhop=0.02\nnormalisation="corpus"'
)


def frames(text: str) -> NDArray[np.float32]:
    """Return features (T, 3) that spell a text: a bump of one feature for each letter."""
    random = np.random.default_rng(len(text))
    rows = [np.zeros((4, 3))]
    for character in text:
        level = np.zeros(3) if character == " " else np.eye(3)["ABC".index(character)]
        rows += [np.tile(level, (8, 1)), np.zeros((4, 3))]
    array = np.concatenate(rows)
    return (1e-4 * (array + random.normal(0, 0.05, array.shape)) + [0, 5, 0]).astype(np.float32)


def write_arrays(folder: Path, name: str, texts: list[str]) -> Path:
    rows = []
    for number, text in enumerate(texts):
        path = folder / name / f"{name}-{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, frames(text))
        rows.append(Utterance(path.stem, str(path), 0.02 * len(frames(text)), text))
    manifest.write(folder / f"{name}.jsonl", rows)
    return folder / f"{name}.jsonl"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.jsonl, dev.jsonl, recipe.toml and a model that was trained on them."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "recipe.toml").write_text(RECIPE)
    train, dev = write_arrays(folder, "train", random_texts(60, 1)), write_arrays(folder, "dev", random_texts(12, 2))
    training.train(config.read(folder / "recipe.toml", Recipe), train, dev, folder / "run")
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Recognizer:
    return recognition.load(run / "run" / "best.safetensors")


# Reading


def test_segment_is_read_with_the_hop(tmp_path: Path) -> None:
    array = np.arange(300, dtype=np.float64).reshape(100, 3)
    np.save(tmp_path / "a.npy", array)
    reader = ArrayReader(tmp_path / "a.npy", GIVEN)
    assert reader.info.duration == pytest.approx(2.0)
    part = reader.read(offset=0.5, duration=1.0)
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, array[25:75])
    # A rounded duration means all that is left.
    assert len(reader.read(offset=0.5, duration=1.4996)) == 75
    with pytest.raises(
        FeatureArrayError, match=r"segment 0–99 s exceeds the array: 100 frames are 2.000 s, with featur"
    ):
        reader.read(duration=99.0)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 3), np.int16), "numbers of type int16; expected float32"),
        (np.zeros(4, np.float32), r"shape \(4,\); expected \(frames, 3\)"),
        (np.zeros((4, 5), np.float32), r"5 features per frame; expected 3 \(features.coefficients\)"),
        (np.array([[0, 0, 0], [0, np.nan, 0]]), "nan in frame 1, feature 1"),
        (np.array([[0, 0, 1e300]]), r"1e\+300 in frame 0, feature 2"),
        (np.array([[{}, 1, 2]], dtype=object), "not a .npy file of numbers"),
    ],
    ids=["integers", "vector", "features", "nan", "too-large", "pickle"],
)
def test_bad_array_is_one_line_naming_the_row(array: NDArray[np.generic], message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    rows = [Utterance("row-7", str(tmp_path / "a.npy"), 0.02 * len(array))]
    with pytest.raises(FeatureArrayError, match=rf"^utterance row-7: .*a\.npy: {message}") as error:
        open_given(rows, GIVEN, lambda done: None)
    assert "\n" not in str(error.value)


def test_damaged_file_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((50, 3), np.float32))
    content = (tmp_path / "a.npy").read_bytes()
    random = np.random.default_rng(1)
    for size in (0, 5, 9, 100, 300):
        (tmp_path / "b.npy").write_bytes(content[:size])
        with pytest.raises(FeatureArrayError, match=r"b\.npy"):
            ArrayReader(tmp_path / "b.npy", GIVEN)
    for _ in range(100):
        damaged = bytearray(content)
        for position in random.integers(0, 128, 3):
            damaged[position] = int(random.integers(256))
        (tmp_path / "b.npy").write_bytes(damaged)
        with suppress(FeatureArrayError):
            assert ArrayReader(tmp_path / "b.npy", GIVEN).read().shape[1] == 3


@pytest.mark.parametrize("values", [{"normalisation": "speech"}, {"deltas": 1}, {"mel_bands": 40}, {"hop": 0.0}])
def test_settings_of_audio_are_refused(values: dict[str, object]) -> None:
    [name] = values
    with pytest.raises(ValueError, match=rf"^{name}"):
        replace(GIVEN, **values)  # type: ignore[arg-type]


def test_normalisation_fits_values_of_any_scale() -> None:
    array = frames("ABC")
    normal = normalise(array, replace(GIVEN, normalisation="utterance"))
    np.testing.assert_allclose(normal.std(axis=0), 1, rtol=0.02)
    still = normalise(np.full((5, 3), 0.1, np.float32), replace(GIVEN, normalisation="utterance"))
    np.testing.assert_array_equal(still, 0)


# The manifest


def test_manifest_names_arrays_as_features(tmp_path: Path) -> None:
    path = write_arrays(tmp_path, "dev", ["A"])
    row = json.loads(path.read_text())
    assert row["features"] == "dev/dev-0.npy" and "audio" not in row
    assert manifest.read(path)[0].audio == str(tmp_path / "dev/dev-0.npy")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ('"features": "x.npy", "audio": "x.wav"', "'audio' and 'features' are both given"),
        ('"features": "x.wav"', "'features' must name a .npy file, not 'x.wav'"),
        ('"features": 3', "'features' must be a string, not 3"),
    ],
)
def test_bad_features_of_a_row_are_refused(key: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(f'{{"id": "a", {key}, "duration": 1.0}}\n')
    with pytest.raises(CorpusError, match=f"line 1: {message}"):
        manifest.read(tmp_path / "m.jsonl")


# Training and recognition


def test_training_on_arrays_lowers_the_wer(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "run" / "train.jsonl").read_text().splitlines()]
    assert rows[0]["dev_wer"] > 0.5
    assert min(row["dev_wer"] for row in rows) <= 0.1
    # Arrays are read where they are.
    assert not (run / ".features").exists()


def test_model_evaluates_and_transcribes_arrays(run: Path, model: Recognizer) -> None:
    rows = manifest.read(run / "dev.jsonl")
    whole = evaluate(model, rows)
    assert whole.score.wer.value <= 0.1
    one = rows[3]
    assert model.transcribe_file(one.audio).text == whole.transcripts[3].text
    transcript = model.transcribe(np.load(one.audio), options=TranscribeOptions(words=True))
    assert transcript.text == whole.transcripts[3].text
    assert transcript.duration == pytest.approx(one.duration)
    assert 0 <= transcript.words[0].start < transcript.words[-1].end <= one.duration + 0.08


def test_long_array_is_computed_in_windows(run: Path, model: Recognizer, tmp_path: Path) -> None:
    array = np.concatenate([frames("AB CA ") for _ in range(10)])
    np.save(tmp_path / "long.npy", array)
    whole = model.transcribe_file(tmp_path / "long.npy").text
    cut = TranscribeOptions(whole=1, window=4, overlap=2)
    assert model.transcribe_file(tmp_path / "long.npy", cut).text == whole
    assert model.transcribe(array, options=cut).text == whole


def test_network_in_torch_gives_the_same(run: Path, model: Recognizer) -> None:
    import torch

    torch_model, contents = network.load(run / "run" / "best.safetensors")
    row = manifest.read(run / "dev.jsonl")[0]
    values = normalise(np.load(row.audio), contents.settings.features)
    with torch.inference_mode():
        output = torch_model.eval()(torch.from_numpy(values)[None], torch.tensor([len(values)]))
    np.testing.assert_allclose(model.log_probs([row])[0], output.log_probs[0].numpy(), atol=1e-3)


def test_model_refuses_audio_and_streams(run: Path, tones: Path, model: Recognizer, trained: Path) -> None:
    [result] = next(model.transcribe_files([tones / "dev/dev-0.wav"]))
    assert "not a .npy file of numbers" in result.error
    for begin in (model.stream, model.live):
        with pytest.raises(StreamError, match=r'features.kind = "given"'):
            begin()
    other = recognition.load(trained / "best.safetensors")
    [result] = next(other.transcribe_files([run / "dev/dev-0.npy"]))
    assert "an array, not a sound file" in result.error


def test_bad_rows_are_listed_or_left_out(run: Path, tmp_path: Path) -> None:
    rows = manifest.read(run / "train.jsonl")
    np.save(tmp_path / "nan.npy", np.full((50, 3), np.nan))
    bad = [Utterance(name, str(tmp_path / "nan.npy"), 1.0, "A") for name in ("bad-1", "bad-2")]
    manifest.write(tmp_path / "m.jsonl", [*rows[:10], *bad])
    recipe = config.read(run / "recipe.toml", Recipe, ["training.epochs=1"])
    with pytest.raises(BadRowsError, match=r"2 of 12 .*bad-1: .*nan.npy: nan in frame 0, feature 0"):
        training.train(recipe, tmp_path / "m.jsonl", run / "dev.jsonl", tmp_path / "run")
    notes: list[str] = []
    options = TrainOptions(
        lambda event: notes.append(event.message) if isinstance(event, Note) else None, skip_bad=True
    )
    assert training.train(recipe, tmp_path / "m.jsonl", run / "dev.jsonl", tmp_path / "run", options).finished
    assert sum(note.startswith("left out: ") for note in notes) == 2


def test_augmentation_of_audio_is_refused(run: Path) -> None:
    changes = ["augment.speeds=[1.0, 1.1]", "augment.gain=3"]
    with pytest.raises(
        config.ConfigError, match=r"no audio to change: in \[augment\], set speeds = \[1.0\], gain = 0$"
    ):
        config.read(run / "recipe.toml", Recipe, changes)
    masked = config.read(run / "recipe.toml", Recipe, ["augment.time_masks=2", "augment.coefficient_masks=1"])
    assert masked.augment.time_masks == 2


def test_doctor_checks_arrays(run: Path, tmp_path: Path) -> None:
    recipe = config.read(run / "recipe.toml", Recipe)
    rows = manifest.read(run / "dev.jsonl")
    check = Check(recipe.features, recipe.text, recipe.model.time_reduction)
    assert not [each for each in diagnose({"dev": rows}, check).findings if each.kind != "leak"]
    diagnosis = diagnose({"dev": [replace(rows[0], audio=str(tmp_path / "no.npy"))]}, check)
    assert "No such file" in diagnosis.findings[0].message


def test_model_is_packed_and_evaluated(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "d.toml").write_text("greedy = true\n")
    (tmp_path / "card.md").write_text("# arrays\n")
    best = str(run / "run" / "best.safetensors")
    options = ["--decoder", str(tmp_path / "d.toml"), "--card", str(tmp_path / "card.md"), "--name", "arrays"]
    assert main(["models", "pack", best, *options, "--out", str(tmp_path / "bundle")]) == 0
    packed = str(tmp_path / "bundle" / "arrays.safetensors")
    report = str(tmp_path / "report.html")
    arguments = ["evaluate", str(run / "dev.jsonl"), "--model", packed, "--report", report, "--quiet"]
    assert main([*arguments, "--fail-above", "20"]) == 0
    assert main([*arguments, "--audio"]) == 2
    assert "--audio: given features cannot be played" in capsys.readouterr().err
    assert main(["transcribe", str(run / "dev/dev-0.npy"), "--model", packed, "--quiet"]) == 0
    assert main(["export", best, "--out", str(tmp_path)]) == 1
    assert "use --features mfcc" in capsys.readouterr().err
