"""ONNX files: the same log-probabilities as the model's, in any batch, and refusal of all other files in one line."""

import dataclasses
import itertools
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asr.audio import load
from asr.decoding import best_path
from asr.features import FeatureSettings
from asr.features.frontend import Frontend
from asr.features.reference import matrices
from asr.model import CELLS, ModelSettings, checkpoint, network
from asr.model.checkpoint import ModelFileSettings
from asr.model.inference import Network
from asr.text import Alphabet, TextSettings
from tests.conftest import ROOT

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from asr.export import ExportError, ExportOptions, inspect, write  # noqa: E402

BUNDLED = ROOT / "asr/recognition/bundled/english-small.safetensors"
SAMPLES = sorted((ROOT / "data/samples").glob("*.opus"))
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
MFCC = ExportOptions(features="mfcc")
Floats = NDArray[np.float32]


def save(
    folder: Path, features: FeatureSettings | None = None, model: ModelSettings | None = None, phonemes: str = ""
) -> tuple[Path, Network, Frontend]:
    """Write a model file of random weights; return its path, network and front end."""
    settings = ModelFileSettings(
        features or FeatureSettings(coefficients=13, mel_bands=40),
        TextSettings("upper", " ABCDE", phonemes=phonemes),
        model or ModelSettings("gru", 1, 8, True, 4, 3, 0.0),
    )
    torch.manual_seed(1)
    built = network.build(settings)
    for parameter in built.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    path = folder / "model.safetensors"
    checkpoint.save(path, built, settings, {"note": "é"}, matrices(settings.features))
    _, tensors = checkpoint.read(path)
    count = settings.alphabet.outputs - len(settings.alphabet)
    return path, Network(settings.model, tensors, count), Frontend(settings.features, matrices(settings.features))


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path: Path, name: str, rows: list[Floats]) -> list[Floats]:
    """Return the log-probabilities of recordings or features in one batch, with padding that is not a number."""
    lengths = np.array(list(map(len, rows)))
    padded = np.full((len(rows), lengths.max() + 7, *rows[0].shape[1:]), np.nan, np.float32)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    log_probs, ends = session(path).run(None, {name: padded, "lengths": lengths})
    return [row[:end] for row, end in zip(log_probs, ends.tolist(), strict=True)]


def noise(*lengths: int) -> list[Floats]:
    """Return noise whose loudness changes, with silence."""
    rows = []
    for length in lengths:
        random = np.random.default_rng(length)
        waves = (
            random.normal(0, 0.1, length) * (1 + np.sin(np.arange(length) / 3000)) * (np.arange(length) % 9000 > 999)
        )
        rows.append(waves.astype(np.float32))
    return rows


def assert_equal(found: list[Floats], expected: list[Floats], limit: float = 1e-4) -> None:
    for one, other in zip(found, expected, strict=True):
        # The log-probabilities of unlikely characters are around -15.
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=limit)


@pytest.mark.parametrize(
    "shape",
    [
        ModelSettings(cell, 2, 6, bidirectional, 3, reduction, 0.0, residual, layer_norm)
        for cell, bidirectional, (reduction, residual, layer_norm) in product(
            CELLS, (True, False), ((2, True, False), (3, True, True), (4, False, True))
        )
    ]
    + [
        ModelSettings(cell, 2, 6, True, 4, 3, 0.0, chunk=chunk, lookahead=lookahead)
        for cell in CELLS
        for chunk, lookahead in ((1, 0), (4, 0), (2, 3), (3, 1))
    ],
    ids=str,
)
def test_network_alone(shape: ModelSettings, tmp_path: Path) -> None:
    path, expected, _ = save(tmp_path, model=shape)
    random = np.random.default_rng(1)
    rows = [random.normal(size=(length, 13)).astype(np.float32) for length in (23, 9, 1, 14)]
    assert_equal(run(write(path, tmp_path, MFCC), "features", rows), expected(rows), 1e-5)


def test_output_of_phonemes_is_left_out(tmp_path: Path) -> None:
    path, expected, _ = save(tmp_path, phonemes="xyz")
    rows = [np.random.default_rng(1).normal(size=(23, 13)).astype(np.float32)]
    assert expected(rows)[0].shape[1] == 7 + 5
    assert_equal(run(write(path, tmp_path, MFCC), "features", rows), [row[:, :7] for row in expected(rows)], 1e-5)


FEATURES = {
    "speech": {"normalisation": "speech", "top_db": 75.0},
    "speech, deltas": {"normalisation": "speech", "top_db": 0.0, "deltas": 2, "hop": 0.012},
    "utterance": {"normalisation": "utterance", "top_db": 80.0, "deltas": 1},
    "corpus": {"normalisation": "corpus", "mean": (1.0,) * 13, "scale": (9.0,) * 13, "top_db": 0.0},
    "running": {"normalisation": "running", "mean": (-9.0,) * 13, "scale": (9.0,) * 13, "top_db": 0.0},
    "none": {"normalisation": "none", "sample_rate": 8000, "window": 0.032},
}


