"""What runs on the nodes: tasks that transcribe files or try decoder settings, and the model that each worker loads."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from asr.corpora.manifest import Utterance
from asr.errors import AsrError
from asr.recognition import Recognizer, TranscribeOptions, load
from asr.transcripts.records import FileResult
from asr.version import __version__

if TYPE_CHECKING:
    # It imports numba and the language models, which greedy decoding does not need.
    from asr.decoding.alignment import LogProbs
    from asr.decoding.decoder import DecoderSettings, LanguageModels

Argument = TypeVar("Argument")
Result = TypeVar("Result")
Source = Path | Utterance


class ClusterError(AsrError):
    """A cluster that cannot be used, or a node that cannot do its part; the message names it and the mend."""


@dataclass(frozen=True)
class ModelSpec:
    """What a node loads: a model file, the settings of its decoder (None: greedy), and the scores (nats) of hotwords.

    `compiled`: whether the search is compiled first. `files`: the absolute path and the size in bytes of each file, so
    that a node can check that it has the same. `espeak`: whether espeak-ng may pronounce hotwords, which is then needed
    on all nodes.
    """

    device: str
    decoder: "DecoderSettings | None"
    hotwords: tuple[tuple[str, float], ...]
    compiled: bool
    files: tuple[tuple[str, int], ...]
    espeak: bool = False


def model_spec(
    model: Path,
    device: str = "cpu",
    decoder: "DecoderSettings | None" = None,
    hotwords: tuple[tuple[str, float], ...] = (),
    compiled: bool = False,
) -> ModelSpec:
    """Return what the nodes load for a model and a decoder of this machine."""
    paths = [model.absolute()]
    if decoder:
        named = (decoder.lm, decoder.rescorer, decoder.pronunciations)
        lm, rescorer, dictionary = (name and str(Path(name).absolute()) for name in named)
        decoder = replace(decoder, lm=lm, rescorer=rescorer, pronunciations=dictionary)
        paths += [Path(name) for name in (lm, rescorer, dictionary) if name]
    files = tuple((str(path), path.stat().st_size) for path in paths)
    return ModelSpec(device, decoder, hotwords, compiled, files, bool(hotwords) and _has_espeak())


def _has_espeak() -> bool:
    from asr.lm import espeak  # noqa: PLC0415

    return espeak.is_installed()


def run(
    version: str, function: Callable[[Sequence[Argument]], Sequence[Result]], task: Sequence[Argument]
) -> tuple[str, Sequence[Result] | AsrError]:
    """Return the id of this node, and the results of a task or the error that it raised."""
    node = import_ray().get_runtime_context().get_node_id()
    try:
        if version != __version__:
            raise ClusterError(f"the node has asr {__version__}, this machine {version}; all need the same version")
        return node, function(task)
    except AsrError as error:
        error.args = (f"{error} (on node {_address()})",)
        return node, error


def call_each(function: Callable[..., Result], task: Sequence[tuple[Any, ...]]) -> list[Result]:
    """Call a function with each tuple of arguments of a task."""
    return [function(*args) for args in task]


def transcribe(spec: ModelSpec, options: TranscribeOptions, sources: Sequence[Source]) -> list[list[FileResult]]:
    """Transcribe the files of a task. One that this node does not see has an error that says so."""
    results = list(load_recognizer(spec).transcribe_files(sources, options))
    for index, source in enumerate(sources):
        path = source.audio if isinstance(source, Utterance) else source
        if results[index][0].transcript is None and not Path(path).exists():
            message = f"no such file on node {_address()}; every node needs the recordings under the same paths"
            results[index] = [failure(source, message, options)]
    return results


def failure(source: Source, message: str, options: TranscribeOptions) -> FileResult:
    """Return the result of a file or utterance that could not be transcribed."""
    path, identity = (source.audio, source.id) if isinstance(source, Utterance) else (str(source), "")
    channel = 0 if options.split_channels else None
    return FileResult(path, error=f"{path}: {message}", channel=channel, id=identity)


def try_settings(
    spec: ModelSpec,
    seconds_per_frame: float,
    settings: "Sequence[DecoderSettings]",
    task: "Sequence[tuple[LogProbs, str]]",
) -> list[list[tuple[int, float]]]:
    """Return the word errors and the seconds of decoding of each utterance of a task, with each of the settings."""
    from asr.decoding.tuning import DevSet, TrialRunner  # noqa: PLC0415

    alphabet = load_recognizer(spec).settings.alphabet
    rows, texts = zip(*task, strict=True)
    runner = TrialRunner(DevSet(rows, texts, 0.0, seconds_per_frame), alphabet, _language_models(spec))
    trials = runner.run_all(settings, 1)
    return [[(trial.errors[index], trial.seconds / len(task)) for trial in trials] for index in range(len(task))]


@lru_cache(maxsize=1)
def load_recognizer(spec: ModelSpec) -> Recognizer:
    """Load a model, once in each worker process. Raise ClusterError if this node lacks one of its files."""
    _check_files(spec)
    recognizer = load(spec.files[0][0], spec.device)
    if spec.decoder is None:
        return recognizer
    from asr.decoding.decoder import DecoderConfig  # noqa: PLC0415

    return recognizer.with_decoder(DecoderConfig(spec.decoder, _language_models(spec)))


@lru_cache(maxsize=1)
def _language_models(spec: ModelSpec) -> "LanguageModels":
    from asr.decoding import beam  # noqa: PLC0415
    from asr.decoding.decoder import NO_MODELS, open_models  # noqa: PLC0415

    if spec.compiled:
        beam.compile_search()
    return open_models(spec.decoder, dict(spec.hotwords)) if spec.decoder else NO_MODELS


def _check_files(spec: ModelSpec) -> None:
    if spec.hotwords and spec.espeak != _has_espeak():
        raise ClusterError("hotwords need asr[tts] on this machine and on every node, or on none")
    for path, size in spec.files:
        try:
            found = Path(path).stat().st_size
        except OSError as error:
            raise ClusterError(f"{path}: {error.strerror}; every node needs the model under the same path") from error
        if found != size:
            raise ClusterError(f"{path}: another file of {found} bytes, not {size}; every node needs the same model")


def import_ray() -> Any:
    """Return the module, which must report nothing to anyone. Raise ClusterError if it is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"--cluster needs Ray, which is not installed ({error}): pip install 'asr[cluster]'"
        ) from None
    return ray


def _address() -> str:
    """Return the address of this node."""
    address: str = import_ray().util.get_node_ip_address()
    return address
