"""The ONNX file of a model: the graph, and the settings and card of the model file in its metadata.

The metadata has `format` and `schema`, `settings` and `card` (JSON, as in the model file), and for programs in other
languages `alphabet` (a JSON list; index 0 is blank), `sample_rate` (Hz), `seconds_per_frame` (of the output),
`input` (waveform, features or windows), `weights` (float32 or int8) and `asr_version`.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from asr import config
from asr.config import check_choices
from asr.errors import AsrError
from asr.export.features import FeatureGraph
from asr.export.graph import FLOAT, INT64, OPSET, Graph
from asr.export.network import NetworkGraph
from asr.files import open_atomic
from asr.model import checkpoint
from asr.model.checkpoint import Contents, ModelFileSettings
from asr.model.weights import Tensors
from asr.version import __version__

try:
    from onnxruntime import quantization
except ModuleNotFoundError:
    quantization = None

FORMAT, SCHEMA = "asr-onnx", 1
# Bytes: the limit of a protocol buffer.
_LARGEST = 2**31 - 1
# The kinds of nodes whose matrices are stored as integers: the others are small or lose accuracy.
_QUANTISED = ["MatMul", "LSTM"]


class ExportError(AsrError):
    """A model that cannot be exported, or an ONNX file that asr did not write."""


@dataclass(frozen=True)
class ExportOptions:
    """What is exported. `features`: the input, "waveform", or "mfcc" to leave out the front end.

    `quantize`: "int8" or "none". `stream`: a graph of one step of a streaming model, with its state as inputs and
    outputs.
    """

    features: str = "waveform"
    quantize: str = "none"
    stream: bool = False

    def __post_init__(self) -> None:
        check_choices(self, features=("waveform", "mfcc"), quantize=("none", "int8"))


def write(model: Path, out: Path, options: ExportOptions = ExportOptions()) -> Path:
    """Write the ONNX file of a model file into a folder and return its path; a file of the same name is replaced.

    Raises ExportError, ModelFileError and OSError.
    """
    contents, tensors = checkpoint.read(model)
    proto = _build(model, contents, tensors, options)
    _add_metadata(proto, contents, options)
    onnx.checker.check_model(proto)
    content = _quantised(proto) if options.quantize == "int8" else proto.SerializeToString()
    path = out / f"{model.stem}{'.step' if options.stream else ''}{'.int8' if options.quantize == 'int8' else ''}.onnx"
    out.mkdir(parents=True, exist_ok=True)
    with open_atomic(path) as file:
        file.write(content)
    return path


def _build(model: Path, contents: Contents, tensors: Tensors, options: ExportOptions) -> ModelProto:
    settings = contents.settings
    matrices = checkpoint.matrices(contents)
    if settings.features.kind == "given" and options.features == "waveform":
        raise ExportError(f"{model}: its features are given, not computed of a waveform; use --features mfcc")
    if matrices is None and options.features == "waveform":
        raise ExportError(
            f"{model}: the feature matrices are missing, as an older asr wrote the file; use --features mfcc"
        )
    if options.stream and not (settings.features.streams and settings.model.streams):
        raise ExportError(f"{model}: needs the whole recording, so it has no steps; leave out --stream")
    graph = Graph()
    graph.scope = "frontend/"
    batch: str | int = 1 if options.stream else "batch"
    if options.features == "mfcc":
        features = graph.input("features", FLOAT, (batch, "frames", settings.features.dimension))
        lengths = "" if options.stream else graph.input("lengths", INT64, (batch,))
    else:
        if matrices is None:
            raise AssertionError("checked above")
        front = FeatureGraph(graph, settings.features, matrices)
        waveform = graph.input("waveform", FLOAT, (batch, "samples"))
        if options.stream:
            features, lengths = front.windows(waveform), ""
        else:
            features, lengths = front.whole(waveform, graph.input("lengths", INT64, (batch,)))
    graph.scope = "network/"
    if options.stream:
        lengths = graph.unsqueeze(graph.size(features, 1), 0)
    NetworkGraph(graph, settings, tensors, options.stream).add(features, lengths)
    return graph.model(model.stem, __version__)


def _add_metadata(proto: ModelProto, contents: Contents, options: ExportOptions) -> None:
    settings = contents.settings
    values = {
        "format": FORMAT,
        "schema": str(SCHEMA),
        "settings": json.dumps(config.to_dict(settings), ensure_ascii=False),
        "card": json.dumps(contents.card, ensure_ascii=False),
        "alphabet": json.dumps(["", *settings.alphabet.characters], ensure_ascii=False),
        "sample_rate": str(settings.features.sample_rate),
        "seconds_per_frame": f"{settings.seconds_per_frame:g}",
        "input": "features" if options.features == "mfcc" else "windows" if options.stream else "waveform",
        "weights": "int8" if options.quantize == "int8" else "float32",
        "asr_version": __version__,
    }
    onnx.helper.set_model_props(proto, values)


def _quantised(proto: ModelProto) -> bytes:
    """Return a model file whose large matrices are 8-bit integers (dynamic quantisation)."""
    if quantization is None:
        raise ExportError("--quantize int8 needs onnxruntime: pip install 'asr[export]'")
    kept = [node.name for node in proto.graph.node if node.name.startswith("frontend/")]
    with tempfile.TemporaryDirectory(prefix="asr-") as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "int8.onnx")
        marked = ModelProto()
        marked.CopyFrom(proto)
        # Otherwise onnxruntime warns that it has not rewritten the graph before.
        marked.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
        source.write_bytes(marked.SerializeToString())
        quantization.quantize_dynamic(
            source,
            target,
            _QUANTISED,
            per_channel=True,
            # 7 bits: without VNNI instructions, x86 processors saturate sums of 8-bit products.
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"EnableSubgraph": True},
        )
        quantised = onnx.load(target)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(proto.metadata_props)
    content: bytes = quantised.SerializeToString()
    return content


@dataclass(frozen=True)
class Exported:
    """The metadata of an exported file, and the shape of each of its weights by name."""

    settings: ModelFileSettings
    card: dict[str, Any]
    metadata: Mapping[str, str]
    shapes: dict[str, tuple[int, ...]]


def inspect(path: Path) -> Exported:
    """Read the metadata of an exported file. Raises ExportError for any other file."""
    if not path.is_file():
        raise ExportError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}; expected an ONNX file")
    if path.stat().st_size > _LARGEST:
        raise ExportError(f"{path}: more than 2 GiB, which no ONNX file of asr has")
    try:
        proto = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ExportError(f"{path}: not an ONNX file, or a truncated one") from error
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    if metadata.get("format") != FORMAT:
        raise ExportError(f"{path}: an ONNX file, but not one that asr export wrote")
    if _external(proto):
        raise ExportError(f"{path}: its weights are in other files; asr export writes one file")
    opset = max((entry.version for entry in proto.opset_import if not entry.domain), default=0)
    if opset > OPSET:
        raise ExportError(f"{path}: opset {opset}, but this asr reads up to {OPSET}; install a newer asr")
    try:
        schema = int(metadata["schema"])
        if schema > SCHEMA:
            raise ExportError(f"{path}: schema {schema}, but this asr reads up to {SCHEMA}; install a newer asr")
        settings = config.from_dict(ModelFileSettings, json.loads(metadata["settings"]))
        card = json.loads(metadata["card"])
        if not isinstance(card, dict):
            raise ValueError("card is not a JSON object")
    except ExportError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ExportError(f"{path}: damaged metadata: {error}") from error
    shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer if "/" not in tensor.name}
    return Exported(settings, card, metadata, shapes)


def _external(proto: ModelProto) -> bool:
    constants = [attribute.t for node in proto.graph.node for attribute in node.attribute]
    return any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in [*proto.graph.initializer, *constants])