@pytest.mark.parametrize("name", FEATURES)
def test_front_end_and_network(name: str, tmp_path: Path) -> None:
    features = FeatureSettings(coefficients=13, mel_bands=40)
    path, expected, frontend = save(tmp_path, dataclasses.replace(features, **FEATURES[name]))  # type: ignore[arg-type]
    # Shorter than a window, than the running median and than its blocks; digital silence; many blocks of speech.
    rows = [*noise(1, 300, 2000, 4999, 20_000, 290_000), np.zeros(8000, np.float32)]
    assert_equal(run(write(path, tmp_path), "waveform", rows), expected([frontend(row) for row in rows]))


def test_real_and_random_recordings_of_the_bundled_model(tmp_path: Path) -> None:
    contents, tensors = checkpoint.read(BUNDLED)
    settings, stored = contents.settings, checkpoint.matrices(contents)
    assert stored
    alphabet, frontend = Alphabet(settings.text.alphabet), Frontend(settings.features, stored)
    network = Network(settings.model, tensors, settings.alphabet.outputs - len(alphabet))
    path = write(BUNDLED, tmp_path)
    random, recordings = np.random.default_rng(3), list[Floats]()
    # Excerpts of real recordings, half of them in noise.
    for index in range(200):
        speech = load(SAMPLES[index % len(SAMPLES)], settings.features.sample_rate)
        length = int(random.integers(1000, 48_000))
        start = int(random.integers(0, len(speech) - length))
        part = speech[start : start + length]
        noisy = part + random.normal(0, 0.1 * part.std() + 1e-4, length)
        recordings.append((noisy if index % 2 else part).astype(np.float32))
    for first in range(0, 200, 25):
        rows = recordings[first : first + 25]
        found, log_probs = run(path, "waveform", rows), network([frontend(row) for row in rows])
        log_probs = [settings.alphabet.characters_of(row) for row in log_probs]
        assert_equal(found, log_probs)
        texts = [[best_path(row, alphabet).text for row in part] for part in (found, log_probs)]
        assert texts[0] == texts[1]
    assert len("".join(texts[0])) > 100


def test_int8_is_a_third_of_the_size_and_close(tmp_path: Path) -> None:
    settings = checkpoint.inspect(BUNDLED).settings
    whole, small = write(BUNDLED, tmp_path), write(BUNDLED, tmp_path, ExportOptions(quantize="int8"))
    assert small.name == "english-small.int8.onnx"
    assert small.stat().st_size < whole.stat().st_size / 3
    rows = [load(sample, settings.features.sample_rate) for sample in SAMPLES[:3]]
    exact, found = run(whole, "waveform", rows), run(small, "waveform", rows)
    same = [np.mean(one.argmax(axis=1) == other.argmax(axis=1)) for one, other in zip(found, exact, strict=True)]
    assert min(same) > 0.95


