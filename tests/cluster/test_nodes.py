"""What the nodes load."""

from pathlib import Path

import pytest

from asr.cluster import Cluster, ClusterError, model_spec
from asr.cluster.nodes import load_recognizer
from asr.decoding.decoder import DecoderSettings
from asr.lm import espeak
from asr.recognition import TranscribeOptions


def test_node_without_the_model_says_so(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.read_bytes())
    spec = model_spec(path)
    path.write_bytes(b"another")
    with pytest.raises(ClusterError, match=r"another file of 7 bytes, not .*; every node needs the same model"):
        load_recognizer(spec)
    path.unlink()
    with pytest.raises(ClusterError, match="No such file or directory; every node needs the model under the same path"):
        load_recognizer(spec)


def test_node_that_would_not_pronounce_hotwords_as_this_machine_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(espeak, "is_installed", lambda: True)
    spec = model_spec(model, decoder=DecoderSettings(), hotwords=(("ABC", 8.0),))
    load_recognizer.cache_clear()
    load_recognizer(spec)
    load_recognizer.cache_clear()
    monkeypatch.setattr(espeak, "is_installed", lambda: False)
    with pytest.raises(ClusterError, match=r"hotwords need asr\[tts\] on this machine and on every node, or on none"):
        load_recognizer(spec)


@pytest.mark.slow
def test_node_without_the_model_is_named(address: str, model: Path, tones: Path, tmp_path: Path) -> None:
    copied = tmp_path / "model.safetensors"
    copied.write_bytes(model.read_bytes())
    spec = model_spec(copied)
    copied.unlink()
    message = r"model.safetensors: No such file.*; every node needs the model under the same path \(on node .*\)"
    with Cluster(address) as nodes, pytest.raises(ClusterError, match=message):
        list(nodes.transcribe_files(spec, [tones / "dev/dev-0.wav"], TranscribeOptions()))
