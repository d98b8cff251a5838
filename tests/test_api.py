"""The public names. Removing one breaks users."""

import subprocess
import sys

import asr


def test_public_names() -> None:
    assert asr.__all__ == [
        "AsrError",
        "DecoderConfig",
        "DecoderSettings",
        "Evaluation",
        "FileResult",
        "Hypothesis",
        "LanguageModels",
        "LiveOptions",
        "LiveResult",
        "LiveTranscriber",
        "Recipe",
        "Recognizer",
        "Segment",
        "Stream",
        "TranscribeOptions",
        "Transcript",
        "Utterance",
        "Word",
        "evaluate",
        "load",
        "read_decoder",
        "read_manifest",
        "read_settings",
        "train",
        "write_manifest",
    ]


def test_every_public_name_exists_and_is_documented() -> None:
    for name in asr.__all__:
        assert getattr(asr, name).__doc__, name
    assert not hasattr(asr, "nothing_of_this_name")


def test_help_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from asr.cli import main; main(['train', '--help']); main(['--version']); "
        "print([name for name in ('torch', 'librosa', 'numpy', 'rich', 'soundfile') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