@pytest.mark.parametrize("stream", [False, True])
def test_int8_of_a_model_with_chunks(stream: bool, tmp_path: Path) -> None:
    shape = FeatureSettings(coefficients=13, mel_bands=40, normalisation="running", top_db=0.0)
    path, _, _ = save(tmp_path, shape, ModelSettings("lstm", 2, 96, True, 4, 3, 0.0, chunk=4, lookahead=3))
    whole, small = (write(path, tmp_path, ExportOptions("mfcc", kind, stream)) for kind in ("none", "int8"))
    assert small.stat().st_size < 0.35 * whole.stat().st_size
    if not stream:
        rows = [np.random.default_rng(2).normal(size=(90, 13)).astype(np.float32)]
        assert_equal(run(small, "features", rows), run(whole, "features", rows), 0.5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("features", ["waveform", "mfcc"])
@pytest.mark.parametrize(("chunk", "lookahead"), [(0, 0), (4, 0), (4, 2), (2, 7)])
def test_steps_of_a_streaming_model(cell: str, features: str, chunk: int, lookahead: int, tmp_path: Path) -> None:
    kind = "running" if features == "waveform" else "none"
    shape = FeatureSettings(coefficients=13, mel_bands=40, normalisation=kind, top_db=0.0)
    small = ModelSettings(cell, 2, 6, chunk > 0, 3, 3, 0.0, chunk=chunk, lookahead=lookahead)
    path, expected, frontend = save(tmp_path, shape, small)
    (waveform,) = noise(16_000)
    step = session(write(path, tmp_path, ExportOptions(features, stream=True)))
    first, *states = step.get_inputs()
    # The lookahead is empty at first.
    state = {
        part.name: np.zeros([size if size != "lookahead" else 0 for size in part.shape], TYPES[part.type])
        for part in states
    }
    assert {part.name for part in step.get_outputs()} == {"log_probs", *(f"next_{name}" for name in state)}
    padded = np.pad(waveform, shape.fft_length // 2)
    frames, parts = frontend(waveform), []
    ends = [*range(12 + 3 * lookahead, len(frames), 12), len(frames)]
    for start, end in itertools.pairwise([0, *ends]):
        samples = padded[start * shape.hop_length : (end - 1) * shape.hop_length + shape.fft_length]
        values = (samples if features == "waveform" else frames[start:end])[None]
        log_probs, *following = step.run(None, {first.name: values, **state})
        named = dict(zip([part.name for part in step.get_outputs()][1:], following, strict=True))
        state = {name: named[f"next_{name}"] for name in state}
        parts.append(log_probs[0] if end == len(frames) else log_probs[0, : len(log_probs[0]) - lookahead])
    assert_equal([np.concatenate(parts)], expected([frames]))


def test_metadata_and_inspection(tmp_path: Path) -> None:
    path, _, _ = save(tmp_path)
    exported = inspect(write(path, tmp_path / "new" / "folder"))
    contents = checkpoint.inspect(path)
    assert (exported.settings, exported.card) == (contents.settings, contents.card)
    metadata = exported.metadata
    assert json.loads(metadata["alphabet"]) == ["", " ", "A", "B", "C", "D", "E"]
    assert (metadata["sample_rate"], metadata["seconds_per_frame"]) == ("16000", "0.03")
    assert (metadata["input"], metadata["weights"]) == ("waveform", "float32")


# --- files and models that cannot be used -----------------------------------------------------------------------


def refused(path: Path) -> str:
    """Return why a file is refused, in one line that names it."""
    with pytest.raises(ExportError) as caught:
        inspect(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path, _, _ = save(tmp_path)
    good = write(path, tmp_path)
    content = good.read_bytes()
    for cut in (0, 1, 100, len(content) // 2, len(content) - 1):
        good.write_bytes(content[:cut])
        assert refused(good).startswith(("not an ONNX file, or a truncated one", "an ONNX file, but not one that"))
    assert refused(path) == "not an ONNX file, or a truncated one"
    assert refused(tmp_path) == "a folder; expected an ONNX file"
    assert refused(tmp_path / "none.onnx") == "no such file; expected an ONNX file"


def test_damaged_metadata_other_opsets_and_external_data_are_refused(tmp_path: Path) -> None:
    path, _, _ = save(tmp_path)
    good = write(path, tmp_path)
    for key, value, says in (
        ("format", "other", "an ONNX file, but not one that asr export wrote"),
        ("schema", "2", "schema 2, but this asr reads up to 1; install a newer asr"),
        ("settings", "{", "damaged metadata: "),
        ("settings", '{"hop": 1}', "damaged metadata: unknown key 'hop'"),
        ("card", "[]", "damaged metadata: card is not a JSON object"),
    ):
        proto = onnx.load(good)
        for entry in proto.metadata_props:
            entry.value = value if entry.key == key else entry.value
        (tmp_path / "bad.onnx").write_bytes(proto.SerializeToString())
        assert refused(tmp_path / "bad.onnx").startswith(says)
    proto = onnx.load(good)
    proto.opset_import[0].version = 99
    (tmp_path / "bad.onnx").write_bytes(proto.SerializeToString())
    assert refused(tmp_path / "bad.onnx") == "opset 99, but this asr reads up to 17; install a newer asr"
    for constant in (False, True):
        proto = onnx.load(good)
        tensor = proto.graph.node.add().attribute.add().t if constant else proto.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")
        (tmp_path / "bad.onnx").write_bytes(proto.SerializeToString())
        assert refused(tmp_path / "bad.onnx") == "its weights are in other files; asr export writes one file"


def test_models_that_cannot_be_exported(tmp_path: Path) -> None:
    path, _, _ = save(tmp_path)
    with pytest.raises(ExportError, match="needs the whole recording, so it has no steps; leave out --stream"):
        write(path, tmp_path, ExportOptions(stream=True))
    contents, tensors = checkpoint.read(path)
    checkpoint.save(path, tensors, contents.settings, {})
    with pytest.raises(ExportError, match="the feature matrices are missing, as an older asr wrote the file"):
        write(path, tmp_path)
    assert write(path, tmp_path, MFCC).is_file()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(checkpoint.ModelFileError, match="not a safetensors file, or a truncated one"):
        write(path, tmp_path, MFCC)
    with pytest.raises(ValueError, match="features = 'mel' is not one of waveform, mfcc"):
        ExportOptions("mel")
